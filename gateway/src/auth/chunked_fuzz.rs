//! `aws-chunked` bodies of every kind, cut anywhere, changed anywhere.

use super::*;
use crate::fuzz::{edit, head};

pub const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    ";",
    ":",
    "0",
    "1",
    "a",
    "10",
    "400",
    "ffffffffffffffff",
    "chunk-signature=",
    "0\r\n\r\n",
    "\0",
    "x-amz-checksum-crc32:",
    "x-amz-checksum-crc32:AAAAAA==\r\n",
    "x-amz-trailer-signature:",
];

/// Signed and with trailers.
const KINDS: [(bool, bool); 4] = [(false, true), (true, false), (true, true), (false, false)];

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (kind, (signed, has_trailers)) in (0u8..).zip(KINDS) {
        for how in 0..3 {
            let plan = [kind, how, 3, 9, 40, 0, 1, b'a', b'b', b'c'];
            let mut seed = plan.to_vec();
            if how == 0 {
                let chain = signed.then(chain);
                let trailer = has_trailers.then_some(&b"AAAAAA=="[..]);
                seed = [&seed[..3], &encode(chain, &[b"abc", b"de"], trailer)].concat();
            }
            seeds.push(seed);
        }
    }
    seeds
}

fn chain() -> Chain {
    let scope = Scope { date: "20130524".to_owned(), region: "us-east-1".to_owned(), service: "s3".to_owned() };
    Chain::new(scope.key("secret"), "20130524T000000Z", &scope, [b'0'; 64])
}

fn payload(kind: u8) -> ChunkedPayload {
    let (signed, trailers) = KINDS[usize::from(kind % 4)];
    let trailers = trailers.then(|| vec![HeaderName::from_static("x-amz-checksum-crc32")]);
    ChunkedPayload::new(signed.then(chain), trailers)
}

/// A body as a client of S3 writes it: the chunks, the last one, the trailer.
fn encode(mut chain: Option<Chain>, chunks: &[&[u8]], trailer: Option<&[u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in chunks.iter().copied().chain([&[][..]]) {
        body.extend(format!("{:x}", chunk.len()).into_bytes());
        if let Some(chain) = &mut chain {
            body.extend_from_slice(b";chunk-signature=");
            body.extend_from_slice(&chain.sign_chunk(Sha256::new_with_prefix(chunk)));
        }
        body.extend_from_slice(b"\r\n");
        if !chunk.is_empty() {
            body.extend_from_slice(&[chunk, b"\r\n"].concat());
        }
    }
    if let Some(value) = trailer {
        body.extend_from_slice(&[b"x-amz-checksum-crc32:", value, b"\r\n"].concat());
        if let Some(chain) = &mut chain {
            let canonical = [b"x-amz-checksum-crc32:", value, b"\n"].concat();
            body.extend_from_slice(
                &[b"x-amz-trailer-signature:", &chain.sign_trailers(&canonical)[..], b"\r\n"].concat(),
            );
        }
    }
    body.extend_from_slice(b"\r\n");
    body
}

type Decoded = (Vec<u8>, Result<HeaderMap, AuthError>);

/// What comes out of a body that comes in pieces, of these lengths again and again.
fn decode(kind: u8, body: &[u8], cuts: &[u8]) -> Decoded {
    let mut decoder = Decoder::new(payload(kind));
    let (mut out, mut rest, mut place) = (Vec::new(), body, 0);
    let mut result = Ok(());
    while !rest.is_empty() && result.is_ok() {
        let len = cuts.get(place).map_or(rest.len(), |len| usize::from(*len).clamp(1, rest.len()));
        place = (place + 1) % cuts.len().max(1);
        let (piece, later) = rest.split_at(len);
        rest = later;
        result = decoder.push(Bytes::copy_from_slice(piece), &mut out);
        assert!(decoder.line.len() <= MAX_TRAILER_BYTES, "a line is kept without a bound");
        assert!(decoder.trailers.len() <= 1);
        if result.is_err() {
            assert!(decoder.push(Bytes::from_static(b"0\r\n"), &mut Vec::new()).is_err(), "an error is the last word");
        }
    }
    let out = out.concat();
    assert!(out.len() <= body.len());
    (out, result.and_then(|()| decoder.finish()))
}

/// The first bytes say of which kind the body is, how it is made and how it is cut. A body comes out the same however it
/// is cut; a signed one only as it was signed, chunk by chunk, with its trailers.
#[allow(clippy::expect_used, reason = "this is a test")]
pub fn aws_chunked(data: &[u8]) -> bool {
    let [kind, how, cut, rest @ ..] = data else { return false };
    let (kind, cuts) = (kind % 4, [*cut, cut >> 4, 1]);
    if how % 3 == 0 {
        // A body that anybody may send: whoever knows no key makes no signed one.
        let whole = decode(kind, rest, &[]);
        assert_eq!(whole, decode(kind, rest, &cuts));
        assert_eq!(whole, decode(kind, rest, &[1]));
        if let (bytes, Ok(trailers)) = &whole {
            if payload(kind).is_signed() {
                assert_eq!(bytes, b"abcde", "only the seeds' chunks are signed");
                return true;
            }
            let trailer = trailers.get("x-amz-checksum-crc32").map(HeaderValue::as_bytes);
            assert_eq!(trailer.is_some(), kind == 0);
            let pieces: Vec<&[u8]> = bytes.chunks(100).collect();
            assert_eq!(decode(kind, &encode(None, &pieces, trailer), &cuts), whole);
        }
        return whole.1.is_ok();
    }
    // A body as a client makes it, of chunks of these lengths, and what becomes of it on the way.
    let (signed, has_trailers) = KINDS[usize::from(kind)];
    let (plan, script) = head::split(rest);
    let bytes: Vec<u8> = plan.iter().flat_map(|len| (0..*len).map(move |place| place ^ len)).collect();
    let (mut chunks, mut left) = (Vec::new(), &bytes[..]);
    for len in plan {
        let (chunk, later) = left.split_at(usize::from(*len));
        chunks.push(chunk);
        left = later;
    }
    let value = hex::encode(&plan[..plan.len().min(4)]);
    let trailer = has_trailers.then_some(value.as_bytes());
    let mut body = encode(signed.then(chain), &chunks, trailer);
    let (out, trailers) = decode(kind, &body, &cuts);
    let trailers = trailers.expect("what a client makes is taken");
    assert_eq!((&out, trailers.get("x-amz-checksum-crc32").map(HeaderValue::as_bytes)), (&bytes, trailer));
    edit(&mut body, script);
    let changed = decode(kind, &body, &cuts);
    assert_eq!(changed, decode(kind, &body, &[]));
    if signed && changed.1.is_ok() {
        assert_eq!(changed, (bytes, Ok(trailers)), "other bytes than those that were signed");
    }
    true
}
