//! What a request asks for in its headers: a list by name, or one grant after the other.

use http::HeaderMap;

use super::{Acl, Canned, Grantee, MAX_GRANTS, Permission};
use crate::error::{Code, S3Error};

/// The headers that grant something, and what.
const GRANTS: [(&str, Permission); 5] = [
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
    ("x-amz-grant-full-control", Permission::FullControl),
];

/// What is asked for. Whether those who are named exist is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Asked {
    #[default]
    Nothing,
    Canned(Canned),
    Grants(Acl),
}

impl Asked {
    /// # Errors
    /// `InvalidArgument` for what is no list's name and no grantee, `InvalidRequest` for both kinds at once,
    /// `UnresolvableGrantByEmailAddress` for who is named so.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, S3Error> {
        let canned = match headers.get("x-amz-acl").filter(|value| !value.is_empty()) {
            None => None,
            Some(value) => {
                let name = value.to_str().unwrap_or_default();
                Some(
                    Canned::named(name)
                        .ok_or_else(|| invalid("x-amz-acl", &String::from_utf8_lossy(value.as_bytes())))?,
                )
            }
        };
        let mut grants = Vec::new();
        for (name, permission) in GRANTS {
            for value in headers.get_all(name) {
                let value = value.to_str().map_err(|_| invalid(name, ""))?;
                for named in value.split(',').map(str::trim).filter(|named| !named.is_empty()) {
                    if grants.len() == MAX_GRANTS {
                        return Err(invalid(name, value));
                    }
                    grants.push((grantee(name, named)?, permission));
                }
            }
        }
        match (canned, grants.is_empty()) {
            (None, true) => Ok(Self::Nothing),
            (Some(canned), true) => Ok(Self::Canned(canned)),
            (None, false) => Ok(Self::Grants(Acl(grants))),
            (Some(_), false) => {
                let problem = "Specifying both Canned ACLs and Header Grants is not allowed";
                Err(S3Error::with(Code::InvalidRequest, problem))
            }
        }
    }

    /// Whether it says no more than what holds where there are no lists: that all is the bucket's owner's.
    pub fn is_owners(&self) -> bool {
        matches!(self, Self::Nothing | Self::Canned(Canned::Private | Canned::BucketOwnerFullControl))
    }
}

/// `id="…"`, `uri="…"`; the quotes may be missing.
fn grantee(header: &str, named: &str) -> Result<Grantee, S3Error> {
    let (kind, value) = named.split_once('=').ok_or_else(|| invalid(header, named))?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    match kind.trim().to_ascii_lowercase().as_str() {
        "id" => value.parse().map(Grantee::User).map_err(|_| invalid_id(value)),
        "uri" => Grantee::group(value).ok_or_else(|| invalid(header, named)),
        "emailaddress" => Err(Code::UnresolvableGrantByEmailAddress.into()),
        _ => Err(invalid(header, named)),
    }
}

fn invalid(name: &str, value: &str) -> S3Error {
    S3Error::new(Code::InvalidArgument).detail("ArgumentName", name).detail("ArgumentValue", value)
}

/// For who is no user.
pub fn invalid_id(id: &str) -> S3Error {
    S3Error::with(Code::InvalidArgument, "Invalid id")
        .detail("ArgumentName", "CanonicalUser/ID")
        .detail("ArgumentValue", id)
}
