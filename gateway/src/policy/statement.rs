//! One statement of a policy: whom, what and when it is about.

use super::arn::ArnPattern;
use super::condition::Condition;
use super::context::Asked;
use super::pattern::Glob;
use super::principal::{Grantee, Principal, Principals};

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
    pub actions: Patterns<Glob>,
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
    /// Denies everything to everybody.
    pub(super) fn deny_all() -> Self {
        Self {
            path: Box::default(),
            sid: None,
            effect: Effect::Deny,
            principals: None,
            actions: Patterns { not: true, any_of: Box::default() },
            resources: Patterns { not: true, any_of: Box::default() },
            conditions: Box::default(),
        }
    }

    /// As what it names the one who asks, where it is about the question at all.
    pub(super) fn applies(&self, asked: &Asked) -> Option<Grantee> {
        let grantee = self.names(asked.principal, asked.action)?;
        let about = self.resources.cover(|pattern| pattern.matches(asked.resource, asked))
            && self.conditions.iter().all(|condition| condition.holds(asked));
        about.then_some(grantee)
    }

    /// As what it names this principal, where it is about this action, whatever the resource and the conditions.
    pub(super) fn names(&self, principal: &Principal, action: &str) -> Option<Grantee> {
        if !self.actions.cover(|pattern| pattern.matches(action)) {
            return None;
        }
        self.principals.as_ref().map_or(Some(Grantee::Caller), |principals| principals.grantee(principal))
    }

    /// The condition keys that it asks for, also by variables.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let resources = self.resources.any_of.iter().flat_map(ArnPattern::keys);
        resources.chain(self.conditions.iter().flat_map(Condition::keys))
    }
}
