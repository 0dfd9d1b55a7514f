//! One statement of a policy: whom, what and when it is about.

use super::arn::ArnPattern;
use super::condition::Condition;
use super::context::Asked;
use super::pattern::Pattern;
use super::principal::{Grantee, Principals};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

#[derive(Debug, Clone)]
pub(super) struct Statement {
    /// Where it stands in the policy.
    pub path: Box<str>,
    pub sid: Option<Box<str>>,
    pub effect: Effect,
    /// `None` in the policy of an identity.
    pub principals: Option<Principals>,
    pub actions: Patterns<Pattern>,
    pub resources: Patterns<ArnPattern>,
    pub conditions: Box<[Condition]>,
}

/// An element, or its Not-.
#[derive(Debug, Clone)]
pub(super) struct Patterns<P> {
    pub not: bool,
    pub any_of: Box<[P]>,
}

impl<P> Patterns<P> {
    pub(super) fn cover(&self, matches: impl FnMut(&P) -> bool) -> bool {
        self.any_of.iter().any(matches) != self.not
    }
}

impl Statement {
    /// As what it names the one who asks, where it is about the question at all.
    pub(super) fn applies(&self, asked: &Asked) -> Option<Grantee> {
        if !self.actions.cover(|pattern| pattern.matches(asked.action, asked))
            || !self.resources.cover(|pattern| pattern.matches(asked.resource, asked))
        {
            return None;
        }
        let grantee = match &self.principals {
            None => Grantee::Caller,
            Some(principals) => principals.grantee(asked)?,
        };
        self.conditions.iter().all(|condition| condition.holds(asked)).then_some(grantee)
    }

    /// The condition keys that it asks for, also by variables.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let resources = self.resources.any_of.iter().flat_map(ArnPattern::keys);
        resources.chain(self.conditions.iter().flat_map(Condition::keys))
    }
}
