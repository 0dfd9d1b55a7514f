use proptest::prelude::*;

use super::*;

const KEYS: Keys = Keys { prefix: [0, 0, 0, 5, 0, 0, 0, 1] };

/// Keys that are prefixes of each other, and that hold the bytes that the escape is made of.
fn nasty_key() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("a"),
        Just("/"),
        Just("\0"),
        Just("\u{1}"),
        Just("\u{7f}"),
        Just("ÿ"),
        Just("\u{10ffff}"),
        Just("//")
    ];
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn escaped_keys_sort_as_the_keys_and_come_back(one in nasty_key(), other in nasty_key()) {
        let encode = |key: &str| [escaped(key.as_bytes()).as_ref(), &KEY_END, b"tail"].concat();
        prop_assert_eq!(one.cmp(&other), encode(&one).cmp(&encode(&other)));
        let encoded = encode(&one);
        let decoded = unescaped(&encoded).unwrap();
        prop_assert_eq!(decoded.as_ref(), one.as_bytes());
    }

    #[test]
    fn a_prefix_covers_the_keys_that_start_with_it_and_no_others(key in nasty_key(), prefix in nasty_key()) {
        let bucket = BucketId(3);
        let upload = KEYS.upload(bucket, key.as_bytes(), 1, UploadId([7; 16])).bytes;
        let range = KEYS.uploads_of(bucket, prefix.as_bytes());
        prop_assert_eq!(range.from <= upload && upload < range.to, key.starts_with(&prefix));
        let current = KEYS.current(bucket, key.as_bytes()).bytes;
        let range = KEYS.current_of(bucket, prefix.as_bytes());
        prop_assert_eq!(range.from <= current && current < range.to, key.starts_with(&prefix));
    }
}

#[test]
fn newer_versions_come_first_and_keys_before_versions() {
    let key = |key: &str, log_index, position| {
        KEYS.version(BucketId(1), key.as_bytes(), VersionId { log_index, position }).bytes
    };
    let sorted = [key("a", 9, 1), key("a", 9, 0), key("a", 8, 5), key("a\0", 9, 9), key("a/", 9, 9), key("b", 1, 0)];
    assert!(sorted.is_sorted());
}

#[test]
fn a_key_that_does_not_end_is_not_one() {
    for bytes in [&b"abc"[..], b"a\0", b"a\0\xff", b"a\0\x02", b"a\0\xff\0\x00", b""] {
        assert_eq!(unescaped(bytes), None, "{bytes:?}");
    }
}

#[test]
fn successors_step_over_all_that_starts_alike() {
    assert_eq!(successor(b"ab"), b"ac");
    assert_eq!(successor(b"a\xff\xff"), b"b");
    assert!(successor(b"\xff").as_slice() > &b"\xff\xff\xff"[..]);
    assert!(successor(b"").as_slice() > &b"\xff\xff\xff"[..]);
}

#[test]
fn settings_are_told_by_their_key_and_those_of_a_bucket_lie_together() {
    let key = |bucket, setting| KEYS.setting(BucketId(bucket), setting).bytes;
    let range = KEYS.settings_of(BucketId(2));
    for (place, setting) in Setting::ALL.into_iter().enumerate() {
        assert_eq!(key(2, setting), [&KEYS.prefix[..], &[0x12, 0, 0, 0, 0, 0, 0, 0, 2, place as u8]].concat());
        assert_eq!(setting_in(&key(2, setting)), Some(setting));
        assert!(range.from <= key(2, setting) && key(2, setting) < range.to);
        assert!(key(1, setting) < range.from && range.to <= key(3, setting));
    }
    let last = key(2, Setting::Cors);
    for wrong in [&last[..last.len() - 1], &[&last[..], &[0]].concat(), &[&last[..last.len() - 1], &[200]].concat()] {
        assert_eq!(setting_in(wrong), None);
    }
}

#[test]
fn parts_above_the_last_number_are_none() {
    let range = KEYS.parts_of(UploadId([1; 16]), u16::MAX);
    assert!(range.from >= range.to);
    let range = KEYS.parts_of(UploadId([1; 16]), 5);
    assert_eq!(range.from, KEYS.part(UploadId([1; 16]), 6).bytes);
}

#[test]
fn generations_and_groups_do_not_touch() {
    let mine = KEYS.all(Cf::Current);
    for other in
        [Keys::new(GroupId(5), 2), Keys::new(GroupId(5), 0), Keys::new(GroupId(4), 1), Keys::new(GroupId(6), 1)]
    {
        let key = other.current(BucketId(u64::MAX), "\u{10ffff}".as_bytes()).bytes;
        assert!(key < mine.from || key >= mine.to);
    }
}
