use http::HeaderValue;

use super::*;
use crate::operation::{Operation, Target};

/// `METHOD URI`, with ` copy` behind it for a request with a copy source.
fn ask(line: &str) -> Result<Operation, Code> {
    let row = row(line)?;
    if row.is_built() { Ok(row.operation) } else { Err(is_not_built(row).code) }
}

fn row(line: &str) -> Result<&'static Row, Code> {
    let mut words = line.split(' ');
    let method: Method = words.next().unwrap().parse().unwrap();
    let uri = words.next().unwrap();
    let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
    let mut headers = HeaderMap::new();
    if words.next() == Some("copy") {
        headers.insert("x-amz-copy-source", HeaderValue::from_static("/b/k"));
    }
    let target = Target::parse("127.0.0.1", path, query, &[]).unwrap();
    route(&method, &target, &headers).map_err(|error| error.code)
}

#[test]
fn every_request_finds_its_operation() {
    use Operation as O;
    let table = [
        ("GET /", O::ListBuckets),
        ("GET /?prefix=a&x-id=ListBuckets", O::ListBuckets),
        ("PUT /b", O::CreateBucket),
        ("PUT /b/", O::CreateBucket),
        ("PUT /b/?x-id=CreateBucket", O::CreateBucket),
        ("HEAD /b", O::HeadBucket),
        ("DELETE /b", O::DeleteBucket),
        ("GET /b", O::ListObjects),
        ("GET /b?list-type=1", O::ListObjects),
        ("GET /b?prefix=a&delimiter=/", O::ListObjects),
        ("GET /b/?list-type=2&prefix=a", O::ListObjectsV2),
        ("GET /b?versions", O::ListObjectVersions),
        ("GET /b?uploads=&prefix=a", O::ListMultipartUploads),
        ("GET /b?location", O::GetBucketLocation),
        ("GET /b?versioning", O::GetBucketVersioning),
        ("GET /b?acl", O::GetBucketAcl),
        ("POST /b?delete", O::DeleteObjects),
        ("GET /b/k", O::GetObject),
        ("GET /b/k?partNumber=1", O::GetObject),
        ("GET /b/k?versionId=null", O::GetObject),
        ("GET /b/k?response-content-type=a&unknown=1", O::GetObject),
        ("GET /b/k?list-type=2", O::GetObject),
        ("GET /b//", O::GetObject),
        ("HEAD /b/k", O::HeadObject),
        ("PUT /b/k", O::PutObject),
        ("PUT /b/k?x-id=PutObject", O::PutObject),
        ("PUT /b/k copy", O::CopyObject),
        ("DELETE /b/k", O::DeleteObject),
        ("DELETE /b/k?versionId=null", O::DeleteObject),
        ("GET /b/k?acl", O::GetObjectAcl),
        ("GET /b/k?attributes", O::GetObjectAttributes),
        ("POST /b/k?uploads", O::CreateMultipartUpload),
        ("PUT /b/k?partNumber=1&uploadId=u", O::UploadPart),
        ("PUT /b/k?partNumber=1&uploadId=u copy", O::UploadPartCopy),
        ("POST /b/k?uploadId=u", O::CompleteMultipartUpload),
        ("DELETE /b/k?uploadId=u", O::AbortMultipartUpload),
        ("GET /b/k?uploadId=u", O::ListParts),
    ];
    for (line, operation) in table {
        assert_eq!(ask(line), Ok(operation), "{line}");
    }
}

#[test]
fn what_is_not_built_is_said_and_never_taken_for_something_else() {
    for row in ROWS.iter().filter(|row| !row.is_built() && !row.subresource.is_empty()) {
        let key = if row.level == Level::Object { "k" } else { "" };
        let line = format!("{} /b/{key}?{}&x=1", row.method, row.subresource);
        assert_eq!(ask(&line), Err(Code::NotImplemented), "{line}");
        // Nor with a method that S3 has not for it.
        for method in ["GET", "PUT", "DELETE", "POST"] {
            let line = format!("{method} /b/{key}?{}", row.subresource);
            assert!(
                matches!(ask(&line), Err(Code::NotImplemented | Code::MethodNotAllowed)) || is_built(&line),
                "{line}"
            );
        }
    }
    for line in ["PUT /b?cors", "PUT /b?versioning", "PUT /b/k?tagging", "POST /b", "POST /b/"] {
        assert_eq!(ask(line), Err(Code::NotImplemented), "{line}");
    }
}

/// Whether it asks for the subresource, and that is built for the method.
fn is_built(line: &str) -> bool {
    row(line).is_ok_and(|row| row.is_built() && line.ends_with(row.subresource) && !row.subresource.is_empty())
}

#[test]
fn a_write_with_what_could_be_a_subresource_is_never_the_plain_write() {
    for line in [
        "PUT /b?tomorrow",
        "PUT /b/k?tomorrow=",
        "DELETE /b/?tomorrow",
        "DELETE /b/k?tomorrow",
        "PUT /b/k?tomorrow copy",
    ] {
        assert_eq!(ask(line), Err(Code::NotImplemented), "{line}");
    }
    assert_eq!(ask("GET /b/k?tomorrow"), Ok(Operation::GetObject));
    assert_eq!(ask("PUT /b/k?X-Amz-Security-Token="), Ok(Operation::PutObject));
    assert_eq!(ask("PUT /b/k?tomorrow=1"), Ok(Operation::PutObject));
}

#[test]
fn a_method_without_a_meaning_is_not_allowed() {
    for line in [
        "PUT /",
        "POST /",
        "DELETE /",
        "HEAD /",
        "PATCH /b",
        "PATCH /b/k",
        "POST /b/k",
        "DELETE /b?acl",
        "DELETE /b?uploads",
        "DELETE /b?versions",
        "PUT /b?location",
        "GET /b?delete",
        "POST /b?uploads",
        "OPTIONS /b",
        "DELETE /b/k?acl",
        "PUT /b/k?uploads",
        "GET /b/k?uploads",
        "PUT /b/k?attributes",
    ] {
        assert_eq!(ask(line), Err(Code::MethodNotAllowed), "{line}");
    }
}

#[test]
fn the_order_of_parameters_says_nothing() {
    for query in ["acl&location", "location&acl", "uploads&versions", "policy&acl", "acl&policy"] {
        assert_eq!(ask(&format!("GET /b?{query}")), Err(Code::InvalidArgument), "{query}");
    }
    for query in ["uploadId=u&uploads", "uploads&uploadId=u", "uploadId=u&uploadId=v", "uploadId=v&uploadId=u"] {
        assert_eq!(ask(&format!("POST /b/k?{query}")), Err(Code::InvalidArgument), "{query}");
    }
    assert_eq!(ask("DELETE /b?tagging&acl"), Err(Code::InvalidArgument));
    assert_eq!(ask("GET /b?prefix=a&prefix=b"), Err(Code::InvalidArgument));
    assert_eq!(ask("GET /b?prefix=a&prefix=a&acl&acl"), Ok(Operation::GetBucketAcl));
}

#[test]
fn half_of_a_part_upload_is_refused() {
    assert_eq!(ask("PUT /b/k?partNumber=1"), Err(Code::InvalidArgument));
    assert_eq!(ask("PUT /b/k?uploadId=u"), Err(Code::InvalidArgument));
}
