//! The operations, a file each.

mod acl;
pub mod bucket;
pub mod multipart;
pub mod object;

#[cfg(test)]
#[path = "cluster_test.rs"]
pub(crate) mod cluster;

use cairn_storage::types::UserId;

use crate::xml::Document;

/// Writes `<name><ID>…</ID><DisplayName>…</DisplayName></name>`: an `Owner` or an `Initiator`.
pub fn write_user(document: &mut Document, name: &'static str, id: UserId, display_name: &str) {
    document.open(name).display("ID", id).text("DisplayName", display_name).close();
}
