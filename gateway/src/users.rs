//! Who has an access key. Users are remembered for some seconds; keys that nobody has are remembered apart from them and
//! asked for at a bounded rate, so that whoever sends made-up keys neither pushes users out nor keeps the root group busy.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_storage::client::Client;
use cairn_storage::meta::record::UserRecord;
use cairn_storage::meta::{Answer, Query};
use cairn_storage::types::ROOT_GROUP;
use parking_lot::Mutex;

use crate::cache::Cache;
use crate::error::{Code, S3Error};
use crate::gate::{Caller, Identity};
use crate::gateway::unexpected;

/// How old what is known of a user may be: so long may a removed user go on.
pub(crate) const USER_LIFETIME: Duration = Duration::from_secs(5);

/// How long a key that nobody has is not asked for again.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(2);

/// The most entries of each cache.
const CAPACITY: usize = 10_000;

/// How many keys that turn out to be nobody's are asked for one by one, in a burst and in each second.
const UNKNOWN_RATE: u32 = 50;

/// How old the list of all users may be that is looked at past that rate.
const LIST_LIFETIME: Duration = Duration::from_secs(1);

/// An access key's user, and the secret, which goes no further than to where signatures are checked.
pub(crate) struct Known {
    pub caller: Caller,
    pub secret_key: String,
}

impl From<UserRecord> for Known {
    fn from(user: UserRecord) -> Self {
        Self { caller: Arc::new(Identity::from(&user)), secret_key: user.secret_key }
    }
}

/// The users, by access key, as this gateway knows them.
pub(crate) struct Users {
    known: Cache<Arc<Known>>,
    unknown: Cache<()>,
    budget: Mutex<Budget>,
    /// Of all users; taken by one request at a time, which the others wait for.
    list: tokio::sync::Mutex<Option<List>>,
}

struct List {
    taken: Instant,
    /// `None` where the root group did not answer: those who waited for it do not ask once more, one after another.
    by_key: Option<HashMap<String, Arc<Known>>>,
}

impl Users {
    pub(crate) fn new() -> Self {
        Self {
            known: Cache::new(CAPACITY),
            unknown: Cache::new(CAPACITY),
            budget: Mutex::new(Budget { left: UNKNOWN_RATE, since: Instant::now() }),
            list: tokio::sync::Mutex::new(None),
        }
    }

    /// The user of an access key, a few seconds old at most.
    ///
    /// While too many unknown keys come in, the root group is asked for all users once a second in place of each key:
    /// nobody is refused whose key is good, and made-up keys cost one question a second.
    pub(crate) async fn find(&self, client: &Client, access_key: &str) -> Result<Option<Arc<Known>>, S3Error> {
        if let Some(known) = self.known.get(access_key) {
            return Ok(Some(known));
        }
        if self.unknown.get(access_key).is_some() {
            return Ok(None);
        }
        let user = if self.budget.lock().take(Instant::now()) {
            let user = ask(client, access_key).await?;
            if user.is_some() {
                self.budget.lock().give_back();
            }
            user
        } else {
            self.find_in_list(client, access_key).await?
        };
        match &user {
            Some(user) => self.known.insert(access_key, user.clone(), USER_LIFETIME),
            None => self.unknown.insert(access_key, (), UNKNOWN_LIFETIME),
        }
        Ok(user)
    }

    /// Forgets everything, after a change of our own.
    pub(crate) async fn forget(&self) {
        self.known.clear();
        self.unknown.clear();
        *self.list.lock().await = None;
    }

    async fn find_in_list(&self, client: &Client, access_key: &str) -> Result<Option<Arc<Known>>, S3Error> {
        let mut list = self.list.lock().await;
        if let Some(known) = list.as_ref().filter(|list| list.taken.elapsed() < LIST_LIFETIME) {
            let by_key = known.by_key.as_ref().ok_or(Code::ServiceUnavailable)?;
            return Ok(by_key.get(access_key).cloned());
        }
        let (by_key, found) = match ask_for_all(client).await {
            Ok(by_key) => {
                let found = by_key.get(access_key).cloned();
                (Some(by_key), Ok(found))
            }
            Err(error) => (None, Err(error)),
        };
        // Only now: however long the answer took, those who waited for it are served.
        *list = Some(List { taken: Instant::now(), by_key });
        found
    }
}

async fn ask_for_all(client: &Client) -> Result<HashMap<String, Arc<Known>>, S3Error> {
    let known = |user: UserRecord| (user.access_key.clone(), Arc::new(Known::from(user)));
    match client.query(ROOT_GROUP, Query::Users).await? {
        Answer::Users(users) => Ok(users.into_iter().map(known).collect()),
        _ => Err(unexpected("Users")),
    }
}

async fn ask(client: &Client, access_key: &str) -> Result<Option<Arc<Known>>, S3Error> {
    match client.query(ROOT_GROUP, Query::UserByAccessKey { access_key: access_key.to_owned() }).await? {
        Answer::User(user) => Ok(user.map(|user| Arc::new(Known::from(*user)))),
        _ => Err(unexpected("UserByAccessKey")),
    }
}

/// Questions that may be asked, filled up each second.
struct Budget {
    left: u32,
    since: Instant,
}

impl Budget {
    fn take(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            *self = Self { left: UNKNOWN_RATE, since: now };
        }
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    fn give_back(&mut self) {
        self.left = (self.left + 1).min(UNKNOWN_RATE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    #[tokio::test]
    async fn made_up_keys_neither_push_users_out_nor_keep_the_root_group_busy() {
        let fake = Fake::default();
        let gateway = fake.gateway();
        fake.add_user("anna", false);
        assert!(gateway.user_by_access_key("KEYanna").await.unwrap().is_some());
        let before = fake.0.lock().root_queries;
        let started = Instant::now();
        for number in 0..3 * CAPACITY {
            assert!(gateway.user_by_access_key(&format!("KEY{number}")).await.unwrap().is_none());
        }
        let asked = fake.0.lock().root_queries - before;
        let seconds = usize::try_from(started.elapsed().as_secs()).unwrap() + 1;
        assert!(asked <= seconds * (UNKNOWN_RATE as usize + 2), "{asked} questions in {seconds} s");
        assert!(gateway.0.users.known.get("KEYanna").is_some(), "a user is not pushed out");
    }

    #[tokio::test]
    async fn a_user_is_found_while_made_up_keys_come_in() {
        let fake = Fake::default();
        let gateway = fake.gateway();
        fake.add_user("anna", false);
        for number in 0..10 * UNKNOWN_RATE {
            assert!(gateway.user_by_access_key(&format!("KEY{number}")).await.unwrap().is_none());
        }
        assert_eq!(gateway.user_by_access_key("KEYanna").await.unwrap().unwrap().caller.name, "anna");
        // Also one who has just come, by way of this gateway.
        fake.add_user("ben", false);
        gateway.forget_users().await;
        assert_eq!(gateway.user_by_access_key("KEYben").await.unwrap().unwrap().caller.name, "ben");
    }

    #[test]
    fn a_question_about_a_user_costs_nothing_of_the_budget() {
        let now = Instant::now();
        let mut budget = Budget { left: UNKNOWN_RATE, since: now };
        for _ in 0..10 * UNKNOWN_RATE {
            assert!(budget.take(now));
            budget.give_back();
        }
        assert!((0..UNKNOWN_RATE).all(|_| budget.take(now)));
        assert!(!budget.take(now));
        assert!(budget.take(now + Duration::from_secs(1)));
    }
}
