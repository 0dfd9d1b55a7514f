//! Headers that promise something: whoever sends one relies on it, so that what is not built is refused and never
//! dropped.

use http::{HeaderMap, HeaderValue};

use crate::data::checksum;
use crate::error::{Code, S3Error};
use crate::operation::Operation;
use crate::table::Row;

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

/// Starts of the names of headers that are not built.
const NOT_BUILT: &[&str] = &[
    "x-amz-server-side-encryption",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-object-lock-",
    "x-amz-mfa",
    "x-amz-write-offset-bytes",
    "x-amz-object-append",
    // Of directory buckets, annotations and operations that are not built.
    "x-amz-if-match-initiated-time",
    "x-amz-object-if-match",
    "x-amz-rename-source",
    "x-amz-client-token",
    "x-amz-create-session-mode",
    "x-amz-fwd-",
    "x-amz-request-route",
    "x-amz-request-token",
    "x-amz-bucket-object-lock-token",
    "x-amz-skip-destination-validation",
    "x-amz-transition-default-minimum-object-size",
];

/// What is read: here, by the authentication, or by the operations that have it.
const READ: &[&str] = &[
    "x-amz-acl",
    "x-amz-bucket-namespace",
    "x-amz-bucket-object-lock-enabled",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-mode",
    "x-amz-checksum-type",
    "x-amz-copy-source",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
    "x-amz-copy-source-range",
    "x-amz-expected-bucket-owner",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-if-match-last-modified-time",
    "x-amz-if-match-size",
    "x-amz-max-parts",
    "x-amz-meta-",
    "x-amz-metadata-directive",
    "x-amz-mp-object-size",
    "x-amz-object-attributes",
    "x-amz-object-ownership",
    "x-amz-part-number-marker",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-source-expected-bucket-owner",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-tagging-directive",
    "x-amz-website-redirect-location",
];

/// `NotImplemented` for what Cairn does not do yet, or not for this operation, `InvalidArgument` and
/// `InvalidStorageClass` for what nobody does.
pub fn check(row: &Row, headers: &HeaderMap) -> Result<(), S3Error> {
    for (name, value) in headers {
        let name = name.as_str();
        if !reads(row, name) {
            return Err(not_built(name));
        }
        if !name.starts_with("x-amz-") {
            continue;
        }
        match name {
            "x-amz-acl" if of_parts(row.operation) && !OWNERS_ACLS.contains(&value.as_bytes()) => {
                return Err(not_built(name));
            }
            "x-amz-storage-class" => check_storage_class(value)?,
            "x-amz-bucket-namespace" if value.as_bytes() != b"global" => return Err(not_built(name)),
            // No tags at all is what every object has.
            "x-amz-tagging" if !value.is_empty() => return Err(not_built(name)),
            _ if NOT_BUILT.iter().any(|start| name.starts_with(start)) => return Err(not_built(name)),
            _ if sounds_like_a_check(name) && !is_read(name) => return Err(not_built(name)),
            _ => {}
        }
    }
    Ok(())
}

/// Whether an operation reads a header of those that only some do. To any other it would be a promise that nobody keeps
/// (API Reference, the request syntax of each).
fn reads(row: &Row, name: &str) -> bool {
    use Operation as O;
    let (operation, changes_nothing) = (row.operation, matches!(row.method, "GET" | "HEAD"));
    match name {
        // They make something of bytes that they are not sent.
        _ if checksum::is_header(name) => {
            !matches!(operation, O::CopyObject | O::UploadPartCopy | O::CreateMultipartUpload)
        }
        "if-match" | "if-none-match" => {
            let by_etag = [O::PutObject, O::CopyObject, O::DeleteObject, O::CompleteMultipartUpload];
            changes_nothing || by_etag.contains(&operation)
        }
        "if-unmodified-since" => changes_nothing,
        _ if name == "x-amz-acl" || name.starts_with("x-amz-grant-") => {
            let of_buckets = [O::CreateBucket, O::PutBucketAcl];
            let of_objects = [O::PutObject, O::PutObjectAcl, O::CopyObject, O::CreateMultipartUpload];
            // Some clients send it with each part.
            name == "x-amz-acl" && of_parts(operation)
                || of_buckets.contains(&operation)
                || of_objects.contains(&operation)
        }
        "x-amz-copy-source-range" => operation == O::UploadPartCopy,
        "x-amz-mp-object-size" => operation == O::CompleteMultipartUpload,
        _ if name.starts_with("x-amz-copy-source-if-") => matches!(operation, O::CopyObject | O::UploadPartCopy),
        _ if name.starts_with("x-amz-if-match-") => operation == O::DeleteObject,
        _ => true,
    }
}

fn is_read(name: &str) -> bool {
    READ.contains(&name) || name.starts_with("x-amz-meta-") || checksum::is_header(name)
}

/// Of a header that S3 may get one day: who sends it would take the answer for the check.
fn sounds_like_a_check(name: &str) -> bool {
    name.starts_with("x-amz-checksum-") || name.split('-').any(|word| matches!(word, "if" | "expected"))
}

/// The list of an upload is what it began with.
fn of_parts(operation: Operation) -> bool {
    matches!(operation, Operation::UploadPart | Operation::CompleteMultipartUpload)
}

/// Canned ACLs that promise nothing which everybody could get at.
const OWNERS_ACLS: &[&[u8]] = &[b"", b"private", b"bucket-owner-full-control"];

fn check_storage_class(value: &HeaderValue) -> Result<(), S3Error> {
    match value.to_str().unwrap_or_default() {
        "STANDARD" | "" => Ok(()),
        other if OTHER_STORAGE_CLASSES.contains(&other) => Err(not_built("x-amz-storage-class")),
        other => Err(S3Error::new(Code::InvalidStorageClass).detail("StorageClassRequested", other)),
    }
}

fn not_built(header: &str) -> S3Error {
    S3Error::new(Code::NotImplemented).detail("Header", header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::ROWS;

    fn row(operation: Operation) -> &'static Row {
        ROWS.iter().find(|row| row.operation == operation).unwrap()
    }

    fn ask(name: &'static str, value: &'static str) -> Result<(), Code> {
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]);
        check(row(Operation::PutObject), &headers).map_err(|error| error.code)
    }

    #[test]
    fn what_an_operation_does_not_read_it_refuses() {
        use Operation as O;
        let by_etag = &[O::PutObject, O::CopyObject, O::DeleteObject, O::CompleteMultipartUpload];
        let copies = &[O::CopyObject, O::UploadPartCopy];
        let readers: &[(&str, bool, &[O])] = &[
            ("if-match", true, by_etag),
            ("if-none-match", true, by_etag),
            ("if-unmodified-since", true, &[]),
            ("x-amz-copy-source-range", false, &[O::UploadPartCopy]),
            ("x-amz-copy-source-if-match", false, copies),
            ("x-amz-copy-source-if-unmodified-since", false, copies),
            ("x-amz-mp-object-size", false, &[O::CompleteMultipartUpload]),
            ("x-amz-if-match-size", false, &[O::DeleteObject]),
            ("x-amz-if-match-last-modified-time", false, &[O::DeleteObject]),
        ];
        let ask_of = |row: &Row, name: http::HeaderName| {
            check(row, &HeaderMap::from_iter([(name, HeaderValue::from_static("x"))])).map_err(|error| error.code)
        };
        for row in ROWS.iter().filter(|row| row.is_built()) {
            for (name, by_reads, readers) in readers {
                let is_read = *by_reads && matches!(row.method, "GET" | "HEAD") || readers.contains(&row.operation);
                let expected = if is_read { Ok(()) } else { Err(Code::NotImplemented) };
                assert_eq!(ask_of(row, name.parse().unwrap()), expected, "{name} of {:?}", row.operation);
            }
        }
        for header in checksum::ALGORITHMS.map(checksum::header) {
            for operation in [O::CopyObject, O::UploadPartCopy, O::CreateMultipartUpload] {
                assert_eq!(ask_of(row(operation), header.clone()), Err(Code::NotImplemented), "{header}");
            }
            for operation in [O::PutObject, O::UploadPart, O::CompleteMultipartUpload, O::DeleteObjects] {
                assert_eq!(ask_of(row(operation), header.clone()), Ok(()), "{header}");
            }
        }
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
            ("x-amz-storage-class", "GLACIER"),
            ("x-amz-mfa", "x"),
            ("x-amz-write-offset-bytes", "7"),
            ("x-amz-if-match-initiated-time", "x"),
            ("x-amz-bucket-namespace", "account-regional"),
            ("x-amz-checksum-md17", "x"),
            ("x-amz-if-some-day", "x"),
            ("x-amz-expected-region", "x"),
        ] {
            assert_eq!(ask(name, value), Err(Code::NotImplemented), "{name}");
        }
        let headers = HeaderMap::from_iter([("x-amz-acl".parse().unwrap(), HeaderValue::from_static("private"))]);
        let told = check(row(Operation::GetObject), &headers).map_err(|error| error.code);
        assert_eq!(told, Err(Code::NotImplemented), "what changes nothing sets no list");
        assert_eq!(ask("x-amz-storage-class", "BAD"), Err(Code::InvalidStorageClass));
    }

    #[test]
    fn what_costs_nothing_is_accepted() {
        for (name, value) in [
            ("x-amz-acl", "private"),
            ("x-amz-acl", "bucket-owner-full-control"),
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

    /// What may be left alone, because it is true of everything that is built.
    const HARMLESS: &[&str] = &[
        // Nobody is asked.
        "x-amz-confirm-remove-self-bucket-access",
        // Nothing is retained that could be bypassed.
        "x-amz-bypass-governance-retention",
        // No object has annotations.
        "x-amz-object-annotation-directive",
        // Nothing is ever being restored.
        "x-amz-optional-object-attributes",
        // Nobody pays.
        "x-amz-request-payer",
    ];

    /// The names of the headers of S3's requests, as botocore's model of its API has them (see the head of the file).
    const ALL: &str = include_str!("request_headers.txt");

    #[test]
    fn every_header_of_s3_is_read_or_refused_or_harmless() {
        let names: Vec<&str> = ALL.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        assert!(names.len() > 100);
        for name in names.iter().filter(|name| name.starts_with("x-amz-")) {
            let name = *name;
            let refused = NOT_BUILT.iter().any(|start| name.starts_with(start));
            // A checksum that is not built is refused, too.
            let refused = refused || name.starts_with("x-amz-checksum-") && !is_read(name);
            let read = is_read(name) || READ.contains(&name);
            let classes = [read, refused, HARMLESS.contains(&name)].into_iter().filter(|is| *is).count();
            assert_eq!(classes, 1, "{name} is of {classes} classes");
            let header: http::HeaderName = name.parse().unwrap();
            let headers = HeaderMap::from_iter([(header, HeaderValue::from_static("x"))]);
            let told = check(row(Operation::PutObject), &headers).map_err(|e| e.code);
            assert!(!refused || told == Err(Code::NotImplemented), "{name}: {told:?}");
        }
        for name in READ.iter().chain(HARMLESS) {
            assert!(names.contains(name), "{name} is no header of S3");
        }
    }

    /// Of the headers without `x-amz-` those that promise a check are few.
    #[test]
    fn what_is_said_to_be_read_is_named_where_requests_are_worked_on() {
        let mut code = String::new();
        let mut rooms = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(room) = rooms.pop() {
            for entry in std::fs::read_dir(room).unwrap().map(|entry| entry.unwrap().path()) {
                let name = entry.to_string_lossy().into_owned();
                if entry.is_dir() {
                    rooms.push(entry);
                } else if name.ends_with(".rs") && !name.ends_with("_test.rs") && !name.ends_with("promise.rs") {
                    let text = std::fs::read_to_string(&entry).unwrap();
                    code.push_str(text.split("#[cfg(test)]").next().unwrap());
                }
            }
        }
        let here = ["x-amz-bucket-namespace", "x-amz-storage-class", "x-amz-tagging"];
        for name in READ.iter().filter(|name| !here.contains(name)) {
            assert!(code.contains(&format!("\"{name}\"")), "{name} is said to be read, and nobody does");
        }
        for name in
            ["IF_MATCH", "IF_NONE_MATCH", "IF_MODIFIED_SINCE", "IF_UNMODIFIED_SINCE", "RANGE", "\"content-md5\""]
        {
            assert!(code.contains(name), "{name}");
        }
    }
}
