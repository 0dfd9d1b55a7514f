//! Who asks, and whom the elements Principal and NotPrincipal of a bucket policy name.

use super::context::Value;

/// Who asks.
///
/// Cairn's users are the IAM users of one account, that of the cluster, and root is that account's root user: a policy
/// names them as `arn:aws:iam::ACCOUNT:user/NAME` and `arn:aws:iam::ACCOUNT:root`. Unlike IAM's users, each has a
/// canonical user id of its own, because each owns the buckets it made; it is that of `CanonicalUser` in a policy. A
/// caller of another account may come in all the same; what AWS asks of it is asked.
#[derive(Debug, Clone, Copy)]
pub enum Principal<'a> {
    /// Without a signature.
    Anonymous,
    /// The root user of an account.
    Root(Identity<'a>),
    /// A user, also by a key that is narrowed.
    User(Identity<'a>),
    /// With temporary credentials.
    Session(Session<'a>),
    /// A service of the cluster itself, by the name that policies have for it (`logging.s3.amazonaws.com`).
    Service(&'a str),
}

/// A user, a root user, or the role of a session.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identity<'a> {
    /// `arn:aws:iam::ACCOUNT:user/NAME`, `arn:aws:iam::ACCOUNT:root`, `arn:aws:iam::ACCOUNT:role/NAME`.
    pub arn: &'a str,
    /// Twelve digits.
    pub account: &'a str,
    /// Owns buckets under this name. Empty where it owns none.
    pub canonical_id: &'a str,
    /// `aws:username`.
    pub name: &'a str,
    /// `aws:userid`.
    pub id: &'a str,
}

/// Temporary credentials of a user or of a role.
#[derive(Debug, Clone, Copy)]
pub struct Session<'a> {
    /// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION` or `arn:aws:sts::ACCOUNT:federated-user/NAME`.
    pub arn: &'a str,
    /// `aws:userid`: `ROLE-ID:SESSION` or `ACCOUNT:NAME`.
    pub id: &'a str,
    /// The role or the user behind it, whose policies it has.
    pub of: Identity<'a>,
}

impl<'a> Principal<'a> {
    fn identity(&self) -> Option<&Identity<'a>> {
        match self {
            Self::Anonymous | Self::Service(_) => None,
            Self::Root(identity) | Self::User(identity) | Self::Session(Session { of: identity, .. }) => Some(identity),
        }
    }

    /// `None` for those who have none.
    pub(super) fn account(&self) -> Option<&'a str> {
        self.identity().map(|identity| identity.account)
    }

    /// Whether it owns what this canonical user owns.
    pub(super) fn is_canonical(&self, id: &str) -> bool {
        !id.is_empty() && self.identity().is_some_and(|identity| identity.canonical_id == id)
    }

    /// The value of a condition key, in lower case, that says who asks.
    /// IAM User Guide, "AWS global condition context keys", "Properties of the principal".
    pub(super) fn value(&self, key: &str) -> Option<Value<'a>> {
        let text = match (key, self) {
            ("aws:username", Self::User(user)) => user.name,
            ("aws:userid", Self::Anonymous) => "anonymous",
            ("aws:userid", Self::Root(root)) => root.account,
            ("aws:userid", Self::User(user)) => user.id,
            ("aws:userid", Self::Session(session)) => session.id,
            ("aws:principalarn", Self::Root(identity) | Self::User(identity)) => identity.arn,
            ("aws:principalarn", Self::Session(session)) if session.is_federated() => session.arn,
            ("aws:principalarn", Self::Session(session)) => session.of.arn,
            ("aws:principalaccount", _) => self.account()?,
            ("aws:principaltype", Self::Anonymous) => "Anonymous",
            ("aws:principaltype", Self::Root(_)) => "Account",
            ("aws:principaltype", Self::User(_)) => "User",
            ("aws:principaltype", Self::Session(session)) if session.is_federated() => "FederatedUser",
            ("aws:principaltype", Self::Session(_)) => "AssumedRole",
            ("aws:principalservicename", Self::Service(name)) => name,
            ("aws:principalisawsservice", _) => return Some(matches!(self, Self::Service(_)).into()),
            _ => "",
        };
        (!text.is_empty()).then(|| text.into())
    }
}

impl Session<'_> {
    fn is_federated(&self) -> bool {
        self.arn.splitn(6, ':').nth(5).is_some_and(|resource| resource.starts_with("federated-user/"))
    }
}

/// As what a statement names the one who asks, the closest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grantee {
    /// By its own ARN or canonical user id, or by the name of the service. Also where a statement names nobody, in the
    /// policies of an identity.
    Caller,
    /// As everybody, anonymous callers among them.
    Everyone,
    /// A session, by the role or the user behind it.
    Parent,
    /// A user or a session, by its account. What a policy allows to an account is for the account to hand on.
    Account,
}

/// The element Principal or NotPrincipal.
#[derive(Debug, Clone)]
pub(super) struct Principals {
    pub not: bool,
    pub named: Box<[Named]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Everyone,
    /// Twelve digits, or the ARN of an account's root.
    Account(Box<str>),
    /// Of a user, a role or a session.
    Arn(Box<str>),
    Canonical(Box<str>),
    Service(Box<str>),
    /// An identity provider. No request comes from one: those who signed in with it have sessions.
    Federated(Box<str>),
}

impl Principals {
    /// As what it covers the one who asks.
    ///
    /// NotPrincipal is there with Deny only, and leaves out those alone whom it names: naming an account leaves out its
    /// root user, not its users.
    pub(super) fn grantee(&self, principal: &Principal) -> Option<Grantee> {
        let closest = self.named.iter().filter_map(|named| named.grantee(principal)).min();
        match (self.not, closest) {
            (false, closest) => closest,
            (true, Some(Grantee::Caller | Grantee::Everyone)) => None,
            (true, _) => Some(Grantee::Everyone),
        }
    }
}

impl Named {
    /// As it was written.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Everyone => "*",
            Self::Account(name)
            | Self::Arn(name)
            | Self::Canonical(name)
            | Self::Service(name)
            | Self::Federated(name) => name,
        }
    }

    /// # Errors
    /// What is no name of this type (`AWS`, `CanonicalUser`, `Service`, `Federated`).
    pub(super) fn parse(kind: &str, name: &str) -> Result<Self, String> {
        match kind {
            "AWS" if name == "*" => Ok(Self::Everyone),
            "AWS" => {
                parse_aws(name).ok_or_else(|| format!("{name:?} is neither \"*\" nor an account nor an ARN of IAM"))
            }
            _ if name.is_empty() || name.contains(['*', '?']) => Err(format!("{name:?} names nobody")),
            "CanonicalUser" => Ok(Self::Canonical(name.into())),
            "Service" => Ok(Self::Service(name.into())),
            _ => Ok(Self::Federated(name.into())),
        }
    }

    fn grantee(&self, principal: &Principal) -> Option<Grantee> {
        let as_account = |itself: bool| if itself { Grantee::Caller } else { Grantee::Account };
        match (self, principal) {
            (Self::Everyone, _) => Some(Grantee::Everyone),
            (Self::Service(name), Principal::Service(service)) => (**name == **service).then_some(Grantee::Caller),
            (Self::Account(account), _) if principal.account() == Some(account) => {
                Some(as_account(matches!(principal, Principal::Root(_))))
            }
            (Self::Arn(arn), Principal::User(user)) => (**arn == *user.arn).then_some(Grantee::Caller),
            (Self::Arn(arn), Principal::Session(session)) => match &**arn {
                arn if arn == session.arn => Some(Grantee::Caller),
                arn if arn == session.of.arn => Some(Grantee::Parent),
                _ => None,
            },
            (Self::Canonical(id), Principal::Session(_)) => principal.is_canonical(id).then_some(Grantee::Parent),
            (Self::Canonical(id), _) => principal.is_canonical(id).then_some(Grantee::Caller),
            _ => None,
        }
    }
}

/// A wildcard is no part of a name: that is what AWS's page on the element Principal says.
fn parse_aws(name: &str) -> Option<Named> {
    let account = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if account(name) {
        return Some(Named::Account(name.into()));
    }
    if name.contains(['*', '?']) {
        return None;
    }
    let mut parts = name.splitn(6, ':');
    let mut next = || parts.next();
    let (arn, _partition, service, region) = (next()?, next()?, next()?, next()?);
    let (account, resource) = (next()?, next()?);
    if arn != "arn" || !region.is_empty() {
        return None;
    }
    match (service, resource.split_once('/')) {
        ("iam", None) if resource == "root" && !account.is_empty() => Some(Named::Account(account.into())),
        ("iam", Some(("user" | "role", rest))) | ("sts", Some(("assumed-role" | "federated-user", rest)))
            if !rest.is_empty() =>
        {
            Some(Named::Arn(name.into()))
        }
        _ => None,
    }
}
