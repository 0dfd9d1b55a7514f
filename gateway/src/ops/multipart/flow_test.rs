//! The operations on multipart uploads, over the real state machine.

use bytes::Bytes;
use cairn_storage::meta::record::ChecksumAlgorithm;
use http::StatusCode;
use md5::{Digest, Md5};

use crate::data::checksum;
use crate::ops::cluster::{Cluster, Seen, content};

const PART: usize = 5 << 20;
const ALL: (&str, &str) = ("x-amz-object-attributes", "ETag,Checksum,ObjectParts,StorageClass,ObjectSize");

async fn create(cluster: &Cluster, key: &str, headers: &[(&str, &str)]) -> String {
    let seen = cluster.send("POST", &format!("/bucket/{key}?uploads"), headers, "").await.unwrap();
    seen.element("UploadId").to_owned()
}

async fn upload(cluster: &Cluster, key: &str, id: &str, number: u16, headers: &[(&str, &str)], body: Bytes) -> Seen {
    let target = format!("/bucket/{key}?partNumber={number}&uploadId={id}");
    cluster.send("PUT", &target, headers, body).await.unwrap()
}

fn etag(bytes: &[u8]) -> String {
    hex::encode(Md5::digest(bytes))
}

/// The document that names parts of these numbers and bytes; `checksum` is an element for each.
fn document(parts: &[(u16, &Bytes)], checksum: Option<&str>) -> String {
    let part = |(number, bytes): &(u16, &Bytes)| {
        let checksum = checksum.map_or(String::new(), |name| {
            let algorithm = checksum::from_name(name).unwrap();
            let value = checksum::encode(&checksum::of(algorithm, bytes), None);
            format!("<Checksum{name}>{value}</Checksum{name}>")
        });
        format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{}\"</ETag>{checksum}</Part>", etag(bytes))
    };
    format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.iter().map(part).collect::<String>())
}

#[tokio::test]
async fn parts_become_an_object() {
    let cluster = Cluster::new().await;
    let id = create(&cluster, "key", &[("content-type", "audio/ogg"), ("x-amz-meta-a", "b")]).await;
    let bodies = [content(PART + 17, 1), content(PART, 2), content(1 << 20, 3)];
    upload(&cluster, "key", &id, 2, &[], content(100, 9)).await;
    for (number, body) in [(7, &bodies[2]), (2, &bodies[0]), (3, &bodies[1])] {
        let seen = upload(&cluster, "key", &id, number, &[], body.clone()).await;
        assert_eq!(seen.header("etag"), format!("\"{}\"", etag(body)));
    }
    assert_eq!(cluster.fail("GET", "/bucket/key?partNumber=1", &[], "").await, "NoSuchKey");
    let target = format!("/bucket/key?uploadId={id}");
    let list = cluster.send("GET", &target, &[], "").await.unwrap();
    assert_eq!(list.text().matches("<Part>").count(), 3);
    assert_eq!((list.element("IsTruncated"), list.element("DisplayName")), ("false", "Ann"));
    let page = cluster.send("GET", &format!("{target}&max-parts=1&part-number-marker=2"), &[], "").await.unwrap();
    assert_eq!((page.element("PartNumber"), page.element("IsTruncated")), ("3", "true"));
    assert_eq!(page.element("NextPartNumberMarker"), "3");

    let named = document(&[(2, &bodies[0]), (3, &bodies[1]), (7, &bodies[2])], None);
    let done = cluster.send("POST", &target, &[], named.clone()).await.unwrap();
    let digests: Vec<u8> = bodies.iter().flat_map(|body| Md5::digest(body).to_vec()).collect();
    let expected = format!("{}-3", etag(&digests));
    assert_eq!(done.element("ETag"), format!("&quot;{expected}&quot;"));
    let whole = Bytes::from(bodies.concat());
    let seen = cluster.send("GET", "/bucket/key", &[], "").await.unwrap();
    assert_eq!((seen.header("content-type"), seen.header("x-amz-meta-a"), &seen.body), ("audio/ogg", "b", &whole));
    let range = format!("bytes={}-{}", PART, PART + 40);
    let seen = cluster.send("GET", "/bucket/key", &[("range", &range)], "").await.unwrap();
    assert_eq!(seen.body, whole.slice(PART..PART + 41));

    // Again, and with other parts.
    let again = cluster.send("POST", &target, &[], named).await.unwrap();
    assert_eq!(again.text(), done.text());
    assert_eq!(cluster.fail("POST", &target, &[], document(&[(2, &bodies[0])], None)).await, "NoSuchUpload");
    for (method, target) in
        [("GET", target.clone()), ("DELETE", target.clone()), ("PUT", format!("{target}&partNumber=1"))]
    {
        assert_eq!(cluster.fail(method, &target, &[], "").await, "NoSuchUpload", "{method}");
    }

    for (number, body) in [(2, &bodies[0]), (3, &bodies[1]), (7, &bodies[2])] {
        let target = format!("/bucket/key?partNumber={number}");
        let seen = cluster.send("GET", &target, &[], "").await.unwrap();
        assert_eq!((seen.status, &seen.body), (StatusCode::PARTIAL_CONTENT, body));
        assert_eq!(seen.header("x-amz-mp-parts-count"), "3");
        let head = cluster.send("HEAD", &target, &[], "").await.unwrap();
        assert_eq!((head.status, head.headers), (seen.status, seen.headers));
    }
    assert_eq!(cluster.fail("GET", "/bucket/key?partNumber=5", &[], "").await, "InvalidPartNumber");

    let seen = cluster.send("GET", "/bucket/key?attributes", &[ALL], "").await.unwrap();
    assert_eq!((seen.element("ETag"), seen.element("PartsCount")), (&*expected, "3"));
    assert_eq!(seen.text().matches("<Part>").count(), 3);
    let page = [ALL, ("x-amz-max-parts", "1"), ("x-amz-part-number-marker", "3")];
    let seen = cluster.send("GET", "/bucket/key?attributes", &page, "").await.unwrap();
    assert_eq!((seen.element("PartNumber"), seen.element("IsTruncated")), ("7", "false"));
}

#[tokio::test]
async fn what_is_wrong_with_the_parts_leaves_the_upload_open() {
    let cluster = Cluster::new().await;
    let id = create(&cluster, "key", &[]).await;
    let (small, other) = (content(100, 1), content(200, 2));
    upload(&cluster, "key", &id, 1, &[], small.clone()).await;
    upload(&cluster, "key", &id, 2, &[], other.clone()).await;
    let target = format!("/bucket/key?uploadId={id}");
    for (expected, named) in [
        ("MalformedXML", String::new()),
        ("MalformedXML", document(&[], None)),
        ("InvalidPartOrder", document(&[(2, &other), (1, &small)], None)),
        ("InvalidPart", document(&[(9_999, &small)], None)),
        ("InvalidPart", document(&[(1, &other)], None)),
        ("EntityTooSmall", document(&[(1, &small), (2, &other)], None)),
    ] {
        assert_eq!(cluster.fail("POST", &target, &[], named).await, expected);
    }
    let named = document(&[(2, &other)], None);
    assert_eq!(cluster.fail("POST", &target, &[("if-match", "*")], named.clone()).await, "NoSuchKey");
    assert_eq!(cluster.fail("POST", &target, &[("x-amz-mp-object-size", "1")], named.clone()).await, "InvalidRequest");
    let headers = [("if-none-match", "*"), ("x-amz-mp-object-size", "200")];
    cluster.send("POST", &target, &headers, named).await.unwrap();
    assert_eq!(cluster.send("GET", "/bucket/key", &[], "").await.unwrap().body, other);

    for (method, target) in [("POST", "/bucket/key?uploadId=x"), ("PUT", "/bucket/key?uploadId=x&partNumber=1")] {
        assert_eq!(cluster.fail(method, target, &[], "x").await, "NoSuchUpload");
    }
    assert_eq!(cluster.fail("PUT", &format!("{target}&partNumber=0"), &[], "x").await, "InvalidArgument");
    assert_eq!(cluster.fail("PUT", "/nowhere/key?uploadId=x&partNumber=1", &[], "x").await, "NoSuchBucket");
}

#[tokio::test]
async fn an_aborted_upload_is_gone() {
    let cluster = Cluster::new().await;
    let id = create(&cluster, "key", &[]).await;
    upload(&cluster, "key", &id, 1, &[], content(100, 1)).await;
    let target = format!("/bucket/key?uploadId={id}");
    let seen = cluster.send("DELETE", &target, &[], "").await.unwrap();
    assert_eq!(seen.status, StatusCode::NO_CONTENT);
    assert_eq!(cluster.fail("DELETE", &target, &[], "").await, "NoSuchUpload");
    assert_eq!(cluster.fail("DELETE", "/bucket/key?uploadId=56788", &[], "").await, "NoSuchUpload");
}

#[tokio::test]
async fn checksums_of_every_kind_are_kept_and_given_back() {
    let cluster = Cluster::new().await;
    let bodies = [content(PART, 1), content(PART, 2), content(77, 3)];
    let whole = bodies.concat();
    let kinds = [
        ("CRC32", "FULL_OBJECT"),
        ("CRC32C", "FULL_OBJECT"),
        ("CRC64NVME", "FULL_OBJECT"),
        ("CRC32", "COMPOSITE"),
        ("CRC32C", "COMPOSITE"),
        ("SHA1", "COMPOSITE"),
        ("SHA256", "COMPOSITE"),
        ("SHA512", "COMPOSITE"),
        ("MD5", "COMPOSITE"),
        ("XXHASH64", "COMPOSITE"),
        ("XXHASH3", "COMPOSITE"),
        ("XXHASH128", "COMPOSITE"),
    ];
    for (name, kind) in kinds {
        let algorithm = checksum::from_name(name).unwrap();
        let of = |bytes: &[u8]| checksum::encode(&checksum::of(algorithm, bytes), None);
        let header = checksum::header(algorithm);
        let declared = [("x-amz-checksum-algorithm", name), ("x-amz-checksum-type", kind)];
        let id = create(&cluster, "key", &declared).await;
        let numbered: Vec<(u16, &Bytes)> = (1..).zip(&bodies).collect();
        for (number, body) in &numbered {
            let own = of(body);
            let seen = upload(&cluster, "key", &id, *number, &[(header.as_str(), &own)], (*body).clone()).await;
            assert_eq!(seen.header(header.as_str()), own);
        }
        let expected = if kind == "FULL_OBJECT" {
            of(&whole)
        } else {
            let values = bodies.each_ref().map(|body| checksum::of(algorithm, body).value);
            let made = checksum::composite(algorithm, values.iter().map(|value| &value[..]));
            checksum::encode(&made, Some(3))
        };
        let target = format!("/bucket/key?uploadId={id}");
        let named = document(&numbered, Some(name));
        assert_eq!(cluster.fail("POST", &target, &[(header.as_str(), "bad")], named.clone()).await, "InvalidRequest");
        let other = of(b"other");
        assert_eq!(cluster.fail("POST", &target, &[(header.as_str(), &other)], named.clone()).await, "BadDigest");
        let done = cluster.send("POST", &target, &[(header.as_str(), &expected)], named).await.unwrap();
        assert_eq!((done.element(&format!("Checksum{name}")), done.element("ChecksumType")), (&*expected, kind));

        let mode = ("x-amz-checksum-mode", "ENABLED");
        let seen = cluster.send("HEAD", "/bucket/key", &[mode], "").await.unwrap();
        assert_eq!((seen.header(header.as_str()), seen.header("x-amz-checksum-type")), (&*expected, kind));
        assert_eq!(cluster.send("HEAD", "/bucket/key", &[], "").await.unwrap().header(header.as_str()), "");
        let seen = cluster.send("GET", "/bucket/key?partNumber=2", &[mode], "").await.unwrap();
        assert_eq!((seen.header(header.as_str()), seen.header("x-amz-checksum-type")), (&*of(&bodies[1]), kind));
        let seen = cluster.send("GET", "/bucket/key?attributes", &[ALL], "").await.unwrap();
        // Without the number of parts, other than in the headers of HEAD and GET.
        let bare = expected.strip_suffix("-3").unwrap_or(&expected);
        assert_eq!((seen.element(&format!("Checksum{name}")), seen.element("ChecksumType")), (bare, kind));
    }
}

#[tokio::test]
async fn a_part_with_another_checksum_than_its_uploads_is_refused() {
    let cluster = Cluster::new().await;
    let id = create(&cluster, "key", &[("x-amz-checksum-algorithm", "SHA256")]).await;
    let target = format!("/bucket/key?partNumber=1&uploadId={id}");
    assert_eq!(cluster.fail("PUT", &target, &[], "x").await, "InvalidRequest");
    assert_eq!(cluster.fail("PUT", &target, &[("x-amz-checksum-crc32", "jLVRww==")], "x").await, "InvalidRequest");
    let declared = [("x-amz-checksum-algorithm", "SHA256"), ("x-amz-checksum-type", "FULL_OBJECT")];
    assert_eq!(cluster.fail("POST", "/bucket/key?uploads", &declared, "").await, "InvalidRequest");
}

#[tokio::test]
async fn parts_are_copied_from_objects() {
    let cluster = Cluster::new().await;
    let body = content(2 * PART + 99, 1);
    cluster.send("PUT", "/bucket/from", &[], body.clone()).await.unwrap();
    cluster.send("PUT", "/bucket/small", &[], "01234").await.unwrap();
    for declared in [&[][..], &[("x-amz-checksum-algorithm", "CRC32C")]] {
        let id = create(&cluster, "key", declared).await;
        let ranges = [0..PART, PART..2 * PART, 2 * PART..body.len()];
        let mut named = String::new();
        for (number, range) in (1..).zip(&ranges) {
            let target = format!("/bucket/key?partNumber={number}&uploadId={id}");
            let span = format!("bytes={}-{}", range.start, range.end - 1);
            let headers = [("x-amz-copy-source", "bucket/from"), ("x-amz-copy-source-range", &*span)];
            let seen = cluster.send("PUT", &target, &headers, "").await.unwrap();
            let own = etag(&body[range.clone()]);
            assert_eq!(seen.element("ETag"), format!("&quot;{own}&quot;"));
            let sum = seen.element("ChecksumCRC32C");
            let sum = if sum.is_empty() { String::new() } else { format!("<ChecksumCRC32C>{sum}</ChecksumCRC32C>") };
            named.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{own}</ETag>{sum}</Part>"));
        }
        let named = format!("<CompleteMultipartUpload>{named}</CompleteMultipartUpload>");
        cluster.send("POST", &format!("/bucket/key?uploadId={id}"), &[], named).await.unwrap();
        assert_eq!(cluster.send("GET", "/bucket/key", &[], "").await.unwrap().body, body);
    }

    let id = create(&cluster, "key", &[]).await;
    let target = format!("/bucket/key?partNumber=1&uploadId={id}");
    let copy = async |source: &str, range: &str| {
        let headers = [("x-amz-copy-source", source), ("x-amz-copy-source-range", range)];
        cluster.send("PUT", &target, &headers, "").await.map(|seen| seen.status).map_err(|error| error.code.as_str())
    };
    for range in ["0-2", "bytes=0", "bytes=hello-world", "bytes=0-bar", "bytes=hello-", "bytes=0-2,3-5"] {
        assert_eq!(copy("bucket/small", range).await, Err("InvalidArgument"), "{range}");
    }
    assert_eq!(copy("bucket/small", "bytes=0-21").await, Err("InvalidArgument"));
    assert_eq!(copy("bucket/small", "bytes=9-21").await, Err("InvalidArgument"));
    assert_eq!(copy("bucket/small", "bytes=1-4").await, Ok(StatusCode::OK));
    assert_eq!(copy("bucket/none", "bytes=1-4").await, Err("NoSuchKey"));
    let whole = cluster.send("PUT", &target, &[("x-amz-copy-source", "bucket/small")], "").await.unwrap();
    assert_eq!(whole.element("ETag"), format!("&quot;{}&quot;", etag(b"01234")));
}

#[tokio::test]
async fn an_object_is_located_as_its_request_was_sent() {
    let cluster = Cluster::new().await;
    for (host, target, scheme, location) in [
        ("localhost:9000", "/bucket/a%20b/c", "", "http://localhost:9000/bucket/a%20b/c"),
        ("s3.example", "/bucket/a%20b/c", "https", "https://s3.example/bucket/a%20b/c"),
        ("bucket.s3.example", "/a%20b/c", "http", "http://bucket.s3.example/a%20b/c"),
        ("bucket.s3.example:9000", "/a%20b/c", "https", "https://bucket.s3.example:9000/a%20b/c"),
    ] {
        let headers = [("host", host), ("x-forwarded-proto", scheme)];
        let seen = cluster.send("POST", &format!("{target}?uploads"), &headers, "").await.unwrap();
        let target = format!("{target}?uploadId={}", seen.element("UploadId"));
        let part = content(10, 1);
        cluster.send("PUT", &format!("{target}&partNumber=1"), &headers, part.clone()).await.unwrap();
        let done = cluster.send("POST", &target, &headers, document(&[(1, &part)], None)).await.unwrap();
        assert_eq!(done.element("Location"), location);
    }
}

#[tokio::test]
async fn an_empty_part_makes_an_empty_object() {
    let cluster = Cluster::new().await;
    let id = create(&cluster, "key", &[]).await;
    upload(&cluster, "key", &id, 1, &[], Bytes::new()).await;
    let named = document(&[(1, &Bytes::new())], None);
    cluster.send("POST", &format!("/bucket/key?uploadId={id}"), &[], named).await.unwrap();
    let seen = cluster.send("GET", "/bucket/key", &[], "").await.unwrap();
    assert_eq!((seen.status, seen.header("content-length")), (StatusCode::OK, "0"));
    assert!(seen.header("etag").ends_with("-1\""));
}

#[tokio::test]
async fn open_uploads_are_listed() {
    let cluster = Cluster::new().await;
    let mut ids = Vec::new();
    for key in ["a/1", "a/2", "b", "b", "c%20d"] {
        ids.push(create(&cluster, key, &[]).await);
    }
    let list = async |query: &str| cluster.send("GET", &format!("/bucket?uploads&{query}"), &[], "").await.unwrap();
    let all = list("").await;
    assert_eq!(all.text().matches("<Upload>").count(), 5);
    assert!(ids.iter().all(|id| all.text().contains(id.as_str())));
    assert_eq!((all.element("DisplayName"), all.element("IsTruncated")), ("Ann", "false"));
    let folded = list("delimiter=/&encoding-type=url").await;
    assert_eq!(folded.text().matches("<Upload>").count(), 3);
    assert!(folded.text().contains("<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>"));
    assert!(folded.text().contains("<Key>c%20d</Key>"));

    let mut seen = 0;
    let mut markers = String::new();
    loop {
        let page = list(&format!("max-uploads=1&{markers}")).await;
        seen += page.text().matches("<Upload>").count();
        if page.element("IsTruncated") == "false" {
            break;
        }
        let (key, id) = (page.element("NextKeyMarker").replace(' ', "%20"), page.element("NextUploadIdMarker"));
        markers = format!("key-marker={key}&upload-id-marker={id}");
    }
    assert_eq!(seen, 5);
    assert_eq!(list("max-uploads=0").await.text().matches("<Upload>").count(), 0);
}

#[tokio::test]
async fn a_copy_of_an_object_of_parts_is_in_one_piece_in_whichever_group() {
    let cluster = Cluster::new().await;
    let id = create(&cluster, "key", &[("x-amz-checksum-algorithm", "CRC32")]).await;
    let bodies = [content(PART, 1), content(77, 2)];
    let numbered: Vec<(u16, &Bytes)> = (1..).zip(&bodies).collect();
    for (number, body) in &numbered {
        upload(&cluster, "key", &id, *number, &[("x-amz-sdk-checksum-algorithm", "CRC32")], (*body).clone()).await;
    }
    let named = document(&numbered, Some("CRC32"));
    cluster.send("POST", &format!("/bucket/key?uploadId={id}"), &[], named).await.unwrap();
    let from = ("x-amz-copy-source", "bucket/key");
    let body = Bytes::from(bodies.concat());
    let crc32 = checksum::encode(&checksum::of(ChecksumAlgorithm::Crc32, &body), None);
    let mut groups = std::collections::BTreeSet::new();
    // The group follows from the name of the bucket: of so many, some are in the other group.
    for bucket in ["bucket", "bucket0", "bucket1", "bucket2", "bucket3", "bucket4", "bucket5", "bucket6", "bucket7"] {
        if bucket != "bucket" {
            cluster.send("PUT", &format!("/{bucket}"), &[], "").await.unwrap();
        }
        groups.insert(cluster.gateway.directory_entry(bucket).await.unwrap().unwrap().group);
        for key in ["a", "b/c", "%C3%BC"] {
            let target = format!("/{bucket}/to/{key}");
            let seen = cluster.send("PUT", &target, &[from], "").await.unwrap();
            assert_eq!(seen.element("ETag"), format!("&quot;{}&quot;", etag(&body)));
            assert_eq!((seen.element("ChecksumCRC32"), seen.element("ChecksumType")), (&*crc32, "FULL_OBJECT"));
            let seen = cluster.send("GET", &target, &[("x-amz-checksum-mode", "ENABLED")], "").await.unwrap();
            assert_eq!((seen.header("x-amz-checksum-crc32"), &seen.body), (&*crc32, &body));
            assert_eq!(seen.header("x-amz-checksum-type"), "FULL_OBJECT");
        }
        let seen = cluster.send("GET", &format!("/{bucket}/to/a?attributes"), &[ALL], "").await.unwrap();
        assert_eq!(seen.element("PartsCount"), "");
    }
    assert_eq!(groups.len(), 2);
}

#[tokio::test]
async fn an_upload_without_an_algorithm_gets_the_default_one_over_the_whole_object() {
    let cluster = Cluster::new().await;
    let bodies = [content(PART, 1), content(77, 2)];
    let numbered: Vec<(u16, &Bytes)> = (1..).zip(&bodies).collect();
    let mode = ("x-amz-checksum-mode", "ENABLED");
    // The second is what a client sends that adds CRC32 to each part by itself.
    for (name, sdk) in [("CRC64NVME", None), ("CRC32", Some(("x-amz-sdk-checksum-algorithm", "CRC32")))] {
        let algorithm = checksum::from_name(name).unwrap();
        let header = checksum::header(algorithm);
        let id = create(&cluster, "key", &[]).await;
        for (number, body) in &numbered {
            let seen = upload(&cluster, "key", &id, *number, sdk.as_slice(), (*body).clone()).await;
            let own = checksum::encode(&checksum::of(algorithm, body), None);
            assert_eq!(seen.header(header.as_str()), own);
        }
        let whole = checksum::encode(&checksum::of(algorithm, &bodies.concat()), None);
        let target = format!("/bucket/key?uploadId={id}");
        let named = document(&numbered, None);
        let composite = [("x-amz-checksum-type", "COMPOSITE")];
        assert_eq!(cluster.fail("POST", &target, &composite, named.clone()).await, "InvalidRequest");
        let done = cluster.send("POST", &target, &[(header.as_str(), &whole)], named).await.unwrap();
        assert_eq!(
            (done.element(checksum::element(algorithm)), done.element("ChecksumType")),
            (&*whole, "FULL_OBJECT")
        );
        let seen = cluster.send("HEAD", "/bucket/key", &[mode], "").await.unwrap();
        assert_eq!((seen.header(header.as_str()), seen.header("x-amz-checksum-type")), (&*whole, "FULL_OBJECT"));
    }
}

#[tokio::test]
async fn an_upload_that_is_not_there_is_said_before_its_document_is_read() {
    let cluster = Cluster::new().await;
    let id = create(&cluster, "key", &[]).await;
    let complete = |key: &str, id: &str| format!("/bucket/{key}?uploadId={id}");
    assert_eq!(cluster.fail("POST", &complete("key", &id), &[], "no document").await, "MalformedXML");
    assert_eq!(cluster.fail("POST", &complete("other", &id), &[], "no document").await, "NoSuchUpload");
    cluster.send("DELETE", &complete("key", &id), &[], "").await.unwrap();
    assert_eq!(cluster.fail("POST", &complete("key", &id), &[], "no document").await, "NoSuchUpload");
}
