//! Who sends a request. Without the secret, which stays where signatures are checked.

use std::sync::Arc;

use cairn_storage::meta::record::UserRecord;
use cairn_storage::types::UserId;

/// A user whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub id: UserId,
    pub name: String,
    pub display_name: String,
    pub root: bool,
}

pub type Caller = Arc<Identity>;

impl From<&UserRecord> for Identity {
    fn from(user: &UserRecord) -> Self {
        Self { id: user.id, name: user.name.clone(), display_name: user.display_name.clone(), root: user.root }
    }
}
