use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::command::NewBody;
use super::super::query::Query;
use super::super::testing::{BUCKET, Rig, create_upload, put};
use super::*;

/// Keys that are prefixes of each other, with delimiters of several bytes in every place.
fn nasty_key() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => Just("a"),
        2 => Just("b"),
        3 => Just("/"),
        1 => Just("//"),
        2 => Just("::"),
        1 => Just(":"),
        1 => Just("\0"),
        1 => Just("\u{1}"),
        1 => Just("\u{7f}"),
        1 => Just("ÿ"),
        1 => Just("\u{ffff}"),
        1 => Just("\u{10ffff}")
    ];
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

#[derive(Debug, Clone)]
struct Ask {
    prefix: String,
    delimiter: Option<String>,
    from: ListFrom,
    limit: u32,
}

fn ask() -> impl Strategy<Value = Ask> {
    let prefix = prop_oneof![3 => Just(String::new()), 4 => nasty_key()];
    let delimiter = prop_oneof![
        2 => Just(None),
        1 => Just(Some(String::new())),
        4 => Just(Some("/".to_owned())),
        2 => Just(Some("::".to_owned())),
        1 => Just(Some("a".to_owned())),
        1 => Just(Some("\u{10ffff}".to_owned())),
        1 => Just(Some("\0".to_owned()))
    ];
    let from = prop_oneof![
        3 => Just(ListFrom::Start),
        3 => nasty_key().prop_map(ListFrom::AfterKey),
        2 => nasty_key().prop_map(ListFrom::AfterPrefix),
        1 => Just(ListFrom::AfterKey(String::new())),
        1 => Just(ListFrom::AfterPrefix(String::new()))
    ];
    (prefix, delimiter, from, prop_oneof![3 => 1..6u32, 2 => Just(1000u32), 1 => Just(0u32)])
        .prop_map(|(prefix, delimiter, from, limit)| Ask { prefix, delimiter, from, limit })
}

/// What a list is, said plainly: an entry is a key, or a common prefix, with the place among the items where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Plain<T> {
    Item(T),
    CommonPrefix(String),
}

fn plain<T: Clone>(items: &[(String, T)], ask: &Ask, after: impl Fn(&str, &T) -> bool) -> (Vec<Plain<T>>, bool) {
    let mut out: Vec<Plain<T>> = Vec::new();
    let mut more = false;
    for (key, item) in items {
        if !key.starts_with(&ask.prefix) || !after(key, item) {
            continue;
        }
        let common = ask.delimiter.as_ref().filter(|delimiter| !delimiter.is_empty()).and_then(|delimiter| {
            let rest = &key[ask.prefix.len()..];
            rest.find(delimiter.as_str()).map(|at| key[..ask.prefix.len() + at + delimiter.len()].to_owned())
        });
        if let (Some(common), Some(Plain::CommonPrefix(last))) = (&common, out.last())
            && common == last
        {
            continue;
        }
        if out.len() == ask.limit as usize {
            more = ask.limit > 0;
            break;
        }
        out.push(common.map_or_else(|| Plain::Item(item.clone()), Plain::CommonPrefix));
    }
    (out, more)
}

fn list(rig: &Rig, ask: &Ask) -> (Vec<Plain<(String, u64)>>, bool) {
    let query = Query::List {
        bucket: BUCKET,
        prefix: ask.prefix.clone(),
        delimiter: ask.delimiter.clone(),
        from: ask.from.clone(),
        limit: ask.limit,
    };
    let Answer::List { settings: Some(_), entries, more } = rig.ask(query) else { panic!() };
    let plain = |entry| match entry {
        ListEntry::Key(key, record) => {
            assert_eq!(record.attributes, Attributes::default());
            Plain::Item((key, record.version.log_index))
        }
        ListEntry::CommonPrefix(prefix) => Plain::CommonPrefix(prefix),
    };
    (entries.into_iter().map(plain).collect(), more)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_list_is_what_a_sorted_map_says(
        keys in prop::collection::btree_set(nasty_key(), 0..40),
        gone in prop::collection::vec(nasty_key(), 0..10),
        asks in prop::collection::vec(ask(), 1..30),
    ) {
        let mut rig = Rig::with_bucket();
        let mut model: BTreeMap<String, u64> = BTreeMap::new();
        for key in &keys {
            rig.put(key, NewBody::Empty, 0).unwrap();
            model.insert(key.clone(), rig.log.len() as u64);
        }
        for key in &gone {
            rig.delete(key).unwrap();
            model.remove(key);
        }
        let items: Vec<_> = model.into_iter().map(|(key, index)| (key.clone(), (key, index))).collect();
        for ask in &asks {
            let after = |key: &str, _: &_| match &ask.from {
                ListFrom::Start => true,
                ListFrom::AfterKey(from) => key > from.as_str(),
                ListFrom::AfterPrefix(prefix) => key > prefix.as_str() && !key.starts_with(prefix.as_str()),
            };
            prop_assert_eq!(list(&rig, ask), plain(&items, ask, after), "{:?}", ask);
        }
    }

    #[test]
    fn a_list_of_uploads_is_what_a_sorted_map_says(
        uploads in prop::collection::vec((nasty_key(), 0..3u64), 0..30),
        asks in prop::collection::vec((ask(), any::<Option<prop::sample::Index>>()), 1..30),
    ) {
        let mut rig = Rig::with_bucket();
        let mut model = BTreeMap::new();
        for (key, later) in &uploads {
            rig.now += later;
            let upload = rig.create_upload(key);
            model.insert((key.clone(), rig.now, upload), ());
        }
        let items: Vec<_> = model.keys().map(|(key, time, id)| (key.clone(), (key.clone(), *time, *id))).collect();
        for (ask, marker) in asks {
            let mut ask = ask;
            let mut after_upload = None;
            if let (Some(marker), false) = (marker, items.is_empty()) {
                let (key, item) = &items[marker.index(items.len())];
                ask.from = ListFrom::AfterKey(key.clone());
                after_upload = Some(item.clone());
            }
            let after = |key: &str, item: &(String, u64, UploadId)| match (&ask.from, &after_upload) {
                (_, Some(marker)) => item > marker,
                (ListFrom::Start, _) => true,
                (ListFrom::AfterKey(from), _) => key > from.as_str(),
                (ListFrom::AfterPrefix(prefix), _) => key > prefix.as_str() && !key.starts_with(prefix.as_str()),
            };
            let query = Query::Uploads {
                bucket: BUCKET,
                prefix: ask.prefix.clone(),
                delimiter: ask.delimiter.clone(),
                from: ask.from.clone(),
                after_upload: after_upload.as_ref().map(|(_, _, id)| *id),
                limit: ask.limit,
            };
            let Answer::Uploads { entries, more, .. } = rig.ask(query) else { panic!() };
            let got: Vec<_> = entries
                .into_iter()
                .map(|entry| match entry {
                    UploadEntry::Upload(record) => Plain::Item((record.key, record.initiated_ms, record.id)),
                    UploadEntry::CommonPrefix(prefix) => Plain::CommonPrefix(prefix),
                })
                .collect();
            prop_assert_eq!((got, more), plain(&items, &ask, after), "{:?} {:?}", ask, after_upload);
        }
    }
}

#[test]
fn keys_are_flat_bytes() {
    let mut rig = Rig::with_bucket();
    let keys = ["a", "a\0", "a/", "a//b", "a/b", "a0", "ÿ", "\u{10ffff}"];
    for key in keys.iter().rev() {
        rig.put_bytes(key, b"x");
    }
    assert_eq!(rig.keys(), keys);
}

#[test]
fn a_page_that_ends_in_a_common_prefix_goes_on_after_it() {
    let mut rig = Rig::with_bucket();
    for key in ["a/1", "a/2", "a/3", "a/4", "a/5", "a/6", "a/7", "b", "c/1"] {
        rig.put_bytes(key, b"x");
    }
    let ask = |from| Ask { prefix: String::new(), delimiter: Some("/".to_owned()), from, limit: 1 };
    let prefix = |text: &str| vec![Plain::CommonPrefix(text.to_owned())];
    assert_eq!(list(&rig, &ask(ListFrom::Start)), (prefix("a/"), true));
    assert_eq!(list(&rig, &ask(ListFrom::AfterKey("a/3".to_owned()))), (prefix("a/"), true));
    let (entries, more) = list(&rig, &ask(ListFrom::AfterPrefix("a/".to_owned())));
    assert!(matches!(&entries[..], [Plain::Item((key, _))] if key == "b") && more);
    assert_eq!(list(&rig, &ask(ListFrom::AfterKey("b".to_owned()))), (prefix("c/"), false));
}

#[test]
fn an_upload_marker_that_is_gone_hides_no_other() {
    let mut rig = Rig::with_bucket();
    let uploads: Vec<_> = (0..3).map(|_| rig.create_upload("k")).collect();
    let abort = super::super::Command::AbortUpload { bucket: BUCKET, key: "k".to_owned(), upload: uploads[0] };
    rig.run(abort).unwrap();
    let query = Query::Uploads {
        bucket: BUCKET,
        prefix: String::new(),
        delimiter: None,
        from: ListFrom::AfterKey("k".to_owned()),
        after_upload: Some(uploads[0]),
        limit: 10,
    };
    let Answer::Uploads { entries, .. } = rig.ask(query) else { panic!() };
    assert_eq!(entries.len(), 2);
}

#[test]
fn a_hundred_thousand_keys_are_listed_in_about_a_second() {
    let mut rig = Rig::with_bucket();
    for batch in 0..100 {
        let envelopes = (0..1000)
            .map(|key| rig.envelope(put(&format!("dir-{:02}/key-{batch:03}-{key:04}", key % 10), NewBody::Empty, 0)));
        let envelopes: Vec<_> = envelopes.collect();
        rig.apply(envelopes);
    }
    let started = std::time::Instant::now();
    let mut from = ListFrom::Start;
    let mut count = 0;
    loop {
        let query = Query::List { bucket: BUCKET, prefix: String::new(), delimiter: None, from, limit: 1000 };
        let Answer::List { entries, more, .. } = rig.ask(query) else { panic!() };
        count += entries.len();
        let Some(ListEntry::Key(last, _)) = entries.last() else { panic!() };
        from = ListFrom::AfterKey(last.clone());
        if !more {
            break;
        }
    }
    eprintln!("listed {count} keys in {:?}", started.elapsed());
    assert_eq!(count, 100_000);

    let started = std::time::Instant::now();
    let ask = Ask { prefix: String::new(), delimiter: Some("/".to_owned()), from: ListFrom::Start, limit: 1000 };
    let (entries, more) = list(&rig, &ask);
    eprintln!("ten common prefixes in {:?}", started.elapsed());
    assert_eq!((entries.len(), more), (10, false));
}

#[test]
fn uploads_of_one_key_come_in_the_order_of_their_initiation() {
    let mut rig = Rig::with_bucket();
    let mut ids = Vec::new();
    for first_byte in [9, 5, 1] {
        let upload = UploadId([first_byte; 16]);
        rig.run(create_upload("k", upload)).unwrap();
        rig.now += 1;
        ids.push(upload);
    }
    let query = Query::Uploads {
        bucket: BUCKET,
        prefix: String::new(),
        delimiter: None,
        from: ListFrom::Start,
        after_upload: None,
        limit: 10,
    };
    let Answer::Uploads { entries, .. } = rig.ask(query) else { panic!() };
    let listed: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| match entry {
            UploadEntry::Upload(record) => Some(record.id),
            UploadEntry::CommonPrefix(_) => None,
        })
        .collect();
    assert_eq!(listed, ids);
}
