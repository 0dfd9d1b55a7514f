//! The keys of what users may do and be, besides their records.

use super::{KEY_END, Key, KeyRange, Keys, PREFIX_LEN, Table, escaped};
use crate::types::UserId;

/// What policies are attached to.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum HolderId<'a> {
    User(UserId),
    Group(&'a str),
}

impl Keys {
    pub(in super::super) fn users(&self) -> KeyRange {
        self.table(Table::User, &[])
    }

    pub(in super::super) fn rights(&self, user: UserId) -> Key {
        self.general(Table::Rights, &[&user.0])
    }

    pub(in super::super) fn all_rights(&self) -> KeyRange {
        self.table(Table::Rights, &[])
    }

    pub(in super::super) fn access_key(&self, access_key: &str) -> Key {
        self.general(Table::AccessKey, &[access_key.as_bytes()])
    }

    pub(in super::super) fn access_keys(&self) -> KeyRange {
        self.table(Table::AccessKey, &[])
    }

    /// For each key of a user, besides the one in its record.
    pub(in super::super) fn access_key_by_user(&self, user: UserId, access_key: &str) -> Key {
        self.general(Table::AccessKeyByUser, &[&user.0, access_key.as_bytes()])
    }

    pub(in super::super) fn access_keys_of(&self, user: UserId) -> KeyRange {
        self.table(Table::AccessKeyByUser, &[&user.0])
    }

    pub(in super::super) fn user_group(&self, name: &str) -> Key {
        self.general(Table::UserGroup, &[name.as_bytes()])
    }

    pub(in super::super) fn user_groups(&self) -> KeyRange {
        self.table(Table::UserGroup, &[])
    }

    /// For each group that a user is in. Who is in it the group's record says.
    pub(in super::super) fn group_by_member(&self, user: UserId, group: &str) -> Key {
        self.general(Table::GroupByMember, &[&user.0, group.as_bytes()])
    }

    pub(in super::super) fn groups_of(&self, user: UserId) -> KeyRange {
        self.table(Table::GroupByMember, &[&user.0])
    }

    pub(in super::super) fn policy(&self, name: &str) -> Key {
        self.general(Table::Policy, &[name.as_bytes()])
    }

    pub(in super::super) fn policies(&self) -> KeyRange {
        self.table(Table::Policy, &[])
    }

    /// For each holder of a policy. Which ones it holds the holder's record says.
    pub(in super::super) fn attachment(&self, policy: &str, holder: HolderId<'_>) -> Key {
        let policy = escaped(policy.as_bytes());
        let (kind, holder) = match &holder {
            HolderId::User(user) => (0, &user.0[..]),
            HolderId::Group(name) => (1, name.as_bytes()),
        };
        self.general(Table::Attachment, &[&policy, &KEY_END, &[kind], holder])
    }

    pub(in super::super) fn attachments_of(&self, policy: &str) -> KeyRange {
        self.table(Table::Attachment, &[&escaped(policy.as_bytes()), &KEY_END])
    }

    pub(in super::super) fn identity_totals(&self) -> Key {
        self.general(Table::IdentityTotals, &[])
    }
}

/// The user in a key of the rights' table.
pub(in super::super) fn user_in(raw: &[u8]) -> Option<UserId> {
    Some(UserId(raw.get(PREFIX_LEN + 1..)?.try_into().ok()?))
}
