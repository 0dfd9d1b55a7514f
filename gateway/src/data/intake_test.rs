use http::{HeaderValue, Method};

use super::super::DataSettings;
use super::super::checksum;
use super::super::fake::{Fake, GROUP};
use super::*;
use crate::auth::sign::{Credentials, Unsigned, sign_headers};
use crate::auth::{Parsed, RequestHead, Rules, parse};

const NOW: u64 = 1_700_000_000_000;

/// The intake of a request with an unsigned, chunked body and a CRC32 in its trailer.
fn intake(decoded: usize, body: Vec<u8>) -> Intake {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("localhost"));
    headers.insert("content-length", HeaderValue::from(body.len()));
    headers.insert("content-encoding", HeaderValue::from_static("aws-chunked"));
    headers.insert("x-amz-decoded-content-length", HeaderValue::from(decoded));
    headers.insert("x-amz-trailer", HeaderValue::from_static("x-amz-checksum-crc32"));
    let rules = Rules::s3("us-east-1");
    let unsigned = Unsigned { method: &Method::PUT, raw_path: "/b/k", raw_query: "", headers: &headers };
    let credentials = Credentials { access_key: "key", secret_key: "secret" };
    let added = sign_headers(&unsigned, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", credentials, &rules, NOW).unwrap();
    headers.extend(added);
    let head =
        RequestHead { method: &Method::PUT, raw_path: "/b/k", raw_query: "", headers: &headers, bucket_of_host: "" };
    let Parsed::Signed(signed) = parse(&head, &rules, NOW).unwrap() else { panic!("anonymous") };
    let payload = signed.verify("secret").unwrap();
    let pieces: Vec<_> = body.chunks(1_000).map(|piece| Ok::<_, S3Error>(Bytes::copy_from_slice(piece))).collect();
    Intake::from_headers(&headers, payload, Body::from_stream(futures::stream::iter(pieces))).unwrap()
}

fn framed(bytes: &[u8], checksum: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for piece in bytes.chunks(3_333) {
        body.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        body.extend_from_slice(piece);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("0\r\nx-amz-checksum-crc32:{checksum}\r\n\r\n").as_bytes());
    body
}

#[tokio::test]
async fn a_chunked_body_is_stored_without_its_frames_and_judged_by_its_trailer() {
    let fake = Fake::new(3);
    let path = fake.path(DataSettings { chunk_size: 64 << 10, ..DataSettings::default() });
    for length in [1, 5_000, 16_385, 200_000] {
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let right = checksum::of(checksum::ALGORITHMS[0], &bytes);
        let shown = checksum::encode(&right, None);
        let stored = path.store(GROUP, intake(length, framed(&bytes, &shown))).await.unwrap();
        assert_eq!((stored.size, stored.checksum), (length as u64, Some(right)));

        let wrong = path.store(GROUP, intake(length, framed(&bytes, "AAAAAA=="))).await.unwrap_err();
        assert_eq!(wrong.code, Code::BadDigest);
        let mut cut = framed(&bytes, &shown);
        cut.truncate(cut.len() - 40);
        let cut = path.store(GROUP, intake(length, cut)).await.unwrap_err();
        assert_eq!(cut.code, Code::IncompleteBody, "{length}");
        let longer = path.store(GROUP, intake(length + 1, framed(&bytes, &shown))).await.unwrap_err();
        assert_eq!(longer.code, Code::IncompleteBody);
    }
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_a_timeout_and_no_broken_one() {
    use crate::middleware::inbound::TooSlow;
    let fake = Fake::new(1);
    for (error, code) in [
        (Box::<dyn std::error::Error + Send + Sync>::from(TooSlow), Code::RequestTimeout),
        (Box::from("gone"), Code::IncompleteBody),
    ] {
        let pieces = futures::stream::iter([Ok(Bytes::from_static(b"1")), Err(error)]);
        let intake = Intake { body: Body::from_stream(pieces), ..plain(100_000) };
        let error = fake.path(DataSettings::default()).store(GROUP, intake).await.unwrap_err();
        assert_eq!(error.code, code);
    }
}

/// The intake of an unsigned body of so many bytes, none of which are there.
fn plain(length: u64) -> Intake {
    let headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from(length))]);
    Intake::from_headers(&headers, Payload::Unsigned, Body::empty()).unwrap()
}
