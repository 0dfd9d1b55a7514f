use cairn_storage::meta::record::Body;
use cairn_storage::types::ManifestId;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const SMALL: u64 = 5;

fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

fn uploaded(number: u16, bytes: &[u8], algorithm: Option<ChecksumAlgorithm>) -> PartRecord {
    PartRecord {
        number,
        id: ManifestId([u8::try_from(number % 251).unwrap(); 16]),
        modified_ms: 0,
        size: bytes.len() as u64,
        md5: md5(bytes),
        checksum: algorithm.map(|algorithm| checksum::of(algorithm, bytes)),
        body: Body::Empty,
    }
}

fn asked(record: &PartRecord) -> CompletedPart {
    let checksums = record.checksum.iter().map(|kept| (kept.algorithm, checksum::encode(kept, None))).collect();
    CompletedPart { number: record.number, etag: hex::encode(record.md5), checksums }
}

fn expected(pairs: &[(&'static str, &str)]) -> Expected {
    let mut headers = pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::try_from(*value).unwrap()))
        .collect();
    Expected::take_from(&mut headers).unwrap()
}

fn code<T: std::fmt::Debug>(result: Result<T, S3Error>) -> Code {
    result.unwrap_err().code
}

#[test]
fn an_object_is_made_of_its_parts_in_order() {
    let parts = [uploaded(1, b"hello", None), uploaded(3, b"world", None), uploaded(9, b"!", None)];
    let chosen = [asked(&parts[0]), asked(&parts[1]), asked(&parts[2])];
    let object = assemble(&chosen, &parts, None, &Expected::default(), SMALL).unwrap();
    assert_eq!(object.size, 11);
    assert_eq!(object.parts.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 3, 9]);
    let joined: Vec<u8> = parts.iter().flat_map(|part| part.md5).collect();
    assert_eq!(object.etag.to_string(), format!("{}-3", hex::encode(md5(&joined))));
    assert_eq!(object.checksum, None);
}

#[test]
fn parts_that_are_not_named_are_left_out() {
    let parts = [uploaded(1, b"hello", None), uploaded(2, b"cruel", None), uploaded(3, b"world", None)];
    let object = assemble(&[asked(&parts[0]), asked(&parts[2])], &parts, None, &Expected::default(), SMALL).unwrap();
    assert_eq!((object.size, object.etag.parts), (10, Some(2)));
}

#[test]
fn an_upload_without_an_algorithm_has_a_checksum_of_the_whole_where_its_parts_have_one_in_common() {
    use ChecksumAlgorithm::*;
    let made = |algorithms: [Option<ChecksumAlgorithm>; 2]| {
        let parts = [uploaded(1, b"hello", algorithms[0]), uploaded(2, b"world", algorithms[1])];
        let chosen = [asked(&parts[0]), asked(&parts[1])];
        assemble(&chosen, &parts, None, &Expected::default(), SMALL).map(|made| made.checksum).map_err(|e| e.code)
    };
    for algorithm in [Crc64Nvme, Crc32, Crc32c] {
        assert_eq!(made([Some(algorithm); 2]), Ok(Some(checksum::of(algorithm, b"helloworld"))));
    }
    // The default is what a part has for which none was named: by a copy, or by a URL.
    let with_default = [[Some(Crc64Nvme), Some(Crc32)], [Some(Crc32), Some(Crc64Nvme)]];
    let without = [[Some(Sha256), Some(Sha256)], [Some(Crc64Nvme), None], [None, Some(Crc32)]];
    for algorithms in without.into_iter().chain(with_default) {
        assert_eq!(made(algorithms), Ok(None), "{algorithms:?}");
    }
    for algorithms in [[Crc32, Crc32c], [Crc32c, Crc32]] {
        assert_eq!(made(algorithms.map(Some)), Err(Code::InvalidRequest), "{algorithms:?}");
    }
}

#[test]
fn part_numbers_must_grow() {
    let part = |number| CompletedPart { number, etag: String::new(), checksums: Vec::new() };
    assert!(check_order(&[part(1)]).is_ok());
    assert!(check_order(&[part(2), part(5), part(10_000)]).is_ok());
    assert_eq!(code(check_order(&[part(2), part(1)])), Code::InvalidPartOrder);
    assert_eq!(code(check_order(&[part(1), part(1)])), Code::InvalidPartOrder);
}

#[test]
fn a_missing_part_or_another_etag_is_an_invalid_part() {
    let parts = [uploaded(1, b"hello", None)];
    let make = |part: CompletedPart| code(assemble(&[part], &parts, None, &Expected::default(), SMALL));
    assert_eq!(make(CompletedPart { number: 9_999, ..asked(&parts[0]) }), Code::InvalidPart);
    for etag in ["ffffffffffffffffffffffffffffffff", "", "1234", &format!("{}-1", hex::encode(parts[0].md5))] {
        assert_eq!(make(CompletedPart { etag: etag.to_owned(), ..asked(&parts[0]) }), Code::InvalidPart, "{etag}");
    }
}

#[test]
fn only_the_last_part_may_be_small() {
    let parts = [uploaded(1, b"hell", None), uploaded(2, b"o", None)];
    let both = [asked(&parts[0]), asked(&parts[1])];
    assert_eq!(code(assemble(&both, &parts, None, &Expected::default(), SMALL)), Code::EntityTooSmall);
    assert!(assemble(&both[1..], &parts, None, &Expected::default(), SMALL).is_ok());
    assert!(assemble(&both, &parts, None, &Expected::default(), 4).is_ok());
}

#[test]
fn the_announced_size_must_be_the_size() {
    let parts = [uploaded(1, b"hello", None)];
    let make = |size| assemble(&[asked(&parts[0])], &parts, None, &expected(&[("x-amz-mp-object-size", size)]), SMALL);
    assert!(make("5").is_ok());
    assert_eq!(code(make("6")), Code::InvalidRequest);
}

#[test]
fn the_checksum_of_a_part_must_be_the_one_that_was_kept() {
    let parts = [uploaded(1, b"hello", Some(ChecksumAlgorithm::Sha256))];
    let upload = Some((ChecksumAlgorithm::Sha256, ChecksumKind::Composite));
    let make = |checksums| {
        let part = CompletedPart { checksums, ..asked(&parts[0]) };
        assemble(&[part], &parts, upload, &Expected::default(), SMALL)
    };
    assert!(make(asked(&parts[0]).checksums).is_ok());
    let other = checksum::encode(&checksum::of(ChecksumAlgorithm::Sha256, b"x"), None);
    assert_eq!(code(make(vec![(ChecksumAlgorithm::Sha256, other)])), Code::InvalidPart);
    assert_eq!(code(make(vec![(ChecksumAlgorithm::Sha256, "bad".into())])), Code::InvalidPart);
    let crc = checksum::encode(&checksum::of(ChecksumAlgorithm::Crc32, b"hello"), None);
    assert_eq!(code(make(vec![(ChecksumAlgorithm::Crc32, crc)])), Code::InvalidPart);
    assert_eq!(code(make(Vec::new())), Code::InvalidRequest);
}

/// Values of the Ceph suite: one part of 1,024 times `A`.
#[test]
fn a_composite_checksum_is_shown_and_compared_with_its_count() {
    let parts = [uploaded(1, &[b'A'; 1_024], Some(ChecksumAlgorithm::Sha256))];
    let upload = Some((ChecksumAlgorithm::Sha256, ChecksumKind::Composite));
    let shown = "Ok6Cs5b96ux6+MWQkJO7UBT5sKPBeXBLwvj/hK89smg=-1";
    let make =
        |value: &str, part| assemble(&[part], &parts, upload, &expected(&[("x-amz-checksum-sha256", value)]), SMALL);
    let object = make(shown, asked(&parts[0])).unwrap();
    assert_eq!(checksum::encode(&object.checksum.unwrap(), Some(1)), shown);
    assert!(make(shown.trim_end_matches("-1"), asked(&parts[0])).is_ok());
    let other = checksum::encode(&checksum::of(ChecksumAlgorithm::Sha256, b"other"), None);
    assert_eq!(code(make(&other, asked(&parts[0]))), Code::BadDigest);
    // The object's checksum is judged before those of the parts are missed.
    let without = CompletedPart { checksums: Vec::new(), ..asked(&parts[0]) };
    assert_eq!(code(make(&other, without)), Code::BadDigest);
}

#[test]
fn the_type_of_the_checksum_must_be_the_uploads() {
    let parts = [uploaded(1, b"hello", Some(ChecksumAlgorithm::Crc32))];
    let upload = Some((ChecksumAlgorithm::Crc32, ChecksumKind::FullObject));
    let make = |kind| assemble(&[asked(&parts[0])], &parts, upload, &expected(&[("x-amz-checksum-type", kind)]), SMALL);
    assert!(make("FULL_OBJECT").is_ok());
    assert_eq!(code(make("COMPOSITE")), Code::InvalidRequest);
}

#[test]
fn a_checksum_that_cannot_be_checked_is_refused() {
    let parts = [uploaded(1, b"hello", None)];
    let crc = checksum::encode(&checksum::of(ChecksumAlgorithm::Crc32, b"hello"), None);
    let given = expected(&[("x-amz-checksum-crc32", &crc)]);
    assert_eq!(code(assemble(&[asked(&parts[0])], &parts, None, &given, SMALL)), Code::InvalidRequest);
}

#[test]
fn the_checksum_of_the_object_is_not_left_for_the_document() {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-checksum-crc32", HeaderValue::from_static("AAAAAA=="));
    assert!(Expected::take_from(&mut headers).is_ok());
    assert!(headers.is_empty());
}

#[test]
fn several_checksums_of_the_object_are_refused() {
    let names = ["x-amz-checksum-crc32", "x-amz-checksum-crc32c"];
    let header = |name| (HeaderName::from_static(name), HeaderValue::from_static("AAAAAA=="));
    let mut headers = names.into_iter().map(header).collect();
    assert_eq!(Expected::take_from(&mut headers).unwrap_err().code, Code::InvalidRequest);
}

#[test]
fn the_digest_of_a_request_is_that_of_its_parts_and_of_its_checks() {
    let part = |number, etag: &str| CompletedPart { number, etag: etag.to_owned(), checksums: Vec::new() };
    let plain = |parts: &[CompletedPart]| digest(parts, &Expected::default());
    let one = plain(&[part(1, "a"), part(2, "b")]);
    assert_eq!(one, plain(&[part(1, "a"), part(2, "b")]));
    assert_ne!(one, plain(&[part(1, "a"), part(2, "c")]));
    assert_ne!(one, plain(&[part(1, "a")]));
    assert_ne!(plain(&[part(1, "ab"), part(2, "c")]), plain(&[part(1, "a"), part(2, "bc")]));
    let mut checked = [part(1, "a"), part(2, "b")];
    checked[1].checksums.push((ChecksumAlgorithm::Crc32, "AAAAAA==".to_owned()));
    assert_ne!(one, plain(&checked));
    for expected in [
        Expected { size: Some(1), ..Expected::default() },
        Expected { kind: Some(ChecksumKind::FullObject), ..Expected::default() },
        Expected { checksum: Some((ChecksumAlgorithm::Crc32, "AAAAAA==".to_owned())), ..Expected::default() },
    ] {
        assert_ne!(one, digest(&[part(1, "a"), part(2, "b")], &expected));
    }
}

#[test]
fn ten_thousand_parts_are_assembled_in_no_time() {
    let parts: Vec<_> = (1..=10_000)
        .map(|number| uploaded(number, &number.to_be_bytes(), Some(ChecksumAlgorithm::Crc64Nvme)))
        .collect();
    let chosen: Vec<_> = parts.iter().map(asked).collect();
    let upload = Some((ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject));
    let started = std::time::Instant::now();
    let object = assemble(&chosen, &parts, upload, &Expected::default(), 1).unwrap();
    assert_eq!((object.parts.len(), object.size), (10_000, 20_000));
    let whole: Vec<u8> = (1..=10_000u16).flat_map(u16::to_be_bytes).collect();
    assert_eq!(object.checksum, Some(checksum::of(ChecksumAlgorithm::Crc64Nvme, &whole)));
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

proptest! {
    #[test]
    fn a_full_object_checksum_is_that_of_the_bytes(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 1..8)
    ) {
        for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
            let parts: Vec<_> =
                (1u16..).zip(&pieces).map(|(number, bytes)| uploaded(number, bytes, Some(algorithm))).collect();
            let chosen: Vec<_> = parts.iter().map(asked).collect();
            let upload = Some((algorithm, ChecksumKind::FullObject));
            let object = assemble(&chosen, &parts, upload, &Expected::default(), 0).unwrap();
            prop_assert_eq!(object.checksum, Some(checksum::of(algorithm, &pieces.concat())));
        }
    }
}
