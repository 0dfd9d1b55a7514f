//! Who may do what: policies in IAM's language, and the decision that they make together. Pure: no clock, no network,
//! no lookup of its own.
//!
//! [`Policy::parse`] reads a policy once and says where a fault is; [`Policy::evaluate`] asks one policy; [`decide`]
//! asks all that have a say, as `decide.rs` tells. A question is an [`Asked`]: a [`Principal`], an action, a resource,
//! and a [`Context`] with the values of the condition keys.
//!
//! Sources: IAM User Guide, "IAM JSON policy elements reference", "Grammar of the IAM JSON policy language", "Policy
//! evaluation logic"; S3 User Guide, "Policies and permissions in Amazon S3", "Blocking public access to your Amazon S3
//! storage". Where IAM leaves a choice, the one that grants less is taken.

mod actions;
mod arn;
mod bucket;
pub mod builtin;
mod condition;
mod context;
mod date;
mod decide;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod json;
mod network;
mod parse;
mod pattern;
mod principal;
mod public;
mod statement;

use std::fmt;

pub use context::{Asked, Context, Lookup, Value};
pub use decide::{Because, Decision, Grounds, Owner, Source, decide};
pub use network::Network;
pub use principal::{Grantee, Identity, Principal, Session};
pub use public::is_public;

use statement::{Effect, Statement};

#[cfg(test)]
mod examples_test;
#[cfg(test)]
mod property_test;
#[cfg(test)]
mod testing;

/// The longest policy of any kind, in bytes: S3's limit for bucket policies. IAM's limits for the others are smaller,
/// and do not count white space.
pub const MAX_LEN: usize = 20 << 10;

/// What a policy is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A user or a group: has no Principal.
    Identity,
    /// A bucket: each statement has a Principal or a NotPrincipal.
    Bucket,
    /// A session or an access key, whose rights it narrows: has no Principal.
    Session,
}

/// Why a policy is refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// `Statement[1].Condition.StringLike`; empty for the policy itself.
    pub path: String,
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "the policy {}", self.problem),
            path => write!(f, "{path}: {}", self.problem),
        }
    }
}

/// A policy that has been read.
#[derive(Debug, Clone)]
pub struct Policy {
    text: Box<str>,
    kind: Kind,
    statements: Box<[Statement]>,
    /// Sorted, in lower case.
    keys: Box<[Box<str>]>,
}

/// What one policy says to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'p> {
    Allow(StatementRef<'p>),
    Deny(StatementRef<'p>),
    /// No statement is about it.
    Silent,
}

/// The statement that made a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementRef<'p> {
    /// Counted from 0.
    pub index: usize,
    pub sid: Option<&'p str>,
    /// As what it names the one who asked.
    pub grantee: Grantee,
}

impl fmt::Display for StatementRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement {}", self.index + 1)?;
        self.sid.filter(|sid| !sid.is_empty()).map_or(Ok(()), |sid| write!(f, " ({sid:?})"))
    }
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn parse(json: &[u8], kind: Kind) -> Result<Self, Fault> {
        parse::policy(json, kind)
    }

    /// In the place of a policy that cannot be read: it denies everything to everybody.
    pub fn nothing(kind: Kind) -> Self {
        Self { text: Box::default(), kind, statements: Box::new([Statement::deny_all()]), keys: Box::default() }
    }

    /// A statement, as it was given; counted from 0.
    pub fn statement(&self, index: usize) -> Option<String> {
        let policy: serde_json::Value = serde_json::from_str(&self.text).ok()?;
        match policy.get("Statement")? {
            serde_json::Value::Array(statements) => statements.get(index).map(ToString::to_string),
            one => (index == 0).then(|| one.to_string()),
        }
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether an answer may depend on a condition key that starts so (`s3:ExistingObjectTag/`), be it by a variable.
    pub fn mentions(&self, start: &str) -> bool {
        let starts = |key: &str| {
            key.as_bytes().get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
        };
        self.keys.iter().any(|key| starts(key))
    }

    /// Whether some statement that allows names this principal and this action, whatever the resource and the conditions.
    /// Where it says no, [`Self::evaluate`] allows none of it: a cheap question before a stranger's document is read.
    pub fn could_allow(&self, principal: &Principal, action: &str) -> bool {
        self.statements
            .iter()
            .any(|statement| statement.effect == Effect::Allow && statement.names(principal, action).is_some())
    }

    /// What this policy alone says: the first statement that denies, else the one that allows and names the caller
    /// closest.
    pub fn evaluate(&self, asked: &Asked) -> Verdict<'_> {
        let mut allow: Option<StatementRef> = None;
        for (index, statement) in self.statements.iter().enumerate() {
            let Some(grantee) = statement.applies(asked) else { continue };
            let found = StatementRef { index, sid: statement.sid.as_deref(), grantee };
            match statement.effect {
                Effect::Deny => return Verdict::Deny(found),
                Effect::Allow if allow.is_none_or(|best| grantee < best.grantee) => allow = Some(found),
                Effect::Allow => {}
            }
        }
        allow.map_or(Verdict::Silent, Verdict::Allow)
    }
}
