//! Has a group take a stored body as a part of an upload.

use cairn_storage::meta::command::NewBody;
use cairn_storage::meta::record::{DirectoryEntry, PartRecord};
use cairn_storage::meta::{Command, Outcome};
use cairn_storage::types::{ManifestId, UploadId};

use crate::data::Stored;
use crate::error::S3Error;
use crate::gate::Access;
use crate::ops::object::group;

/// The place of a part.
pub struct Slot<'a> {
    pub access: &'a Access,
    /// The bucket in whose group the body was stored.
    pub opened: &'a DirectoryEntry,
    pub upload: UploadId,
    pub number: u16,
}

/// Puts the part; one of the same number is replaced.
pub async fn put(slot: Slot<'_>, stored: Stored) -> Result<PartRecord, S3Error> {
    let id = match &stored.body {
        NewBody::Chunks { id, .. } | NewBody::Inline { id, .. } => *id,
        NewBody::Empty => ManifestId::random(),
    };
    let command = |bucket, body| Command::PutPart {
        bucket,
        key: slot.access.key().to_owned(),
        upload: slot.upload,
        number: slot.number,
        id,
        size: stored.size,
        md5: stored.md5,
        checksum: stored.checksum.clone(),
        body,
    };
    match group::publish(slot.access, slot.opened, stored.body.clone(), command).await? {
        Ok(Outcome::Part(record)) => Ok(*record),
        Ok(outcome) => Err(group::unexpected(&outcome)),
        Err(rejection) => Err(group::rejected(rejection, slot.access.key())),
    }
}
