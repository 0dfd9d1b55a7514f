//! What a request is about: its target, taken from the raw URI, and the name of every operation of S3.

use std::borrow::Cow;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;

use crate::error::{Code, S3Error};
use crate::request::Params;
use crate::table::Level;

/// The longest key, in bytes of UTF-8.
pub const MAX_KEY_LEN: usize = 1_024;

/// The most query parameters that are looked at.
const MAX_PARAMS: usize = 256;

macro_rules! operations {
    ($($name:ident)*) => {
        /// Every operation, built or not, under S3's name for it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation { $($name,)* }

        impl Operation {
            /// All of them.
            #[cfg(test)]
            pub const ALL: &[Self] = &[$(Operation::$name,)*];

            /// S3's name, as it stands in logs and metrics.
            pub fn as_str(self) -> &'static str {
                match self { $(Operation::$name => stringify!($name),)* }
            }
        }
    };
}

operations! {
    ListBuckets
    CreateBucket HeadBucket DeleteBucket GetBucketLocation GetBucketVersioning GetBucketAcl
    ListObjects ListObjectsV2 ListObjectVersions ListMultipartUploads DeleteObjects
    GetObject HeadObject PutObject CopyObject DeleteObject GetObjectAttributes GetObjectAcl
    CreateMultipartUpload UploadPart UploadPartCopy CompleteMultipartUpload AbortMultipartUpload ListParts

    PostObject PutBucketVersioning PutBucketAcl PutObjectAcl GetBucketAbac PutBucketAbac
    GetBucketAccelerateConfiguration PutBucketAccelerateConfiguration DeleteBucketAnalyticsConfiguration
    GetBucketAnalyticsConfiguration ListBucketAnalyticsConfigurations PutBucketAnalyticsConfiguration
    DeleteBucketCors GetBucketCors PutBucketCors DeleteBucketEncryption GetBucketEncryption PutBucketEncryption
    DeleteBucketIntelligentTieringConfiguration GetBucketIntelligentTieringConfiguration
    ListBucketIntelligentTieringConfigurations PutBucketIntelligentTieringConfiguration
    DeleteBucketInventoryConfiguration GetBucketInventoryConfiguration ListBucketInventoryConfigurations
    PutBucketInventoryConfiguration DeleteBucketLifecycle GetBucketLifecycleConfiguration
    PutBucketLifecycleConfiguration GetBucketLogging PutBucketLogging
    UpdateBucketMetadataAnnotationTableConfiguration DeleteBucketMetadataConfiguration
    GetBucketMetadataConfiguration CreateBucketMetadataConfiguration
    UpdateBucketMetadataInventoryTableConfiguration UpdateBucketMetadataJournalTableConfiguration
    DeleteBucketMetadataTableConfiguration GetBucketMetadataTableConfiguration
    CreateBucketMetadataTableConfiguration DeleteBucketMetricsConfiguration GetBucketMetricsConfiguration
    ListBucketMetricsConfigurations PutBucketMetricsConfiguration GetBucketNotificationConfiguration
    PutBucketNotificationConfiguration GetObjectLockConfiguration PutObjectLockConfiguration
    DeleteBucketOwnershipControls GetBucketOwnershipControls PutBucketOwnershipControls DeleteBucketPolicy
    GetBucketPolicy PutBucketPolicy GetBucketPolicyStatus DeletePublicAccessBlock GetPublicAccessBlock
    PutPublicAccessBlock DeleteBucketReplication GetBucketReplication PutBucketReplication GetBucketRequestPayment
    PutBucketRequestPayment CreateSession DeleteBucketTagging GetBucketTagging PutBucketTagging
    DeleteBucketWebsite GetBucketWebsite PutBucketWebsite DeleteObjectAnnotation GetObjectAnnotation
    ListObjectAnnotations PutObjectAnnotation UpdateObjectEncryption GetObjectLegalHold PutObjectLegalHold
    RenameObject RestoreObject GetObjectRetention PutObjectRetention SelectObjectContent DeleteObjectTagging
    GetObjectTagging PutObjectTagging GetObjectTorrent
}

/// The bucket, the key and the parameters of a request.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Percent-decoded once, otherwise untouched. Empty where the request has no bucket.
    pub bucket: String,
    /// Percent-decoded once, otherwise untouched. Empty where the request has no key.
    pub key: String,
    pub query: Params,
    /// Whether the host names the bucket.
    pub virtual_host: bool,
}

/// Which version of a key is meant. All objects are unversioned yet, and S3 calls their version `null`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Version {
    #[default]
    Current,
    Null,
    Id(String),
}

impl Version {
    /// From the parameter `versionId`; also for the versions named in a DeleteObjects or in a copy source.
    ///
    /// # Errors
    /// `InvalidArgument` for what can be no version.
    pub fn parse(text: Option<&str>) -> Result<Self, S3Error> {
        let could_be = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let problem = match text {
            None => return Ok(Self::Current),
            Some("null") => return Ok(Self::Null),
            Some("") => "Version id cannot be the empty string",
            Some(id) if id.len() <= 128 && id.bytes().all(could_be) => return Ok(Self::Id(id.to_owned())),
            Some(_) => "Invalid version id specified",
        };
        Err(S3Error::with(Code::InvalidArgument, problem)
            .detail("ArgumentName", "versionId")
            .detail("ArgumentValue", text.unwrap_or_default()))
    }

    /// # Errors
    /// `NoSuchVersion` for all but the version that there is.
    pub fn must_be_there(&self) -> Result<(), S3Error> {
        match self {
            Self::Current | Self::Null => Ok(()),
            Self::Id(id) => Err(S3Error::new(Code::NoSuchVersion).detail("VersionId", id.as_str())),
        }
    }
}

impl Target {
    /// What it is about.
    pub fn level(&self) -> Level {
        match (self.bucket.is_empty(), self.key.is_empty()) {
            (true, _) => Level::Service,
            (false, true) => Level::Bucket,
            (false, false) => Level::Object,
        }
    }

    /// Takes a raw URI apart. A host `bucket.DOMAIN` of one of the `domains` names the bucket; with any other host, an
    /// IP address among them, the first segment of the path does. Nothing is normalised: `//`, `.` and `..` are
    /// bytes of the key, `+` is a plus.
    ///
    /// The path is decoded before it is taken apart, because a signature covers it decoded: all spellings that one
    /// signature is good for are one resource.
    pub fn parse(host: &str, raw_path: &str, raw_query: Option<&str>, domains: &[String]) -> Result<Self, S3Error> {
        let path = match raw_path.strip_prefix('/') {
            Some(path) => decode(path)?,
            None if raw_path.is_empty() => String::new(),
            None => return Err(Code::InvalidURI.into()),
        };
        let of_host = bucket_of_host(host, domains);
        let virtual_host = of_host.is_some();
        let (bucket, key) = match of_host {
            Some(bucket) => (bucket, path),
            None => match path.split_once('/') {
                Some((bucket, key)) => (bucket.to_owned(), key.to_owned()),
                None => (path, String::new()),
            },
        };
        if bucket.is_empty() && !key.is_empty() {
            return Err(Code::InvalidBucketName.into());
        }
        if key.len() > MAX_KEY_LEN {
            return Err(S3Error::new(Code::KeyTooLongError)
                .detail("Size", key.len().to_string())
                .detail("MaxSizeAllowed", MAX_KEY_LEN.to_string()));
        }
        Ok(Self { bucket, key, query: parse_query(raw_query.unwrap_or(""))?, virtual_host })
    }
}

/// The parameters of a raw query: percent-decoded, `+` is a space.
pub fn parse_query(raw: &str) -> Result<Params, S3Error> {
    let mut params = Vec::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        if params.len() == MAX_PARAMS {
            return Err(S3Error::with(Code::InvalidURI, "The request has too many query parameters."));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        params.push((decode(&with_spaces(name))?, decode(&with_spaces(value))?));
    }
    Ok(Params(params))
}

fn with_spaces(text: &str) -> Cow<'_, str> {
    if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) }
}

/// Percent-decodes once. A `%` without two hexadecimal digits, and bytes that are not UTF-8, are `InvalidURI`.
fn decode(raw: &str) -> Result<String, S3Error> {
    if !raw.contains('%') {
        return Ok(raw.to_owned());
    }
    let bytes = raw.as_bytes();
    let whole = |at: usize| bytes.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    if bytes.iter().enumerate().any(|(at, byte)| *byte == b'%' && !whole(at)) {
        return Err(Code::InvalidURI.into());
    }
    let decoded: Vec<u8> = percent_decode_str(raw).collect();
    String::from_utf8(decoded).map_err(|_| Code::InvalidURI.into())
}

/// The bucket of a virtual-host style request.
fn bucket_of_host(host: &str, domains: &[String]) -> Option<String> {
    let host = without_port(host);
    if host.starts_with('[') || host.parse::<IpAddr>().is_ok() {
        return None;
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if domains.iter().any(|domain| domain.eq_ignore_ascii_case(&host)) {
        return None;
    }
    // Of two domains that fit, the longer one is meant: its owner named it on purpose.
    domains
        .iter()
        .filter(|domain| !domain.is_empty() && host.len() > domain.len() + 1)
        .filter(|domain| {
            let (bucket, tail) = host.split_at(host.len() - domain.len());
            tail.eq_ignore_ascii_case(domain) && bucket.ends_with('.')
        })
        .max_by_key(|domain| domain.len())
        .map(|domain| host[..host.len() - domain.len() - 1].to_owned())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains() -> Vec<String> {
        ["localhost", "s3.example.org", "example.org"].map(str::to_owned).to_vec()
    }

    fn target(host: &str, path: &str) -> (String, String) {
        let target = Target::parse(host, path, None, &domains()).unwrap();
        (target.bucket, target.key)
    }

    fn pair(bucket: &str, key: &str) -> (String, String) {
        (bucket.to_owned(), key.to_owned())
    }

    #[test]
    fn path_style_takes_the_bucket_from_the_path() {
        for host in
            ["localhost", "localhost:9000", "127.0.0.1:9000", "[::1]:9000", "::1", "elsewhere.net", "", "LOCALHOST"]
        {
            assert_eq!(target(host, "/bucket/a/b"), pair("bucket", "a/b"), "{host}");
            assert_eq!(target(host, "/bucket"), pair("bucket", ""), "{host}");
            assert_eq!(target(host, "/bucket/"), pair("bucket", ""), "{host}");
            assert_eq!(target(host, "/"), pair("", ""), "{host}");
        }
    }

    #[test]
    fn virtual_host_style_takes_the_bucket_from_the_host() {
        assert_eq!(target("bucket.localhost:9000", "/a/b"), pair("bucket", "a/b"));
        assert_eq!(target("BUCKET.localhost", "/"), pair("bucket", ""));
        assert_eq!(target("bucket.localhost.", "/k"), pair("bucket", "k"));
        assert_eq!(target("a.b.s3.example.org", "/k"), pair("a.b", "k"));
        assert_eq!(target("s3.example.org", "/a/k"), pair("a", "k"));
        assert_eq!(target("b.example.org", "//k"), pair("b", "/k"));
        assert_eq!(target("notlocalhost", "/a/k"), pair("a", "k"));
    }

    #[test]
    fn a_key_is_decoded_once_and_never_normalised() {
        assert_eq!(target("localhost", "/b//x"), pair("b", "/x"));
        assert_eq!(target("localhost", "/b/a//b/../c/./d/"), pair("b", "a//b/../c/./d/"));
        assert_eq!(target("localhost", "/b/a%2Fb%252F"), pair("b", "a/b%2F"));
        assert_eq!(target("localhost", "/b/a+b%20c"), pair("b", "a+b c"));
        assert_eq!(target("localhost", "/b/%C3%A9%00"), pair("b", "é\0"));
    }

    proptest::proptest! {
        #[test]
        fn all_spellings_of_a_signed_path_are_one_resource(
            pieces in proptest::collection::vec((proptest::char::range('!', '~'), 0..3), 1..30),
            host in proptest::sample::select(vec!["localhost", "bucket.localhost"]),
        ) {
            let spell = |(character, how): &(char, i32)| match how {
                0 if !matches!(character, '%' | '?' | '#') => character.to_string(),
                1 => format!("%{:02x}", u32::from(*character)),
                _ => format!("%{:02X}", u32::from(*character)),
            };
            let raw: String = pieces.iter().map(spell).collect();
            let decoded: Vec<String> = pieces.iter().map(|(character, _)| character.to_string()).collect();
            let canonical = percent_encoding::utf8_percent_encode(&decoded.concat(), percent_encoding::NON_ALPHANUMERIC)
                .to_string()
                .replace("%2F", "/");
            let parse = |path: &str| {
                let target = Target::parse(host, &format!("/{path}"), None, &domains());
                target.map(|target| (target.bucket, target.key)).map_err(|error| error.code)
            };
            proptest::prop_assert_eq!(parse(&raw), parse(&canonical));
        }

        #[test]
        fn any_key_comes_through_a_uri(key in "[^/].{0,200}") {
            let path = format!("/b/{}", percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC));
            proptest::prop_assert_eq!(target("localhost", &path), pair("b", &key));
            let query = format!("prefix={}", &path[3..]);
            let query = parse_query(&query).unwrap();
            proptest::prop_assert_eq!(query.get("prefix"), Some(key.as_str()));
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_an_invalid_uri() {
        for path in ["/b/%", "/b/%2", "/b/%zz", "/b/%ff", "/%/k", "*", "b/k"] {
            let error = Target::parse("localhost", path, None, &domains()).unwrap_err();
            assert_eq!(error.code, Code::InvalidURI, "{path}");
        }
        assert_eq!(parse_query("prefix=%f").unwrap_err().code, Code::InvalidURI);
        assert_eq!(parse_query(&"a&".repeat(300)).unwrap_err().code, Code::InvalidURI);
    }

    #[test]
    fn a_key_has_at_most_1024_bytes() {
        let path = |len| format!("/b/{}", "k".repeat(len));
        assert!(Target::parse("localhost", &path(1_024), None, &domains()).is_ok());
        let error = Target::parse("localhost", &path(1_025), None, &domains()).unwrap_err();
        assert_eq!(error.code, Code::KeyTooLongError);
    }

    #[test]
    fn a_path_without_a_bucket_is_refused() {
        let error = Target::parse("localhost", "//k", None, &domains()).unwrap_err();
        assert_eq!(error.code, Code::InvalidBucketName);
    }

    #[test]
    fn parameters_keep_their_order_and_a_plus_is_a_space() {
        let params = parse_query("b=1&a=x+y%2B%3D&&c&d=&b=2").unwrap();
        let expected = [("b", "1"), ("a", "x y+="), ("c", ""), ("d", ""), ("b", "2")];
        assert_eq!(params.0, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(params.get("b"), Some("1"));
        assert!(params.has("c") && !params.has("e"));
    }

    #[test]
    fn only_the_null_version_exists() {
        assert_eq!(Version::parse(None).unwrap(), Version::Current);
        assert_eq!(Version::parse(Some("null")).unwrap(), Version::Null);
        assert!(Version::Null.must_be_there().is_ok());
        let other = Version::parse(Some("abcDEF123._-")).unwrap();
        assert_eq!(other.must_be_there().unwrap_err().code, Code::NoSuchVersion);
        for text in ["", "a b", "a/b", &"a".repeat(129)] {
            assert_eq!(Version::parse(Some(text)).unwrap_err().code, Code::InvalidArgument, "{text}");
        }
    }
}
