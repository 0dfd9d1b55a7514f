//! Access control lists, as documents.

use cairn_storage::types::UserId;

use super::input::once;
use super::read::malformed;
use super::{Document, Reader, trim};
use crate::acl::{Acl, Grantee, MAX_GRANTS, Permission, invalid_id};
use crate::error::{Code, S3Error};

const NAMESPACE: (&str, &str) = ("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance");

/// The body of PutBucketAcl and PutObjectAcl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessControlPolicy {
    /// The canonical id, as sent.
    pub owner: Option<String>,
    pub list: Acl,
}

impl AccessControlPolicy {
    /// # Errors
    /// `MalformedACLError`; `InvalidArgument` for who cannot be a user, `UnresolvableGrantByEmailAddress` for who is named so.
    pub fn parse(document: &[u8]) -> Result<Self, S3Error> {
        Self::read(document).map_err(|error| match error.code {
            Code::MalformedXML => Code::MalformedACLError.into(),
            _ => error,
        })
    }

    fn read(document: &[u8]) -> Result<Self, S3Error> {
        let mut reader = Reader::new(document, "AccessControlPolicy")?;
        let (mut owner, mut grants) = (None, None);
        while let Some(name) = reader.child()? {
            match name.as_str() {
                "Owner" => once(&mut owner, read_owner(&mut reader)?)?,
                "AccessControlList" => {
                    let mut list = Vec::new();
                    while let Some(name) = reader.child()? {
                        if name != "Grant" || list.len() == MAX_GRANTS {
                            return Err(malformed());
                        }
                        list.push(read_grant(&mut reader)?);
                    }
                    once(&mut grants, list)?;
                }
                _ => return Err(malformed()),
            }
        }
        reader.finish()?;
        Ok(Self { owner: owner.flatten(), list: Acl(grants.ok_or_else(malformed)?) })
    }
}

fn read_owner(reader: &mut Reader<'_>) -> Result<Option<String>, S3Error> {
    let mut id = None;
    while let Some(name) = reader.child()? {
        match name.as_str() {
            "ID" => once(&mut id, reader.text()?)?,
            _ => reader.skip()?,
        }
    }
    Ok(id)
}

fn read_grant(reader: &mut Reader<'_>) -> Result<(Grantee, Permission), S3Error> {
    let (mut grantee, mut permission) = (None, None);
    while let Some(name) = reader.child()? {
        match name.as_str() {
            "Grantee" => once(&mut grantee, read_grantee(reader)?)?,
            "Permission" => {
                let name = reader.text()?;
                once(&mut permission, Permission::named(trim(&name)).ok_or_else(malformed)?)?;
            }
            _ => return Err(malformed()),
        }
    }
    grantee.zip(permission).ok_or_else(malformed)
}

/// What it is called by says of which type it is.
fn read_grantee(reader: &mut Reader<'_>) -> Result<Grantee, S3Error> {
    let mut grantee = None;
    while let Some(name) = reader.child()? {
        match name.as_str() {
            "ID" => {
                let id = reader.text()?;
                once(&mut grantee, trim(&id).parse().map(Grantee::User).map_err(|_| invalid_id(&id))?)?;
            }
            "URI" => {
                let uri = reader.text()?;
                let unknown =
                    || S3Error::with(Code::InvalidArgument, "Invalid group uri").detail("ArgumentValue", &uri);
                once(&mut grantee, Grantee::group(trim(&uri)).ok_or_else(unknown)?)?;
            }
            "EmailAddress" => return Err(Code::UnresolvableGrantByEmailAddress.into()),
            _ => reader.skip()?,
        }
    }
    grantee.ok_or_else(malformed)
}

/// The answer to GetBucketAcl and GetObjectAcl; `name` is the display name of a user.
pub fn write_acl(owner: UserId, list: &Acl, name: impl Fn(UserId) -> String) -> Document {
    let mut document = Document::new("AccessControlPolicy");
    document.open("Owner").display("ID", owner).text("DisplayName", &name(owner)).close();
    document.open("AccessControlList");
    for (grantee, permission) in &list.0 {
        document.open("Grant");
        match grantee {
            Grantee::User(user) => {
                document.open_with("Grantee", &[NAMESPACE, ("xsi:type", "CanonicalUser")]);
                document.display("ID", user).text("DisplayName", &name(*user)).close();
            }
            group => {
                document.open_with("Grantee", &[NAMESPACE, ("xsi:type", "Group")]);
                document.text("URI", group.uri().unwrap_or_default()).close();
            }
        }
        document.text("Permission", permission.name()).close();
    }
    document.close();
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::Canned;

    const OWNER: UserId = UserId([1; 16]);

    #[test]
    fn a_list_that_was_written_is_read() {
        let list = Canned::PublicReadWrite.list(OWNER, OWNER);
        let document = write_acl(OWNER, &list, |_| "A & B".to_owned()).finish();
        let read = AccessControlPolicy::parse(document.as_bytes()).unwrap();
        assert_eq!(read, AccessControlPolicy { owner: Some(OWNER.to_string()), list });
        assert!(document.contains("<DisplayName>A &amp; B</DisplayName>"));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let ask = |grants: &str| {
            let document =
                format!("<AccessControlPolicy><AccessControlList>{grants}</AccessControlList></AccessControlPolicy>");
            AccessControlPolicy::parse(document.as_bytes())
                .map(|policy| policy.list.0.len())
                .map_err(|error| error.code)
        };
        let grant = |grantee: &str, permission: &str| {
            format!("<Grant><Grantee>{grantee}</Grantee><Permission>{permission}</Permission></Grant>")
        };
        let id = format!("<ID>{OWNER}</ID>");
        assert_eq!(ask(""), Ok(0));
        assert_eq!(ask(&grant(&id, "READ").repeat(100)), Ok(100));
        assert_eq!(ask(&grant(&id, "READ").repeat(101)), Err(Code::MalformedACLError));
        assert_eq!(ask(&grant(&id, "EAT")), Err(Code::MalformedACLError));
        assert_eq!(ask(&grant("", "READ")), Err(Code::MalformedACLError));
        assert_eq!(ask(&grant(&format!("{id}{id}"), "READ")), Err(Code::MalformedACLError));
        assert_eq!(ask(&grant("<ID>x</ID>", "READ")), Err(Code::InvalidArgument));
        assert_eq!(ask(&grant("<URI>x</URI>", "READ")), Err(Code::InvalidArgument));
        let email = grant("<EmailAddress>x</EmailAddress>", "READ");
        assert_eq!(ask(&email), Err(Code::UnresolvableGrantByEmailAddress));
    }
}
