//! ListMultipartUploads: the open uploads of a bucket, by key, then by the time of their creation.

use std::collections::BTreeMap;

use cairn_storage::meta::query::{ListFrom, UploadEntry};
use cairn_storage::meta::record::UploadRecord;
use cairn_storage::meta::{Answer, Query};
use cairn_storage::types::{UploadId, UserId};

use crate::data::checksum;
use crate::error::{Code, S3Error};
use crate::gate::Access;
use crate::ops::bucket::list::{encoding, max_entries, non_empty, with_need};
use crate::ops::object::answer::kind_name;
use crate::ops::object::group;
use crate::ops::write_user;
use crate::request::{Params, Reply, Request};
use crate::xml::{Document, Encoding};

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    prefix: String,
    delimiter: Option<String>,
    key_marker: String,
    upload_id_marker: String,
    max: u32,
    /// Of keys and of what they begin with.
    encoding: Encoding,
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>
pub async fn handle(access: Access, request: Request) -> Reply {
    let gateway = access.gateway();
    let mut asked = Asked::from_query(&request.query)?;
    let (from, after_upload) = asked.from()?;
    let query = |bucket| Query::Uploads {
        bucket,
        prefix: asked.prefix.clone(),
        delimiter: asked.delimiter.clone(),
        from: from.clone(),
        after_upload,
        // One at least, as no group need answer for none.
        limit: asked.max.max(1),
    };
    let answer = access.query(query).await?.1;
    let Answer::Uploads { mut entries, more, .. } = answer else { return Err(group::unexpected(&answer)) };
    if asked.max == 0 {
        entries.clear();
    }
    asked.encoding = with_need(
        asked.encoding,
        &request.query,
        entries.iter().map(|entry| match entry {
            UploadEntry::Upload(upload) => upload.key.as_str(),
            UploadEntry::CommonPrefix(prefix) => prefix.as_str(),
        }),
    );
    let mut names = BTreeMap::new();
    for entry in &entries {
        if let UploadEntry::Upload(upload) = entry
            && !names.contains_key(&upload.owner)
        {
            names.insert(upload.owner, gateway.display_name(upload.owner).await?);
        }
    }
    Ok(document(&request.bucket, &asked, &entries, more && asked.max > 0, &names).reply())
}

impl Asked {
    fn from_query(query: &Params) -> Result<Self, S3Error> {
        let text = |name| query.get(name).unwrap_or_default().to_owned();
        Ok(Self {
            prefix: text("prefix"),
            delimiter: non_empty(query, "delimiter"),
            key_marker: text("key-marker"),
            upload_id_marker: text("upload-id-marker"),
            max: max_entries(query, "max-uploads")?,
            encoding: encoding(query)?,
        })
    }

    /// Where the list goes on. A marker that is a common prefix stands for all that it stands for.
    fn from(&self) -> Result<(ListFrom, Option<UploadId>), S3Error> {
        if self.key_marker.is_empty() {
            return Ok((ListFrom::Start, None));
        }
        let after_upload = match self.upload_id_marker.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                S3Error::with(Code::InvalidArgument, "Invalid uploadId marker")
                    .detail("ArgumentName", "upload-id-marker")
                    .detail("ArgumentValue", text)
            })?),
        };
        let is_common_prefix = self.delimiter.as_ref().is_some_and(|delimiter| {
            let rest = self.key_marker.strip_prefix(&self.prefix);
            rest.is_some_and(|rest| rest.find(delimiter).is_some_and(|at| at + delimiter.len() == rest.len()))
        });
        let marker = self.key_marker.clone();
        if is_common_prefix && after_upload.is_none() {
            return Ok((ListFrom::AfterPrefix(marker), None));
        }
        Ok((ListFrom::AfterKey(marker), after_upload))
    }
}

fn document(
    bucket: &str,
    asked: &Asked,
    entries: &[UploadEntry],
    more: bool,
    names: &BTreeMap<UserId, String>,
) -> Document {
    let mut document = Document::with_capacity("ListMultipartUploadsResult", 1024 + 512 * entries.len());
    document
        .text("Bucket", bucket)
        .encoded("KeyMarker", &asked.key_marker, asked.encoding)
        .text("UploadIdMarker", &asked.upload_id_marker);
    if more {
        let (key, upload) = match entries.last() {
            Some(UploadEntry::Upload(upload)) => (upload.key.as_str(), upload.id.to_string()),
            Some(UploadEntry::CommonPrefix(prefix)) => (prefix.as_str(), String::new()),
            None => ("", String::new()),
        };
        document.encoded("NextKeyMarker", key, asked.encoding).text("NextUploadIdMarker", &upload);
    }
    document.encoded("Prefix", &asked.prefix, asked.encoding);
    if let Some(delimiter) = &asked.delimiter {
        document.encoded("Delimiter", delimiter, asked.encoding);
    }
    if asked.encoding != Encoding::Plain {
        document.text("EncodingType", "url");
    }
    document.display("MaxUploads", asked.max).display("IsTruncated", more);
    for entry in entries {
        if let UploadEntry::Upload(upload) = entry {
            write_upload(&mut document, upload, asked.encoding, names.get(&upload.owner).map_or("", String::as_str));
        }
    }
    for entry in entries {
        if let UploadEntry::CommonPrefix(prefix) = entry {
            document.open("CommonPrefixes").encoded("Prefix", prefix, asked.encoding).close();
        }
    }
    document
}

fn write_upload(document: &mut Document, upload: &UploadRecord, encoding: Encoding, owner_name: &str) {
    document.open("Upload").encoded("Key", &upload.key, encoding).display("UploadId", upload.id);
    write_user(document, "Initiator", upload.owner, owner_name);
    write_user(document, "Owner", upload.owner, owner_name);
    document.text("StorageClass", "STANDARD").time("Initiated", upload.initiated_ms);
    if let Some((algorithm, kind)) = upload.checksum {
        document.text("ChecksumAlgorithm", checksum::name(algorithm)).text("ChecksumType", kind_name(kind));
    }
    document.close();
}

#[cfg(test)]
mod tests {
    use cairn_storage::meta::record::Attributes;

    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Asked {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Asked::from_query(&Params(pairs)).unwrap()
    }

    #[test]
    fn markers_say_where_to_go_on() {
        let id = UploadId([7; 16]);
        let key = |key: &str| ListFrom::AfterKey(key.to_owned());
        assert_eq!(asked(&[]).from().unwrap(), (ListFrom::Start, None));
        assert_eq!(asked(&[("upload-id-marker", &id.to_string())]).from().unwrap(), (ListFrom::Start, None));
        assert_eq!(asked(&[("key-marker", "a/")]).from().unwrap(), (key("a/"), None));
        let both = asked(&[("key-marker", "a"), ("upload-id-marker", &id.to_string())]);
        assert_eq!(both.from().unwrap(), (key("a"), Some(id)));
        let wrong = asked(&[("key-marker", "a"), ("upload-id-marker", "x")]);
        assert_eq!(wrong.from().unwrap_err().code, Code::InvalidArgument);
    }

    #[test]
    fn a_common_prefix_as_marker_skips_all_below_it() {
        let from = |prefix, marker| asked(&[("prefix", prefix), ("delimiter", "/"), ("key-marker", marker)]).from();
        let below = |prefix: &str| (ListFrom::AfterPrefix(prefix.to_owned()), None);
        assert_eq!(from("", "a/").unwrap(), below("a/"));
        assert_eq!(from("a/", "a/b/").unwrap(), below("a/b/"));
        assert_eq!(from("", "a/b").unwrap(), (ListFrom::AfterKey("a/b".into()), None));
        assert_eq!(from("", "a/b/").unwrap(), (ListFrom::AfterKey("a/b/".into()), None));
        assert_eq!(from("a/", "a/").unwrap(), (ListFrom::AfterKey("a/".into()), None));
    }

    #[test]
    fn a_page_ends_with_its_next_markers() {
        let upload = |key: &str| {
            UploadEntry::Upload(UploadRecord {
                id: UploadId([7; 16]),
                key: key.to_owned(),
                owner: UserId([2; 16]),
                initiated_ms: 0,
                attributes: Attributes::default(),
                checksum: None,
            })
        };
        let names = BTreeMap::from([(UserId([2; 16]), "Ann".to_owned())]);
        let asked = asked(&[("delimiter", "/"), ("encoding-type", "url"), ("max-uploads", "2")]);
        let entries = [UploadEntry::CommonPrefix("a b/".into()), upload("c d")];
        let shown = document("bucket", &asked, &entries, true, &names).finish();
        for expected in [
            "<NextKeyMarker>c%20d</NextKeyMarker><NextUploadIdMarker>07070707070707070707070707070707<",
            "<MaxUploads>2</MaxUploads><IsTruncated>true</IsTruncated><Upload><Key>c%20d</Key>",
            "<Owner><ID>02020202020202020202020202020202</ID><DisplayName>Ann</DisplayName></Owner>",
            "<CommonPrefixes><Prefix>a%20b/</Prefix></CommonPrefixes>",
        ] {
            assert!(shown.contains(expected), "{expected} in {shown}");
        }
        let last = document("bucket", &asked, &entries, false, &names).finish();
        assert!(!last.contains("NextKeyMarker"));
    }
}
