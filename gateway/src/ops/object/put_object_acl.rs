//! PutObjectAcl. Where there are no lists it takes what holds already, that the object is the bucket's owner's.

use axum::body::Body;
use cairn_storage::meta::query::Wanted;
use cairn_storage::meta::record::Label;
use cairn_storage::meta::{Command, Outcome, Rejection};
use http::Response;

use super::group;
use crate::acl::Asked;
use crate::error::Code;
use crate::gate::Access;
use crate::ops::acl;
use crate::request::{Reply, Request};

/// How often it starts again because the object was replaced in between.
const ATTEMPTS: usize = 4;

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectAcl.html>
pub async fn handle(access: Access, mut request: Request) -> Reply {
    request.version.must_be_there()?;
    let (asked, named) = acl::wanted(&access, &mut request).await?;
    for _ in 0..ATTEMPTS {
        let (_, object) = group::get(&access, Wanted::Nothing).await?;
        let found = access.found();
        if !found.ownership.has_acls() {
            acl::check_owners((&asked, named.as_deref()), found.entry.owner)?;
            return Ok(Response::new(Body::empty()));
        }
        let (owner, version) = (object.record.owner, object.record.version);
        let expected = object.record.attributes.label(Label::Acl).cloned();
        let list = acl::resolve((&asked, named.as_deref()), owner, found.entry.owner)?;
        access.gateway().check_grantees(&list).await?;
        let value = list.encode(owner);
        found.check_acl(&Asked::Grants(list))?;
        let command = |bucket| Command::SetLabel {
            bucket,
            key: access.key().to_owned(),
            version,
            label: Label::Acl,
            expected: expected.clone(),
            value: value.clone(),
        };
        match access.command_as(&found, command).await? {
            Ok(Outcome::Done) => return Ok(Response::new(Body::empty())),
            Err(Rejection::SourceChanged | Rejection::SettingsChanged) => {}
            Ok(outcome) => return Err(group::unexpected(&outcome)),
            Err(Rejection::NoSuchKey) => return Err(access.missing(group::no_such_key(access.key())).await),
            Err(rejection) => return Err(group::rejected(rejection, access.key())),
        }
    }
    Err(Code::OperationAborted.into())
}
