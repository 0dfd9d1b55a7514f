//! PutBucketPolicy: holds from the moment at which it is answered.

use bytes::Bytes;
use cairn_storage::meta::record::Setting;

use super::no_content;
use crate::error::{Code, S3Error};
use crate::gate::{ACCOUNT, Access, Bucket, is_key};
use crate::policy::{Fault, Kind, Policy, is_public};
use crate::request::{Reply, Request};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html>
pub async fn handle(access: Access, mut request: Request) -> Reply {
    let document = {
        let document = request.read_document(access.gateway()).await?;
        Bytes::copy_from_slice(&document)
    };
    let policy = Policy::parse(&document, Kind::Bucket).map_err(|fault| malformed(&fault))?;
    policy.check_bucket(access.bucket()).map_err(|fault| malformed(&fault))?;
    policy.check_principals(ACCOUNT).map_err(|fault| malformed(&fault))?;
    policy.check_keys(is_key).map_err(|fault| malformed(&fault))?;
    let is_public = is_public(&policy);
    let check = |bucket: &Bucket| {
        if is_public && bucket.block.is_some_and(|block| block.block_public_policy) {
            let problem =
                "Access Denied: public policies are prevented by the BlockPublicPolicy setting of the bucket.";
            return Err(S3Error::with(Code::AccessDenied, problem));
        }
        Ok(())
    };
    access.set(Setting::Policy, Some(document), check).await?;
    Ok(no_content())
}

/// With the place of the fault.
fn malformed(fault: &Fault) -> S3Error {
    S3Error::with(Code::MalformedPolicy, fault.to_string())
}
