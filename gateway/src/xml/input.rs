//! The documents that clients send, as typed values.

use cairn_storage::meta::record::ChecksumAlgorithm;

use super::Reader;
use super::read::malformed;
use super::well_formed::{is_blank, trim};
use crate::data::checksum::from_element;
use crate::error::{Code, S3Error};
use crate::gate::PublicAccessBlock;

/// The largest document that is read, in bytes: 10,000 parts with a checksum each fit, and so do 1,000 keys.
pub const MAX_DOCUMENT_LEN: usize = 4 << 20;

/// The most keys in one DeleteObjects.
pub const MAX_DELETE_KEYS: usize = 1_000;

/// The most parts of an object, and the greatest part number.
pub const MAX_PARTS: usize = 10_000;

/// The body of DeleteObjects: 1 to 1,000 objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRequest {
    pub objects: Vec<ObjectToDelete>,
    /// Only what went wrong is answered.
    pub quiet: bool,
}

/// One object of a DeleteObjects; what is given besides the key must hold of the current version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectToDelete {
    pub key: String,
    pub version_id: Option<String>,
    /// As sent, with or without quotes.
    pub etag: Option<String>,
    /// As sent; an HTTP date or ISO 8601.
    pub last_modified: Option<String>,
    pub size: Option<u64>,
}

impl DeleteRequest {
    pub fn parse(document: &[u8]) -> Result<Self, S3Error> {
        let mut reader = Reader::new(document, "Delete")?;
        let (mut request, mut quiet) = (Self { objects: Vec::new(), quiet: false }, None);
        while let Some(name) = reader.child()? {
            match name.as_str() {
                "Object" if request.objects.len() == MAX_DELETE_KEYS => return Err(malformed()),
                "Object" => request.objects.push(ObjectToDelete::read(&mut reader)?),
                "Quiet" => once(&mut quiet, boolean(&reader.text()?)?)?,
                _ => reader.skip()?,
            }
        }
        reader.finish()?;
        request.quiet = quiet.unwrap_or(false);
        if request.objects.is_empty() { Err(malformed()) } else { Ok(request) }
    }
}

impl ObjectToDelete {
    fn read(reader: &mut Reader<'_>) -> Result<Self, S3Error> {
        let mut object = Self::default();
        let (mut key, mut size) = (None, None);
        while let Some(name) = reader.child()? {
            match name.as_str() {
                "Key" => once(&mut key, reader.text()?)?,
                "VersionId" => once(&mut object.version_id, reader.text()?)?,
                "ETag" => once(&mut object.etag, reader.text()?)?,
                "LastModifiedTime" => once(&mut object.last_modified, reader.text()?)?,
                "Size" => once(&mut size, reader.text()?)?,
                _ => reader.skip()?,
            }
        }
        object.size = size.map(|size| trim(&size).parse().map_err(|_| malformed())).transpose()?;
        object.key = key.filter(|key| !key.is_empty()).ok_or_else(malformed)?;
        Ok(object)
    }
}

/// The body of CompleteMultipartUpload: 1 to 10,000 parts, in the order of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompleteMultipartUpload {
    pub parts: Vec<CompletedPart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedPart {
    /// 1 to 10,000.
    pub number: u16,
    /// Without quotes; otherwise as sent.
    pub etag: String,
    /// Base64, as sent.
    pub checksums: Vec<(ChecksumAlgorithm, String)>,
}

impl CompleteMultipartUpload {
    pub fn parse(document: &[u8]) -> Result<Self, S3Error> {
        let mut reader = Reader::new(document, "CompleteMultipartUpload")?;
        let mut parts = Vec::new();
        while let Some(name) = reader.child()? {
            match name.as_str() {
                "Part" if parts.len() == MAX_PARTS => return Err(malformed()),
                "Part" => parts.push(CompletedPart::read(&mut reader)?),
                _ => reader.skip()?,
            }
        }
        reader.finish()?;
        if parts.is_empty() { Err(malformed()) } else { Ok(Self { parts }) }
    }
}

impl CompletedPart {
    fn read(reader: &mut Reader<'_>) -> Result<Self, S3Error> {
        let (mut number, mut etag, mut checksums) = (None, None, Vec::new());
        while let Some(name) = reader.child()? {
            match name.as_str() {
                "PartNumber" => once(&mut number, part_number(&reader.text()?)?)?,
                "ETag" => once(&mut etag, unquoted(reader.text()?))?,
                other => match from_element(other) {
                    Some(algorithm) if checksums.iter().any(|(known, _)| *known == algorithm) => {
                        return Err(malformed());
                    }
                    Some(algorithm) => checksums.push((algorithm, reader.text()?)),
                    None => reader.skip()?,
                },
            }
        }
        match (number, etag) {
            (Some(number), Some(etag)) => Ok(Self { number, etag, checksums }),
            _ => Err(malformed()),
        }
    }
}

/// The body of CreateBucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreateBucketConfiguration {
    pub location_constraint: Option<String>,
}

impl CreateBucketConfiguration {
    /// An empty body asks for nothing.
    pub fn parse(document: &[u8]) -> Result<Self, S3Error> {
        let mut configuration = Self::default();
        if document.iter().all(|byte| is_blank(char::from(*byte))) {
            return Ok(configuration);
        }
        let mut reader = Reader::new(document, "CreateBucketConfiguration")?;
        while let Some(name) = reader.child()? {
            match name.as_str() {
                "LocationConstraint" => once(&mut configuration.location_constraint, reader.text()?)?,
                // Directory buckets and tags would be promises.
                "Location" | "Bucket" | "Tags" => return Err(Code::NotImplemented.into()),
                _ => reader.skip()?,
            }
        }
        reader.finish()?;
        Ok(configuration)
    }
}

/// The body of PutPublicAccessBlock.
pub fn read_public_access_block(document: &[u8]) -> Result<PublicAccessBlock, S3Error> {
    let mut reader = Reader::new(document, "PublicAccessBlockConfiguration")?;
    let mut found = [None; 4];
    while let Some(name) = reader.child()? {
        match name.as_str() {
            "BlockPublicAcls" => once(&mut found[0], boolean(&reader.text()?)?)?,
            "IgnorePublicAcls" => once(&mut found[1], boolean(&reader.text()?)?)?,
            "BlockPublicPolicy" => once(&mut found[2], boolean(&reader.text()?)?)?,
            "RestrictPublicBuckets" => once(&mut found[3], boolean(&reader.text()?)?)?,
            // What sounds like a promise is none that is known.
            _ => return Err(malformed()),
        }
    }
    reader.finish()?;
    let [block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets] =
        found.map(|blocks| blocks.unwrap_or(false));
    Ok(PublicAccessBlock { block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets })
}

/// The body of PutBucketOwnershipControls: the object ownership, whatever it is.
pub fn read_object_ownership(document: &[u8]) -> Result<String, S3Error> {
    let mut reader = Reader::new(document, "OwnershipControls")?;
    let mut ownership = None;
    while let Some(name) = reader.child()? {
        if name != "Rule" {
            return Err(malformed());
        }
        while let Some(name) = reader.child()? {
            match name.as_str() {
                "ObjectOwnership" => once(&mut ownership, reader.text()?)?,
                _ => return Err(malformed()),
            }
        }
    }
    reader.finish()?;
    ownership.ok_or_else(malformed)
}

/// Takes an element that may be there once. Of two it would not be known which one is meant.
pub(super) fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), S3Error> {
    if slot.replace(value).is_some() { Err(malformed()) } else { Ok(()) }
}

fn boolean(text: &str) -> Result<bool, S3Error> {
    match trim(text) {
        text if text.eq_ignore_ascii_case("true") => Ok(true),
        text if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(malformed()),
    }
}

fn part_number(text: &str) -> Result<u16, S3Error> {
    let number: i64 = trim(text).parse().map_err(|_| malformed())?;
    u16::try_from(number).ok().filter(|number| (1..=MAX_PARTS).contains(&usize::from(*number))).ok_or_else(|| {
        S3Error::with(Code::InvalidArgument, "PartNumber must be an integer between 1 and 10000, inclusive.")
            .detail("ArgumentName", "PartNumber")
            .detail("ArgumentValue", text)
    })
}

fn unquoted(etag: String) -> String {
    let trimmed = trim(&etag);
    match trimmed.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.to_owned(),
        None if trimmed.len() == etag.len() => etag,
        None => trimmed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T: std::fmt::Debug>(result: Result<T, S3Error>) -> Code {
        result.unwrap_err().code
    }

    #[test]
    fn a_delete_names_keys_and_conditions() {
        let document = b"<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>\
            <Object><Key>a&amp;b </Key></Object>\
            <Object><Key>c</Key><VersionId>null</VersionId><ETag>\"e\"</ETag><Size>7</Size>\
            <LastModifiedTime>Fri, 03 Feb 2006 16:45:09 GMT</LastModifiedTime></Object></Delete>";
        let request = DeleteRequest::parse(document).unwrap();
        assert!(request.quiet);
        assert_eq!(request.objects[0], ObjectToDelete { key: "a&b ".into(), ..Default::default() });
        assert_eq!(request.objects[1].version_id.as_deref(), Some("null"));
        assert_eq!(request.objects[1].etag.as_deref(), Some("\"e\""));
        assert_eq!(request.objects[1].size, Some(7));
        assert_eq!(request.objects[1].last_modified.as_deref(), Some("Fri, 03 Feb 2006 16:45:09 GMT"));
    }

    #[test]
    fn a_delete_of_nothing_or_of_too_much_is_refused() {
        assert_eq!(code(DeleteRequest::parse(b"<Delete></Delete>")), Code::MalformedXML);
        assert_eq!(code(DeleteRequest::parse(b"<Delete><Object/></Delete>")), Code::MalformedXML);
        let objects = |count| format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(count));
        assert_eq!(DeleteRequest::parse(objects(1_000).as_bytes()).unwrap().objects.len(), 1_000);
        assert_eq!(code(DeleteRequest::parse(objects(1_001).as_bytes())), Code::MalformedXML);
    }

    #[test]
    fn a_complete_names_parts_in_its_order() {
        let document = b"<CompleteMultipartUpload><Part><ETag>&quot;e2&quot;</ETag><PartNumber>2</PartNumber>\
            <ChecksumCRC32C>AAAAAA==</ChecksumCRC32C></Part>\
            <Part><PartNumber>1</PartNumber><ETag>e1</ETag></Part></CompleteMultipartUpload>";
        let parts = CompleteMultipartUpload::parse(document).unwrap().parts;
        assert_eq!((parts[0].number, parts[0].etag.as_str()), (2, "e2"));
        assert_eq!(parts[0].checksums, [(ChecksumAlgorithm::Crc32c, "AAAAAA==".to_owned())]);
        assert_eq!((parts[1].number, parts[1].etag.as_str()), (1, "e1"));
    }

    #[test]
    fn a_complete_with_bad_parts_is_refused() {
        let parse = |inner: &str| {
            let document = format!("<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>");
            code(CompleteMultipartUpload::parse(document.as_bytes()))
        };
        assert_eq!(parse(""), Code::MalformedXML);
        assert_eq!(parse("<Part><PartNumber>1</PartNumber></Part>"), Code::MalformedXML);
        assert_eq!(parse("<Part><PartNumber>x</PartNumber><ETag>e</ETag></Part>"), Code::MalformedXML);
        assert_eq!(parse("<Part><PartNumber>0</PartNumber><ETag>e</ETag></Part>"), Code::InvalidArgument);
        assert_eq!(parse("<Part><PartNumber>10001</PartNumber><ETag>e</ETag></Part>"), Code::InvalidArgument);
        assert_eq!(parse(&"<Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>".repeat(10_001)), Code::MalformedXML);
    }

    #[test]
    fn what_may_be_there_once_may_not_be_there_twice() {
        for twice in ["<Key>a</Key>", "<VersionId>null</VersionId>", "<ETag>e</ETag>", "<Size>1</Size>"] {
            let document = format!("<Delete><Object><Key>k</Key>{twice}{twice}</Object></Delete>");
            assert_eq!(code(DeleteRequest::parse(document.as_bytes())), Code::MalformedXML, "{twice}");
        }
        for twice in ["<PartNumber>2</PartNumber>", "<ETag>f</ETag>", "<ChecksumCRC32>AAAAAA==</ChecksumCRC32>"] {
            let inner = format!("<PartNumber>1</PartNumber><ETag>e</ETag>{twice}{twice}");
            let document = format!("<CompleteMultipartUpload><Part>{inner}</Part></CompleteMultipartUpload>");
            assert_eq!(code(CompleteMultipartUpload::parse(document.as_bytes())), Code::MalformedXML, "{twice}");
        }
        let quiet = b"<Delete><Quiet>true</Quiet><Quiet>false</Quiet><Object><Key>k</Key></Object></Delete>";
        assert_eq!(code(DeleteRequest::parse(quiet)), Code::MalformedXML);
    }

    #[test]
    fn a_bucket_configuration_may_be_empty_and_may_name_a_region() {
        assert_eq!(CreateBucketConfiguration::parse(b" \n").unwrap().location_constraint, None);
        let document = b"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint>\
            </CreateBucketConfiguration>";
        let configuration = CreateBucketConfiguration::parse(document).unwrap();
        assert_eq!(configuration.location_constraint.as_deref(), Some("eu-west-1"));
        let tags = b"<CreateBucketConfiguration><Tags/></CreateBucketConfiguration>";
        assert_eq!(code(CreateBucketConfiguration::parse(tags)), Code::NotImplemented);
    }
}
