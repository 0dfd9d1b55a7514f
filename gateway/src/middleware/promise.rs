//! Headers that promise something: whoever sends one relies on it, so that what is not built is refused and never
//! dropped.

use http::{HeaderMap, HeaderValue};

use crate::error::{Code, S3Error};

/// What S3 has besides STANDARD.
const OTHER_STORAGE_CLASSES: &[&str] = &[
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "GLACIER_IR",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "SNOW",
    "EXPRESS_ONEZONE",
    "FSX_OPENZFS",
    "FSX_ONTAP",
];

const OTHER_ACLS: &[&str] = &[
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
    "log-delivery-write",
];

/// Starts of the names of headers that are not built.
const NOT_BUILT: &[&str] = &[
    "x-amz-server-side-encryption",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-object-lock-",
    "x-amz-grant-",
    "x-amz-mfa",
    "x-amz-write-offset-bytes",
    "x-amz-object-append",
];

/// `NotImplemented` for what Cairn does not do yet, `InvalidArgument` and `InvalidStorageClass` for what nobody does.
pub fn check(headers: &HeaderMap) -> Result<(), S3Error> {
    for (name, value) in headers {
        let name = name.as_str();
        if !name.starts_with("x-amz-") {
            continue;
        }
        match name {
            "x-amz-acl" => check_acl(value)?,
            "x-amz-storage-class" => check_storage_class(value)?,
            // No tags at all is what every object has.
            "x-amz-tagging" if !value.is_empty() => return Err(not_built(name)),
            _ if NOT_BUILT.iter().any(|start| name.starts_with(start)) => return Err(not_built(name)),
            _ => {}
        }
    }
    Ok(())
}

fn check_acl(value: &HeaderValue) -> Result<(), S3Error> {
    match value.to_str().unwrap_or_default() {
        "private" | "" => Ok(()),
        other if OTHER_ACLS.contains(&other) => Err(not_built("x-amz-acl")),
        other => {
            Err(S3Error::new(Code::InvalidArgument).detail("ArgumentName", "x-amz-acl").detail("ArgumentValue", other))
        }
    }
}

fn check_storage_class(value: &HeaderValue) -> Result<(), S3Error> {
    match value.to_str().unwrap_or_default() {
        "STANDARD" | "" => Ok(()),
        other if OTHER_STORAGE_CLASSES.contains(&other) => Err(not_built("x-amz-storage-class")),
        other => Err(S3Error::new(Code::InvalidStorageClass).detail("StorageClassRequested", other)),
    }
}

fn not_built(header: &str) -> S3Error {
    S3Error::with(Code::NotImplemented, "A header you provided implies functionality that is not implemented.")
        .detail("Header", header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &'static str, value: &'static str) -> Result<(), Code> {
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]);
        check(&headers).map_err(|error| error.code)
    }

    #[test]
    fn what_is_not_built_is_refused() {
        for (name, value) in [
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-server-side-encryption-customer-key", "x"),
            ("x-amz-copy-source-server-side-encryption-customer-algorithm", "AES256"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-object-lock-legal-hold", "ON"),
            ("x-amz-tagging", "a=b"),
            ("x-amz-grant-read", "id=x"),
            ("x-amz-acl", "public-read"),
            ("x-amz-storage-class", "GLACIER"),
            ("x-amz-mfa", "x"),
            ("x-amz-write-offset-bytes", "7"),
        ] {
            assert_eq!(ask(name, value), Err(Code::NotImplemented), "{name}");
        }
        assert_eq!(ask("x-amz-acl", "bad"), Err(Code::InvalidArgument));
        assert_eq!(ask("x-amz-storage-class", "BAD"), Err(Code::InvalidStorageClass));
    }

    #[test]
    fn what_costs_nothing_is_accepted() {
        for (name, value) in [
            ("x-amz-acl", "private"),
            ("x-amz-storage-class", "STANDARD"),
            ("x-amz-website-redirect-location", "/x"),
            ("x-amz-bypass-governance-retention", "true"),
            ("x-amz-tagging-directive", "COPY"),
            ("x-amz-tagging", ""),
            ("x-amz-meta-server-side-encryption", "x"),
            ("x-amz-date", "x"),
            ("x-other", "x"),
        ] {
            assert_eq!(ask(name, value), Ok(()), "{name}");
        }
    }
}
