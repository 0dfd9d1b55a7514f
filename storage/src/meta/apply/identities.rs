//! What users may do and be, besides their records: rights, further keys, groups, policies. It is bounded in all, for
//! gateways read the whole of it at once.

use super::super::command::{Holder, Outcome, Rejection};
use super::super::error::MetaError;
use super::super::overlay::Read;
use super::super::record::{
    AccessKey, Group, MAX_ATTACHED_POLICIES, MAX_DESCRIPTION_LEN, MAX_GROUPS, MAX_GROUPS_OF_USER, MAX_IDENTITIES_LEN,
    MAX_IDENTITY_NAME_LEN, MAX_INLINE_POLICIES_LEN, MAX_KEYS_OF_USER, MAX_POLICIES, MAX_POLICY_LEN, MAX_USERS_LEN,
    NamedPolicy, UserRecord, UserRights,
};
use super::super::schema::{HolderId, Key, KeyRange, PREFIX_LEN, name_after};
use super::super::stored::{self, Attachment, Flag, IdentityTotals, Stored};
use super::{Applied, Applier, demand};
use crate::types::{UnixMillis, UserId};

/// What can be changed of a key.
pub(super) struct KeyChange<'a> {
    pub disabled: bool,
    pub expires_ms: Option<UnixMillis>,
    pub policy: Option<&'a String>,
    pub description: &'a str,
}

impl Applier<'_> {
    /// `RootCommand::PutPolicy`.
    pub(super) fn put_policy(&mut self, name: &str, text: &str) -> Applied<Outcome> {
        check_name(name)?;
        demand(!text.is_empty())?;
        bound(text.len() <= MAX_POLICY_LEN)?;
        let slot = self.keys.policy(name);
        let old: Option<NamedPolicy> = self.overlay.load(&slot)?;
        if old.as_ref().is_some_and(|old| old.text == text) {
            return Ok(Outcome::Done);
        }
        bound(old.is_some() || self.identity_totals()?.policies < MAX_POLICIES)?;

        let (name, text, updated_ms) = (name.to_owned(), text.to_owned(), self.noted_ms);
        let created_ms = old.as_ref().map_or(updated_ms, |old| old.created_ms);
        self.keep(slot, Some(&NamedPolicy { name, text, created_ms, updated_ms }))?;
        self.count_identities(|totals| totals.policies += u64::from(old.is_none()))
    }

    /// `RootCommand::RemovePolicy`.
    pub(super) fn remove_policy(&mut self, name: &str) -> Applied<Outcome> {
        let slot = self.keys.policy(name);
        if !self.overlay.contains(&slot)? {
            return Err(Rejection::NoSuchPolicy.into());
        }
        if !self.overlay.is_empty(&self.keys.attachments_of(name))? {
            return Err(Rejection::InUse.into());
        }
        self.keep::<NamedPolicy>(slot, None)?;
        self.count_identities(|totals| totals.policies = totals.policies.saturating_sub(1))
    }

    /// `RootCommand::PutGroup`.
    pub(super) fn put_group(&mut self, name: &str) -> Applied<Outcome> {
        check_name(name)?;
        let slot = self.keys.user_group(name);
        if self.overlay.contains(&slot)? {
            return Err(Rejection::Exists.into());
        }
        bound(self.identity_totals()?.groups < MAX_GROUPS)?;
        self.keep(slot, Some(&Group { name: name.to_owned(), created_ms: self.noted_ms, ..Group::default() }))?;
        self.count_identities(|totals| totals.groups += 1)
    }

    /// `RootCommand::RemoveGroup`.
    pub(super) fn remove_group(&mut self, name: &str) -> Applied<Outcome> {
        let group = self.group_of_name(name)?;
        if !group.members.is_empty() || !group.policies.is_empty() || !group.inline.is_empty() {
            return Err(Rejection::InUse.into());
        }
        self.keep::<Group>(self.keys.user_group(name), None)?;
        self.count_identities(|totals| totals.groups = totals.groups.saturating_sub(1))
    }

    /// `RootCommand::SetMember`.
    pub(super) fn set_member(&mut self, group: &str, user: &str, member: bool) -> Applied<Outcome> {
        let group = self.group_of_name(group)?;
        let user = self.user_of_name(user)?;
        if member && !group.members.contains(&user) {
            bound(self.overlay.scan(&self.keys.groups_of(user), MAX_GROUPS_OF_USER)?.len() < MAX_GROUPS_OF_USER)?;
        }
        self.keep_member(group, user, member)
    }

    fn keep_member(&mut self, mut group: Group, user: UserId, member: bool) -> Applied<Outcome> {
        set_sorted(&mut group.members, user, member);
        self.keep(self.keys.user_group(&group.name), Some(&group))?;
        let index = self.keys.group_by_member(user, &group.name);
        match member {
            true => self.overlay.put(index, &Flag)?,
            false => self.overlay.delete(index),
        }
        Ok(Outcome::Done)
    }

    /// `RootCommand::Attach`.
    pub(super) fn attach(&mut self, holder: &Holder, policy: &str, attached: bool, builtin: bool) -> Applied<Outcome> {
        check_name(policy)?;
        let index = self.keys.attachment(policy, self.holder_id(holder)?);
        // What is attached can be detached, whatever else is said of it.
        let is_known = builtin
            || self.overlay.contains(&self.keys.policy(policy))?
            || (!attached && self.overlay.contains(&index)?);
        if !is_known {
            return Err(Rejection::NoSuchPolicy.into());
        }
        self.change_policies(holder, |policies, _| {
            set_sorted(policies, policy.to_owned(), attached);
            bound(!attached || policies.len() <= MAX_ATTACHED_POLICIES)
        })?;
        match attached {
            true => self.overlay.put(index, &Attachment { builtin })?,
            false => self.overlay.delete(index),
        }
        Ok(Outcome::Done)
    }

    /// `RootCommand::SetInline`.
    pub(super) fn set_inline(&mut self, holder: &Holder, name: &str, text: Option<&String>) -> Applied<Outcome> {
        check_name(name)?;
        demand(text.is_none_or(|text| !text.is_empty()))?;
        self.change_policies(holder, |_, inline| {
            inline.retain(|(other, _)| other != name);
            if let Some(text) = text {
                let place = inline.partition_point(|(other, _)| other.as_str() < name);
                inline.insert(place, (name.to_owned(), text.clone()));
                bound(inline.iter().map(|(_, text)| text.len()).sum::<usize>() <= MAX_INLINE_POLICIES_LEN)?;
            }
            Ok(())
        })
    }

    /// `RootCommand::SetUserDisabled`.
    pub(super) fn set_user_disabled(&mut self, user: &str, disabled: bool) -> Applied<Outcome> {
        let user = self.user_of_name(user)?;
        demand(!self.user(user)?.root)?;
        let rights = UserRights { disabled, ..self.rights(user)? };
        let is_set = rights != UserRights::default();
        // Who has to be shut out is, however full it is.
        self.keep_within(u64::MAX, self.keys.rights(user), is_set.then_some(&rights))
    }

    /// `RootCommand::AddKey`.
    pub(super) fn add_key(&mut self, key: &AccessKey) -> Applied<Outcome> {
        check_name(&key.access_key)?;
        check_name(&key.secret_key)?;
        check_key_change(key)?;
        if !self.overlay.contains(&self.keys.user(key.user))? {
            return Err(Rejection::NoSuchUser.into());
        }
        if self.is_key_taken(&key.access_key)? {
            return Err(Rejection::Exists.into());
        }
        bound(self.overlay.scan(&self.keys.access_keys_of(key.user), MAX_KEYS_OF_USER)?.len() < MAX_KEYS_OF_USER)?;
        let key = AccessKey { created_ms: self.noted_ms, ..key.clone() };
        self.keep(self.keys.access_key(&key.access_key), Some(&key))?;
        self.overlay.put(self.keys.access_key_by_user(key.user, &key.access_key), &Flag)?;
        Ok(Outcome::Done)
    }

    /// `RootCommand::SetKey`.
    pub(super) fn set_key(&mut self, access_key: &str, change: &KeyChange<'_>) -> Applied<Outcome> {
        let key = AccessKey {
            description: change.description.to_owned(),
            disabled: change.disabled,
            expires_ms: change.expires_ms,
            policy: change.policy.cloned(),
            ..self.added_key(access_key)?
        };
        check_key_change(&key)?;
        self.keep(self.keys.access_key(access_key), Some(&key))
    }

    /// `RootCommand::RemoveKey`.
    pub(super) fn remove_key(&mut self, access_key: &str) -> Applied<Outcome> {
        let key = self.added_key(access_key)?;
        self.drop_key(key.user, access_key)
    }

    fn drop_key(&mut self, user: UserId, access_key: &str) -> Applied<Outcome> {
        self.overlay.delete(self.keys.access_key_by_user(user, access_key));
        self.keep::<AccessKey>(self.keys.access_key(access_key), None)
    }

    /// Takes away all that there is of a user besides its record.
    pub(super) fn remove_identity(&mut self, user: UserId) -> Applied<()> {
        for access_key in self.indexed_names(&self.keys.access_keys_of(user))? {
            self.drop_key(user, &access_key)?;
        }
        for name in self.indexed_names(&self.keys.groups_of(user))? {
            let key = self.keys.user_group(&name);
            let group = self.overlay.load(&key)?.ok_or_else(|| MetaError::corrupt("member of a group", &key.bytes))?;
            self.keep_member(group, user, false)?;
        }
        for policy in self.rights(user)?.policies {
            self.overlay.delete(self.keys.attachment(&policy, HolderId::User(user)));
        }
        self.keep_rights(user, &UserRights::default())?;
        Ok(())
    }

    /// Whether a key has it, be it a user's own or one that was added.
    pub(super) fn is_key_taken(&self, access_key: &str) -> Result<bool, MetaError> {
        Ok(self.overlay.contains(&self.keys.user_by_access_key(access_key))?
            || self.overlay.contains(&self.keys.access_key(access_key))?)
    }

    pub(super) fn user_of_name(&self, name: &str) -> Applied<UserId> {
        Ok(self.overlay.load(&self.keys.user_by_name(name))?.ok_or(Rejection::NoSuchUser)?)
    }

    fn group_of_name(&self, name: &str) -> Applied<Group> {
        Ok(self.overlay.load(&self.keys.user_group(name))?.ok_or(Rejection::NoSuchGroup)?)
    }

    fn added_key(&self, access_key: &str) -> Applied<AccessKey> {
        demand(!self.overlay.contains(&self.keys.user_by_access_key(access_key))?)?;
        Ok(self.overlay.load(&self.keys.access_key(access_key))?.ok_or(Rejection::NoSuchAccessKey)?)
    }

    fn rights(&self, user: UserId) -> Result<UserRights, MetaError> {
        Ok(self.overlay.load(&self.keys.rights(user))?.unwrap_or_default())
    }

    fn holder_id<'h>(&self, holder: &'h Holder) -> Applied<HolderId<'h>> {
        Ok(match holder {
            Holder::User(name) => HolderId::User(self.user_of_name(name)?),
            Holder::Group(name) => HolderId::Group(name),
        })
    }

    /// Changes the policies that are attached to a holder, or its inline ones.
    fn change_policies(
        &mut self,
        holder: &Holder,
        change: impl FnOnce(&mut Vec<String>, &mut Vec<(String, String)>) -> Result<(), Rejection>,
    ) -> Applied<Outcome> {
        match holder {
            Holder::User(name) => {
                let user = self.user_of_name(name)?;
                let mut rights = self.rights(user)?;
                change(&mut rights.policies, &mut rights.inline)?;
                self.keep_rights(user, &rights)
            }
            Holder::Group(name) => {
                let mut group = self.group_of_name(name)?;
                change(&mut group.policies, &mut group.inline)?;
                self.keep(self.keys.user_group(name), Some(&group))
            }
        }
    }

    fn keep_rights(&mut self, user: UserId, rights: &UserRights) -> Applied<Outcome> {
        let is_set = *rights != UserRights::default();
        self.keep(self.keys.rights(user), is_set.then_some(rights))
    }

    /// Writes a record of the table, or takes it away, if that is a change at all. All that can be refused comes before
    /// this; what would make the table too long is refused here.
    fn keep<T: Stored>(&mut self, key: Key, value: Option<&T>) -> Applied<Outcome> {
        self.keep_within(MAX_IDENTITIES_LEN, key, value)
    }

    fn keep_within<T: Stored>(&mut self, most: u64, key: Key, value: Option<&T>) -> Applied<Outcome> {
        let old = self.overlay.get(&key)?;
        let new = value.map(stored::encode).transpose()?;
        if old == new {
            return Ok(Outcome::Done);
        }
        let len = |value: Option<Vec<u8>>| value.map_or(0, |value| (key.bytes.len() - PREFIX_LEN + value.len()) as u64);
        let (old, new) = (len(old), len(new));
        let bytes = self.identity_totals()?.bytes.saturating_sub(old).saturating_add(new);
        bound(new <= old || bytes <= most)?;

        self.users_changed()?;
        match value {
            Some(value) => self.overlay.put(key, value)?,
            None => self.overlay.delete(key),
        }
        self.count_identities(|totals| totals.bytes = bytes)
    }

    /// Counts a user that is to be added.
    pub(super) fn make_room_for_user(&mut self, user: &UserRecord) -> Applied<()> {
        let totals = self.identity_totals()?;
        let users = match totals.users {
            Some(users) => users,
            None => {
                let all = self.overlay.scan(&self.keys.users(), usize::MAX)?;
                all.iter().map(|(_, value)| value.len() as u64).sum()
            }
        };
        bound(users + stored::encode(user)?.len() as u64 <= MAX_USERS_LEN)?;
        self.count_identities(|totals| totals.users = Some(users))?;
        Ok(())
    }

    /// Writes a user's record.
    pub(super) fn keep_user(&mut self, user: &UserRecord) -> Result<(), MetaError> {
        let new = stored::encode(user)?.len() as u64;
        self.count_user(user.id, new)?;
        self.overlay.put(self.keys.user(user.id), user)
    }

    /// Takes a user's record away.
    pub(super) fn forget_user(&mut self, user: UserId) -> Result<(), MetaError> {
        self.count_user(user, 0)?;
        self.overlay.delete(self.keys.user(user));
        Ok(())
    }

    fn count_user(&mut self, user: UserId, new: u64) -> Result<(), MetaError> {
        let mut totals = self.identity_totals()?;
        if let Some(users) = totals.users {
            let old = self.overlay.get(&self.keys.user(user))?.map_or(0, |value| value.len() as u64);
            totals.users = Some(users.saturating_sub(old).saturating_add(new));
            self.overlay.put(self.keys.identity_totals(), &totals)?;
        }
        Ok(())
    }

    fn identity_totals(&self) -> Result<IdentityTotals, MetaError> {
        Ok(self.overlay.load(&self.keys.identity_totals())?.unwrap_or_default())
    }

    fn count_identities(&mut self, change: impl FnOnce(&mut IdentityTotals)) -> Applied<Outcome> {
        let mut totals = self.identity_totals()?;
        change(&mut totals);
        self.overlay.put(self.keys.identity_totals(), &totals)?;
        Ok(Outcome::Done)
    }

    /// The names in an index by user.
    fn indexed_names(&self, range: &KeyRange) -> Result<Vec<String>, MetaError> {
        let name = |key: &[u8]| name_after(key, 16).map(str::to_owned).ok_or_else(|| MetaError::corrupt("name", key));
        self.overlay.scan(range, usize::MAX)?.iter().map(|(key, _)| name(key)).collect()
    }
}

/// `Err(Rejection::LimitExceeded)` where it does not hold.
fn bound(holds: bool) -> Result<(), Rejection> {
    if holds { Ok(()) } else { Err(Rejection::LimitExceeded) }
}

fn check_name(name: &str) -> Result<(), Rejection> {
    demand(!name.is_empty() && name.len() <= MAX_IDENTITY_NAME_LEN)
}

fn check_key_change(key: &AccessKey) -> Result<(), Rejection> {
    demand(key.description.len() <= MAX_DESCRIPTION_LEN)?;
    bound(key.policy.as_ref().is_none_or(|policy| policy.len() <= MAX_INLINE_POLICIES_LEN))
}

/// Puts an item into a sorted list, or takes it out.
fn set_sorted<T: Ord>(list: &mut Vec<T>, item: T, there: bool) {
    match (list.binary_search(&item), there) {
        (Err(place), true) => list.insert(place, item),
        (Ok(place), false) => drop(list.remove(place)),
        _ => {}
    }
}

#[cfg(test)]
#[path = "identities_test.rs"]
mod tests;
