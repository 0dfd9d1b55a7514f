//! What ListObjects, ListObjectsV2 and ListObjectVersions have in common: their parameters, the page of a list, and
//! how its entries are written.

use cairn_storage::meta::query::{ListEntry, ListFrom};
use cairn_storage::meta::record::{ChecksumKind, VersionRecord};
use cairn_storage::meta::{Answer, Query};
use cairn_storage::types::UserId;

use crate::data::checksum::name as checksum_name;
use crate::error::{Code, S3Error};
use crate::gate::Access;
use crate::gateway::{Gateway, unexpected};
use crate::ops::write_user;
use crate::request::Params;
use crate::xml::{Document, Encoding, can_carry};

/// The most entries of one page.
pub const MAX_KEYS: u32 = 1_000;

/// About what one entry takes, in bytes, when it is written.
const ENTRY_LEN: usize = 384;

/// The parameters that all lists have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListParams {
    pub prefix: String,
    /// An empty one is none.
    pub delimiter: Option<String>,
    /// 0 to 1,000.
    pub max_keys: u32,
    /// Of keys and of what they begin with.
    pub encoding: Encoding,
}

impl ListParams {
    pub fn parse(query: &Params) -> Result<Self, S3Error> {
        Ok(Self {
            prefix: query.get("prefix").unwrap_or_default().to_owned(),
            delimiter: non_empty(query, "delimiter"),
            max_keys: max_entries(query, "max-keys")?,
            encoding: encoding(query)?,
        })
    }

    /// Where a list goes on that is asked for from a marker on. A marker that is a common prefix itself, as
    /// `NextMarker` may be, skips what it stands for.
    pub fn after_marker(&self, marker: &str) -> ListFrom {
        if marker.is_empty() {
            return ListFrom::Start;
        }
        let is_common_prefix = self.delimiter.as_ref().is_some_and(|delimiter| {
            let rest = marker.strip_prefix(self.prefix.as_str());
            rest.and_then(|rest| rest.find(delimiter.as_str()).map(|at| at + delimiter.len() == rest.len()))
                .unwrap_or(false)
        });
        let marker = marker.to_owned();
        if is_common_prefix { ListFrom::AfterPrefix(marker) } else { ListFrom::AfterKey(marker) }
    }

    /// A list of what XML cannot carry is encoded though nobody asked for it, and says so.
    pub fn encode_where_needed(&mut self, query: &Params, page: &Page) {
        let names = page.entries.iter().map(|entry| match entry {
            ListEntry::Key(text, _) | ListEntry::CommonPrefix(text) => text.as_str(),
        });
        self.encoding = with_need(self.encoding, query, names);
    }

    /// Writes the elements that repeat what was asked, but for the markers.
    pub fn write_echo(&self, document: &mut Document) {
        document.encoded("Prefix", &self.prefix, self.encoding);
        document.display("MaxKeys", self.max_keys);
        if let Some(delimiter) = &self.delimiter {
            document.encoded("Delimiter", delimiter, self.encoding);
        }
        if self.encoding != Encoding::Plain {
            document.text("EncodingType", "url");
        }
    }
}

/// The value of a parameter that is there and not empty.
pub fn non_empty(query: &Params, name: &str) -> Option<String> {
    query.get(name).filter(|value| !value.is_empty()).map(str::to_owned)
}

/// `max-keys` and its like: 0 to 1,000, what is more is 1,000; 1,000 where it is not there. `InvalidArgument`
/// otherwise.
pub fn max_entries(query: &Params, name: &'static str) -> Result<u32, S3Error> {
    let Some(text) = query.get(name) else {
        return Ok(MAX_KEYS);
    };
    match text.parse::<i32>().map(u32::try_from) {
        Ok(Ok(count)) => Ok(count.min(MAX_KEYS)),
        Ok(Err(_)) => Err(invalid(name, text, format!("Argument {name} must be an integer between 0 and 2147483647"))),
        Err(_) => Err(invalid(name, text, format!("Provided {name} not an integer or within integer range"))),
    }
}

/// The encoding that the client asked for; any but `url` is `InvalidArgument`.
pub fn encoding(query: &Params) -> Result<Encoding, S3Error> {
    match query.get("encoding-type") {
        None | Some("") => Ok(Encoding::Plain),
        Some("url") => Ok(Encoding::Url),
        Some(other) => Err(S3Error::with(Code::InvalidArgument, "Invalid Encoding Method specified in Request")
            .detail("ArgumentName", "encoding-type")
            .detail("ArgumentValue", other)),
    }
}

/// The encoding of a list for which this one was asked, if there is something among the parameters and the names that
/// XML cannot carry.
pub fn with_need<'a>(asked: Encoding, query: &Params, mut names: impl Iterator<Item = &'a str>) -> Encoding {
    let mut is_plain = || query.0.iter().all(|(_, value)| can_carry(value)) && names.all(can_carry);
    if asked == Encoding::Url || is_plain() { asked } else { Encoding::Least }
}

fn invalid(name: &'static str, value: &str, problem: String) -> S3Error {
    S3Error::with(Code::InvalidArgument, problem).detail("ArgumentName", name).detail("ArgumentValue", value)
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In byte order.
    pub entries: Vec<ListEntry>,
    /// There is more behind the last entry.
    pub more: bool,
}

impl Page {
    /// Asks for the entries after `from`. A page of nothing is empty and says that it is complete, as S3's does.
    pub async fn fetch(access: &Access, params: &ListParams, from: &ListFrom) -> Result<Self, S3Error> {
        if params.max_keys == 0 {
            super::bucket_record(access).await?;
            return Ok(Self { entries: Vec::new(), more: false });
        }
        let query = |bucket| Query::List {
            bucket,
            prefix: params.prefix.clone(),
            delimiter: params.delimiter.clone(),
            from: from.clone(),
            limit: params.max_keys,
        };
        match access.query(query).await? {
            (_, Answer::List { mut entries, more, .. }) => {
                let found = access.found();
                if !found.ownership.has_acls() {
                    // Whoever put it, formerly or while there were lists.
                    for entry in &mut entries {
                        if let ListEntry::Key(_, record) = entry {
                            record.owner = found.entry.owner;
                        }
                    }
                }
                Ok(Self { more: more && !entries.is_empty(), entries })
            }
            _ => Err(unexpected("List")),
        }
    }

    /// Where the next page starts, if there is one.
    pub fn next(&self) -> Option<ListFrom> {
        match self.entries.last().filter(|_| self.more)? {
            ListEntry::Key(key, _) => Some(ListFrom::AfterKey(key.clone())),
            ListEntry::CommonPrefix(prefix) => Some(ListFrom::AfterPrefix(prefix.clone())),
        }
    }

    /// The last key or common prefix, if there is a next page.
    pub fn next_marker(&self) -> Option<&str> {
        match self.entries.last().filter(|_| self.more)? {
            ListEntry::Key(text, _) | ListEntry::CommonPrefix(text) => Some(text),
        }
    }

    /// A document with room for all entries.
    pub fn document(&self, root: &'static str) -> Document {
        Document::with_capacity(root, 1_024 + self.entries.len() * ENTRY_LEN)
    }

    /// The owners of the entries, with their names.
    pub async fn owners(&self, gateway: &Gateway) -> Result<Owners, S3Error> {
        let mut owners = Owners::default();
        for entry in &self.entries {
            if let ListEntry::Key(_, record) = entry
                && owners.name(record.owner).is_none()
            {
                owners.0.push((record.owner, gateway.display_name(record.owner).await?));
            }
        }
        Ok(owners)
    }

    /// Writes the keys, each by `key`, and after them the common prefixes.
    pub fn write(
        &self,
        document: &mut Document,
        encoding: Encoding,
        mut key: impl FnMut(&mut Document, &str, &VersionRecord),
    ) {
        for entry in &self.entries {
            if let ListEntry::Key(name, record) = entry {
                key(document, name, record);
            }
        }
        for entry in &self.entries {
            if let ListEntry::CommonPrefix(prefix) = entry {
                document.open("CommonPrefixes").encoded("Prefix", prefix, encoding).close();
            }
        }
    }
}

/// Users and their display names: few, and one where all is the bucket owner's.
#[derive(Debug, Default)]
pub struct Owners(Vec<(UserId, String)>);

impl Owners {
    pub fn name(&self, id: UserId) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == id).map(|(_, name)| name.as_str())
    }

    /// Writes an `Owner`.
    pub fn write(&self, document: &mut Document, id: UserId) {
        write_user(document, "Owner", id, self.name(id).unwrap_or_default());
    }
}

/// Writes what every list says of a version, from `LastModified` to `Size`.
pub fn write_version(document: &mut Document, record: &VersionRecord) {
    document.time("LastModified", record.modified_ms).etag("ETag", record.etag);
    if let Some(checksum) = &record.checksum {
        document.text("ChecksumAlgorithm", checksum_name(checksum.algorithm));
        document.text(
            "ChecksumType",
            match checksum.kind {
                ChecksumKind::FullObject => "FULL_OBJECT",
                ChecksumKind::Composite => "COMPOSITE",
            },
        );
    }
    document.display("Size", record.size);
}

#[cfg(test)]
#[path = "list_test.rs"]
pub(super) mod tests;
