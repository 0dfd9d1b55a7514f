//! GetObjectAcl: the owner's grant, where there are no others.

use cairn_storage::meta::query::Wanted;
use cairn_storage::meta::record::Label;

use super::group;
use crate::acl::Acl;
use crate::gate::Access;
use crate::ops::acl;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAcl.html>
pub async fn handle(access: Access, request: Request) -> Reply {
    request.version.must_be_there()?;
    let (_, object) = group::get(&access, Wanted::Nothing).await?;
    let found = access.found();
    let (owner, label) = match found.ownership.has_acls() {
        true => (object.record.owner, object.record.attributes.label(Label::Acl)),
        false => (found.entry.owner, None),
    };
    acl::show(access.gateway(), owner, &Acl::decode(label, owner)).await
}
