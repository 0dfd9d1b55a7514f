//! A certificate with its chain and key, as they are in files.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::{Date, Month, Time};
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys};

use super::{TlsError, provider};

/// No chain and no key has as many bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where a certificate, with the chain that follows it, and its private key are, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A certificate that can be served.
#[derive(Debug)]
pub struct Certificate {
    pub(super) files: Files,
    pub(super) key: Arc<CertifiedKey>,
    /// In seconds since the epoch.
    pub(super) expires: u64,
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them cannot be read, or does not hold what it should; the error names it.
    pub fn load(files: &Files) -> Result<Self, TlsError> {
        let bad_certificate = |problem: &dyn ToString| TlsError::file(&files.certificate, problem);
        let bad_key = |problem: &dyn ToString| TlsError::file(&files.key, problem);
        let text = read(&files.certificate)?;
        let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| bad_certificate(&error))?;
        let first = chain.first().ok_or_else(|| bad_certificate(&"it holds no certificate in PEM"))?;
        ParsedCertificate::try_from(first).map_err(|error| bad_certificate(&error))?;
        let expires = not_after(first).ok_or_else(|| bad_certificate(&"its time of expiry cannot be read"))?;
        let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?).map_err(|error| match error {
            pem::Error::NoItemsFound => bad_key(&"it holds no private key in PEM, or one with a password"),
            error => bad_key(&error),
        })?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                bad_key(&format_args!("it is not the key of {}", files.certificate.display()))
            }
            error => bad_key(&error),
        })?;
        Ok(Self { files: files.clone(), key: Arc::new(key), expires })
    }

    /// Whether it is good for a host, a name or an address, by its subject alternative names.
    pub fn is_for(&self, host: &str) -> bool {
        let Ok(host) = ServerName::try_from(host) else { return false };
        let parsed = self.key.end_entity_cert().and_then(ParsedCertificate::try_from);
        parsed.is_ok_and(|parsed| verify_server_name(&parsed, &host).is_ok())
    }

    /// When it expires, in seconds since the epoch.
    pub fn expires(&self) -> u64 {
        self.expires
    }
}

/// Whether a certificate can be for it: a name of DNS or an address.
pub fn is_host(text: &str) -> bool {
    ServerName::try_from(text).is_ok()
}

/// The bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    opened.map_err(|error| TlsError::file(path, &error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(TlsError::file(path, &"it is larger than 1 MiB"));
    }
    Ok(bytes)
}

pub(super) fn warn_of_readers(key: &Path) {
    let mode = std::fs::metadata(key).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o004 != 0 {
        tracing::warn!(key = %key.display(), "everybody on this machine can read the private key; `chmod o-r` it");
    }
}

/// The end of a certificate's validity, in seconds since the epoch: of the parts of a certificate of version 3 it is in
/// the fifth (RFC 5280, section 4.1).
pub(super) fn not_after(certificate: &[u8]) -> Option<u64> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut parts, _) = element(certificate)?;
    // The version, the serial number, the algorithm, the issuer.
    for _ in 0..4 {
        parts = element(parts)?.2;
    }
    let (_, validity, _) = element(parts)?;
    let (tag, text, _) = element(element(validity)?.2)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (century, text) = match tag {
        // UTCTime: of two digits of a year, those from 50 on are of the century before.
        0x17 if text >= "5" => (19, text),
        0x17 => (20, text),
        0x18 => (text.get(..2)?.parse().ok()?, text.get(2..)?),
        _ => return None,
    };
    if text.len() != 10 + 2 || !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let two = |at: usize| text.get(at..at + 2).and_then(|digits| digits.parse::<u8>().ok());
    let month = Month::try_from(two(2)?).ok()?;
    let date = Date::from_calendar_date(century * 100 + i32::from(two(0)?), month, two(4)?).ok()?;
    let time = Time::from_hms(two(6)?, two(8)?, two(10)?).ok()?;
    Some(u64::try_from(date.with_time(time).assume_utc().unix_timestamp()).unwrap_or(0))
}

/// The tag and the content of the first element of DER, and what follows it.
pub(super) fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&len, rest) = rest.split_first()?;
    let (len, rest) = match len {
        0..=0x7f => (usize::from(len), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(len & 0x7f))?;
            (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}
