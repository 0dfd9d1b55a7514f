//! Who has an access key: each gateway keeps the table of all users, which the root group gives out whole, so that a
//! request of a known user asks nobody, and is stopped by no root group without a leader.
//!
//! A change is effective at every gateway within a second. A question is answered from a state that holds all that was
//! committed before it was put, so a table is as old as the last question that confirmed it, counted from when that
//! was put. That is every half second; where it is late nevertheless, the table is past [`FRESH`], and the request has
//! it put and waits for [`PROMPT`]: both together are a second. Only where the root group has not answered within
//! `PROMPT` either, or has refused, does the table go on as it is, until it is [`OLDEST`]. The question then stays put,
//! or is put again, and no request waits for it before there is an answer. That one is as old as its question, too:
//! where that is past `FRESH`, the next request has another one put.
//!
//! A key that is not in the table may be that of a user who was made a moment ago by way of another gateway: it is
//! refused only by an answer to a question that was put after it came. One task puts all questions, one after another
//! with [`PAUSE`] between them: whoever waits shares the next one, so that made-up keys cost no more than 50 a second,
//! small as long as no user changes.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cairn_storage::client::Client;
use cairn_storage::meta::query::UserTable;
use cairn_storage::meta::record::{AccessKey, UserRights};
use cairn_storage::meta::{Answer, Query};
use cairn_storage::types::{ROOT_GROUP, Stamp, UserId, now_ms};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Code, S3Error};
use crate::gate::{Caller, Identity, Library};
use crate::gateway::unexpected;

/// How often the table is asked for by itself.
const EVERY: Duration = Duration::from_millis(500);

/// How old a table may be that is used without a question, as long as the root group answers.
const FRESH: Duration = Duration::from_millis(750);

/// How soon the root group answers; after that, requests go on with the table that there is.
const PROMPT: Duration = Duration::from_millis(250);

/// How old a table may be that is used while the root group does not answer. The README names it.
const OLDEST: Duration = Duration::from_secs(3_600);

/// How long a request waits that cannot go on without an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// From the end of a question to the next one, at least.
const PAUSE: Duration = Duration::from_millis(20);

/// An access key's user, as the key narrows it, and the secret, which goes no further than to where signatures are checked.
pub(crate) struct Known {
    pub caller: Caller,
    pub secret_key: String,
    /// From then on the key opens nothing.
    expires_ms: Option<u64>,
}

impl Known {
    fn is_good(&self, now_ms: u64) -> bool {
        self.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms)
    }
}

/// The users, as this gateway knows them.
pub(crate) struct Users {
    client: Client,
    shared: Arc<Shared>,
    /// Puts the questions, from the first use on.
    task: OnceLock<AbortOnDropHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: watch::Sender<State>,
    /// Somebody waits for a question.
    wanted: Notify,
}

#[derive(Default)]
struct State {
    table: Option<Table>,
    /// The number of the last question.
    asked: u64,
    /// That of the last one that was answered.
    answered: u64,
    /// The last question was not answered, or not in time.
    silent: bool,
}

/// All users.
struct Table {
    /// To be compared for being the same only, and only within one generation of the cluster: a recovery gives epochs out
    /// again.
    epoch: u64,
    generation: Stamp,
    /// When the last question was put whose answer was this table.
    confirmed: Instant,
    by_access_key: HashMap<String, Arc<Known>>,
    by_id: HashMap<UserId, Caller>,
    disabled: HashSet<UserId>,
}

impl State {
    /// The table, unless it is older than that.
    fn table_within(&self, age: Duration) -> Option<&Table> {
        self.table.as_ref().filter(|table| table.confirmed.elapsed() <= age)
    }

    /// The table, where it may be used without a question.
    fn current(&self) -> Option<&Table> {
        self.table_within(if self.silent { OLDEST } else { FRESH })
    }
}

impl Table {
    fn new(table: UserTable, epoch: u64, generation: Stamp, confirmed: Instant) -> Self {
        let UserTable { users, rights, keys, groups, policies } = table;
        let (mut by_access_key, mut by_id) = (HashMap::with_capacity(users.len()), HashMap::with_capacity(users.len()));
        let library = Library::new(&policies, &groups);
        let rights: HashMap<UserId, UserRights> = rights.into_iter().collect();
        let disabled: HashSet<UserId> =
            rights.iter().filter(|(_, rights)| rights.disabled).map(|(id, _)| *id).collect();
        for user in users {
            let caller = Identity::from(&user).with_rights(library.rights(user.id, rights.get(&user.id)));
            let caller = Arc::new(caller);
            by_id.insert(user.id, caller.clone());
            if !disabled.contains(&user.id) {
                let known = Known { caller, secret_key: user.secret_key, expires_ms: None };
                by_access_key.insert(user.access_key, Arc::new(known));
            }
        }
        for key in keys.into_iter().filter(|key| !key.disabled && !disabled.contains(&key.user)) {
            let Some(caller) = by_id.get(&key.user) else { continue };
            let caller = match key.policy {
                Some(_) => Arc::new(caller.with_rights(caller.rights().narrowed_by(&key))),
                None => caller.clone(),
            };
            let AccessKey { access_key, secret_key, expires_ms, .. } = key;
            by_access_key.insert(access_key, Arc::new(Known { caller, secret_key, expires_ms }));
        }
        Self { epoch, generation, confirmed, by_access_key, by_id, disabled }
    }
}

impl Users {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, shared: Arc::default(), task: OnceLock::new() }
    }

    /// The user of an access key.
    ///
    /// # Errors
    /// `ServiceUnavailable`: the root group does not answer, and the key is not in the table, or that is too old.
    pub(crate) async fn find(&self, access_key: &str) -> Result<Option<Arc<Known>>, S3Error> {
        let find = |table: &Table| table.by_access_key.get(access_key).cloned();
        if let Some(known) = self.look(find).await? {
            return Ok(Some(known).filter(|known| known.is_good(now_ms())));
        }
        if !self.refresh().await {
            return Err(Code::ServiceUnavailable.into());
        }
        Ok(self.look(find).await?.filter(|known| known.is_good(now_ms())))
    }

    /// Who has an id; of who has just come by way of another gateway it may know nothing for a second.
    ///
    /// # Errors
    /// `ServiceUnavailable`: the root group does not answer, and the table is too old.
    pub(crate) async fn find_by_id(&self, id: UserId) -> Result<Option<Caller>, S3Error> {
        self.look(|table| table.by_id.get(&id).cloned()).await
    }

    /// Who has a name, and whether it is disabled.
    ///
    /// # Errors
    /// As [`Self::find_by_id`].
    pub(crate) async fn find_by_name(&self, name: &str) -> Result<Option<(Caller, bool)>, S3Error> {
        self.look(|table| {
            let (id, caller) = table.by_id.iter().find(|(_, caller)| caller.name == name)?;
            Some((caller.clone(), table.disabled.contains(id)))
        })
        .await
    }

    /// Has the table hold all that was changed before the call. False where the root group does not answer.
    pub(crate) async fn refresh(&self) -> bool {
        let asked = self.shared.state.borrow().asked;
        self.wait(PATIENCE, |state| state.answered > asked).await;
        self.shared.state.borrow().answered > asked
    }

    /// Looks something up in a table that is fit for use.
    async fn look<T>(&self, find: impl Fn(&Table) -> T) -> Result<T, S3Error> {
        let patience = {
            let state = self.shared.state.borrow();
            if let Some(table) = state.current() {
                return Ok(find(table));
            }
            if state.table_within(OLDEST).is_some() { PROMPT } else { PATIENCE }
        };
        self.wait(patience, |state| state.current().is_some()).await;
        let state = self.shared.state.borrow();
        state.table_within(OLDEST).map(find).ok_or_else(|| Code::ServiceUnavailable.into())
    }

    /// Has a question put, and waits until the state is as wanted, or the patience is over.
    async fn wait(&self, patience: Duration, is_wanted: impl FnMut(&State) -> bool) {
        self.task
            .get_or_init(|| AbortOnDropHandle::new(tokio::spawn(keep_up(self.client.clone(), self.shared.clone()))));
        self.shared.wanted.notify_one();
        let _ = timeout(patience, self.shared.state.subscribe().wait_for(is_wanted)).await;
    }
}

/// Puts the questions, until it is aborted.
async fn keep_up(client: Client, shared: Arc<Shared>) {
    let mut is_told = false;
    loop {
        let begun = Instant::now();
        match shared.ask(&client).await {
            Ok(()) => is_told = false,
            Err(error) => {
                shared.state.send_modify(|state| state.silent = true);
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(%error, "the root group does not tell the users; those that are known go on");
                }
            }
        }
        sleep(PAUSE).await;
        let _ = timeout_at(begun + EVERY, shared.wanted.notified()).await;
    }
}

impl Shared {
    /// Puts one question.
    async fn ask(&self, client: &Client) -> Result<(), S3Error> {
        let generation = client.map().generation.stamp();
        let mut known = u64::MAX;
        self.state.send_modify(|state| {
            state.asked += 1;
            if let Some(table) = state.table.as_ref().filter(|table| table.generation == generation) {
                known = table.epoch;
            }
        });
        let begun = Instant::now();
        let mut question = pin!(client.query(ROOT_GROUP, Query::UserTable { known }));
        let answer = match timeout(PROMPT, &mut question).await {
            Ok(answer) => answer,
            Err(_) => {
                self.state.send_modify(|state| state.silent = true);
                question.await
            }
        };
        let mut table = match answer? {
            Answer::UserTable { epoch, table: Some(table) } => {
                // It may be large, and has many policies to read.
                let read = tokio::task::spawn_blocking(move || Table::new(*table, epoch, generation, begun));
                Some(read.await.map_err(|_| Code::InternalError)?)
            }
            Answer::UserTable { table: None, .. } => None,
            _ => return Err(unexpected("UserTable")),
        };
        self.state.send_modify(|state| {
            (state.answered, state.silent) = (state.asked, false);
            if table.is_some() {
                std::mem::swap(&mut state.table, &mut table);
            } else if let Some(table) = &mut state.table {
                table.confirmed = begun;
            }
        });
        // The former table is dropped here, where nobody waits for it.
        Ok(())
    }
}

#[cfg(test)]
#[path = "users_test.rs"]
mod tests;
