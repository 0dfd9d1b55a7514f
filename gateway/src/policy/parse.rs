//! From JSON to a policy. The language is strict here: what it does not have is refused with the place where it stands,
//! because a statement that is read otherwise than it was meant grants what nobody meant.

use std::collections::{BTreeSet, HashSet};

use super::arn::ArnPattern;
use super::condition::{Condition, Operator};
use super::json::{At, Json, Place};
use super::pattern::Glob;
use super::principal::{Named, Principals};
use super::statement::{Effect, Patterns, Statement};
use super::{Fault, Kind, MAX_LEN, Policy};

/// How a whole policy is to be read.
#[derive(Debug, Clone, Copy)]
struct Rules {
    kind: Kind,
    /// Since version 2012-10-17.
    variables: bool,
}

pub(super) fn policy(json: &[u8], kind: Kind) -> Result<Policy, Fault> {
    let whole = Place::default();
    if json.len() > MAX_LEN {
        return Err(whole.fault(format!("is longer than {MAX_LEN} bytes")));
    }
    let text = std::str::from_utf8(json).map_err(|_| whole.fault("is not UTF-8"))?;
    let value: Json = serde_json::from_str(text).map_err(|error| whole.fault(format!("is not JSON: {error}")))?;
    let mut fields = Fields::of(At { place: whole.clone(), value }, &["Version", "Id", "Statement"])?;
    let version = fields.take("Version").map(At::text).transpose()?;
    let variables = version.map(|version| version.read(|text| variables(&text))).transpose()?.unwrap_or(false);
    fields.take("Id").map(At::text).transpose()?;
    let rules = Rules { kind, variables };
    let statements = fields.require("Statement")?.items()?;
    let statements = statements.into_iter().map(|at| statement(at, rules)).collect::<Result<Box<[_]>, _>>()?;
    if kind != Kind::Bucket {
        no_sid_twice(&statements)?;
    }
    let keys: BTreeSet<&str> = statements.iter().flat_map(Statement::keys).collect();
    let keys = keys.into_iter().map(Box::from).collect();
    Ok(Policy { text: text.into(), kind, statements, keys })
}

fn variables(version: &str) -> Result<bool, String> {
    match version {
        "2012-10-17" => Ok(true),
        "2008-10-17" => Ok(false),
        _ => Err(format!("{version:?} is neither \"2012-10-17\" nor \"2008-10-17\"")),
    }
}

/// IAM's rule; S3 does not mind.
fn no_sid_twice(statements: &[Statement]) -> Result<(), Fault> {
    let mut seen = HashSet::new();
    let mut named = statements.iter().filter_map(|statement| Some((statement, statement.sid.as_deref()?)));
    match named.find(|(_, sid)| !sid.is_empty() && !seen.insert(*sid)) {
        Some((statement, sid)) => {
            Err(Fault { path: format!("{}.Sid", statement.path), problem: format!("{sid:?} stands here twice") })
        }
        None => Ok(()),
    }
}

fn statement(at: At, rules: Rules) -> Result<Statement, Fault> {
    const ELEMENTS: &[&str] =
        &["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];
    let path = at.place.as_str().into();
    let mut fields = Fields::of(at, ELEMENTS)?;
    let sid = fields.take("Sid").map(|at| at.text()?.read(|sid| read_sid(sid, rules.kind))).transpose()?;
    let effect = fields.require("Effect")?.text()?.read(|text| match text.as_str() {
        "Allow" => Ok(Effect::Allow),
        "Deny" => Ok(Effect::Deny),
        _ => Err(format!("{text:?} is neither \"Allow\" nor \"Deny\"")),
    })?;
    let principals = principals(&mut fields, effect, rules.kind)?;
    let (not, at) = fields.require_one("Action", "NotAction")?;
    let (any_of, without_resource) = actions(at)?;
    let actions = Patterns { not, any_of };
    let resources = match fields.take_one("Resource", "NotResource")? {
        Some((not, at)) => {
            let read = |text: String| ArnPattern::parse_resource(&text, rules.variables);
            Patterns { not, any_of: texts(at, read)? }
        }
        None if without_resource && !not && rules.kind != Kind::Bucket => {
            Patterns { not: false, any_of: [ArnPattern::Any].into() }
        }
        None => return Err(fields.place.fault("has neither Resource nor NotResource")),
    };
    let conditions = match fields.take("Condition") {
        Some(at) => conditions(at, rules.variables)?,
        None => [].into(),
    };
    Ok(Statement { path, sid, effect, principals, actions, resources, conditions })
}

/// IAM takes letters and digits; S3 takes any text.
fn read_sid(sid: String, kind: Kind) -> Result<Box<str>, String> {
    if kind != Kind::Bucket && !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(format!("{sid:?} has other characters than letters and digits of ASCII"));
    }
    Ok(sid.into())
}

fn principals(fields: &mut Fields, effect: Effect, kind: Kind) -> Result<Option<Principals>, Fault> {
    let Some((not, at)) = fields.take_one("Principal", "NotPrincipal")? else {
        return match kind {
            Kind::Bucket => Err(fields.place.fault("has neither Principal nor NotPrincipal")),
            Kind::Identity | Kind::Session => Ok(None),
        };
    };
    if kind != Kind::Bucket {
        return Err(at.place.fault("stands in the policies of buckets only"));
    }
    if not && effect == Effect::Allow {
        return Err(at.place.fault("stands with \"Effect\": \"Deny\" only"));
    }
    let named = match at.value {
        Json::Text(text) if text == "*" => [Named::Everyone].into(),
        Json::Map(_) => {
            let place = at.place.clone();
            let named: Vec<Named> = at.map()?.into_iter().map(named).collect::<Result<Vec<_>, _>>()?.concat();
            if named.is_empty() {
                return Err(place.fault("names nobody"));
            }
            named.into()
        }
        _ => return Err(at.place.fault("must be \"*\" or a JSON object")),
    };
    Ok(Some(Principals { not, named }))
}

/// `"AWS": [..]` and the like.
fn named((kind, at): (String, At)) -> Result<Vec<Named>, Fault> {
    if !["AWS", "CanonicalUser", "Federated", "Service"].contains(&kind.as_str()) {
        return Err(at.place.fault("is no type of principal"));
    }
    at.items()?.into_iter().map(|at| at.text()?.read(|name| Named::parse(&kind, &name))).collect()
}

/// The patterns, and whether they are all of services whose actions have no resources: Cairn's own administration has
/// none, and neither has it in the policies of those who come from MinIO.
fn actions(at: At) -> Result<(Box<[Glob]>, bool), Fault> {
    let mut without_resource = true;
    let mut patterns = Vec::new();
    for at in at.items()? {
        patterns.push(at.text()?.read(|text| {
            without_resource &= text.starts_with("admin:");
            action(&text)
        })?);
    }
    Ok((patterns.into(), without_resource))
}

/// `*`, or a service and a name that may have wildcards.
fn action(text: &str) -> Result<Glob, String> {
    let of_service = |(service, name): (&str, &str)| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let mut name_bytes = name.bytes();
        !service.is_empty()
            && !name.is_empty()
            && service.bytes().all(plain)
            && name_bytes.all(|byte| plain(byte) || b"*?".contains(&byte))
    };
    if text != "*" && !text.split_once(':').is_some_and(of_service) {
        return Err(format!("{text:?} is no action (as \"s3:GetObject\", \"s3:Get*\", \"*\")"));
    }
    Ok(Glob::parse(text, true))
}

fn conditions(at: At, variables: bool) -> Result<Box<[Condition]>, Fault> {
    let mut conditions = Vec::new();
    for (name, keys) in at.map()? {
        let operator = Operator::parse(&name).ok_or_else(|| keys.place.fault("is no condition operator"))?;
        let place = keys.place.clone();
        let keys = keys.map()?;
        if keys.is_empty() {
            return Err(place.fault("has no condition key"));
        }
        let mut seen = HashSet::new();
        for (key, values) in keys {
            if key.is_empty() || key.chars().any(char::is_control) {
                return Err(values.place.fault("is no condition key"));
            }
            if !seen.insert(key.to_ascii_lowercase()) {
                return Err(values.place.fault("stands here twice, in another case"));
            }
            let values = values.items()?.into_iter().map(At::scalar).collect::<Result<_, _>>()?;
            conditions.push(operator.condition(&place, &key, values, variables)?);
        }
    }
    Ok(conditions.into())
}

/// One text, or a list of them.
fn texts<T>(at: At, read: impl Fn(String) -> Result<T, String>) -> Result<Box<[T]>, Fault> {
    at.items()?.into_iter().map(|at| at.text()?.read(&read)).collect()
}

/// The fields of a JSON object all of whose names are known.
struct Fields {
    place: Place,
    fields: Vec<(String, At)>,
}

impl Fields {
    fn of(at: At, known: &[&str]) -> Result<Self, Fault> {
        let place = at.place.clone();
        let fields = at.map()?;
        match fields.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((_, at)) => Err(at.place.fault("is no element of a policy here")),
            None => Ok(Self { place, fields }),
        }
    }

    fn take(&mut self, name: &str) -> Option<At> {
        let at = self.fields.iter().position(|(field, _)| field == name)?;
        Some(self.fields.swap_remove(at).1)
    }

    fn require(&mut self, name: &str) -> Result<At, Fault> {
        self.take(name).ok_or_else(|| self.place.fault(format!("has no {name}")))
    }

    /// An element or its Not-, and whether it is the latter; both together are refused.
    fn take_one(&mut self, name: &str, not_name: &str) -> Result<Option<(bool, At)>, Fault> {
        match (self.take(name), self.take(not_name)) {
            (Some(_), Some(_)) => Err(self.place.fault(format!("has both {name} and {not_name}"))),
            (Some(at), None) => Ok(Some((false, at))),
            (None, not) => Ok(not.map(|at| (true, at))),
        }
    }

    fn require_one(&mut self, name: &str, not_name: &str) -> Result<(bool, At), Fault> {
        self.take_one(name, not_name)?.ok_or_else(|| self.place.fault(format!("has neither {name} nor {not_name}")))
    }
}

#[cfg(test)]
#[path = "parse_test.rs"]
mod tests;
