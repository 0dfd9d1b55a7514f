//! PutObject: stores the body, then has the group make it the current version of the key.

use axum::body::Body;
use cairn_storage::meta::command::WriteCondition;
use cairn_storage::meta::query::Wanted;
use cairn_storage::meta::record::{ETag, Label};
use cairn_storage::meta::{Command, Outcome};
use cairn_storage::types::MAX_INLINE_LEN;
use http::Response;

use super::answer::{insert_checksum, insert_etag};
use super::{attributes, check_put_length, conditions, group};
use crate::acl::Asked;
use crate::data::{Intake, checksum};
use crate::gate::Access;
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>
///
/// All that the headers can be refused for is known before the first byte of the body is read. So is a condition that
/// does not hold, where the body is long enough to be worth a question to the group; the group judges it in the end.
pub async fn handle(access: Access, request: Request) -> Reply {
    let gateway = access.gateway();
    request.version.must_be_there()?;
    let Request { headers, payload, body, .. } = request;
    let attributes = attributes::from_headers(&headers)?;
    let acl = Asked::from_headers(&headers)?;
    let condition = conditions::write_condition(&headers)?;
    let mut intake = Intake::from_headers(&headers, payload, body.into_body())?;
    check_put_length(intake.length)?;
    access.admit_acl(&acl).await?;
    group::admit_condition(&access, &condition).await?;
    intake.checksum = intake.checksum.or(checksum::DEFAULT);
    if condition != WriteCondition::Always && intake.length > MAX_INLINE_LEN as u64 {
        let (_, found) = group::find(&access, Wanted::Nothing).await?;
        let current = found.as_ref().map(|found| &found.record.etag);
        condition.judge(current).map_err(|rejection| group::rejected(rejection, access.key()))?;
    }

    let stored = gateway.data().store(access.entry().group, intake).await?;
    let command = |bucket, body| {
        let (owner, label) = access.take_in(&acl);
        let mut attributes = attributes.clone();
        attributes.set_label(Label::Acl, label);
        Command::PutObject {
            bucket,
            key: access.key().to_owned(),
            condition: condition.clone(),
            owner,
            size: stored.size,
            etag: ETag { md5: stored.md5, parts: None },
            checksum: stored.checksum.clone(),
            attributes,
            body,
        }
    };
    match group::publish(&access, access.entry(), stored.body.clone(), command).await? {
        Ok(Outcome::Version(record)) => {
            let mut response = Response::new(Body::empty());
            insert_etag(&record.etag, response.headers_mut());
            if let Some(checksum) = &record.checksum {
                insert_checksum(checksum, None, response.headers_mut());
            }
            Ok(response)
        }
        Ok(outcome) => Err(group::unexpected(&outcome)),
        Err(rejection) => Err(group::rejected(rejection, access.key())),
    }
}
