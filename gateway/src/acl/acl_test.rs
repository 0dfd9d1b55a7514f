use http::HeaderValue;

use super::*;
use crate::error::Code;

const OWNER: UserId = UserId([1; 16]);
const OTHER: UserId = UserId([2; 16]);
const NOBODY: Who = Who { user: None, ignore_public: false };

fn who(user: UserId) -> Who {
    Who { user: Some(user), ignore_public: false }
}

#[test]
fn a_list_grants_to_those_whom_it_names() {
    let list = Canned::PublicRead.list(OWNER, OWNER);
    assert!(list.grants(NOBODY, Permission::Read) && !list.grants(NOBODY, Permission::Write));
    assert!(list.grants(who(OWNER), Permission::WriteAcp), "full control is all of it");
    assert!(!list.grants(Who { ignore_public: true, ..NOBODY }, Permission::Read));
    let list = Canned::AuthenticatedRead.list(OWNER, OWNER);
    assert!(!list.grants(NOBODY, Permission::Read) && list.grants(who(OTHER), Permission::Read));
    let list = Canned::BucketOwnerRead.list(OTHER, OWNER);
    assert!(list.grants(who(OWNER), Permission::Read) && !list.grants(who(OWNER), Permission::ReadAcp));
    assert!(!Canned::LogDeliveryWrite.list(OWNER, OWNER).grants(who(OTHER), Permission::Write));
}

#[test]
fn what_is_kept_comes_back() {
    for (_, canned) in Canned::ALL {
        let list = canned.list(OWNER, OTHER);
        assert_eq!(Acl::decode(list.encode(OWNER).as_ref(), OWNER), list);
    }
    assert_eq!(Canned::Private.list(OWNER, OTHER).encode(OWNER), None);
    assert_eq!(Acl::decode(Some(&Bytes::from_static(b"?")), OWNER), Acl(Vec::new()), "it grants nothing");
    let most = Acl(vec![(Grantee::User(UserId([0xff; 16])), Permission::FullControl); MAX_GRANTS]);
    let len = most.encode(OWNER).map_or(0, |bytes| bytes.len());
    assert!(len < cairn_storage::meta::record::MAX_LABELS_LEN / 2, "{len}");
    use Ownership as O;
    for ownership in [O::BucketOwnerEnforced, O::BucketOwnerPreferred, O::ObjectWriter, O::Unset] {
        assert_eq!(O::decode(ownership.encode().as_ref()), ownership);
    }
    assert_eq!(O::decode(Some(&Bytes::from_static(b"?"))), O::BucketOwnerEnforced);
}

fn asked(headers: &[(&'static str, &str)]) -> Result<Asked, Code> {
    let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()));
    Asked::from_headers(&headers.collect()).map_err(|error| error.code)
}

#[test]
fn headers_name_a_list_or_grants() {
    assert_eq!(asked(&[]), Ok(Asked::Nothing));
    assert_eq!(asked(&[("x-amz-acl", "")]), Ok(Asked::Nothing));
    assert_eq!(asked(&[("x-amz-acl", "public-read")]), Ok(Asked::Canned(Canned::PublicRead)));
    assert_eq!(asked(&[("x-amz-acl", "Public-Read")]), Err(Code::InvalidArgument));
    let id = format!("id=\"{OTHER}\", uri=http://acs.amazonaws.com/groups/global/AllUsers");
    let grants = vec![(Grantee::User(OTHER), Permission::ReadAcp), (Grantee::AllUsers, Permission::ReadAcp)];
    assert_eq!(asked(&[("x-amz-grant-read-acp", &id)]), Ok(Asked::Grants(Acl(grants))));
    assert_eq!(asked(&[("x-amz-grant-read", &id), ("x-amz-acl", "private")]), Err(Code::InvalidRequest));
    for bad in ["id=x", "uri=x", "x", "name=x", "id"] {
        assert_eq!(asked(&[("x-amz-grant-read", bad)]), Err(Code::InvalidArgument), "{bad}");
    }
    let email = asked(&[("x-amz-grant-read", "emailAddress=\"a@b\"")]);
    assert_eq!(email, Err(Code::UnresolvableGrantByEmailAddress));
    let many = vec![id.as_str(); MAX_GRANTS].join(",");
    assert_eq!(asked(&[("x-amz-grant-read", &many)]), Err(Code::InvalidArgument));
}
