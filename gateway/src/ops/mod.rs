//! The operations, a file each.

pub mod bucket;
pub mod multipart;
pub mod object;

#[cfg(test)]
#[path = "cluster_test.rs"]
mod cluster;

use cairn_storage::types::UserId;

use crate::error::S3Error;
use crate::gateway::Gateway;
use crate::xml::Document;

/// Writes `<name><ID>…</ID><DisplayName>…</DisplayName></name>`: an `Owner` or an `Initiator`.
pub fn write_user(document: &mut Document, name: &'static str, id: UserId, display_name: &str) {
    document.open(name).display("ID", id).text("DisplayName", display_name).close();
}

/// The only access control list that there is: its owner may do everything.
pub async fn owner_acl(gateway: &Gateway, owner: UserId) -> Result<Document, S3Error> {
    let display_name = gateway.display_name(owner).await?;
    let mut document = Document::new("AccessControlPolicy");
    write_user(&mut document, "Owner", owner, &display_name);
    document.open("AccessControlList").open("Grant");
    document.open_with(
        "Grantee",
        &[("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance"), ("xsi:type", "CanonicalUser")],
    );
    document.display("ID", owner).text("DisplayName", &display_name).close();
    document.text("Permission", "FULL_CONTROL").close().close();
    Ok(document)
}
