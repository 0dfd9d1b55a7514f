//! The root group: the cluster map, the users, and the directory of buckets.

use super::super::command::{Outcome, Rejection, RootCommand};
use super::super::error::MetaError;
use super::super::overlay::Read;
use super::super::record::{AccessKey, DirectoryEntry, DirectoryState, UserRecord};
use super::super::stored::{Flag, UserEpoch};
use super::identities::KeyChange;
use super::{Applied, Applier, demand};
use crate::types::{BucketId, ClusterMap, Epoch, UserId};

impl Applier<'_> {
    /// `Command::Root`.
    pub(super) fn root(&mut self, command: &RootCommand) -> Applied<Outcome> {
        match command {
            RootCommand::FormCluster { map } => self.form_cluster(map),
            RootCommand::FormClusterV1 { map } => self.form_cluster(&map.clone().into()),
            RootCommand::ReplaceMap { expected, map } => self.replace_map(*expected, |_| map.clone()),
            RootCommand::ReplaceMapV1 { expected, map } => self.replace_map(*expected, |old| ClusterMap {
                epoch: Epoch(0),
                generation: old.generation.clone(),
                settings: old.settings.clone(),
                ..map.clone().into()
            }),
            RootCommand::AddUser { user } => self.add_user(user),
            RootCommand::SetRootUser { user } => self.set_root_user(user),
            RootCommand::RemoveUser { name } => self.remove_user(name),
            RootCommand::ReserveBucket { name, owner, region, group } => {
                let entry = DirectoryEntry {
                    name: name.clone(),
                    id: BucketId(self.state.next_bucket),
                    group: *group,
                    owner: *owner,
                    region: region.clone(),
                    created_ms: self.noted_ms,
                    state: DirectoryState::Creating,
                };
                self.reserve_bucket(entry)
            }
            RootCommand::ActivateBucket { name, bucket } => self.activate_bucket(name, *bucket),
            RootCommand::FreeBucket { name, bucket } => self.free_bucket(name, *bucket),
            RootCommand::PutPolicy { name, text } => self.put_policy(name, text),
            RootCommand::RemovePolicy { name } => self.remove_policy(name),
            RootCommand::PutGroup { name } => self.put_group(name),
            RootCommand::RemoveGroup { name } => self.remove_group(name),
            RootCommand::SetMember { group, user, member } => self.set_member(group, user, *member),
            RootCommand::Attach { holder, policy, attached, builtin } => {
                self.attach(holder, policy, *attached, *builtin)
            }
            RootCommand::SetInline { holder, name, text } => self.set_inline(holder, name, text.as_ref()),
            RootCommand::SetUserDisabled { user, disabled } => self.set_user_disabled(user, *disabled),
            RootCommand::AddKey { key } => self.add_key(key),
            RootCommand::SetKey { access_key, disabled, expires_ms, policy, description } => {
                let (disabled, expires_ms, policy) = (*disabled, *expires_ms, policy.as_ref());
                self.set_key(access_key, &KeyChange { disabled, expires_ms, policy, description })
            }
            RootCommand::RemoveKey { access_key } => self.remove_key(access_key),
        }
    }

    fn form_cluster(&mut self, map: &ClusterMap) -> Applied<Outcome> {
        if self.overlay.contains(&self.keys.map())? {
            return Err(Rejection::Exists.into());
        }
        self.overlay.put(self.keys.map(), map)?;
        Ok(Outcome::Map(Box::new(map.clone())))
    }

    fn replace_map(&mut self, expected: Epoch, new: impl Fn(&ClusterMap) -> ClusterMap) -> Applied<Outcome> {
        let old: Option<ClusterMap> = self.overlay.load(&self.keys.map())?;
        let old = old.filter(|old| old.epoch == expected).ok_or(Rejection::MapChanged)?;
        let map = new(&old);
        let map = old.succeeded_by(map).ok_or(Rejection::Invalid)?;
        self.overlay.put(self.keys.map(), &map)?;
        Ok(Outcome::Map(Box::new(map)))
    }

    fn add_user(&mut self, user: &UserRecord) -> Applied<Outcome> {
        demand(!user.root && !user.name.is_empty() && !user.access_key.is_empty())?;
        let taken = self.overlay.contains(&self.keys.user(user.id))?
            || self.overlay.contains(&self.keys.user_by_name(&user.name))?
            || self.is_key_taken(&user.access_key)?;
        if taken {
            return Err(Rejection::Exists.into());
        }
        let user = UserRecord { created_ms: self.noted_ms, ..user.clone() };
        self.make_room_for_user(&user)?;
        self.users_changed()?;
        Ok(self.write_user(user)?)
    }

    /// The root user keeps its id, and with it its buckets, whatever keys it is given.
    fn set_root_user(&mut self, user: &UserRecord) -> Applied<Outcome> {
        demand(!user.name.is_empty() && !user.access_key.is_empty())?;
        let old = match self.overlay.load::<UserId>(&self.keys.root_user())? {
            Some(id) => Some(self.user(id)?),
            None => None,
        };
        let mut new = UserRecord { root: true, created_ms: self.noted_ms, ..user.clone() };
        if let Some(old) = &old {
            new = UserRecord { access_key: new.access_key, secret_key: new.secret_key, ..old.clone() };
        }
        let holders = [
            self.overlay.load::<UserId>(&self.keys.user_by_name(&new.name))?,
            self.overlay.load::<UserId>(&self.keys.user_by_access_key(&new.access_key))?,
            self.overlay.load::<UserRecord>(&self.keys.user(new.id))?.map(|user| user.id),
        ];
        let itself = old.as_ref().map(|old| old.id);
        let is_taken = holders.iter().any(|holder| holder.is_some() && *holder != itself);
        let further: Option<AccessKey> = self.overlay.load(&self.keys.access_key(&new.access_key))?;
        if is_taken || further.as_ref().is_some_and(|key| Some(key.user) != itself) {
            return Err(Rejection::Exists.into());
        }
        if further.is_some() {
            // One of its further keys becomes its own.
            self.remove_key(&new.access_key)?;
        }

        if let Some(old) = &old {
            self.overlay.delete(self.keys.user_by_access_key(&old.access_key));
        }
        if old.as_ref() != Some(&new) {
            self.users_changed()?;
        }
        self.overlay.put(self.keys.root_user(), &new.id)?;
        Ok(self.write_user(new)?)
    }

    fn remove_user(&mut self, name: &str) -> Applied<Outcome> {
        let id = self.user_of_name(name)?;
        let user = self.user(id)?;
        demand(!user.root)?;
        if !self.overlay.is_empty(&self.keys.directory_of(id, ""))? {
            return Err(Rejection::UserHasBuckets.into());
        }
        self.users_changed()?;
        self.remove_identity(id)?;
        self.forget_user(id)?;
        self.overlay.delete(self.keys.user_by_name(name));
        self.overlay.delete(self.keys.user_by_access_key(&user.access_key));
        Ok(Outcome::Done)
    }

    pub(super) fn user(&self, id: UserId) -> Result<UserRecord, MetaError> {
        let key = self.keys.user(id);
        self.overlay.load(&key)?.ok_or_else(|| MetaError::corrupt("reference to a user", &key.bytes))
    }

    /// The users' epoch is the place in the log of their last change, and no count: of voters some may have applied former
    /// changes under a release that had no epoch, and they agree all the same. The changes of one entry are seen together,
    /// and share it. A recovery gives places out again whose changes were lost: how many there were stands above the place.
    pub(super) fn users_changed(&mut self) -> Result<(), MetaError> {
        let map: Option<ClusterMap> = self.overlay.load(&self.keys.map())?;
        let recoveries = map.map_or(0, |map| map.generation.stamp().number);
        let epoch = u64::from(recoveries) << 48 | self.place.log_index;
        self.overlay.put(self.keys.user_epoch(), &UserEpoch(epoch))
    }

    fn write_user(&mut self, user: UserRecord) -> Result<Outcome, MetaError> {
        self.keep_user(&user)?;
        self.overlay.put(self.keys.user_by_name(&user.name), &user.id)?;
        self.overlay.put(self.keys.user_by_access_key(&user.access_key), &user.id)?;
        Ok(Outcome::User(Box::new(user)))
    }

    fn reserve_bucket(&mut self, entry: DirectoryEntry) -> Applied<Outcome> {
        demand(!entry.name.is_empty())?;
        if let Some(taken) = self.overlay.load(&self.keys.directory(&entry.name))? {
            return Err(Rejection::BucketTaken(Box::new(taken)).into());
        }
        // A user that was removed meanwhile must not come to own anything.
        if !self.overlay.contains(&self.keys.user(entry.owner))? {
            return Err(Rejection::NoSuchUser.into());
        }
        self.state.next_bucket = self.state.next_bucket.checked_add(1).ok_or(Rejection::Invalid)?;
        self.overlay.put(self.keys.directory(&entry.name), &entry)?;
        self.overlay.put(self.keys.directory_by_owner(entry.owner, &entry.name), &Flag)?;
        self.overlay.put(self.keys.directory_unfinished(&entry.name), &Flag)?;
        Ok(Outcome::Directory(entry))
    }

    fn activate_bucket(&mut self, name: &str, bucket: BucketId) -> Applied<Outcome> {
        let entry: Option<DirectoryEntry> = self.overlay.load(&self.keys.directory(name))?;
        let entry = entry.filter(|entry| entry.id == bucket).ok_or(Rejection::UnknownBucket)?;
        self.overlay.delete(self.keys.directory_unfinished(name));
        self.overlay.put(self.keys.directory(name), &DirectoryEntry { state: DirectoryState::Active, ..entry })?;
        Ok(Outcome::Done)
    }

    fn free_bucket(&mut self, name: &str, bucket: BucketId) -> Applied<Outcome> {
        let entry: Option<DirectoryEntry> = self.overlay.load(&self.keys.directory(name))?;
        if let Some(entry) = entry.filter(|entry| entry.id == bucket) {
            self.overlay.delete(self.keys.directory(name));
            self.overlay.delete(self.keys.directory_by_owner(entry.owner, name));
            self.overlay.delete(self.keys.directory_unfinished(name));
        }
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
#[path = "root_test.rs"]
mod tests;
