//! Fuzz targets: for each parser of what a client sends a function that takes any bytes, and panics where one of the
//! parser's properties does not hold. They run as tests, on `inputs`, and under cargo-fuzz; see `fuzz/`.

pub mod head;
/// Storage's. Compiled here as well: the storage that the tests of this crate are linked with is the program's, and has
/// nothing of it.
#[path = "../../../storage/src/fuzz/inputs.rs"]
pub mod inputs;

pub use self::inputs::{Target, edit, run};

pub use crate::auth::chunked_target::aws_chunked;
pub use crate::auth::fuzz::{canonical_request, sigv2_header, sigv2_query, sigv4_header, sigv4_query};
pub use crate::middleware::fuzz::request_target;
pub use crate::policy::fuzz::policy;
pub use crate::xml::fuzz::{xml_complete, xml_create_bucket, xml_delete};

const WORDS: &[&str] = &[
    "GET",
    "PUT",
    "POST",
    "DELETE",
    "HEAD",
    " ",
    "\n",
    "/",
    "//",
    "..",
    "?",
    "&",
    "=",
    "+",
    "%",
    "%2F",
    "%2f",
    "%20",
    "%26",
    "%3D",
    "%00",
    "%25",
    "%C3%A9",
    "é",
    ",",
    ";",
    ":",
    "\t",
    "\0",
    "http://",
    "host: ",
    "localhost",
    "bucket.localhost",
    ":9000",
    "127.0.0.1",
    "[::1]",
    " HTTP/1.0",
    "authorization: ",
    "x-amz-date: ",
    "x-amz-meta-a: ",
    "x-amz-acl",
    "content-type",
    "content-md5",
    "date: ",
    "x-amz-content-sha256: ",
    "UNSIGNED-PAYLOAD",
    "AWS4-HMAC-SHA256 ",
    "Credential=",
    "SignedHeaders=",
    "Signature=",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
    "AWSAccessKeyId",
    "Expires",
    "AWS key:",
    "acl",
    "uploads",
    "uploadId",
    "partNumber",
    "versionId",
    "delete",
    "list-type=2",
    "prefix",
    "tagging",
    "lifecycle",
    "response-content-type",
    "_cairn",
];

macro_rules! targets {
    ($($name:ident, $words:expr, $seeds:path;)*) => {
        /// All of them.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), run: $name, seeds: $seeds, words: $words },)*];

        #[cfg(test)]
        mod tests {
            $(#[test]
            fn $name() {
                let all = super::TARGETS;
                super::run(all.iter().find(|target| target.name == stringify!($name)).unwrap());
            })*
        }
    };
}

targets! {
    request_target, WORDS, crate::middleware::fuzz::seeds;
    canonical_request, WORDS, crate::auth::fuzz::seeds;
    sigv4_header, WORDS, crate::auth::fuzz::seeds;
    sigv4_query, WORDS, crate::auth::fuzz::seeds;
    sigv2_header, WORDS, crate::auth::fuzz::seeds;
    sigv2_query, WORDS, crate::auth::fuzz::seeds;
    aws_chunked, crate::auth::chunked_target::WORDS, crate::auth::chunked_target::seeds;
    xml_delete, crate::xml::fuzz::WORDS, crate::xml::fuzz::delete_seeds;
    xml_complete, crate::xml::fuzz::WORDS, crate::xml::fuzz::complete_seeds;
    xml_create_bucket, crate::xml::fuzz::WORDS, crate::xml::fuzz::create_bucket_seeds;
    policy, crate::policy::fuzz::WORDS, crate::policy::fuzz::seeds;
}
