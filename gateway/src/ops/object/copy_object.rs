//! CopyObject: within a group one more reference to the source's manifest, so that its cost does not depend on the
//! size; across groups, where another checksum is asked for, and of an object of parts, the bytes are copied.
//!
//! A copy is an object in one piece, whatever its source was made of: its ETag is the MD5 of the bytes, its checksum
//! that of the whole, by the source's algorithm unless the request names another (API Reference, CopyObject). So it is
//! the same in whichever group the target is.

use std::sync::Arc;

use bytes::Bytes;
use cairn_storage::meta::command::{NewBody, WriteCondition};
use cairn_storage::meta::query::{ObjectAnswer, Wanted};
use cairn_storage::meta::record::{
    Attributes, ChecksumAlgorithm, ChecksumKind, DirectoryEntry, ETag, Label, VersionRecord,
};
use cairn_storage::meta::{Command, Outcome, Rejection};
use cairn_storage::types::{ManifestId, now_ms};
use http::HeaderMap;

use super::answer::write_checksum;
use super::source::{CopySource, MAX_COPY_LEN};
use super::{attributes, conditions, group, places};
use crate::acl;
use crate::data::checksum::{self, Asked};
use crate::error::{Code, S3Error};
use crate::gate::{self, Access};
use crate::request::{Reply, Request};
use crate::xml::Document;

/// How often a source that changes between question and command is read again.
const MAX_TRIES: usize = 5;

const TAGGING_DIRECTIVE: &str = "x-amz-tagging-directive";

/// What the headers ask for.
struct Wish {
    source: CopySource,
    condition: WriteCondition,
    /// `None` with the directive COPY.
    replaced: Option<Attributes>,
    /// Never the source's, whatever the directive says.
    website_redirect: Option<String>,
    checksum: Option<ChecksumAlgorithm>,
    /// Never the source's either.
    acl: acl::Asked,
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>
pub async fn handle(access: Access, request: Request) -> Reply {
    let request = request.without_body();
    let wish = Wish::from_request(&request)?;
    access.admit_acl(&wish.acl).await?;
    group::admit_condition(&access, &wish.condition).await?;
    let source = gate::admit_to_source(&access, &wish.source, &request).await?;
    wish.source.version.must_be_there()?;
    let copy = Copy { request: &request, access: &access, source: &source, wish: &wish };
    for _ in 0..MAX_TRIES {
        let (from, object) = copy.find_source(Wanted::Nothing).await?;
        let shares =
            from.group == access.entry().group && is_a_copy_already(&object.record, wish.algorithm(&object.record));
        let result = if shares { copy.share(&from, &object.record).await? } else { copy.bytes().await? };
        match result {
            Ok(Outcome::Version(record)) => return Ok(answer(&record)),
            Ok(outcome) => return Err(group::unexpected(&outcome)),
            Err(Rejection::SourceChanged) => {}
            Err(rejection) => return Err(group::rejected(rejection, &request.key)),
        }
    }
    Err(group::rejected(Rejection::SourceChanged, &request.key))
}

impl Wish {
    fn from_request(request: &Request) -> Result<Self, S3Error> {
        let headers = &request.headers;
        let source = CopySource::from_headers(headers)?;
        let replaces = directive(headers, "x-amz-metadata-directive")?;
        // No object has tags, and a request that brings some is refused before it comes here.
        directive(headers, TAGGING_DIRECTIVE)?;
        let website_redirect = attributes::website_redirect(headers)?;
        let onto_itself = source.bucket == request.bucket && source.key == request.key;
        if onto_itself && !replaces && website_redirect.is_none() {
            return Err(S3Error::with(
                Code::InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes.",
            ));
        }
        Ok(Self {
            source,
            condition: conditions::write_condition(headers)?,
            replaced: if replaces { Some(attributes::from_headers(headers)?) } else { None },
            website_redirect,
            checksum: checksum::wanted(headers)?,
            acl: acl::Asked::from_headers(headers)?,
        })
    }

    /// Of the copy's checksum.
    fn algorithm(&self, source: &VersionRecord) -> ChecksumAlgorithm {
        let kept = source.checksum.as_ref().map(|checksum| checksum.algorithm);
        self.checksum.or(kept).unwrap_or(checksum::DEFAULT)
    }

    /// What the copy is to have; `None` where that is just what the source has.
    fn attributes(&self, source: &VersionRecord) -> Option<Attributes> {
        match &self.replaced {
            Some(replaced) => Some(replaced.clone()),
            None if self.website_redirect == source.attributes.website_redirect => None,
            None => Some(Attributes { website_redirect: self.website_redirect.clone(), ..source.attributes.clone() }),
        }
    }
}

/// What there is to copy, and where.
struct Copy<'a> {
    request: &'a Request,
    /// To the target.
    access: &'a Access,
    source: &'a Access,
    wish: &'a Wish,
}

impl Copy<'_> {
    /// The source, if the conditions on it hold and it is not too large.
    async fn find_source(&self, wanted: Wanted) -> Result<(Arc<DirectoryEntry>, ObjectAnswer), S3Error> {
        let (entry, object) = group::get(self.source, wanted).await?;
        conditions::judge_copy_source(&self.request.headers, &object.record, now_ms())?;
        if object.record.size > MAX_COPY_LEN {
            return Err(S3Error::with(
                Code::InvalidRequest,
                format!(
                    "The specified copy source is larger than the maximum allowable size for a copy source: \
                     {MAX_COPY_LEN}"
                ),
            ));
        }
        Ok((entry, object))
    }

    /// A copy within a group: the command names the version that was judged.
    async fn share(
        &self,
        from: &DirectoryEntry,
        source: &VersionRecord,
    ) -> Result<Result<Outcome, Rejection>, S3Error> {
        let inline_id = ManifestId::random();
        let command = |bucket| {
            let (owner, label) = self.access.take_in(&self.wish.acl);
            let attributes = self.wish.attributes(source).map(|mut attributes| {
                attributes.labels = labels(label.clone());
                attributes
            });
            Command::CopyObject {
                source_bucket: from.id,
                source_key: self.source.key().to_owned(),
                source_version: source.version,
                bucket,
                key: self.access.key().to_owned(),
                condition: self.wish.condition.clone(),
                owner,
                attributes,
                labels: labels(label),
                inline_id,
                checksum: None,
            }
        };
        Ok(self.access.command_from(self.source, command).await?.1)
    }

    /// A copy of the bytes, as if the client had sent them.
    async fn bytes(&self) -> Result<Result<Outcome, Rejection>, S3Error> {
        let Self { access, wish, .. } = self;
        let data = access.gateway().data();
        let (from, object) = self.find_source(Wanted::All).await?;
        let ObjectAnswer { record, bytes } = object;
        let found = places::find(&record, bytes)?;
        let asked = Asked::computed(wish.algorithm(&record));
        let length = found.len();
        let stream = found.stream(data, from.group);
        let stored = data.store_stream(access.entry().group, stream, length, asked, true).await?;
        let attributes = wish.attributes(&record).unwrap_or(record.attributes);
        let command = |bucket, body: NewBody| {
            let (owner, label) = access.take_in(&wish.acl);
            Command::PutObject {
                bucket,
                key: access.key().to_owned(),
                condition: wish.condition.clone(),
                owner,
                size: stored.size,
                etag: ETag { md5: stored.md5, parts: None },
                checksum: stored.checksum.clone(),
                attributes: Attributes { labels: labels(label), ..attributes.clone() },
                body,
            }
        };
        group::publish(access, access.entry(), stored.body.clone(), command).await
    }
}

/// Those of the copy: none of the source's.
fn labels(acl: Option<Bytes>) -> Vec<(Label, Bytes)> {
    acl.into_iter().map(|value| (Label::Acl, value)).collect()
}

fn answer(record: &VersionRecord) -> http::Response<axum::body::Body> {
    let mut document = Document::new("CopyObjectResult");
    document.time("LastModified", record.modified_ms).etag("ETag", record.etag);
    if let Some(checksum) = &record.checksum {
        write_checksum(&mut document, checksum, record.etag.parts, true);
    }
    document.reply()
}

/// Whether a copy with a checksum of this algorithm would have the object's own ETag and checksum.
fn is_a_copy_already(record: &VersionRecord, algorithm: ChecksumAlgorithm) -> bool {
    let in_one_piece = record.etag.parts.is_none();
    in_one_piece
        && record
            .checksum
            .as_ref()
            .is_some_and(|checksum| checksum.algorithm == algorithm && checksum.kind == ChecksumKind::FullObject)
}

/// Whether a directive says REPLACE.
fn directive(headers: &HeaderMap, name: &'static str) -> Result<bool, S3Error> {
    let unknown = if name == TAGGING_DIRECTIVE { "Unknown tagging directive." } else { "Unknown metadata directive." };
    match headers.get(name).map(|value| value.as_bytes()) {
        None | Some(b"COPY") => Ok(false),
        Some(b"REPLACE") => Ok(true),
        Some(other) => Err(S3Error::with(Code::InvalidArgument, unknown)
            .detail("ArgumentName", name)
            .detail("ArgumentValue", String::from_utf8_lossy(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static("x-amz-metadata-directive"),
            http::HeaderValue::from_static(value),
        )])
    }

    #[test]
    fn a_directive_is_copy_or_replace() {
        let read = |headers: &HeaderMap| directive(headers, "x-amz-metadata-directive").map_err(|error| error.code);
        assert_eq!(read(&HeaderMap::new()), Ok(false));
        assert_eq!(read(&headers("COPY")), Ok(false));
        assert_eq!(read(&headers("REPLACE")), Ok(true));
        assert_eq!(read(&headers("replace")), Err(Code::InvalidArgument));
    }
}
