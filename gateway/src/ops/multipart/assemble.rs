//! Makes an object of the parts that a CompleteMultipartUpload names: all that S3 demands of them, and what comes out.
//! Pure.
//!
//! Source: Amazon S3 API Reference, CompleteMultipartUpload.

use cairn_storage::meta::command::NamedPart;
use cairn_storage::meta::record::{Checksum, ChecksumAlgorithm, ChecksumKind, ETag, PartRecord};
use http::HeaderMap;
use md5::{Digest, Md5};

use super::checksum::{UploadChecksum, kind, lower, type_mismatch};
use crate::data::checksum;
use crate::error::{Code, S3Error};
use crate::ops::object::answer::kind_name;
use crate::ops::object::conditions::parse_etag;
use crate::xml::{CompletedPart, trim};

/// The least size of every part but the last; 5 MiB.
pub const MIN_PART_LEN: u64 = 5 << 20;

/// An object, made of parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// In the order of the object.
    pub parts: Vec<NamedPart>,
    pub size: u64,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
}

/// What the headers of a Complete say of the object.
#[derive(Debug, Default)]
pub struct Expected {
    /// Base64, as sent.
    checksum: Option<(ChecksumAlgorithm, String)>,
    kind: Option<ChecksumKind>,
    size: Option<u64>,
}

impl Expected {
    /// Takes the checksum out of the headers: it is the object's, and must not be held for that of the document.
    ///
    /// # Errors
    /// `InvalidRequest` for several checksums, for one that can be none of its algorithm, and for a size that is none.
    pub fn take_from(headers: &mut HeaderMap) -> Result<Self, S3Error> {
        let mut expected = Self { kind: kind(headers)?, ..Self::default() };
        for algorithm in checksum::ALGORITHMS {
            let Some(value) = headers.remove(checksum::header(algorithm)) else { continue };
            let text = String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
            // A composite checksum is known with and without the number of its parts; base64 has no `-`.
            if checksum::decode(algorithm, text.split('-').next().unwrap_or_default()).is_none() {
                let message = format!("Value for {} header is invalid.", checksum::header(algorithm));
                return Err(S3Error::with(Code::InvalidRequest, message));
            }
            if expected.checksum.replace((algorithm, text)).is_some() {
                return Err(S3Error::with(
                    Code::InvalidRequest,
                    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
                ));
            }
        }
        if let Some(value) = headers.get("x-amz-mp-object-size") {
            let size = value.to_str().ok().and_then(|text| text.trim().parse().ok());
            expected.size = Some(size.ok_or_else(|| {
                S3Error::with(Code::InvalidRequest, "Value for x-amz-mp-object-size header is invalid.")
            })?);
        }
        Ok(expected)
    }
}

/// Part numbers must grow.
///
/// # Errors
/// `InvalidPartOrder`.
pub fn check_order(asked: &[CompletedPart]) -> Result<(), S3Error> {
    if asked.iter().zip(asked.iter().skip(1)).all(|(one, next)| one.number < next.number) {
        return Ok(());
    }
    Err(Code::InvalidPartOrder.into())
}

/// Names the request for a repetition: the same parts with the same checks give the same digest.
pub fn digest(asked: &[CompletedPart], expected: &Expected) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in asked {
        hasher.update(&part.number.to_be_bytes());
        hasher.update(part.etag.as_bytes());
        for (algorithm, value) in &part.checksums {
            hasher.update(format!("\t{}={value}", checksum::name(*algorithm)).as_bytes());
        }
        hasher.update(b"\n");
    }
    let Expected { checksum, kind, size } = expected;
    if let Some((algorithm, value)) = checksum {
        hasher.update(format!("checksum={}={value}\n", checksum::name(*algorithm)).as_bytes());
    }
    if let Some(kind) = kind {
        hasher.update(format!("type={}\n", kind_name(*kind)).as_bytes());
    }
    if let Some(size) = size {
        hasher.update(format!("size={size}\n").as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// Checks the parts that are asked for against those that were uploaded, and makes the object. Both are in the order
/// of their numbers.
///
/// # Errors
/// `InvalidPart`, `EntityTooSmall`, `BadDigest`, `InvalidRequest`.
pub fn assemble(
    asked: &[CompletedPart],
    uploaded: &[PartRecord],
    upload: UploadChecksum,
    expected: &Expected,
    min_part_len: u64,
) -> Result<Assembled, S3Error> {
    let parts = matched(asked, uploaded)?;
    check_sizes(&parts, min_part_len)?;
    let size = parts.iter().map(|part| part.size).sum();
    let checksum = object_checksum(&parts, upload)?;
    check_expected(expected, size, checksum.as_ref(), asked.len(), upload)?;
    if let Some((algorithm, ChecksumKind::Composite)) = upload {
        check_all_have(asked, algorithm)?;
    }
    Ok(Assembled {
        parts: parts.iter().map(|part| NamedPart { number: part.number, id: part.id }).collect(),
        size,
        etag: object_etag(&parts),
        checksum,
    })
}

/// The uploaded parts that are asked for, each being what the client says it is.
fn matched<'a>(asked: &[CompletedPart], uploaded: &'a [PartRecord]) -> Result<Vec<&'a PartRecord>, S3Error> {
    asked
        .iter()
        .map(|part| {
            let at = uploaded.binary_search_by_key(&part.number, |record| record.number).ok();
            at.and_then(|at| uploaded.get(at)).filter(|record| is_what_was_seen(part, record)).ok_or_else(|| {
                S3Error::from(Code::InvalidPart)
                    .detail("PartNumber", part.number.to_string())
                    .detail("ETag", part.etag.as_str())
            })
        })
        .collect()
}

fn is_what_was_seen(asked: &CompletedPart, record: &PartRecord) -> bool {
    let same_checksum = |(algorithm, text): &(ChecksumAlgorithm, String)| {
        record.checksum.as_ref().is_some_and(|kept| {
            kept.algorithm == *algorithm && checksum::decode(*algorithm, trim(text)).as_ref() == Some(&kept.value)
        })
    };
    parse_etag(&asked.etag) == Some(ETag { md5: record.md5, parts: None }) && asked.checksums.iter().all(same_checksum)
}

fn check_sizes(parts: &[&PartRecord], min_part_len: u64) -> Result<(), S3Error> {
    let Some((_, all_but_last)) = parts.split_last() else { return Err(Code::MalformedXML.into()) };
    match all_but_last.iter().find(|part| part.size < min_part_len) {
        None => Ok(()),
        Some(small) => Err(S3Error::from(Code::EntityTooSmall)
            .detail("ProposedSize", small.size.to_string())
            .detail("MinSizeAllowed", min_part_len.to_string())
            .detail("PartNumber", small.number.to_string())
            .detail("ETag", hex::encode(small.md5))),
    }
}

/// The MD5 of the parts' MD5s, and how many there are.
fn object_etag(parts: &[&PartRecord]) -> ETag {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part.md5);
    }
    ETag { md5: md5.finalize().into(), parts: u16::try_from(parts.len()).ok() }
}

fn object_checksum(parts: &[&PartRecord], upload: UploadChecksum) -> Result<Option<Checksum>, S3Error> {
    let Some((algorithm, kind)) = upload else { return common_checksum(parts) };
    let made = part_checksums(parts, algorithm).and_then(|values| match kind {
        ChecksumKind::FullObject => checksum::full_object(algorithm, values),
        ChecksumKind::Composite => Some(checksum::composite(algorithm, values.into_iter().map(|(value, _)| value))),
    });
    match made {
        Some(checksum) => Ok(Some(checksum)),
        None => {
            tracing::error!(?algorithm, ?kind, "a part was kept without the checksum of its upload");
            Err(Code::InternalError.into())
        }
    }
}

/// The checksum of an object whose upload was created without an algorithm: of the whole, CRC64NVME as of S3. S3 makes
/// no object of parts with checksums of another algorithm then. Here that of the parts becomes the object's, if it is a
/// CRC: there are clients that add one to each part by themselves. `None` where a part has none, or no CRC, of earlier
/// releases, or where the parts for which none was named have the default, and others another.
///
/// # Errors
/// `InvalidRequest` for parts of several algorithms: no checksum of the object follows from them.
fn common_checksum(parts: &[&PartRecord]) -> Result<Option<Checksum>, S3Error> {
    let algorithms = parts.iter().map(|part| Some((part.number, part.checksum.as_ref()?.algorithm)));
    let Some(algorithms) = algorithms.collect::<Option<Vec<_>>>() else { return Ok(None) };
    let Some(&(_, first)) = algorithms.first() else { return Ok(None) };
    let by_itself = |algorithm| algorithm == checksum::DEFAULT;
    match algorithms.iter().find(|(_, algorithm)| *algorithm != first) {
        // A part got the default from us, as its client named none: there is nothing to blame that client for.
        Some((_, other)) if by_itself(first) || by_itself(*other) => Ok(None),
        None => Ok(part_checksums(parts, first).and_then(|values| checksum::full_object(first, values))),
        Some((number, other)) => {
            Err(type_mismatch(&lower(first), &lower(*other)).detail("PartNumber", number.to_string()))
        }
    }
}

/// The raw checksums and the sizes of the parts, if all have one of this algorithm.
fn part_checksums<'a>(parts: &[&'a PartRecord], algorithm: ChecksumAlgorithm) -> Option<Vec<(&'a [u8], u64)>> {
    let value = |part: &&'a PartRecord| {
        let kept = part.checksum.as_ref().filter(|kept| kept.algorithm == algorithm)?;
        Some((&kept.value[..], part.size))
    };
    parts.iter().map(value).collect()
}

fn check_expected(
    expected: &Expected,
    size: u64,
    checksum: Option<&Checksum>,
    count: usize,
    upload: UploadChecksum,
) -> Result<(), S3Error> {
    if let Some(expected) = expected.size.filter(|expected| *expected != size) {
        return Err(S3Error::with(
            Code::InvalidRequest,
            format!(
                "The provided 'x-amz-mp-object-size' header value {expected} does not match what was computed: {size}"
            ),
        ));
    }
    let created = upload.map_or(ChecksumKind::FullObject, |(_, kind)| kind);
    if expected.kind.is_some_and(|kind| kind != created) {
        return Err(S3Error::with(
            Code::InvalidRequest,
            format!(
                "The upload was created using the {} checksum mode. The complete request must use the same checksum \
                 mode.",
                kind_name(created)
            ),
        ));
    }
    let Some((algorithm, text)) = &expected.checksum else { return Ok(()) };
    let name = checksum::name(*algorithm);
    let Some(made) = checksum.filter(|made| made.algorithm == *algorithm) else {
        return Err(S3Error::with(
            Code::InvalidRequest,
            format!("The upload was not created with the checksum algorithm {name}, so that it cannot be checked."),
        ));
    };
    if *text == checksum::encode(made, None) || *text == checksum::encode(made, u16::try_from(count).ok()) {
        return Ok(());
    }
    Err(S3Error::with(Code::BadDigest, format!("The {name} you specified did not match the calculated checksum.")))
}

/// A composite checksum is made of what the client saw of each part.
fn check_all_have(asked: &[CompletedPart], algorithm: ChecksumAlgorithm) -> Result<(), S3Error> {
    let lacks = |part: &&CompletedPart| !part.checksums.iter().any(|(given, _)| *given == algorithm);
    match asked.iter().find(lacks) {
        None => Ok(()),
        Some(part) => Err(S3Error::with(
            Code::InvalidRequest,
            format!(
                "The upload was created using a {} checksum. The complete request must include the checksum for each \
                 part. It was missing for part {} in the request.",
                checksum::name(algorithm).to_ascii_lowercase(),
                part.number
            ),
        )),
    }
}

#[cfg(test)]
#[path = "assemble_test.rs"]
mod tests;
