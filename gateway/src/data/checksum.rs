//! S3's additional checksums: what a request asks for, how it is computed, and how parts combine. Pure.
//!
//! Source: Amazon S3 User Guide, "Checking object integrity", and the API pages of PutObject, UploadPart and
//! CompleteMultipartUpload.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use cairn_storage::meta::record::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crc_fast::CrcAlgorithm;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha1::Digest;
use xxhash_rust::xxh3::Xxh3;
use xxhash_rust::xxh64::Xxh64;

use crate::error::{Code, S3Error};

/// All that there are, in the order in which S3 lists them.
pub const ALGORITHMS: [ChecksumAlgorithm; 10] = [
    ChecksumAlgorithm::Crc32,
    ChecksumAlgorithm::Crc32c,
    ChecksumAlgorithm::Crc64Nvme,
    ChecksumAlgorithm::Sha1,
    ChecksumAlgorithm::Sha256,
    ChecksumAlgorithm::Sha512,
    ChecksumAlgorithm::Md5,
    ChecksumAlgorithm::XxHash64,
    ChecksumAlgorithm::XxHash3,
    ChecksumAlgorithm::XxHash128,
];

/// What S3 computes and keeps of an object where its client asks for nothing, and shows where a read asks for
/// checksums. Costs a few percent of the MD5; [`Asked::from_headers`] leaves it to the operation.
pub const DEFAULT: ChecksumAlgorithm = ChecksumAlgorithm::Crc64Nvme;

const CRC32: CrcAlgorithm = CrcAlgorithm::Crc32IsoHdlc;
const CRC32C: CrcAlgorithm = CrcAlgorithm::Crc32Iscsi;
const CRC64NVME: CrcAlgorithm = CrcAlgorithm::Crc64Nvme;

const PREFIX: &str = "x-amz-checksum-";
const SDK_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-sdk-checksum-algorithm");
const ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");
const TRAILER: HeaderName = HeaderName::from_static("x-amz-trailer");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// The header, and the trailer, that carries a checksum of this algorithm.
pub const fn header(algorithm: ChecksumAlgorithm) -> HeaderName {
    match algorithm {
        ChecksumAlgorithm::Crc32 => HeaderName::from_static("x-amz-checksum-crc32"),
        ChecksumAlgorithm::Crc32c => HeaderName::from_static("x-amz-checksum-crc32c"),
        ChecksumAlgorithm::Crc64Nvme => HeaderName::from_static("x-amz-checksum-crc64nvme"),
        ChecksumAlgorithm::Sha1 => HeaderName::from_static("x-amz-checksum-sha1"),
        ChecksumAlgorithm::Sha256 => HeaderName::from_static("x-amz-checksum-sha256"),
        ChecksumAlgorithm::Sha512 => HeaderName::from_static("x-amz-checksum-sha512"),
        ChecksumAlgorithm::Md5 => HeaderName::from_static("x-amz-checksum-md5"),
        ChecksumAlgorithm::XxHash64 => HeaderName::from_static("x-amz-checksum-xxhash64"),
        ChecksumAlgorithm::XxHash3 => HeaderName::from_static("x-amz-checksum-xxhash3"),
        ChecksumAlgorithm::XxHash128 => HeaderName::from_static("x-amz-checksum-xxhash128"),
    }
}

/// Whether a header of this name carries a checksum.
pub fn is_header(name: &str) -> bool {
    ALGORITHMS.into_iter().any(|algorithm| header(algorithm) == name)
}

/// The algorithm as S3 spells it in headers and XML.
pub const fn name(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "CRC32",
        ChecksumAlgorithm::Crc32c => "CRC32C",
        ChecksumAlgorithm::Crc64Nvme => "CRC64NVME",
        ChecksumAlgorithm::Sha1 => "SHA1",
        ChecksumAlgorithm::Sha256 => "SHA256",
        ChecksumAlgorithm::Sha512 => "SHA512",
        ChecksumAlgorithm::Md5 => "MD5",
        ChecksumAlgorithm::XxHash64 => "XXHASH64",
        ChecksumAlgorithm::XxHash3 => "XXHASH3",
        ChecksumAlgorithm::XxHash128 => "XXHASH128",
    }
}

/// The XML element that carries a checksum of this algorithm.
pub const fn element(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "ChecksumCRC32",
        ChecksumAlgorithm::Crc32c => "ChecksumCRC32C",
        ChecksumAlgorithm::Crc64Nvme => "ChecksumCRC64NVME",
        ChecksumAlgorithm::Sha1 => "ChecksumSHA1",
        ChecksumAlgorithm::Sha256 => "ChecksumSHA256",
        ChecksumAlgorithm::Sha512 => "ChecksumSHA512",
        ChecksumAlgorithm::Md5 => "ChecksumMD5",
        ChecksumAlgorithm::XxHash64 => "ChecksumXXHASH64",
        ChecksumAlgorithm::XxHash3 => "ChecksumXXHASH3",
        ChecksumAlgorithm::XxHash128 => "ChecksumXXHASH128",
    }
}

/// The inverse of [`name`], whatever the case.
pub fn from_name(text: &str) -> Option<ChecksumAlgorithm> {
    ALGORITHMS.into_iter().find(|algorithm| name(*algorithm).eq_ignore_ascii_case(text))
}

/// The inverse of [`element`].
pub fn from_element(text: &str) -> Option<ChecksumAlgorithm> {
    ALGORITHMS.into_iter().find(|algorithm| element(*algorithm) == text)
}

/// `x-amz-checksum-algorithm`, where it says what to compute of an object: of a multipart upload, or of a copy.
///
/// # Errors
/// `InvalidRequest` for what is none.
pub fn wanted(headers: &HeaderMap) -> Result<Option<ChecksumAlgorithm>, S3Error> {
    let Some(value) = headers.get(ALGORITHM) else { return Ok(None) };
    let message = "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, \
                   CRC32C, CRC64NVME, MD5, SHA1, SHA256, SHA512, XXHASH128, XXHASH3, XXHASH64]";
    let algorithm = value.to_str().ok().and_then(from_name);
    algorithm.map(Some).ok_or_else(|| S3Error::with(Code::InvalidRequest, message))
}

/// Whether the checksum of an object follows from those of its parts: of the CRCs only.
pub fn combines(algorithm: ChecksumAlgorithm) -> bool {
    crc(algorithm).is_some()
}

/// The length of a checksum, in bytes.
pub const fn len(algorithm: ChecksumAlgorithm) -> usize {
    match algorithm {
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => 4,
        ChecksumAlgorithm::Crc64Nvme | ChecksumAlgorithm::XxHash64 | ChecksumAlgorithm::XxHash3 => 8,
        ChecksumAlgorithm::Md5 | ChecksumAlgorithm::XxHash128 => 16,
        ChecksumAlgorithm::Sha1 => 20,
        ChecksumAlgorithm::Sha256 => 32,
        ChecksumAlgorithm::Sha512 => 64,
    }
}

/// The raw bytes of a checksum given in base64, in a header or in XML; `None` where it is not one of this algorithm.
pub fn decode(algorithm: ChecksumAlgorithm, text: &str) -> Option<Bytes> {
    let raw = BASE64.decode(text).ok()?;
    (raw.len() == len(algorithm)).then(|| raw.into())
}

/// As S3 shows it: base64 and, for a composite one, `-` and the number of parts.
pub fn encode(checksum: &Checksum, parts: Option<u16>) -> String {
    let mut text = BASE64.encode(&checksum.value);
    if let (ChecksumKind::Composite, Some(parts)) = (checksum.kind, parts) {
        text.push_str(&format!("-{parts}"));
    }
    text
}

/// What a request says of its body's checksum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// What to compute and to keep. `None`: nothing.
    pub algorithm: Option<ChecksumAlgorithm>,
    pub expected: Expected,
}

/// What the computed checksum must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Expected {
    /// Anything: the client only wants it computed.
    #[default]
    Anything,
    /// This, raw.
    Value(Bytes),
    /// What the trailer of the body will say.
    Trailer,
}

impl Asked {
    /// Compute, keep, compare with nothing.
    pub fn computed(algorithm: ChecksumAlgorithm) -> Self {
        Self { algorithm: Some(algorithm), expected: Expected::Anything }
    }

    /// Reads the headers of a request with a body.
    ///
    /// `InvalidRequest` for a malformed checksum, for more than one, for one of an algorithm that is not known, and
    /// where the headers contradict each other.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, S3Error> {
        let mut asked = Self::default();
        for (name, value) in headers {
            let Some(suffix) = name.as_str().strip_prefix(PREFIX) else { continue };
            if matches!(suffix, "algorithm" | "type" | "mode") {
                continue;
            }
            let algorithm = from_name(suffix).ok_or_else(|| {
                S3Error::with(
                    Code::InvalidRequest,
                    "The algorithm type you specified in x-amz-checksum- header is invalid.",
                )
            })?;
            asked.set(algorithm, Expected::Value(parse(algorithm, value)?))?;
        }
        for value in headers.get_all(TRAILER) {
            let text = value.to_str().unwrap_or("");
            for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                let algorithm = name.get(..PREFIX.len()).filter(|start| start.eq_ignore_ascii_case(PREFIX));
                let algorithm = algorithm.and_then(|_| from_name(&name[PREFIX.len()..])).ok_or_else(|| {
                    let message = "The value specified in the x-amz-trailer header is not supported";
                    S3Error::with(Code::InvalidRequest, message)
                })?;
                asked.set(algorithm, Expected::Trailer)?;
            }
        }
        for header in [SDK_ALGORITHM, ALGORITHM] {
            let Some(value) = headers.get(&header) else { continue };
            let algorithm = value.to_str().ok().and_then(from_name);
            match (algorithm, asked.algorithm) {
                (Some(named), None) => asked.algorithm = Some(named),
                (Some(named), Some(given)) if named == given => {}
                _ => {
                    let message = format!("Value for {header} header is invalid.");
                    return Err(S3Error::with(Code::InvalidRequest, message));
                }
            }
        }
        Ok(asked)
    }

    /// Takes `algorithm` where the request asked for none: an upload's own, or [`DEFAULT`].
    pub fn or(mut self, algorithm: ChecksumAlgorithm) -> Self {
        self.algorithm.get_or_insert(algorithm);
        self
    }

    fn set(&mut self, algorithm: ChecksumAlgorithm, expected: Expected) -> Result<(), S3Error> {
        if self.algorithm.is_some() {
            let message = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";
            return Err(S3Error::with(Code::InvalidRequest, message));
        }
        *self = Self { algorithm: Some(algorithm), expected };
        Ok(())
    }

    /// Judges what was computed. `BadDigest` where it is not what was announced; `InvalidRequest` where the trailer
    /// that should say so is missing or malformed.
    pub(crate) fn check(&self, computed: Option<&Checksum>, trailers: &HeaderMap) -> Result<(), S3Error> {
        let Some(computed) = computed else { return Ok(()) };
        let expected = match &self.expected {
            Expected::Anything => return Ok(()),
            Expected::Value(value) => value.clone(),
            Expected::Trailer => {
                let header = header(computed.algorithm);
                let value = trailers.get(&header).ok_or_else(|| {
                    S3Error::with(Code::InvalidRequest, format!("The trailer {header} was announced and did not come."))
                })?;
                parse(computed.algorithm, value)?
            }
        };
        if expected == computed.value {
            return Ok(());
        }
        let name = name(computed.algorithm);
        Err(S3Error::with(Code::BadDigest, format!("The {name} you specified did not match the calculated checksum.")))
    }
}

/// A checksum out of a header or a trailer; what cannot be one is `InvalidRequest`, as S3 has it.
fn parse(algorithm: ChecksumAlgorithm, value: &HeaderValue) -> Result<Bytes, S3Error> {
    value.to_str().ok().and_then(|text| decode(algorithm, text.trim())).ok_or_else(|| {
        let message = format!("Value for {} header is invalid.", header(algorithm));
        S3Error::with(Code::InvalidRequest, message)
    })
}

/// The header `Content-MD5`; `InvalidDigest` where it is not the base64 of 16 bytes.
pub fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, S3Error> {
    let Some(value) = headers.get(CONTENT_MD5) else { return Ok(None) };
    let raw = BASE64.decode(value.as_bytes().trim_ascii()).ok();
    let md5 = raw.and_then(|raw| <[u8; 16]>::try_from(raw).ok());
    md5.map(Some).ok_or_else(|| S3Error::with(Code::InvalidDigest, "The Content-MD5 you specified was invalid."))
}

/// One checksum under way.
#[derive(Clone)]
pub enum Hasher {
    Crc(ChecksumAlgorithm, crc_fast::Digest),
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    /// Seed 0, as the two below.
    XxHash64(Xxh64),
    XxHash3(Box<Xxh3>),
    XxHash128(Box<Xxh3>),
}

impl Hasher {
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        use ChecksumAlgorithm as Of;
        let crc = |kind| Self::Crc(algorithm, crc_fast::Digest::new(kind));
        match algorithm {
            Of::Crc32 => crc(CRC32),
            Of::Crc32c => crc(CRC32C),
            Of::Crc64Nvme => crc(CRC64NVME),
            Of::Sha1 => Self::Sha1(sha1::Sha1::new()),
            Of::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Of::Sha512 => Self::Sha512(sha2::Sha512::new()),
            Of::Md5 => Self::Md5(md5::Md5::new()),
            Of::XxHash64 => Self::XxHash64(Xxh64::new(0)),
            Of::XxHash3 => Self::XxHash3(Box::new(Xxh3::new())),
            Of::XxHash128 => Self::XxHash128(Box::new(Xxh3::new())),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(_, digest) => digest.update(bytes),
            Self::Md5(digest) => digest.update(bytes),
            Self::Sha1(digest) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
            Self::Sha512(digest) => digest.update(bytes),
            Self::XxHash64(digest) => digest.update(bytes),
            Self::XxHash3(digest) | Self::XxHash128(digest) => digest.update(bytes),
        }
    }

    /// The checksum of all the bytes. Of the XXHashes it is their canonical form, which is big-endian.
    pub fn finish(self) -> Checksum {
        use ChecksumAlgorithm as Of;
        let copied = Bytes::copy_from_slice;
        let (algorithm, value) = match self {
            Self::Crc(algorithm, digest) => (algorithm, crc_bytes(algorithm, digest.finalize())),
            Self::Md5(digest) => (Of::Md5, copied(&digest.finalize())),
            Self::Sha1(digest) => (Of::Sha1, copied(&digest.finalize())),
            Self::Sha256(digest) => (Of::Sha256, copied(&digest.finalize())),
            Self::Sha512(digest) => (Of::Sha512, copied(&digest.finalize())),
            Self::XxHash64(digest) => (Of::XxHash64, copied(&digest.digest().to_be_bytes())),
            Self::XxHash3(digest) => (Of::XxHash3, copied(&digest.digest().to_be_bytes())),
            Self::XxHash128(digest) => (Of::XxHash128, copied(&digest.digest128().to_be_bytes())),
        };
        Checksum { algorithm, kind: ChecksumKind::FullObject, value }
    }
}

/// The checksum of `bytes`.
pub fn of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Checksum {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// The composite checksum of an object: the checksum of its parts' raw checksums, one after another.
pub fn composite<'a>(algorithm: ChecksumAlgorithm, parts: impl IntoIterator<Item = &'a [u8]>) -> Checksum {
    let mut hasher = Hasher::new(algorithm);
    for part in parts {
        hasher.update(part);
    }
    Checksum { kind: ChecksumKind::Composite, ..hasher.finish() }
}

/// The checksum of an object's bytes, from the checksums and the sizes (in bytes) of its parts, without the bytes.
/// Only the CRCs can do that; `None` for the others, and where a part's checksum has a wrong length.
pub fn full_object<'a>(
    algorithm: ChecksumAlgorithm,
    parts: impl IntoIterator<Item = (&'a [u8], u64)>,
) -> Option<Checksum> {
    let kind = crc(algorithm)?;
    let mut whole = crc_fast::checksum(kind, b"");
    for (value, size) in parts {
        if value.len() != len(algorithm) {
            return None;
        }
        let part = value.iter().fold(0u64, |crc, byte| crc << 8 | u64::from(*byte));
        if size > 0 {
            whole = crc_fast::checksum_combine(kind, whole, part, size);
        }
    }
    Some(Checksum { algorithm, kind: ChecksumKind::FullObject, value: crc_bytes(algorithm, whole) })
}

fn crc(algorithm: ChecksumAlgorithm) -> Option<CrcAlgorithm> {
    match algorithm {
        ChecksumAlgorithm::Crc32 => Some(CRC32),
        ChecksumAlgorithm::Crc32c => Some(CRC32C),
        ChecksumAlgorithm::Crc64Nvme => Some(CRC64NVME),
        ChecksumAlgorithm::Sha1
        | ChecksumAlgorithm::Sha256
        | ChecksumAlgorithm::Sha512
        | ChecksumAlgorithm::Md5
        | ChecksumAlgorithm::XxHash64
        | ChecksumAlgorithm::XxHash3
        | ChecksumAlgorithm::XxHash128 => None,
    }
}

fn crc_bytes(algorithm: ChecksumAlgorithm, crc: u64) -> Bytes {
    Bytes::copy_from_slice(&crc.to_be_bytes()[8 - len(algorithm)..])
}

#[cfg(test)]
#[path = "checksum_test.rs"]
mod tests;
