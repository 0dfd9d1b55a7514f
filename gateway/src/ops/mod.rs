//! The operations, a file each.

pub mod bucket;
pub mod multipart;
pub mod object;

#[cfg(test)]
#[path = "cluster_test.rs"]
mod cluster;

use cairn_storage::types::UserId;

use crate::error::{Code, S3Error};
use crate::gate::Access;
use crate::gateway::Gateway;
use crate::request::Request;
use crate::xml::{AccessControlPolicy, Document};

/// The object ownership of every bucket: its owner owns everything in it, and there are no ACLs.
pub const BUCKET_OWNER_ENFORCED: &str = "BucketOwnerEnforced";

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

/// Whether the ACL of a request says what holds already: that the owner of the bucket may do everything, and nobody else
/// anything. A canned one was looked at with the headers.
///
/// # Errors
/// `AccessControlListNotSupported` for any other; what is wrong with the document.
pub async fn check_owners_acl(access: &Access, request: &mut Request) -> Result<(), S3Error> {
    if request.headers.contains_key("x-amz-acl") {
        return Ok(());
    }
    let policy = {
        let document = request.read_document(access.gateway()).await?;
        if document.is_empty() {
            return Err(Code::MissingSecurityHeader.into());
        }
        AccessControlPolicy::parse(&document)?
    };
    let owner = access.owner().to_string();
    let is_owners = |(grantee, permission): &(Option<String>, String)| {
        grantee.as_deref() == Some(&owner) && permission == "FULL_CONTROL"
    };
    let is_full = !policy.grants.is_empty() && policy.grants.iter().all(is_owners);
    if is_full && policy.owner.is_none_or(|named| named == owner) {
        Ok(())
    } else {
        Err(Code::AccessControlListNotSupported.into())
    }
}
