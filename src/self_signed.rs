//! The certificate that a server makes for itself where nobody gave it one: signed by nobody else, so that clients must
//! be told to trust it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use cairn_gateway::server::tls::{Certificate, Files, is_host};
use cairn_storage::durable;
use cairn_storage::types::now_ms;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustix::system::uname;
use time::OffsetDateTime;

const CERTIFICATE_FILE: &str = "tls-certificate.pem";
const KEY_FILE: &str = "tls-key.pem";
/// Anybody may read a certificate; the directory it is in is another matter.
const PUBLIC: u32 = 0o644;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Less than the 825 days that Apple's clients take.
const VALID_FOR: Duration = Duration::from_secs(2 * 365 * DAY.as_secs());
/// With so much left another one is made.
const RENEWED_BEFORE: Duration = Duration::from_secs(30 * DAY.as_secs());
const LOOK_EVERY: Duration = Duration::from_secs(12 * 60 * 60);

/// A certificate and its key in a directory of the server.
#[derive(Clone)]
pub struct SelfSigned {
    pub files: Files,
    /// Names and addresses.
    hosts: Vec<String>,
}

impl SelfSigned {
    /// For this machine by its name and its loopback addresses, the address of S3, and its domains.
    ///
    /// # Errors
    /// The directory is not there.
    pub fn new(directory: &Path, listen: SocketAddr, domains: &[String]) -> Result<Self> {
        let directory = directory.canonicalize().with_context(|| format!("no directory {}", directory.display()))?;
        let files = Files { certificate: directory.join(CERTIFICATE_FILE), key: directory.join(KEY_FILE) };
        let mut hosts: Vec<_> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        hosts.push(listen.ip().to_string());
        hosts.push(uname().nodename().to_string_lossy().into_owned());
        hosts.extend(domains.iter().cloned());
        // A wildcard for all of a top-level domain is good for nobody.
        hosts.extend(domains.iter().filter(|domain| domain.contains('.')).map(|domain| format!("*.{domain}")));
        hosts.retain(|host| is_host(&example(host)));
        hosts.sort_unstable();
        hosts.dedup();
        Ok(Self { files, hosts })
    }

    /// Makes it, unless there is one that will be good for a while.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn make_where_needed(&self) -> Result<()> {
        if self.is_good() {
            return Ok(());
        }
        let (certificate, key) = self.make().context("a self-signed certificate cannot be made")?;
        let write = |path: &Path, text: &str, mode| {
            durable::write_atomic(path, text.as_bytes(), mode)
                .with_context(|| format!("cannot write {}", path.display()))
        };
        write(&self.files.key, &key, durable::PRIVATE)?;
        write(&self.files.certificate, &certificate, PUBLIC)?;
        tracing::info!(certificate = %self.files.certificate.display(), "a self-signed TLS certificate was made");
        Ok(())
    }

    /// Makes another one in time, for ever. Who serves it looks at the files.
    pub async fn renew(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let own = self.clone();
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || own.make_where_needed()).await {
                tracing::warn!(error = format!("{error:#}"), "the self-signed TLS certificate is not renewed");
            }
        }
    }

    fn is_good(&self) -> bool {
        let until = now_ms() / 1000 + RENEWED_BEFORE.as_secs();
        Certificate::load(&self.files).is_ok_and(|certificate| {
            certificate.expires() > until && self.hosts.iter().all(|host| certificate.is_for(&example(host)))
        })
    }

    /// In PEM: the certificate and its key.
    fn make(&self) -> Result<(String, String)> {
        let now = OffsetDateTime::from_unix_timestamp(i64::try_from(now_ms() / 1000)?)?;
        let mut certificate = CertificateParams::new(self.hosts.clone())?;
        certificate.distinguished_name.push(DnType::CommonName, "Cairn");
        certificate.is_ca = IsCa::ExplicitNoCa;
        certificate.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Clients' clocks may be behind.
        certificate.not_before = now - DAY;
        certificate.not_after = now + VALID_FOR;
        let key = KeyPair::generate()?;
        Ok((certificate.self_signed(&key)?.pem(), key.serialize_pem()))
    }
}

/// A host that a name of a certificate stands for.
fn example(host: &str) -> String {
    host.replace('*', "bucket")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn listen() -> SocketAddr {
        "192.0.2.7:9000".parse().unwrap()
    }

    #[test]
    fn it_is_made_once_for_this_machine_its_address_and_its_domains_with_a_key_for_the_owner() {
        let dir = tempfile::tempdir().unwrap();
        let domains = ["localhost", "s3.example.com", "no host"].map(str::to_owned);
        let own = SelfSigned::new(dir.path(), listen(), &domains).unwrap();
        own.make_where_needed().unwrap();
        let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&own.files.key), 0o600);
        let certificate = Certificate::load(&own.files).unwrap();
        let host = uname().nodename().to_string_lossy().into_owned();
        for good in ["localhost", "127.0.0.1", "::1", "192.0.2.7", "s3.example.com", "b.s3.example.com", &host] {
            assert!(certificate.is_for(good), "{good}");
        }
        assert!(!certificate.is_for("example.com") && !certificate.is_for("192.0.2.8"));
        let text = fs::read(&own.files.certificate).unwrap();
        own.make_where_needed().unwrap();
        assert_eq!(fs::read(&own.files.certificate).unwrap(), text, "it is good still");
    }

    #[test]
    fn another_one_is_made_for_another_address_and_where_one_file_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let own = SelfSigned::new(dir.path(), listen(), &[]).unwrap();
        own.make_where_needed().unwrap();
        let other = SelfSigned::new(dir.path(), "192.0.2.8:9000".parse().unwrap(), &[]).unwrap();
        assert!(!other.is_good());
        other.make_where_needed().unwrap();
        assert!(other.is_good());
        fs::remove_file(&other.files.key).unwrap();
        assert!(!other.is_good());
        other.make_where_needed().unwrap();
        assert!(other.is_good());
    }
}
