//! What a handler is asked, and what most of them look up.

use cairn_storage::meta::query::UserTable;
use cairn_storage::meta::record::{Group, MAX_IDENTITY_NAME_LEN, UserRecord, UserRights};
use cairn_storage::types::now_ms;

use super::not_built;
use super::table::About;
use crate::error::{Code, S3Error};
use crate::gate::{ACCOUNT, Identity, Library};
use crate::policy::builtin;
use crate::request::Params;
use crate::xml::Document;

/// How many items a list has where nothing is said of it, and at most.
const ITEMS: usize = 100;
const MAX_ITEMS: usize = 1_000;

#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub caller: &'a Identity,
    pub params: &'a Params,
    pub about: About,
    pub table: &'a UserTable,
}

impl<'a> Ask<'a> {
    /// The ARN that policies are asked about. Of a list it is that of all items, without a name.
    pub fn resource(&self) -> Result<String, S3Error> {
        let of = |kind: &str, name: &str| format!("arn:aws:iam::{ACCOUNT}:{kind}/{name}");
        Ok(match self.about {
            About::Caller => "*".to_owned(),
            About::User if self.optional("UserName").is_none() => self.caller.arn().to_owned(),
            About::User => of("user", self.name("UserName")?),
            About::Source => of("user", self.source()?),
            About::Users => of("user", ""),
            About::Group => of("group", self.name("GroupName")?),
            About::Groups => of("group", ""),
            About::Policy => self.policy_arn()?.1.to_owned(),
            About::NewPolicy => of("policy", self.name("PolicyName")?),
            About::Policies => of("policy", ""),
        })
    }

    /// A parameter that may be absent.
    pub fn optional(&self, name: &str) -> Option<&'a str> {
        self.params.get(name).filter(|value| !value.is_empty())
    }

    /// A parameter that must be there.
    pub fn text(&self, name: &str) -> Result<&'a str, S3Error> {
        self.optional(name).ok_or_else(|| invalid(format!("The parameter {name} must be there.")))
    }

    /// The same for a name, which is no longer than any can be: patterns of policies are held against it.
    pub fn name(&self, name: &str) -> Result<&'a str, S3Error> {
        check_len(self.text(name)?)
    }

    /// The user whom `UserName` names.
    pub fn user(&self) -> Result<&'a UserRecord, S3Error> {
        let name = self.name("UserName")?;
        self.user_of_name(name)
    }

    pub fn user_of_name(&self, name: &str) -> Result<&'a UserRecord, S3Error> {
        // Root is no user of IAM's.
        let mut users = self.table.users.iter().filter(|user| !user.root);
        users.find(|user| user.name == name).ok_or_else(|| no_such("user", name))
    }

    /// The user whom `UserName` names, else the caller.
    pub fn user_or_caller(&self) -> Result<&'a UserRecord, S3Error> {
        if self.optional("UserName").is_some() {
            return self.user();
        }
        let caller = self.table.users.iter().find(|user| user.id == self.caller.id);
        caller.ok_or_else(|| no_such("user", &self.caller.name))
    }

    /// What is set of a user.
    pub fn rights(&self, user: &UserRecord) -> Option<&'a UserRights> {
        self.table.rights.iter().find(|(id, _)| *id == user.id).map(|(_, rights)| rights)
    }

    /// The group that `GroupName` names.
    pub fn group(&self) -> Result<&'a Group, S3Error> {
        let name = self.name("GroupName")?;
        self.table.groups.iter().find(|group| group.name == name).ok_or_else(|| no_such("group", name))
    }

    /// The groups that a user is in.
    pub fn groups_of(&self, user: &UserRecord) -> Vec<&'a Group> {
        self.table.groups.iter().filter(|group| group.members.contains(&user.id)).collect()
    }

    /// The name in `PolicyArn`, and the whole of it.
    pub fn policy_arn(&self) -> Result<(&'a str, &'a str), S3Error> {
        let arn = self.text("PolicyArn")?;
        let own = arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_prefix(ACCOUNT));
        let named = own.or_else(|| arn.strip_prefix("arn:aws:iam::aws")).and_then(|rest| rest.strip_prefix(":policy/"));
        let name = check_len(named.ok_or_else(|| invalid(format!("ARN {} is not valid.", start(arn))))?)?;
        if policy_arn_of(name) != arn {
            return Err(no_such_policy(arn));
        }
        Ok((name, arn))
    }

    /// The name in `PolicySourceArn`.
    pub fn source(&self) -> Result<&'a str, S3Error> {
        let arn = self.text("PolicySourceArn")?;
        let own = arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_prefix(ACCOUNT));
        let named = own.and_then(|rest| rest.strip_prefix(":user/"));
        check_len(named.ok_or_else(|| invalid(format!("ARN {} is not a user's.", start(arn))))?)
    }

    /// Whether the items of a list, all of which are at `/`, have the prefix that is asked for.
    pub fn is_at_prefix(&self) -> bool {
        self.optional("PathPrefix").is_none_or(|prefix| prefix == "/")
    }

    /// That what is to be made is to be at `/`.
    pub fn check_path(&self) -> Result<(), S3Error> {
        match self.optional("Path") {
            None | Some("/") => Ok(()),
            Some(_) => Err(not_built("a Path other than /")),
        }
    }

    /// Writes the page of a list that is asked for. `items` are in the order of their keys, each of which is there
    /// once.
    pub fn page<T>(
        &self,
        document: &mut Document,
        list: &'static str,
        items: &[T],
        key: impl Fn(&T) -> &str,
        show: impl Fn(&mut Document, &T),
    ) -> Result<(), S3Error> {
        let most = match self.optional("MaxItems").map(str::parse) {
            None => ITEMS,
            Some(Ok(most @ 1..=MAX_ITEMS)) => most,
            Some(_) => return Err(invalid(format!("MaxItems must be a number from 1 to {MAX_ITEMS}."))),
        };
        let marker = self.optional("Marker");
        let first = items.partition_point(|item| marker.is_some_and(|marker| key(item) <= marker));
        let (_, rest) = items.split_at(first);
        let shown = rest.get(..most).unwrap_or(rest);
        document.open(list);
        for item in shown {
            show(document.open("member"), item);
            document.close();
        }
        document.close();
        let last = shown.last().filter(|_| shown.len() < rest.len());
        document.display("IsTruncated", last.is_some()).text_opt("Marker", last.map(key));
        Ok(())
    }
}

/// The ARN of a policy by its name.
pub(super) fn policy_arn_of(name: &str) -> String {
    let owner = if builtin::find(name).is_some() { "aws" } else { ACCOUNT };
    format!("arn:aws:iam::{owner}:policy/{name}")
}

pub(super) fn invalid(problem: impl Into<String>) -> S3Error {
    S3Error::with(Code::ValidationError, problem)
}

pub(super) fn no_such(kind: &str, name: &str) -> S3Error {
    S3Error::with(Code::NoSuchEntity, format!("The {kind} with name {name} cannot be found."))
}

pub(super) fn no_such_policy(arn: &str) -> S3Error {
    S3Error::with(Code::NoSuchEntity, format!("Policy {arn} does not exist or is not attachable."))
}

/// The start of what a client sent, as an error says it: no answer is longer for what was asked.
pub(super) fn start(text: &str) -> &str {
    text.char_indices().nth(128).map_or(text, |(end, _)| &text[..end])
}

/// A user as the table has it, with the policies that have a say in what it may do.
pub(super) fn identity(table: &UserTable, user: &UserRecord) -> Identity {
    let rights = table.rights.iter().find(|(id, _)| *id == user.id).map(|(_, rights)| rights);
    let groups: Vec<_> = table.groups.iter().filter(|group| group.members.contains(&user.id)).cloned().collect();
    let of_groups = groups.iter().flat_map(|group| &group.policies);
    let names: Vec<_> = rights.iter().flat_map(|rights| &rights.policies).chain(of_groups).collect();
    let policies: Vec<_> = table.policies.iter().filter(|policy| names.contains(&&policy.name)).cloned().collect();
    Identity::from(user).with_rights(Library::new(&policies, &groups).rights(user.id, rights))
}

/// The caller as the table has it, by an access key. `None` where either is disabled, or no more.
pub(super) fn as_it_is(table: &UserTable, caller: &Identity, access_key: &str) -> Option<Identity> {
    let user = table.users.iter().find(|user| user.id == caller.id)?;
    if table.rights.iter().any(|(id, rights)| *id == user.id && rights.disabled) {
        return None;
    }
    let now = identity(table, user);
    if user.access_key == access_key {
        return Some(now);
    }
    let key = table.keys.iter().find(|key| key.access_key == access_key && key.user == user.id)?;
    let is_good = !key.disabled && key.expires_ms.is_none_or(|expires_ms| now_ms() < expires_ms);
    is_good.then(|| now.with_rights(now.rights().narrowed_by(key)))
}

fn check_len(name: &str) -> Result<&str, S3Error> {
    if name.len() <= MAX_IDENTITY_NAME_LEN { Ok(name) } else { Err(invalid("No name has more than 128 characters.")) }
}
