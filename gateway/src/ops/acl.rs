//! What the operations on access control lists share: the list that a request asks for, and a list as an answer.

use std::collections::HashMap;

use cairn_storage::types::UserId;

use crate::acl::{Acl, Asked, Grantee};
use crate::error::{Code, S3Error};
use crate::gate::Access;
use crate::gateway::Gateway;
use crate::request::{Reply, Request};
use crate::xml::{AccessControlPolicy, write_acl};

/// What a request asks for: in its headers, or in its body, with the owner that this names.
///
/// # Errors
/// `MissingSecurityHeader` for neither, `UnexpectedContent` for both; what is wrong with either.
pub async fn wanted(access: &Access, request: &mut Request) -> Result<(Asked, Option<String>), S3Error> {
    let asked = Asked::from_headers(&request.headers)?;
    let document = request.read_document(access.gateway()).await?;
    match (asked, document.is_empty()) {
        (Asked::Nothing, true) if request.headers.contains_key("x-amz-acl") => Ok((Asked::Nothing, None)),
        (Asked::Nothing, true) => Err(Code::MissingSecurityHeader.into()),
        (Asked::Nothing, false) => {
            let AccessControlPolicy { owner, list } = AccessControlPolicy::parse(&document)?;
            Ok((Asked::Grants(list), owner))
        }
        (asked, true) => Ok((asked, None)),
        (_, false) => Err(Code::UnexpectedContent.into()),
    }
}

/// The list for what is `owner`'s in a bucket of `bucket_owner`.
///
/// # Errors
/// `AccessDenied` where another owner is named: it is nobody's to give away.
pub fn resolve((asked, named): (&Asked, Option<&str>), owner: UserId, bucket_owner: UserId) -> Result<Acl, S3Error> {
    if named.is_some_and(|named| named != owner.to_string()) {
        return Err(Code::AccessDenied.into());
    }
    Ok(match asked {
        Asked::Nothing => Acl::of_owner(owner),
        Asked::Canned(canned) => canned.list(owner, bucket_owner),
        Asked::Grants(list) => list.clone(),
    })
}

/// Whether what is asked for says what holds where there are no lists: that all is the bucket's owner's.
///
/// # Errors
/// `AccessControlListNotSupported`.
pub fn check_owners((asked, named): (&Asked, Option<&str>), bucket_owner: UserId) -> Result<(), S3Error> {
    let says_so = match asked {
        Asked::Grants(list) => {
            let own = &Acl::of_owner(bucket_owner).0[0];
            !list.0.is_empty() && list.0.iter().all(|grant| grant == own)
        }
        Asked::Nothing | Asked::Canned(_) => asked.is_owners(),
    };
    if says_so && named.is_none_or(|named| named == bucket_owner.to_string()) {
        Ok(())
    } else {
        Err(Code::AccessControlListNotSupported.into())
    }
}

/// The answer that shows a list.
pub async fn show(gateway: &Gateway, owner: UserId, list: &Acl) -> Reply {
    let mut names = HashMap::from([(owner, gateway.display_name(owner).await?)]);
    for (grantee, _) in &list.0 {
        if let Grantee::User(user) = grantee
            && !names.contains_key(user)
        {
            names.insert(*user, gateway.display_name(*user).await?);
        }
    }
    Ok(write_acl(owner, list, |user| names.get(&user).cloned().unwrap_or_default()).reply())
}
