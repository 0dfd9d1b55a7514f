//! What is asked of a policy: who wants to do what to which resource, and what else is known of the request.

use std::borrow::Cow;
use std::net::IpAddr;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::principal::Principal;

/// One question. `action` as `s3:GetObject`, `resource` as `arn:aws:s3:::bucket/key`.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub principal: &'a Principal<'a>,
    pub action: &'a str,
    pub resource: &'a str,
    pub context: &'a Context<'a>,
}

/// A value of a condition key. With its type, so that nothing is written out that no condition asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    Text(Cow<'a, str>),
    Flag(bool),
    Number(i64),
    Address(IpAddr),
    /// Milliseconds since 1970.
    Time(u64),
}

/// Looks values up that are worth it only where a condition asks for their key: an object's tags, for instance.
/// Is given the key in lower case; gives nothing for a key that the request does not have.
pub type Lookup<'a> = &'a (dyn Fn(&str) -> Vec<Value<'static>> + Sync);

/// The values of the condition keys. A key that is put in twice has two values; one that is not in it at all is absent.
/// The keys that say who asks (`aws:username`, `aws:userid`, `aws:PrincipalArn`, `aws:PrincipalAccount`,
/// `aws:PrincipalType`, `aws:PrincipalIsAWSService`, `aws:PrincipalServiceName`) come from the [`Principal`] where they
/// are not in it.
#[derive(Clone, Default)]
pub struct Context<'a> {
    facts: Vec<(Cow<'a, str>, Value<'a>)>,
    lookup: Option<Lookup<'a>>,
}

impl<'a> Context<'a> {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value of a key, whose name is the same in any case.
    pub fn push(&mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) {
        let mut key = key.into();
        if key.bytes().any(|byte| byte.is_ascii_uppercase()) {
            key.to_mut().make_ascii_lowercase();
        }
        self.facts.push((key, value.into()));
    }

    /// As [`Self::push`], for a chain of them.
    #[must_use]
    pub fn with(mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) -> Self {
        self.push(key, value);
        self
    }

    /// Is asked for the keys that are not in the context.
    pub fn look_up(&mut self, lookup: Lookup<'a>) {
        self.lookup = Some(lookup);
    }
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.facts.iter().map(|(key, value)| (key, value))).finish()
    }
}

/// The values of one key.
pub(super) enum Found<'a> {
    One(Value<'a>),
    Many(Vec<Value<'a>>),
}

impl<'a> Found<'a> {
    pub(super) fn values(&self) -> &[Value<'a>] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

impl Asked<'_> {
    /// The values of a key, in lower case; none where it is absent.
    pub(super) fn values(&self, key: &str) -> Found<'_> {
        let mut facts = self.context.facts.iter().filter(|(name, _)| name == key).map(|(_, value)| value.borrowed());
        if let Some(first) = facts.next() {
            return match facts.next() {
                None => Found::One(first),
                Some(second) => Found::Many([first, second].into_iter().chain(facts).collect()),
            };
        }
        let looked_up = self.context.lookup.map(|lookup| lookup(key)).unwrap_or_default();
        if !looked_up.is_empty() {
            return Found::Many(looked_up);
        }
        self.principal.value(key).map_or(Found::Many(Vec::new()), Found::One)
    }

    /// What a variable stands for. `None` where its key is absent, `Some(None)` where the key has no one value: several,
    /// or an empty one, which is none for AWS.
    pub(super) fn variable(&self, key: &str) -> Option<Option<String>> {
        let found = self.values(key);
        match found.values() {
            [] => None,
            [value] => Some(value.with_text(|text| (!text.is_empty()).then(|| text.to_owned()))),
            _ => Some(None),
        }
    }
}

impl Value<'_> {
    fn borrowed(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Flag(flag) => Value::Flag(*flag),
            Self::Number(number) => Value::Number(*number),
            Self::Address(address) => Value::Address(*address),
            Self::Time(at_ms) => Value::Time(*at_ms),
        }
    }

    /// As the operators on strings see it.
    pub(super) fn with_text<T>(&self, use_it: impl FnOnce(&str) -> T) -> T {
        match self {
            Self::Text(text) => use_it(text),
            Self::Flag(true) => use_it("true"),
            Self::Flag(false) => use_it("false"),
            Self::Number(number) => use_it(&number.to_string()),
            Self::Address(address) => use_it(&address.to_canonical().to_string()),
            Self::Time(at_ms) => {
                let date = i64::try_from(at_ms / 1000).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
                use_it(&date.and_then(|date| date.format(&Rfc3339).ok()).unwrap_or_default())
            }
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<IpAddr> for Value<'_> {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}
