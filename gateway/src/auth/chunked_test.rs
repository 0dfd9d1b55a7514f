//! Bodies as clients write them, cut anywhere, damaged anywhere.

use proptest::prelude::*;

use super::*;

const TIMESTAMP: &str = "20130524T000000Z";

fn scope() -> Scope {
    Scope { date: "20130524".to_owned(), region: "us-east-1".to_owned(), service: "s3".to_owned() }
}

fn chain() -> Chain {
    Chain::new(scope().key("secret"), TIMESTAMP, &scope(), [b'0'; 64])
}

fn crc32() -> Vec<HeaderName> {
    vec![HeaderName::from_static("x-amz-checksum-crc32")]
}

fn unsigned() -> ChunkedPayload {
    ChunkedPayload::new(None, Some(crc32()))
}

fn text(hex: Hex) -> String {
    String::from_utf8(hex.to_vec()).unwrap()
}

/// A body as a client of S3 writes it: the chunks, the last one, the trailer.
fn encode(mut chain: Option<Chain>, chunks: &[Vec<u8>], trailer: Option<&str>) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in chunks.iter().map(Vec::as_slice).chain([&[][..]]) {
        body.extend(format!("{:x}", chunk.len()).into_bytes());
        if let Some(chain) = &mut chain {
            let signature = chain.sign_chunk(Sha256::new_with_prefix(chunk));
            body.extend(format!(";chunk-signature={}", text(signature)).into_bytes());
        }
        body.extend(b"\r\n");
        if !chunk.is_empty() {
            body.extend(chunk);
            body.extend(b"\r\n");
        }
    }
    if let Some(value) = trailer {
        body.extend(format!("x-amz-checksum-crc32:{value}\r\n").into_bytes());
        if let Some(chain) = &mut chain {
            let signature = chain.sign_trailers(format!("x-amz-checksum-crc32:{value}\n").as_bytes());
            body.extend(format!("{TRAILER_SIGNATURE}:{}\r\n", text(signature)).into_bytes());
        }
    }
    body.extend(b"\r\n");
    body
}

/// The object's bytes and the trailers of a body that comes in these pieces.
fn decode<'a>(
    payload: ChunkedPayload,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, HeaderMap), AuthError> {
    let mut decoder = Decoder::new(payload);
    let mut bytes = Vec::new();
    for piece in pieces {
        let piece = Bytes::copy_from_slice(piece);
        let mut out = Vec::new();
        decoder.push(piece.clone(), &mut out)?;
        assert!(decoder.line.len() < MAX_TRAILER_BYTES, "more than a line is kept");
        for part in out {
            assert!(!part.is_empty());
            assert!(piece.as_ptr_range().contains(&part.as_ptr()), "the bytes were copied");
            bytes.extend_from_slice(&part);
        }
    }
    Ok((bytes, decoder.finish()?))
}

fn decode_unsigned(body: &str) -> Result<(Vec<u8>, HeaderMap), AuthError> {
    decode(unsigned(), [body.as_bytes()])
}

#[test]
fn what_clients_do_differently_is_accepted() {
    for body in [
        // botocore, the AWS CLI, the SDKs for Java, Go and C++
        "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n",
        // botocore sends a line end more than that
        "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n\r\n",
        "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n",
        "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==",
        "b\r\nhello world\r\n0\r\n\r\nx-amz-checksum-crc32: DUoRhQ==\r\n\r\n",
        "00B\r\nhello world\r\n000\r\nX-Amz-Checksum-Crc32:DUoRhQ== \r\n\r\n",
        "b\nhello world\r\n0\nx-amz-checksum-crc32:DUoRhQ==\n\n",
        "5;name=value\r\nhello\r\n6 ; chunk-signature=ignored\r\n world\r\n0;x\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n",
    ] {
        let (bytes, trailers) = decode_unsigned(body).unwrap();
        assert_eq!(bytes, b"hello world", "{body:?}");
        assert_eq!(trailers["x-amz-checksum-crc32"], "DUoRhQ==", "{body:?}");
    }
}

#[test]
fn an_empty_object_has_only_the_last_chunk() {
    let (bytes, trailers) = decode_unsigned("0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n").unwrap();
    assert!(bytes.is_empty());
    assert_eq!(trailers.len(), 1);
    let signed = encode(Some(chain()), &[], None);
    assert_eq!(decode(ChunkedPayload::new(Some(chain()), None), [&*signed]).unwrap().0, b"");
}

#[test]
fn a_body_that_ends_early_is_truncated() {
    let body = "b\r\nhello world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==";
    let last_chunk = body.find("0\r\n").unwrap() + 3;
    for end in 0..last_chunk {
        assert_eq!(decode_unsigned(&body[..end]), Err(AuthError::Truncated), "{end}");
    }
    for end in last_chunk..body.find("DUoR").unwrap() - 1 {
        assert!(matches!(decode_unsigned(&body[..end]), Err(AuthError::MalformedTrailer(_))), "{end}");
    }
}

#[test]
fn malformed_frames_are_refused() {
    for body in [
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\nx\r\n0\r\n",
        "0x1\r\nx\r\n0\r\n",
        "10000000000000000\r\n",
        ";\r\n",
        "3\r\nhello\r\n0\r\n",
        "6\r\nhello\r\n0\r\n",
        "5\r\nhello0\r\n",
        "5\r\nhello\r\r\n0\r\n",
        "5\r\nhello\n0\r\n",
    ] {
        assert!(matches!(decode_unsigned(body), Err(AuthError::MalformedChunk(_))), "{body:?}");
    }
    let unsigned_chunk = decode(ChunkedPayload::new(Some(chain()), None), [&b"1\r\nx\r\n0\r\n\r\n"[..]]);
    assert_eq!(unsigned_chunk, Err(AuthError::MalformedChunk("a chunk without a signature")));
}

#[test]
fn trailers_are_those_that_were_declared_and_no_others() {
    for trailers in [
        "",
        "\r\n",
        "x-amz-checksum-crc32\r\n",
        ":DUoRhQ==\r\n",
        "x-amz-checksum-sha1:x\r\n",
        "x-amz-checksum-crc32:a\r\nx-amz-checksum-sha1:x\r\n",
        "x-amz-checksum-crc32:a\r\nx-amz-checksum-crc32:a\r\n",
        "x-amz-checksum-crc32:a\0b\r\n",
        "x-amz-checksum-crc32:a\r\nx-amz-trailer-signature:0\r\n",
        "x amz:a\r\n",
    ] {
        let result = decode_unsigned(&format!("0\r\n{trailers}"));
        assert!(matches!(result, Err(AuthError::MalformedTrailer(_))), "{trailers:?} {result:?}");
    }
    let none_declared = decode(ChunkedPayload::new(None, None), [&b"0\r\nx-amz-checksum-crc32:a\r\n"[..]]);
    assert!(matches!(none_declared, Err(AuthError::MalformedTrailer(_))));
}

#[test]
fn signed_trailers_need_a_signature_and_end_with_it() {
    let payload = || ChunkedPayload::new(Some(chain()), Some(crc32()));
    let body = String::from_utf8(encode(Some(chain()), &[], Some("AAAAAA=="))).unwrap();
    assert!(decode(payload(), [body.as_bytes()]).is_ok());
    let (before, signature) = body.split_once(TRAILER_SIGNATURE).unwrap();
    for (altered, error) in [
        (before.to_owned(), AuthError::MalformedTrailer("the signature is missing")),
        (body.replace("AAAAAA==", "AAAAAB=="), AuthError::BodySignatureDoesNotMatch),
        (format!("{before}{TRAILER_SIGNATURE}: \r\n"), AuthError::BodySignatureDoesNotMatch),
        (
            format!("{}x-amz-checksum-crc32:b\r\n", body.trim_end_matches("\r\n").to_owned() + "\r\n"),
            AuthError::MalformedTrailer("something follows the signature"),
        ),
        (
            format!("{}{TRAILER_SIGNATURE}{signature}", before.replace("x-amz-checksum-crc32:AAAAAA==\r\n", "")),
            AuthError::MalformedTrailer("a declared one is missing"),
        ),
    ] {
        assert_eq!(decode(payload(), [altered.as_bytes()]), Err(error), "{altered:?}");
    }
}

#[test]
fn the_memory_of_a_line_is_bounded() {
    for (body, limit) in [
        (vec![b'1'; 100_000], MAX_LINE_BYTES),
        ([b"1;".to_vec(), vec![b'x'; 100_000]].concat(), MAX_LINE_BYTES),
        ([b"0\r\n".to_vec(), vec![b'x'; 100_000]].concat(), MAX_TRAILER_BYTES + 3),
        ([b"0\r\n".to_vec(), b"\r\n".repeat(50_000)].concat(), MAX_TRAILER_BYTES + 3),
        ([b"0\r\n".to_vec(), b"\n".repeat(50_000)].concat(), MAX_TRAILER_BYTES + 3),
    ] {
        for size in [1, 7, 100_000] {
            let mut decoder = Decoder::new(unsigned());
            let mut taken = 0;
            let failed = body.chunks(size).any(|piece| {
                taken += piece.len();
                assert!(decoder.line.len() <= limit);
                decoder.push(Bytes::copy_from_slice(piece), &mut Vec::new()).is_err()
            });
            assert!(failed && (taken <= limit + size), "{taken} {limit}");
        }
    }
}

#[test]
fn after_an_error_nothing_is_accepted_any_more() {
    let mut decoder = Decoder::new(unsigned());
    let mut out = Vec::new();
    assert!(decoder.push(Bytes::from_static(b"no size\r\n"), &mut out).is_err());
    let good = Bytes::from_static(b"1\r\nx\r\n0\r\nx-amz-checksum-crc32:a\r\n");
    assert!(decoder.push(good, &mut out).is_err());
    assert!(out.is_empty());
    assert_eq!(decoder.finish(), Err(AuthError::Truncated));
}

#[test]
fn chunks_cannot_be_reordered_dropped_or_repeated() {
    let chunks = [b"one".to_vec(), b"two".to_vec()];
    let body = encode(Some(chain()), &chunks, None);
    // Each chunk's line has one digit and a signature of 64; each chunk three bytes.
    let length = 1 + ";chunk-signature=".len() + 64 + 2 + 3 + 2;
    let (one, rest) = body.split_at(length);
    let (two, last) = rest.split_at(length);
    let payload = || ChunkedPayload::new(Some(chain()), None);
    assert!(decode(payload(), [one, two, last]).is_ok());
    for pieces in [vec![two, one, last], vec![one, last], vec![two, last], vec![one, one, two, last], vec![last]] {
        assert_eq!(decode(payload(), pieces), Err(AuthError::BodySignatureDoesNotMatch));
    }
}

/// Cuts a body at these places, taken modulo its length.
fn cut<'a>(body: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (body.len() + 1)).collect();
    places.sort_unstable();
    places.push(body.len());
    let mut from = 0;
    places.into_iter().map(|to| &body[std::mem::replace(&mut from, to)..to]).collect()
}

fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6)
}

proptest! {
    #[test]
    fn any_split_of_the_body_gives_the_same_bytes(
        chunks in chunks(),
        places in prop::collection::vec(any::<usize>(), 0..20),
        signed: bool,
        with_trailer: bool,
    ) {
        let chain = signed.then(chain);
        let trailers = (with_trailer || !signed).then(crc32);
        let body = encode(chain.clone(), &chunks, trailers.as_ref().map(|_| "AAAAAA=="));
        let payload = ChunkedPayload::new(chain, trailers.clone());
        let (bytes, found) = decode(payload.clone(), cut(&body, &places)).unwrap();
        prop_assert_eq!(&bytes, &chunks.concat());
        prop_assert_eq!(found.len(), trailers.map_or(0, |names| names.len()));
        let (one_by_one, _) = decode(payload, body.chunks(1)).unwrap();
        prop_assert_eq!(one_by_one, bytes);
    }

    #[test]
    fn any_flipped_bit_of_a_signed_body_is_refused_or_says_the_same(
        chunks in chunks(),
        with_trailer: bool,
        place: prop::sample::Index,
        bit in 0..8u8,
    ) {
        let trailers = with_trailer.then(crc32);
        let mut body = encode(Some(chain()), &chunks, trailers.as_ref().map(|_| "AAAAAA=="));
        let payload = ChunkedPayload::new(Some(chain()), trailers);
        let place = place.index(body.len());
        let original = body[place];
        body[place] ^= 1u8 << bit;
        if let Ok((bytes, found)) = decode(payload, [&*body]) {
            // What is left is another case of a size's digit or of a trailer's name, or `\n` for white space at an end.
            prop_assert!(original.eq_ignore_ascii_case(&body[place]) || original.is_ascii_whitespace(), "{:?}", original);
            prop_assert_eq!(bytes, chunks.concat());
            prop_assert!(found.values().all(|value| value == "AAAAAA=="));
        }
    }

    #[test]
    fn random_bytes_never_panic(
        body in prop::collection::vec(
            prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'1'), Just(b';'), Just(b':')],
            0..400,
        ),
        signed: bool,
        size in 1..50usize,
    ) {
        let payload = ChunkedPayload::new(signed.then(chain), Some(crc32()));
        let _ = decode(payload, body.chunks(size));
    }

    #[test]
    fn random_ends_of_a_good_body_never_panic(chunks in chunks(), garbage: Vec<u8>, place: prop::sample::Index) {
        let mut body = encode(None, &chunks, Some("AAAAAA=="));
        let place = place.index(body.len());
        body.truncate(place);
        body.extend(garbage);
        let _ = decode(unsigned(), [&*body]);
    }
}
