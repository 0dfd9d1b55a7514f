//! Who sends a request. Without the secret, which stays where signatures are checked.

use std::sync::{Arc, LazyLock};

use cairn_storage::meta::record::UserRecord;
use cairn_storage::types::UserId;

use super::rights::Rights;
use crate::policy::{self, Principal};

/// All users are of one account, that of the cluster. Policies name it in ARNs; the number is the same everywhere, so
/// that a policy means the same in another cluster.
pub const ACCOUNT: &str = "000000000000";

/// The canonical id of everybody, as S3 shows it.
const EVERYBODY: UserId =
    UserId([0x65, 0xa0, 0x11, 0xa2, 0x9c, 0xdf, 0x8e, 0xc5, 0x33, 0xec, 0x3d, 0x1c, 0xca, 0xae, 0x92, 0x1c]);

/// What somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Anonymous,
    User,
    Root,
}

/// A user whose signature holds, or nobody in particular.
#[derive(Debug, Clone)]
pub struct Identity {
    pub id: UserId,
    pub name: String,
    pub display_name: String,
    kind: Kind,
    arn: String,
    /// The id as text.
    canonical_id: String,
    /// Of root they are not asked.
    rights: Rights,
}

pub type Caller = Arc<Identity>;

impl Identity {
    /// Who sends a request without a signature.
    pub fn anonymous() -> Caller {
        static ANONYMOUS: LazyLock<Caller> = LazyLock::new(|| {
            Arc::new(Identity {
                id: EVERYBODY,
                name: String::new(),
                display_name: String::new(),
                kind: Kind::Anonymous,
                arn: String::new(),
                canonical_id: String::new(),
                rights: Rights::default(),
            })
        });
        ANONYMOUS.clone()
    }

    /// The same, with policies.
    pub fn with_rights(&self, rights: Rights) -> Self {
        Self { rights, ..self.clone() }
    }

    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    pub fn is_root(&self) -> bool {
        self.kind == Kind::Root
    }

    pub fn is_anonymous(&self) -> bool {
        self.kind == Kind::Anonymous
    }

    /// As policies name it; empty of nobody in particular.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// As policies know it.
    pub fn principal(&self) -> Principal<'_> {
        let identity = policy::Identity {
            arn: &self.arn,
            account: ACCOUNT,
            canonical_id: &self.canonical_id,
            name: &self.name,
            id: &self.canonical_id,
        };
        match self.kind {
            Kind::Anonymous => Principal::Anonymous,
            Kind::User => Principal::User(identity),
            Kind::Root => Principal::Root(identity),
        }
    }
}

impl From<&UserRecord> for Identity {
    fn from(user: &UserRecord) -> Self {
        let (kind, arn) = match user.root {
            true => (Kind::Root, format!("arn:aws:iam::{ACCOUNT}:root")),
            false => (Kind::User, format!("arn:aws:iam::{ACCOUNT}:user/{}", user.name)),
        };
        Self {
            id: user.id,
            name: user.name.clone(),
            display_name: user.display_name.clone(),
            kind,
            arn,
            canonical_id: user.id.to_string(),
            rights: Rights::default(),
        }
    }
}
