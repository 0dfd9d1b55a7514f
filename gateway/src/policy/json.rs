//! JSON as a policy is read from it: nothing that was written is lost, names that stand twice among it, and each value
//! knows the place where it stands, for whoever has to be told of a fault.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Fault;

/// A value. How deep they nest is bounded by the reader (128).
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Flag(bool),
    /// As it is written out.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Number(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Json::Map(fields))
    }
}

/// The place of a value: `Statement[1].Condition.StringLike`. Empty for the whole. Each value has its own, so that a name
/// is in it by its start, where it is long; and what is no text stands in none.
#[derive(Debug, Clone, Default)]
pub(super) struct Place(String);

impl Place {
    fn field(&self, name: &str) -> Self {
        const LONGEST: usize = 100;
        let printed = |char: char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char };
        let mut shown: String = name.chars().take(LONGEST).map(printed).collect();
        if name.chars().nth(LONGEST).is_some() {
            shown.push('…');
        }
        if self.0.is_empty() { Self(shown) } else { Self(format!("{}.{shown}", self.0)) }
    }

    fn item(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn fault(&self, problem: impl Into<String>) -> Fault {
        Fault { path: self.0.clone(), problem: problem.into() }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct At<T = Json> {
    pub place: Place,
    pub value: T,
}

impl At {
    /// The fields of a map, none of them twice.
    pub(super) fn map(self) -> Result<Vec<(String, At)>, Fault> {
        let Json::Map(fields) = self.value else { return Err(self.place.fault("must be a JSON object")) };
        let mut seen = HashSet::new();
        if let Some((twice, _)) = fields.iter().find(|(name, _)| !seen.insert(name.as_str())) {
            return Err(self.place.field(twice).fault("stands here twice"));
        }
        let place = self.place;
        let at = |(name, value): (String, Json)| {
            let place = place.field(&name);
            (name, At { place, value })
        };
        Ok(fields.into_iter().map(at).collect())
    }

    /// One value, or those of a list that has some.
    pub(super) fn items(self) -> Result<Vec<At>, Fault> {
        match self.value {
            Json::List(values) if values.is_empty() => Err(self.place.fault("is an empty list")),
            Json::List(values) => {
                let at = |(index, value)| At { place: self.place.item(index), value };
                Ok(values.into_iter().enumerate().map(at).collect())
            }
            _ => Ok(vec![self]),
        }
    }

    pub(super) fn text(self) -> Result<At<String>, Fault> {
        match self.value {
            Json::Text(value) => Ok(At { place: self.place, value }),
            _ => Err(self.place.fault("must be a string")),
        }
    }

    /// Numbers and truth values need no quotation marks.
    pub(super) fn scalar(self) -> Result<At<String>, Fault> {
        let value = match self.value {
            Json::Text(text) | Json::Number(text) => text,
            Json::Flag(flag) => flag.to_string(),
            Json::Null | Json::List(_) | Json::Map(_) => {
                return Err(self.place.fault("must be a string, a number or a boolean"));
            }
        };
        Ok(At { place: self.place, value })
    }
}

impl<T> At<T> {
    /// Goes on with what the value means; the text of an error is told of this place.
    pub(super) fn read<U>(self, meaning: impl FnOnce(T) -> Result<U, String>) -> Result<U, Fault> {
        meaning(self.value).map_err(|problem| self.place.fault(problem))
    }
}
