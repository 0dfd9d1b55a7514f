//! The documents that clients send: refused, or a value that is the same when it is written and read again.

use super::{CompleteMultipartUpload, CreateBucketConfiguration, DeleteRequest, MAX_DELETE_KEYS, MAX_PARTS};
use crate::data::checksum::element;
use crate::error::S3Error;
use crate::fuzz::head::split;

pub const WORDS: &[&str] = &[
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
    "<!DOCTYPE a [<!ENTITY b \"c\">]>",
    "<!-- c -->",
    "--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?a b?>",
    "&amp;",
    "&lt;",
    "&quot;",
    "&#65;",
    "&#x1;",
    "&#0;",
    "&#x10ffff;",
    "&#xd800;",
    "&b;",
    "&",
    "<",
    ">",
    "/>",
    "</",
    "\"",
    "'",
    " ",
    "\n",
    "\r",
    "\u{feff}",
    "=",
    " a='b'",
    " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"",
    "s3:",
    "<Delete>",
    "</Delete>",
    "<Object>",
    "</Object>",
    "<Key>",
    "</Key>",
    "<Quiet>true</Quiet>",
    "<VersionId>null</VersionId>",
    "<ETag>",
    "</ETag>",
    "<Size>1</Size>",
    "<LastModifiedTime>",
    "<a/>",
    "<CompleteMultipartUpload>",
    "</CompleteMultipartUpload>",
    "<Part>",
    "</Part>",
    "<PartNumber>",
    "</PartNumber>",
    "<ChecksumCRC32>AAAAAA==</ChecksumCRC32>",
    "10000",
    "<CreateBucketConfiguration>",
    "</CreateBucketConfiguration>",
    "<LocationConstraint>",
    "</LocationConstraint>",
    "<Tags/>",
    "\0",
];

fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    let cut = |text: &&str| [text.as_bytes().to_vec(), [text.as_bytes(), b"\0\0\x20"].concat()];
    texts.iter().flat_map(cut).collect()
}

pub fn delete_seeds() -> Vec<Vec<u8>> {
    seeds(&[
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <Quiet>true</Quiet><Object><Key>a&amp;b </Key></Object><Object><Key>c</Key><VersionId>null</VersionId>\
         <ETag>\"e\"</ETag><Size>7</Size><LastModifiedTime>Fri, 03 Feb 2006 16:45:09 GMT</LastModifiedTime></Object></Delete>",
        "<Delete><Object><Key>a&#x1;<![CDATA[<b>]]><!-- c -->\u{e9}</Key></Object> <Other><a/></Other>\n</Delete>\n",
        "<s3:Delete xmlns:s3='x'><Object><Key>k</Key></Object></s3:Delete>",
    ])
}

pub fn complete_seeds() -> Vec<Vec<u8>> {
    seeds(&[
        "<CompleteMultipartUpload><Part><ETag>&quot;e2&quot;</ETag><PartNumber>2</PartNumber>\
         <ChecksumCRC32C>AAAAAA==</ChecksumCRC32C></Part><Part><PartNumber>1</PartNumber><ETag>e1</ETag></Part>\
         </CompleteMultipartUpload>",
        "<?xml version=\"1.0\"?><CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n  <Part>\n\
         <PartNumber> 10000 </PartNumber>\n<ETag> \" e \" </ETag><ChecksumSHA256>x</ChecksumSHA256></Part>\n\
         </CompleteMultipartUpload>",
    ])
}

pub fn create_bucket_seeds() -> Vec<Vec<u8>> {
    seeds(&[
        "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>eu-west-1\
         </LocationConstraint></CreateBucketConfiguration>",
        "<CreateBucketConfiguration/>",
        "<CreateBucketConfiguration>\n<!-- c --><LocationConstraint/></CreateBucketConfiguration>",
        " \n",
    ])
}

/// A document as a client might write it: every character that is no letter or digit as a reference.
#[derive(Default)]
struct Written(String);

impl Written {
    fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.0.push_str(&format!("<{name}>"));
        for character in text.chars() {
            match character {
                plain if plain.is_ascii_alphanumeric() => self.0.push(plain),
                other => self.0.push_str(&format!("&#{};", u32::from(other))),
            }
        }
        self.0.push_str(&format!("</{name}>"));
        self
    }

    fn text_opt(&mut self, name: &str, text: Option<&str>) -> &mut Self {
        if let Some(text) = text {
            self.text(name, text);
        }
        self
    }

    fn within(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        self.0.push_str(&format!("<{name}>"));
        write(self);
        self.0.push_str(&format!("</{name}>"));
    }
}

/// The document before the first zero byte, read; and read again after it was written, and after it was cut.
#[allow(clippy::expect_used, reason = "this is a test")]
fn check<T: PartialEq + std::fmt::Debug>(
    data: &[u8],
    parse: impl Fn(&[u8]) -> Result<T, S3Error>,
    write: impl Fn(&T) -> String,
    characters: impl Fn(&T) -> usize,
) -> bool {
    let (document, cut) = split(data);
    let Ok(value) = parse(document) else { return false };
    assert!(characters(&value) <= document.len(), "there is more in it than was sent");
    let written = write(&value);
    assert_eq!(parse(written.as_bytes()).expect("what was taken is taken again"), value, "{written}");
    // What was cut off is not another document.
    let cut = cut.iter().fold(0, |cut, byte| cut << 8 | usize::from(*byte)) % (document.len() + 1);
    let first = &document[..cut];
    if let Ok(other) = parse(first)
        && !first.iter().all(u8::is_ascii_whitespace)
    {
        assert_eq!(other, value, "{cut}");
    }
    true
}

pub fn xml_delete(data: &[u8]) -> bool {
    let write = |request: &DeleteRequest| {
        let mut out = Written::default();
        out.within("Delete", |out| {
            out.text("Quiet", if request.quiet { "true" } else { "false" });
            for object in &request.objects {
                out.within("Object", |out| {
                    out.text("Key", &object.key)
                        .text_opt("VersionId", object.version_id.as_deref())
                        .text_opt("ETag", object.etag.as_deref())
                        .text_opt("LastModifiedTime", object.last_modified.as_deref())
                        .text_opt("Size", object.size.map(|size| size.to_string()).as_deref());
                });
            }
        });
        out.0
    };
    let characters = |request: &DeleteRequest| {
        assert!((1..=MAX_DELETE_KEYS).contains(&request.objects.len()));
        assert!(request.objects.iter().all(|object| !object.key.is_empty()));
        let of_object = |object: &super::ObjectToDelete| {
            let texts =
                [Some(&object.key), object.version_id.as_ref(), object.etag.as_ref(), object.last_modified.as_ref()];
            texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
        };
        request.objects.iter().map(of_object).sum()
    };
    check(data, DeleteRequest::parse, write, characters)
}

pub fn xml_complete(data: &[u8]) -> bool {
    let write = |request: &CompleteMultipartUpload| {
        let mut out = Written::default();
        out.within("CompleteMultipartUpload", |out| {
            for part in &request.parts {
                out.within("Part", |out| {
                    out.text("PartNumber", &part.number.to_string()).text("ETag", &format!("\"{}\"", part.etag));
                    for (algorithm, value) in &part.checksums {
                        out.text(element(*algorithm), value);
                    }
                });
            }
        });
        out.0
    };
    let characters = |request: &CompleteMultipartUpload| {
        assert!((1..=MAX_PARTS).contains(&request.parts.len()));
        assert!(request.parts.iter().all(|part| (1..=MAX_PARTS).contains(&usize::from(part.number))));
        let of_part = |part: &super::CompletedPart| {
            part.etag.len() + part.checksums.iter().map(|(_, value)| value.len()).sum::<usize>()
        };
        request.parts.iter().map(of_part).sum()
    };
    check(data, CompleteMultipartUpload::parse, write, characters)
}

pub fn xml_create_bucket(data: &[u8]) -> bool {
    let write = |configuration: &CreateBucketConfiguration| {
        let mut out = Written::default();
        out.within("CreateBucketConfiguration", |out| {
            out.text_opt("LocationConstraint", configuration.location_constraint.as_deref());
        });
        out.0
    };
    let characters =
        |configuration: &CreateBucketConfiguration| configuration.location_constraint.as_ref().map_or(0, String::len);
    check(data, CreateBucketConfiguration::parse, write, characters)
}
