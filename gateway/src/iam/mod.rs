//! IAM and the little of STS that Cairn has, in AWS's query protocol: other words for what the admin API does with
//! users, groups, keys and policies. `table` has a row for each action. A handler decides and does nothing: from the
//! form, the caller and the table of the users it makes an answer, and the command that brings it about. Whoever calls
//! this has checked the signature.
//!
//! Of what IAM knows and Cairn does not: all paths are `/`; a policy has one version, `v1`; the root user is none of
//! IAM's users, so that its keys are found by itself alone, which names nobody.
//!
//! Source: IAM API Reference; Security Token Service API Reference.

mod ask;
mod error;
mod groups;
mod held;
mod keys;
mod policies;
mod show;
mod simulate;
mod table;
mod users;

use std::time::Duration;

use cairn_storage::meta::RootCommand;
use cairn_storage::meta::query::UserTable;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::ask::Ask;
pub(crate) use self::error::error;
use self::table::{About, Handle, ROWS, Row, UNBUILT};
use crate::admin::identities;
use crate::error::{Code, S3Error};
use crate::gate;
use crate::gateway::Gateway;
use crate::operation::parse_query;
use crate::request::{Params, Reply, Request};
use crate::xml::Document;

/// One of the services that speak the query protocol.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Api {
    /// As logs and metrics have it.
    pub name: &'static str,
    /// As the scope of a signature and the actions in policies have it.
    pub service: &'static str,
    version: &'static str,
    namespace: &'static str,
}

pub(crate) static IAM: Api =
    Api { name: "Iam", service: "iam", version: "2010-05-08", namespace: "https://iam.amazonaws.com/doc/2010-05-08/" };

pub(crate) static STS: Api =
    Api { name: "Sts", service: "sts", version: "2011-06-15", namespace: "https://sts.amazonaws.com/doc/2011-06-15/" };

/// How many tables of users are in memory at once for what is asked here; each may take 31 MiB.
const TABLES: usize = 4;

/// How long a request waits for one.
const TABLE_TIME: Duration = Duration::from_secs(5);

/// The parameters that are lists: `NAME.member.1` and so on.
const LISTS: [&str; 2] = ["ActionNames", "ResourceArns"];

static TABLE_ROOM: Semaphore = Semaphore::const_new(TABLES);

/// An action that is asked for, with its parameters.
#[derive(Debug)]
pub(crate) struct Call {
    row: &'static Row,
    params: Params,
}

impl Call {
    /// The action's name.
    pub fn name(&self) -> &'static str {
        self.row.name
    }
}

/// The action that a form asks for.
///
/// # Errors
/// `InvalidAction`; `NotImplemented`, also for a parameter that would not be heeded; `ValidationError`.
pub(crate) fn find(api: &'static Api, form: &str) -> Result<Call, S3Error> {
    let params = parse_query(form).map_err(|error| {
        let problem = format!("The form cannot be read: {}", error.message());
        S3Error::with(Code::ValidationError, problem)
    })?;
    let mut names: Vec<&str> = params.0.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(S3Error::with(Code::ValidationError, "A parameter is there more than once."));
    }
    let (action, version) = (params.get("Action").unwrap_or_default(), params.get("Version").unwrap_or_default());
    if params.get("UserName") == Some("") {
        // The caller is meant by who names nobody.
        return Err(S3Error::with(Code::ValidationError, "The parameter UserName is empty."));
    }
    let Some(row) = ROWS.iter().find(|row| row.api == api && row.name == action && version == api.version) else {
        if version == api.version && UNBUILT.contains(&action) {
            return Err(not_built(action));
        }
        let problem = format!("Could not find operation {} for version {}", ask::start(action), ask::start(version));
        return Err(S3Error::with(Code::InvalidAction, problem));
    };
    // What is not heeded is refused: a boundary of somebody's rights must not be taken for one that holds.
    let takes = |name: &str| match name.split_once(".member.") {
        None => ["Action", "Version"].contains(&name) || row.takes.contains(&name) && !LISTS.contains(&name),
        Some((list, number)) => {
            LISTS.contains(&list) && row.takes.contains(&list) && number.bytes().all(|digit| digit.is_ascii_digit())
        }
    };
    let unheeded = names.into_iter().find(|name| !takes(name));
    if let Some(name) = unheeded {
        return Err(not_built(&format!("{} of {action}", ask::start(name))));
    }
    Ok(Call { row, params })
}

/// Judges a call, that was signed by this access key, and does it.
pub(crate) async fn answer(gateway: &Gateway, call: &Call, request: &Request, access_key: &str) -> Reply {
    let row = call.row;
    let mut document = Document::within(row.response, row.api.namespace);
    let nobody = UserTable::default();
    let ask = Ask { caller: &request.caller, params: &call.params, about: row.about, table: &nobody };
    if row.about == About::Caller {
        decide(row, &ask, &mut document)?;
    } else {
        let action = format!("{}:{}", row.api.service, row.name);
        let resource = ask.resource()?;
        let pass = gate::admit_to_identities(gateway, request, &request.caller, &action, &resource)?;
        let command = {
            let room = timeout(TABLE_TIME, TABLE_ROOM.acquire()).await.ok().and_then(Result::ok);
            let _room = room.ok_or(Code::SlowDown)?;
            let table = identities::table(gateway, pass).await?;
            // By what holds now, as what comes of it may hold for ever.
            let now = ask::as_it_is(&table, &request.caller, access_key).ok_or(Code::AccessDenied)?;
            gate::admit_to_identities(gateway, request, &now, &action, &resource)?;
            decide(row, &Ask { table: &table, ..ask }, &mut document)?
        };
        if let Some(command) = command {
            identities::change(gateway, pass, command).await?;
            tracing::info!(request_id = request.id, by = request.caller.arn(), action, "changed by way of IAM");
        }
    }
    document.open("ResponseMetadata").text("RequestId", &request.id).close();
    Ok(document.reply())
}

/// Has the handler write its answer, and say what is to be done.
fn decide(row: &Row, ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    match row.handle {
        Handle::Shows(show) => {
            document.open(row.result);
            let command = show(ask, document)?;
            document.close();
            Ok(command)
        }
        Handle::Does(change) => change(ask).map(Some),
    }
}

fn not_built(what: &str) -> S3Error {
    S3Error::with(Code::NotImplemented, format!("Cairn does not implement this yet: {what}"))
}

#[cfg(test)]
#[path = "iam_test.rs"]
mod tests;
