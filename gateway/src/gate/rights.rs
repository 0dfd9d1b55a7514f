//! What somebody may do by the policies of users, of groups, and of the key that signed: read when the users change, and
//! asked by the gate.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cairn_storage::meta::record::{AccessKey, Group, NamedPolicy, UserRights};
use cairn_storage::types::UserId;

use crate::policy::{Kind, Policy, builtin};

/// The policies that have a say in what an identity may do, besides those of buckets.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    pub user: Vec<Arc<Policy>>,
    pub groups: Vec<Arc<Policy>>,
    /// Those that narrow all of it; `None` where nothing does.
    pub narrowing: Option<Vec<Arc<Policy>>>,
}

impl Rights {
    pub fn is_empty(&self) -> bool {
        self.user.is_empty() && self.groups.is_empty() && self.narrowing.is_none()
    }

    /// The same, as a key narrows it.
    pub fn narrowed_by(&self, key: &AccessKey) -> Self {
        let narrowing = key.policy.as_ref().map(|text| vec![read(text, Kind::Session, &key.access_key)]);
        Self { narrowing, ..self.clone() }
    }
}

/// All policies by name, and who is in which groups.
pub struct Library {
    named: HashMap<String, Arc<Policy>>,
    of_groups: HashMap<UserId, Vec<Arc<Policy>>>,
}

impl Library {
    pub fn new(policies: &[NamedPolicy], groups: &[Group]) -> Self {
        static BUILT_IN: LazyLock<HashMap<String, Arc<Policy>>> = LazyLock::new(|| {
            builtin::ALL.iter().map(|(name, text)| ((*name).to_owned(), read(text, Kind::Identity, name))).collect()
        });
        let read = |policy: &NamedPolicy| (policy.name.clone(), read(&policy.text, Kind::Identity, &policy.name));
        let mut named: HashMap<_, _> = policies.iter().map(read).collect();
        // What is shown under such a name is what is built in.
        named.extend(BUILT_IN.iter().map(|(name, policy)| (name.clone(), policy.clone())));
        let mut library = Self { named, of_groups: HashMap::new() };
        for group in groups {
            let policies = library.of_holder(&group.policies, &group.inline);
            for member in &group.members {
                let known = library.of_groups.entry(*member).or_default();
                for policy in &policies {
                    if !known.iter().any(|known| Arc::ptr_eq(known, policy)) {
                        known.push(policy.clone());
                    }
                }
            }
        }
        library
    }

    /// Of a user, by any key.
    pub fn rights(&self, user: UserId, rights: Option<&UserRights>) -> Rights {
        let own = rights.map(|rights| self.of_holder(&rights.policies, &rights.inline));
        let groups = self.of_groups.get(&user).cloned().unwrap_or_default();
        Rights { user: own.unwrap_or_default(), groups, narrowing: None }
    }

    fn of_holder(&self, attached: &[String], inline: &[(String, String)]) -> Vec<Arc<Policy>> {
        // One that was built in once, and is not any more, cannot be read either.
        let attached = attached.iter().map(|name| {
            let known = self.named.get(name).cloned();
            known.unwrap_or_else(|| Arc::new(Policy::nothing(Kind::Identity)))
        });
        attached.chain(inline.iter().map(|(name, text)| read(text, Kind::Identity, name))).collect()
    }
}

/// A policy of the table. One that this release cannot read denies everything.
fn read(text: &str, kind: Kind, name: &str) -> Arc<Policy> {
    let policy = Policy::parse(text.as_bytes(), kind).unwrap_or_else(|fault| {
        tracing::error!(name, %fault, "a policy cannot be read: who has it is denied everything");
        Policy::nothing(kind)
    });
    Arc::new(policy)
}

#[cfg(test)]
#[path = "rights_test.rs"]
mod tests;
