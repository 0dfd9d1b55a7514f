//! XML as S3 speaks it: a writer for the answers and a bounded reader for what clients send. Knows no operation's
//! business; the inputs that more than one file needs are in `input`.

mod acl;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod input;
mod read;
mod time;
mod well_formed;
mod write;

pub use acl::{AccessControlPolicy, write_acl};
pub use input::{
    CompleteMultipartUpload, CompletedPart, CreateBucketConfiguration, DeleteRequest, MAX_DELETE_KEYS,
    MAX_DOCUMENT_LEN, MAX_PARTS, ObjectToDelete, read_object_ownership, read_public_access_block,
};
pub use read::{Reader, malformed};
pub use time::{http_date, iso_8601};
pub use well_formed::trim;
pub use write::{CONTENT_TYPE, Document, Encoding, NAMESPACE, PROLOG, can_carry, error, url_encode};
