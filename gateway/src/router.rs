//! Which row of the table a request asks for.

use http::{HeaderMap, HeaderValue, Method, header};

use crate::error::{Code, S3Error};
use crate::operation::Target;
use crate::request::Params;
use crate::table::{Level, Mark, ROWS, Row};

/// What S3 calls the upload of an HTML form.
const FORM: &str = "POST form upload";

/// Parameters of writes that may be empty and make no other operation of them.
const HARMLESS: &[&str] = &["versionId", "partNumber", "x-id"];

/// An HTML form is signed in its body, so that nobody can be asked to sign the head first.
pub fn refuse_form(method: &Method, target: &Target, headers: &HeaderMap) -> Result<(), S3Error> {
    const TYPE: &[u8] = b"multipart/form-data";
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_form = content_type.get(..TYPE.len()).is_some_and(|start| start.eq_ignore_ascii_case(TYPE));
    let of_bucket = !target.bucket.is_empty() && target.key.is_empty();
    if *method == Method::POST && of_bucket && is_form { Err(not_built(FORM)) } else { Ok(()) }
}

/// The operation that a request asks for, built or not.
///
/// Of a read, parameters that nobody knows are ignored. Of a write, one without a value could be a subresource that is
/// yet to be invented: the plain operation is not what was meant.
pub fn route(method: &Method, target: &Target, headers: &HeaderMap) -> Result<&'static Row, S3Error> {
    let query = &target.query;
    check_once(query)?;
    let level = target.level();
    // HeadBucket and HeadObject are all that HEAD can ask for.
    let subresource = if *method == Method::HEAD { "" } else { subresource(query, level)? };
    let fits = |row: &&Row| row.method == method.as_str() && row.level == level && row.subresource == subresource;
    let mut rows = ROWS.iter().filter(fits);
    let row = rows.find(|row| row.mark.is_in(query, headers)).ok_or_else(|| not_allowed(method, level))?;
    if let Some(parameter) = row.required.filter(|parameter| !query.has(parameter)) {
        return Err(missing(parameter));
    }
    if row.method == "PUT" && row.level == Level::Object && subresource.is_empty() && query.has("partNumber") {
        return Err(missing("uploadId"));
    }
    if !matches!(*method, Method::GET | Method::HEAD)
        && let Some(name) = unknown(query, subresource)
    {
        return Err(not_built(name));
    }
    Ok(row)
}

/// The error of an operation that is not built.
pub fn is_not_built(row: &Row) -> S3Error {
    not_built(if row.subresource.is_empty() { FORM } else { row.subresource })
}

impl Mark {
    fn is_in(self, query: &Params, headers: &HeaderMap) -> bool {
        match self {
            Self::Nothing => true,
            Self::Header(name) => headers.contains_key(name),
            Self::Parameter(name) => query.has(name),
            Self::Value(name, value) => query.get(name) == Some(value),
        }
    }
}

/// The subresource that a query names; empty where it names none. The order of parameters is not signed, so that it must
/// not matter: of two subresources none is meant.
fn subresource(query: &Params, level: Level) -> Result<&'static str, S3Error> {
    if query.0.is_empty() {
        return Ok("");
    }
    let known = |name: &str| {
        let of_level = ROWS.iter().filter(|row| row.level == level && !row.subresource.is_empty());
        of_level.map(|row| row.subresource).find(|known| *known == name)
    };
    let mut named: Vec<&'static str> = query.0.iter().filter_map(|(name, _)| known(name)).collect();
    named.sort_unstable();
    named.dedup();
    match named[..] {
        [] => Ok(""),
        [name] => Ok(name),
        _ => {
            let conflict = format!("Conflicting query string parameters: {}", named.join(", "));
            Err(S3Error::with(Code::InvalidArgument, conflict).detail("ResourceType", named.join(", ")))
        }
    }
}

/// A parameter without a value that means nothing to us.
fn unknown<'a>(query: &'a Params, subresource: &str) -> Option<&'a str> {
    let of_signature = |name: &str| name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"));
    let means_nothing = |name: &str| name != subresource && !HARMLESS.contains(&name) && !of_signature(name);
    let mut empty = query.0.iter().filter(|(_, value)| value.is_empty()).map(|(name, _)| name.as_str());
    empty.find(|name| means_nothing(name))
}

/// Which of two values comes first is not signed either.
fn check_once(query: &Params) -> Result<(), S3Error> {
    match query.0.iter().find(|(name, value)| query.get(name).is_some_and(|first| first != value)) {
        None => Ok(()),
        Some((name, _)) => {
            let problem = "A parameter of the request is there with more than one value.";
            Err(S3Error::with(Code::InvalidArgument, problem).detail("ArgumentName", name))
        }
    }
}

fn not_built(name: &str) -> S3Error {
    S3Error::with(Code::NotImplemented, format!("Cairn does not implement this yet: {name}")).detail("Header", name)
}

fn not_allowed(method: &Method, level: Level) -> S3Error {
    let kind = match level {
        Level::Service => "SERVICE",
        Level::Bucket => "BUCKET",
        Level::Object => "OBJECT",
    };
    S3Error::new(Code::MethodNotAllowed).detail("Method", method.as_str()).detail("ResourceType", kind)
}

fn missing(name: &str) -> S3Error {
    S3Error::with(Code::InvalidArgument, format!("The request needs the parameter {name}."))
        .detail("ArgumentName", name)
}

#[cfg(test)]
#[path = "router_test.rs"]
mod tests;
