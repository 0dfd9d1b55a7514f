//! What is known of a request besides who sends it: the values of a policy's condition keys.
//!
//! Source: Service Authorization Reference, "Condition keys for Amazon S3"; IAM User Guide, "AWS global condition
//! context keys".

use std::net::IpAddr;
use std::sync::Arc;

use cairn_storage::types::now_ms;
use http::{HeaderMap, HeaderValue};

use super::identity::ACCOUNT;
use crate::error::{Code, S3Error};
use crate::operation::Version;
use crate::ops::object::source::CopySource;
use crate::origin::{Origin, Peer};
use crate::policy::{Context, Network, Value};
use crate::request::{Content, Params, Request, SignatureFacts};

/// Parameters that are keys of their own, in lower case.
const PARAMETERS: &[(&str, &str)] =
    &[("prefix", "s3:prefix"), ("delimiter", "s3:delimiter"), ("max-keys", "s3:max-keys")];

/// Headers that are, and their keys.
const HEADERS: &[(&str, &str)] = &[
    ("if-match", "s3:if-match"),
    ("if-none-match", "s3:if-none-match"),
    ("referer", "aws:referer"),
    ("user-agent", "aws:useragent"),
    ("x-amz-acl", "s3:x-amz-acl"),
    ("x-amz-grant-full-control", "s3:x-amz-grant-full-control"),
    ("x-amz-grant-read", "s3:x-amz-grant-read"),
    ("x-amz-grant-read-acp", "s3:x-amz-grant-read-acp"),
    ("x-amz-grant-write", "s3:x-amz-grant-write"),
    ("x-amz-grant-write-acp", "s3:x-amz-grant-write-acp"),
    ("x-amz-metadata-directive", "s3:x-amz-metadata-directive"),
    ("x-amz-object-ownership", "s3:x-amz-object-ownership"),
    ("x-amz-server-side-encryption", "s3:x-amz-server-side-encryption"),
    ("x-amz-server-side-encryption-aws-kms-key-id", "s3:x-amz-server-side-encryption-aws-kms-key-id"),
    ("x-amz-server-side-encryption-customer-algorithm", "s3:x-amz-server-side-encryption-customer-algorithm"),
    ("x-amz-storage-class", "s3:x-amz-storage-class"),
    ("x-amz-website-redirect-location", "s3:x-amz-website-redirect-location"),
];

/// The longest value, in bytes: a key of 1,024 bytes fits, percent-encoded.
const MAX_VALUE_LEN: usize = 4 << 10;

/// The other keys that are given values here, or by who asks.
const OTHERS: &[&str] = &[
    "aws:currenttime",
    "aws:epochtime",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalisawsservice",
    "aws:principalservicename",
    "aws:principaltype",
    "aws:resourceaccount",
    "aws:securetransport",
    "aws:sourceip",
    "aws:userid",
    "aws:username",
    "aws:viaawsservice",
    "s3:authtype",
    "s3:objectcreationoperation",
    "s3:resourceaccount",
    "s3:signatureage",
    "s3:signatureversion",
    "s3:versionid",
    "s3:x-amz-content-sha256",
    "s3:x-amz-copy-source",
];

/// Whether a condition key, in lower case, is one that requests are given a value of. A policy that asks for another one
/// would be taken to say what it does not.
pub fn is_key(key: &str) -> bool {
    let of = |pairs: &[(&str, &str)]| pairs.iter().any(|(_, name)| *name == key);
    OTHERS.contains(&key) || of(HEADERS) || of(PARAMETERS)
}

/// A request, as far as policies ask for it. Cheap to clone.
#[derive(Clone)]
pub struct Circumstances {
    headers: Arc<HeaderMap>,
    query: Arc<Params>,
    signature: Option<SignatureFacts>,
    peer: Option<Peer>,
    version: Version,
    /// Whether an object comes of it, and not a part of one or an upload; `None` where that is not asked.
    creates: Option<bool>,
    /// In the place of the parameter.
    prefix: Option<String>,
}

impl Circumstances {
    pub fn of(request: &Request, version: Version) -> Self {
        let Request { headers, query, signature, peer, .. } = request;
        let (of_upload, begins) = (query.has("uploadId"), query.has("uploads"));
        let creates = match (request.method.as_str(), request.key.is_empty()) {
            ("PUT", false) => Some(!of_upload),
            ("POST", false) if of_upload || begins => Some(of_upload),
            _ => None,
        };
        let (headers, query) = (headers.clone(), query.clone());
        Self { headers, query, signature: *signature, peer: *peer, version, creates, prefix: None }
    }

    /// Of no request, but from somewhere.
    pub fn from(address: Option<IpAddr>) -> Self {
        let (headers, query) = (Arc::default(), Arc::default());
        let peer = address.map(|address| Peer { address, secure: false });
        Self { headers, query, signature: None, peer, version: Version::Current, creates: None, prefix: None }
    }

    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The same request, of another version.
    pub fn with_version(&self, version: Version) -> Self {
        Self { version, ..self.clone() }
    }

    /// The same request, as if it asked for a list with this prefix.
    pub fn with_prefix(&self, prefix: &str) -> Self {
        Self { prefix: Some(prefix.to_owned()), ..self.clone() }
    }

    /// Whether no value is longer than policies are asked of, as each of their patterns is held against it.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn check_lengths(&self) -> Result<(), S3Error> {
        let header = |(name, _): &(&'static str, _)| self.headers.get(*name).map(HeaderValue::len);
        let parameter = |(name, _): &(&'static str, _)| self.query.get(name).map(str::len);
        if self.headers.values().all(|value| value.len() <= MAX_VALUE_LEN) && self.query.0.is_empty() {
            return Ok(());
        }
        let others = [("x-amz-copy-source", ""), ("x-amz-content-sha256", "")];
        let mut lengths = HEADERS.iter().chain(&others).map(|pair| (pair.0, header(pair)));
        let too_long = lengths
            .by_ref()
            .chain(PARAMETERS.iter().map(|pair| (pair.0, parameter(pair))))
            .find(|(_, len)| len.is_some_and(|len| len > MAX_VALUE_LEN));
        too_long.map_or(Ok(()), |(name, _)| {
            let problem = "The value is longer than the conditions of a policy are asked of.";
            Err(S3Error::with(Code::InvalidArgument, problem).detail("ArgumentName", name))
        })
    }

    /// The values of all keys.
    pub fn context(&self, trusted_proxies: &[Network]) -> Context<'static> {
        let mut context = Context::new();
        let text = |name: &str| {
            let value: Option<&HeaderValue> = self.headers.get(name);
            let value = value.filter(|value| !value.is_empty());
            value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        if let Some(peer) = self.peer {
            let origin = Origin::of(peer, &self.headers, trusted_proxies);
            context.push("aws:sourceip", origin.address);
            context.push("aws:securetransport", origin.secure);
        }
        let now = now_ms();
        context.push("aws:currenttime", Value::Time(now));
        context.push("aws:epochtime", i64::try_from(now / 1000).unwrap_or(i64::MAX));
        context.push("aws:resourceaccount", ACCOUNT);
        context.push("s3:resourceaccount", ACCOUNT);
        context.push("aws:viaawsservice", false);
        for (parameter, key) in PARAMETERS {
            let instead = self.prefix.as_deref().filter(|_| *parameter == "prefix");
            if let Some(value) = instead.or_else(|| self.query.get(parameter)) {
                context.push(*key, value.to_owned());
            }
        }
        for (name, key) in HEADERS {
            if let Some(value) = text(name) {
                context.push(*key, value);
            }
        }
        match &self.version {
            Version::Current => {}
            Version::Null => context.push("s3:versionid", "null"),
            Version::Id(id) => context.push("s3:versionid", id.clone()),
        }
        if self.headers.contains_key("x-amz-copy-source")
            && let Ok(source) = CopySource::from_headers(&self.headers)
        {
            context.push("s3:x-amz-copy-source", format!("{}/{}", source.bucket, source.key));
        }
        if let Some(creates) = self.creates {
            context.push("s3:objectcreationoperation", creates);
        }
        if let Some(signature) = &self.signature {
            let hash = match signature.content {
                Content::Unsigned => Some("UNSIGNED-PAYLOAD".to_owned()),
                Content::Sha256(hash) => Some(hex::encode(hash)),
                Content::Chunked => text("x-amz-content-sha256"),
            };
            if let Some(hash) = hash {
                context.push("s3:x-amz-content-sha256", hash);
            }
            context.push("s3:authtype", signature.kind);
            context.push("s3:signatureversion", signature.version);
            if let Some(signed) = signature.signed_ms {
                context.push("s3:signatureage", i64::try_from(now.saturating_sub(signed)).unwrap_or(i64::MAX));
            }
        }
        context
    }
}

#[cfg(test)]
#[path = "circumstances_test.rs"]
mod tests;
