//! The operations on objects, a file each, and the rules that they share with those on parts.

pub mod copy_object;
pub mod delete_object;
pub mod delete_objects;
pub mod get_object;
pub mod get_object_acl;
pub mod get_object_attributes;
pub mod head_object;
pub mod put_object;
pub mod put_object_acl;

pub(super) mod answer;
pub(super) mod attributes;
pub(super) mod conditions;
pub(super) mod dates;
pub(super) mod group;
pub(super) mod places;
pub(super) mod range;
pub(crate) mod source;

#[cfg(test)]
mod flow_test;

use crate::error::{Code, S3Error};

/// The largest object of one PutObject, and the largest part; 5 GiB.
pub(super) const MAX_PUT_LEN: u64 = 5 << 30;

/// Checks the announced length of a body before its first byte is read.
pub(super) fn check_put_length(length: u64) -> Result<(), S3Error> {
    if length <= MAX_PUT_LEN {
        return Ok(());
    }
    Err(S3Error::from(Code::EntityTooLarge)
        .detail("ProposedSize", length.to_string())
        .detail("MaxSizeAllowed", MAX_PUT_LEN.to_string()))
}
