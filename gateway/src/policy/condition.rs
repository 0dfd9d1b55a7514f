//! One line of the element Condition: an operator, a key, and the values that it is held against.
//!
//! All lines of a statement must hold; of the values of one line one is enough, and for an operator with a Not none may
//! match. IAM User Guide, "IAM JSON policy elements: Condition operators" and "Multivalued context keys".

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Fault;
use super::arn::ArnPattern;
use super::context::{Asked, Value};
use super::date;
use super::json::{At, Place};
use super::network::Network;
use super::pattern::{Pattern, Syntax};

#[derive(Debug, Clone)]
pub(super) struct Condition {
    /// Where its operator stands in the policy.
    pub path: Box<str>,
    /// In lower case.
    pub key: Box<str>,
    pub set: Set,
    /// Whether it holds where the key is absent.
    pub if_exists: bool,
    /// Whether no value may match.
    pub not: bool,
    pub test: Test,
}

/// How a key with several values is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    /// As a key with one value: one that matches is enough, with a Not none may.
    Plain,
    /// `ForAllValues:` each value must pass; none is enough.
    All,
    /// `ForAnyValue:` one value must pass; none is not enough.
    Any,
}

/// What the values are, and how they are compared.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Text(Box<[Pattern]>),
    Arn(Box<[ArnPattern]>),
    Number(Order, Box<[f64]>),
    /// Milliseconds since 1970.
    Date(Order, Box<[i64]>),
    Flag(Box<[bool]>),
    Binary(Box<[Box<[u8]>]>),
    Address(Box<[Network]>),
    /// Whether the key is absent.
    Null(Box<[bool]>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// An operator's name, taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operator {
    set: Set,
    if_exists: bool,
    not: bool,
    base: Base,
}

#[derive(Debug, Clone, Copy)]
enum Base {
    Text { ignore_case: bool, wildcards: bool },
    Arn,
    Number(Order),
    Date(Order),
    Flag,
    Binary,
    Address,
    Null,
}

impl Operator {
    /// `ForAnyValue:StringLikeIfExists`. `None` where there is no such operator.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (set, name) = match name.split_once(':') {
            None => (Set::Plain, name),
            Some(("ForAllValues", name)) => (Set::All, name),
            Some(("ForAnyValue", name)) => (Set::Any, name),
            Some(_) => return None,
        };
        let (if_exists, name) = name.strip_suffix("IfExists").map_or((false, name), |name| (true, name));
        let text = |ignore_case, wildcards| Base::Text { ignore_case, wildcards };
        let (not, base) = match name {
            "StringEquals" => (false, text(false, false)),
            "StringNotEquals" => (true, text(false, false)),
            "StringEqualsIgnoreCase" => (false, text(true, false)),
            "StringNotEqualsIgnoreCase" => (true, text(true, false)),
            "StringLike" => (false, text(false, true)),
            "StringNotLike" => (true, text(false, true)),
            "NumericEquals" => (false, Base::Number(Order::Equal)),
            "NumericNotEquals" => (true, Base::Number(Order::Equal)),
            "NumericLessThan" => (false, Base::Number(Order::Less)),
            "NumericLessThanEquals" => (false, Base::Number(Order::LessOrEqual)),
            "NumericGreaterThan" => (false, Base::Number(Order::Greater)),
            "NumericGreaterThanEquals" => (false, Base::Number(Order::GreaterOrEqual)),
            "DateEquals" => (false, Base::Date(Order::Equal)),
            "DateNotEquals" => (true, Base::Date(Order::Equal)),
            "DateLessThan" => (false, Base::Date(Order::Less)),
            "DateLessThanEquals" => (false, Base::Date(Order::LessOrEqual)),
            "DateGreaterThan" => (false, Base::Date(Order::Greater)),
            "DateGreaterThanEquals" => (false, Base::Date(Order::GreaterOrEqual)),
            "Bool" => (false, Base::Flag),
            "BinaryEquals" => (false, Base::Binary),
            "IpAddress" => (false, Base::Address),
            "NotIpAddress" => (true, Base::Address),
            "ArnEquals" | "ArnLike" => (false, Base::Arn),
            "ArnNotEquals" | "ArnNotLike" => (true, Base::Arn),
            "Null" if set == Set::Plain && !if_exists => (false, Base::Null),
            _ => return None,
        };
        Some(Self { set, if_exists, not, base })
    }

    /// The line of one key, under the operator at this place. Variables stand in texts and ARNs only.
    pub(super) fn condition(
        self,
        place: &Place,
        key: &str,
        values: Vec<At<String>>,
        variables: bool,
    ) -> Result<Condition, Fault> {
        let test = match self.base {
            Base::Text { ignore_case, wildcards } => {
                let syntax = Syntax { wildcards, variables };
                Test::Text(each(values, |text| Pattern::parse(&text, syntax, ignore_case))?)
            }
            Base::Arn => Test::Arn(each(values, |text| ArnPattern::parse(&text, variables))?),
            Base::Number(order) => {
                Test::Number(order, each(values, |text| number(&text).ok_or_else(|| no(&text, "number")))?)
            }
            Base::Date(order) => {
                Test::Date(order, each(values, |text| date::parse_ms(&text).ok_or_else(|| no(&text, "date")))?)
            }
            Base::Flag => Test::Flag(each(values, |text| flag(&text).ok_or_else(|| no(&text, "boolean")))?),
            Base::Null => Test::Null(each(values, |text| flag(&text).ok_or_else(|| no(&text, "boolean")))?),
            Base::Binary => Test::Binary(each(values, |text| {
                STANDARD.decode(&text).map(Into::into).map_err(|_| no(&text, "base64"))
            })?),
            Base::Address => {
                let network =
                    |text: String| Network::parse(&text).ok_or_else(|| no(&text, "address or range of addresses"));
                Test::Address(each(values, network)?)
            }
        };
        let Self { set, if_exists, not, base: _ } = self;
        let path = place.as_str().into();
        Ok(Condition { path, key: key.to_ascii_lowercase().into(), set, if_exists, not, test })
    }
}

fn each<T>(values: Vec<At<String>>, read: impl Fn(String) -> Result<T, String>) -> Result<Box<[T]>, Fault> {
    values.into_iter().map(|value| value.read(&read)).collect()
}

fn no(text: &str, what: &str) -> String {
    format!("{text:?} is no {what}")
}

fn number(text: &str) -> Option<f64> {
    // `inf`, `nan` and the like are numbers for Rust alone.
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    plain.then(|| text.parse().ok())?.filter(|number: &f64| number.is_finite())
}

fn flag(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

impl Condition {
    pub(super) fn holds(&self, asked: &Asked) -> bool {
        let found = asked.values(&self.key);
        let values = found.values();
        if let Test::Null(wanted) = &self.test {
            return wanted.contains(&values.is_empty());
        }
        let passes = |value: &Value| self.matches(value, asked) != self.not;
        // An empty text is no value, where there may be several.
        let mut some = values.iter().filter(|value| **value != Value::from("")).peekable();
        match self.set {
            Set::Plain if values.is_empty() => self.if_exists || self.not,
            Set::Plain => values.iter().any(|value| self.matches(value, asked)) != self.not,
            Set::All => some.all(passes),
            Set::Any if some.peek().is_none() => self.if_exists,
            Set::Any => some.any(passes),
        }
    }

    /// Whether a value of the request matches one of the policy's. A value of another type matches none.
    fn matches(&self, value: &Value, asked: &Asked) -> bool {
        match &self.test {
            Test::Text(patterns) => value.with_text(|text| patterns.iter().any(|pattern| pattern.matches(text, asked))),
            Test::Arn(patterns) => value.with_text(|text| patterns.iter().any(|pattern| pattern.matches(text, asked))),
            Test::Number(order, wanted) => {
                as_number(value).is_some_and(|number| wanted.iter().any(|wanted| order.holds(&number, wanted)))
            }
            Test::Date(order, wanted) => {
                as_date_ms(value).is_some_and(|date| wanted.iter().any(|wanted| order.holds(&date, wanted)))
            }
            Test::Flag(wanted) => value.with_text(flag).is_some_and(|flag| wanted.contains(&flag)),
            Test::Binary(wanted) => value.with_text(|text| wanted.iter().any(|wanted| **wanted == *text.as_bytes())),
            Test::Address(networks) => {
                as_address(value).is_some_and(|address| networks.iter().any(|network| network.contains(address)))
            }
            Test::Null(_) => false,
        }
    }

    /// The condition keys that it asks for.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let (texts, arns): (&[Pattern], &[ArnPattern]) = match &self.test {
            Test::Text(patterns) => (patterns, &[]),
            Test::Arn(patterns) => (&[], patterns),
            _ => (&[], &[]),
        };
        let variables = texts.iter().flat_map(Pattern::keys).chain(arns.iter().flat_map(ArnPattern::keys));
        std::iter::once(&*self.key).chain(variables)
    }
}

/// Past 2^53 numbers are compared roughly.
fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => Some(*number as f64),
        Value::Time(at_ms) => Some((at_ms / 1_000) as f64),
        Value::Text(text) => number(text),
        Value::Flag(_) | Value::Address(_) => None,
    }
}

fn as_date_ms(value: &Value) -> Option<i64> {
    match value {
        Value::Time(at_ms) => i64::try_from(*at_ms).ok(),
        Value::Number(seconds) => seconds.checked_mul(1_000),
        Value::Text(text) => date::parse_ms(text),
        Value::Flag(_) | Value::Address(_) => None,
    }
}

fn as_address(value: &Value) -> Option<IpAddr> {
    match value {
        Value::Address(address) => Some(*address),
        Value::Text(text) => text.parse().ok(),
        Value::Flag(_) | Value::Number(_) | Value::Time(_) => None,
    }
}

#[cfg(test)]
#[path = "condition_test.rs"]
mod tests;
