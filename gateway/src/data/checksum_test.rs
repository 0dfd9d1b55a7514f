use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn shown(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> String {
    hex::encode(of(algorithm, bytes).value)
}

#[test]
fn the_published_check_values_come_out() {
    let check = b"123456789";
    assert_eq!(shown(ChecksumAlgorithm::Crc32, check), "cbf43926");
    assert_eq!(shown(ChecksumAlgorithm::Crc32c, check), "e3069283");
    assert_eq!(shown(ChecksumAlgorithm::Crc64Nvme, check), "ae8b14860a799888");
    assert_eq!(shown(ChecksumAlgorithm::Sha1, b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_eq!(
        shown(ChecksumAlgorithm::Sha256, b"abc"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

/// SHA-512 of "abc" is of FIPS 180-2, MD5 of RFC 1321; the XXHashes of nothing, with seed 0, are of the reference
/// implementation, those of "123456789" and "abc" of its command `xxhsum`.
#[test]
fn the_published_values_of_the_younger_five_come_out() {
    assert_eq!(
        shown(ChecksumAlgorithm::Sha512, b"abc"),
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
         2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    );
    assert_eq!(shown(ChecksumAlgorithm::Md5, b"abc"), "900150983cd24fb0d6963f7d28e17f72");
    assert_eq!(shown(ChecksumAlgorithm::XxHash64, b""), "ef46db3751d8e999");
    assert_eq!(shown(ChecksumAlgorithm::XxHash64, b"abc"), "44bc2cf5ad770999");
    assert_eq!(shown(ChecksumAlgorithm::XxHash3, b""), "2d06800538d394c2");
    assert_eq!(shown(ChecksumAlgorithm::XxHash3, b"abc"), "78af5f94892f3950");
    assert_eq!(shown(ChecksumAlgorithm::XxHash128, b""), "99aa06d3014798d86001c324468d497f");
    assert_eq!(shown(ChecksumAlgorithm::XxHash128, b"abc"), "06b05ab6733a618578af5f94892f3950");
}

#[test]
fn the_checksums_of_nothing_are_what_clients_send_for_empty_bodies() {
    assert_eq!(encode(&of(ChecksumAlgorithm::Crc32, b""), None), "AAAAAA==");
    assert_eq!(encode(&of(ChecksumAlgorithm::Crc32c, b""), None), "AAAAAA==");
    assert_eq!(encode(&of(ChecksumAlgorithm::Crc64Nvme, b""), None), "AAAAAAAAAAA=");
}

#[test]
fn names_and_headers_lead_back_to_their_algorithm() {
    for algorithm in ALGORITHMS {
        assert_eq!(from_name(name(algorithm)), Some(algorithm));
        assert_eq!(from_element(element(algorithm)), Some(algorithm));
        assert_eq!(element(algorithm), format!("Checksum{}", name(algorithm)));
        assert_eq!(from_name(header(algorithm).as_str().strip_prefix(PREFIX).unwrap()), Some(algorithm));
        assert_eq!(of(algorithm, b"x").value.len(), len(algorithm));
    }
    assert_eq!(from_name("CRC16"), None);
}

#[test]
fn a_value_in_a_header_is_expected() {
    let asked = Asked::from_headers(&headers(&[
        ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ("x-amz-checksum-type", "FULL_OBJECT"),
    ]));
    let asked = asked.unwrap();
    assert_eq!(asked.algorithm, Some(ChecksumAlgorithm::Crc32));
    let none = HeaderMap::new();
    asked.check(Some(&of(ChecksumAlgorithm::Crc32, b"123456789")), &none).unwrap();
    let error = asked.check(Some(&of(ChecksumAlgorithm::Crc32, b"12345678")), &none).unwrap_err();
    assert_eq!(error.code, Code::BadDigest);
}

#[test]
fn a_checksum_can_be_announced_for_the_trailer() {
    let asked = Asked::from_headers(&headers(&[("x-amz-trailer", "x-amz-checksum-crc32c")])).unwrap();
    assert_eq!(asked, Asked { algorithm: Some(ChecksumAlgorithm::Crc32c), expected: Expected::Trailer });
    let computed = of(ChecksumAlgorithm::Crc32c, b"123456789");
    asked.check(Some(&computed), &headers(&[("x-amz-checksum-crc32c", "4waSgw==")])).unwrap();
    let wrong = headers(&[("x-amz-checksum-crc32c", "AAAAAA==")]);
    assert_eq!(asked.check(Some(&computed), &wrong).unwrap_err().code, Code::BadDigest);
    let malformed = headers(&[("x-amz-checksum-crc32c", "AAAA")]);
    assert_eq!(asked.check(Some(&computed), &malformed).unwrap_err().code, Code::InvalidRequest);
    assert_eq!(asked.check(Some(&computed), &HeaderMap::new()).unwrap_err().code, Code::InvalidRequest);
}

#[test]
fn an_algorithm_alone_asks_for_a_computation() {
    let asked = Asked::from_headers(&headers(&[("x-amz-checksum-algorithm", "sha256")])).unwrap();
    assert_eq!(asked, Asked::computed(ChecksumAlgorithm::Sha256));
    assert_eq!(asked.clone().or(ChecksumAlgorithm::Crc64Nvme), asked);
    let nothing = Asked::from_headers(&HeaderMap::new()).unwrap();
    assert_eq!(nothing.or(ChecksumAlgorithm::Crc64Nvme), Asked::computed(ChecksumAlgorithm::Crc64Nvme));
}

#[test]
fn what_cannot_be_a_checksum_is_refused_before_the_body_is_read() {
    for name in ALGORITHMS.map(header) {
        for value in ["not base64", "y/Q5", ""] {
            let map = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))]);
            let error = Asked::from_headers(&map).unwrap_err();
            assert_eq!(error.code, Code::InvalidRequest, "{name}");
        }
    }
}

#[test]
fn contradictions_and_unknown_algorithms_are_refused() {
    let bad: [&[(&'static str, &str)]; 6] = [
        &[("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-checksum-crc32c", "4waSgw==")],
        &[("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-checksum-crc32", "y/Q5Jg==")],
        &[("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-trailer", "x-amz-checksum-crc32")],
        &[("x-amz-checksum-crc32", "y/Q5Jg=="), ("x-amz-sdk-checksum-algorithm", "SHA1")],
        &[("x-amz-trailer", "x-amz-meta-late")],
        &[("x-amz-checksum-xxhash32", "AAAAAA==")],
    ];
    for pairs in bad {
        assert_eq!(Asked::from_headers(&headers(pairs)).unwrap_err().code, Code::InvalidRequest, "{pairs:?}");
    }
}

#[test]
fn a_content_md5_is_sixteen_bytes_or_invalid() {
    assert_eq!(content_md5(&HeaderMap::new()).unwrap(), None);
    let empty = headers(&[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")]);
    assert_eq!(hex::encode(content_md5(&empty).unwrap().unwrap()), "d41d8cd98f00b204e9800998ecf8427e");
    for text in ["", "YWJj", "rubbish", "1B2M2Y8AsgTpgAmY7PhCfg"] {
        let error = content_md5(&headers(&[("content-md5", text)])).unwrap_err();
        assert_eq!(error.code, Code::InvalidDigest, "{text:?}");
    }
}

#[test]
fn a_composite_is_the_checksum_of_the_parts_checksums() {
    let parts = [of(ChecksumAlgorithm::Sha256, b"one"), of(ChecksumAlgorithm::Sha256, b"two")];
    let whole = composite(ChecksumAlgorithm::Sha256, parts.iter().map(|part| part.value.as_ref()));
    let joined = [parts[0].value.as_ref(), parts[1].value.as_ref()].concat();
    assert_eq!(whole.value, of(ChecksumAlgorithm::Sha256, &joined).value);
    assert_eq!(whole.kind, ChecksumKind::Composite);
    assert!(encode(&whole, Some(2)).ends_with("=-2"));
}

#[test]
fn the_sha_of_an_object_does_not_follow_from_its_parts() {
    let part = of(ChecksumAlgorithm::Sha1, b"one");
    assert_eq!(full_object(ChecksumAlgorithm::Sha1, [(part.value.as_ref(), 3)]), None);
    assert_eq!(full_object(ChecksumAlgorithm::Crc32, [(part.value.as_ref(), 3)]), None);
}

proptest! {
    #[test]
    fn crcs_of_parts_combine_to_the_crc_of_the_whole(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..12),
    ) {
        let whole = parts.concat();
        for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
            let sums: Vec<_> = parts.iter().map(|part| (of(algorithm, part).value, part.len() as u64)).collect();
            let combined = full_object(algorithm, sums.iter().map(|(value, size)| (value.as_ref(), *size)));
            prop_assert_eq!(combined.unwrap(), of(algorithm, &whole));
        }
    }

    #[test]
    fn it_does_not_matter_how_the_bytes_are_cut(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        cut in any::<prop::sample::Index>(),
    ) {
        let cut = cut.index(bytes.len() + 1);
        for algorithm in ALGORITHMS {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&bytes[..cut]);
            hasher.update(&bytes[cut..]);
            prop_assert_eq!(hasher.finish(), of(algorithm, &bytes));
        }
    }
}
