use super::super::check::check;
use super::super::command::{Command, NewBody};
use super::super::query::Query;
use super::super::testing::{BUCKET, Rig, hash};
use super::*;
use crate::types::MAX_CHUNK_LEN;

const MIB: u32 = 1 << 20;

/// Where each chunk of a body of these lengths lies.
fn layout(parts: &[(ManifestId, Vec<u32>)]) -> Vec<ChunkSpan> {
    let mut offset = 0;
    let mut out = Vec::new();
    for (id, lens) in parts {
        for (place, len) in lens.iter().enumerate() {
            out.push(ChunkSpan { offset, hash: hash(*id, place), len: *len });
            offset += u64::from(*len);
        }
    }
    out
}

fn overlapping(layout: &[ChunkSpan], first: u64, last: u64) -> Vec<ChunkSpan> {
    let overlaps = |span: &&ChunkSpan| span.offset <= last && span.offset + u64::from(span.len) > first;
    layout.iter().filter(overlaps).cloned().collect()
}

fn chunks_from(rig: &Rig, manifest: ManifestId, offset: u64, limit: u32) -> Vec<ChunkSpan> {
    match rig.ask(Query::Chunks { manifest, offset, limit }) {
        Answer::Chunks(spans) => spans,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_form_of_a_range_gives_the_bytes_that_it_names() {
    let mut rig = Rig::with_bucket();
    rig.put_bytes("k", b"0123456789");
    let range = |wanted| match rig.read("k", wanted, 10).unwrap().1 {
        WantedBytes::Inline { bytes, first, last, part } => {
            assert_eq!((&bytes[..], part), (&b"0123456789"[..], None));
            Some((first, last))
        }
        WantedBytes::Unsatisfiable => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(range(Wanted::All), Some((0, 9)));
    assert_eq!(range(Wanted::From(0)), Some((0, 9)));
    assert_eq!(range(Wanted::From(9)), Some((9, 9)));
    assert_eq!(range(Wanted::From(10)), None);
    assert_eq!(range(Wanted::Between(2, 4)), Some((2, 4)));
    assert_eq!(range(Wanted::Between(2, u64::MAX)), Some((2, 9)));
    assert_eq!(range(Wanted::Between(4, 2)), None);
    assert_eq!(range(Wanted::Between(10, 12)), None);
    assert_eq!(range(Wanted::Suffix(3)), Some((7, 9)));
    assert_eq!(range(Wanted::Suffix(u64::MAX)), Some((0, 9)));
    assert_eq!(range(Wanted::Suffix(0)), None);
    assert_eq!(range(Wanted::Part(1)), Some((0, 9)));
    assert_eq!(range(Wanted::Part(2)), None);
    assert_eq!(rig.read("k", Wanted::Nothing, 10).unwrap().1, WantedBytes::Nothing);
    assert!(rig.read("other", Wanted::All, 10).is_none());
    let head = rig.read("k", Wanted::PartHead(1), 10).unwrap().1;
    assert_eq!(head, WantedBytes::Chunks { spans: Vec::new(), first: 0, last: 9, part: None });
}

#[test]
fn an_empty_object_has_no_range_but_all_of_it() {
    let mut rig = Rig::with_bucket();
    rig.put("k", NewBody::Empty, 0).unwrap();
    let whole = rig.read("k", Wanted::All, 10).unwrap().1;
    assert_eq!(whole, WantedBytes::Inline { bytes: bytes::Bytes::new(), first: 1, last: 0, part: None });
    for wanted in [Wanted::From(0), Wanted::Between(0, 0), Wanted::Suffix(1)] {
        assert_eq!(rig.read("k", wanted, 10).unwrap().1, WantedBytes::Unsatisfiable);
    }
}

#[test]
fn ranges_of_a_body_of_several_pages_are_found_from_any_offset() {
    let mut rig = Rig::with_bucket();
    let lens: Vec<u32> = (0..1000).map(|place| 1 + place % 7).collect();
    let id = rig.put_chunks("k", &lens);
    let layout = layout(&[(id, lens)]);
    let size = layout.last().map(|span| span.offset + u64::from(span.len)).unwrap();
    for first in (0..size).step_by(61) {
        for length in [1, 5, 300, size] {
            let last = (first + length - 1).min(size - 1);
            let spans = rig.spans("k", Wanted::Between(first, last), 10_000);
            assert_eq!(spans, overlapping(&layout, first, last));
        }
        let wanted = overlapping(&layout, first, size);
        assert_eq!(chunks_from(&rig, id, first, 3), wanted[..wanted.len().min(3)]);
    }
    assert_eq!(chunks_from(&rig, id, size, 3), []);
    assert_eq!(chunks_from(&rig, ManifestId([0xee; 16]), 0, 3), []);
    assert_eq!(check(&rig.store), 1000);
}

#[test]
fn an_object_made_of_parts_reads_as_one() {
    let mut rig = Rig::with_bucket();
    let upload = rig.create_upload("k");
    let parts: Vec<(u16, Vec<u32>)> =
        vec![(2, vec![10, 20, 30]), (3, vec![]), (5, (0..300).map(|place| 1 + place % 3).collect()), (900, vec![7])];
    let named: Vec<_> = parts.iter().map(|(number, lens)| rig.put_part("k", upload, *number, lens)).collect();
    rig.put_part("k", upload, 4, &[5, 5]);
    let layout = layout(&named.iter().zip(&parts).map(|(part, (_, lens))| (part.id, lens.clone())).collect::<Vec<_>>());
    let size = layout.last().map(|span| span.offset + u64::from(span.len)).unwrap();
    rig.complete("k", upload, named, size).unwrap();
    check(&rig.store);

    for first in 0..size {
        for length in [1, 25, 90, size] {
            let last = (first + length - 1).min(size - 1);
            assert_eq!(rig.spans("k", Wanted::Between(first, last), 10_000), overlapping(&layout, first, last));
        }
        let wanted = overlapping(&layout, first, size);
        assert_eq!(rig.spans("k", Wanted::From(first), 2), wanted[..wanted.len().min(2)]);
    }

    let mut offset = 0;
    for (number, lens) in &parts {
        let length: u64 = lens.iter().map(|len| u64::from(*len)).sum();
        let (_, bytes) = rig.read("k", Wanted::Part(*number), 10_000).unwrap();
        let WantedBytes::Chunks { spans, first, last, part } = bytes else { panic!() };
        assert_eq!(part, Some(PartOfObject { number: *number, count: 4, checksum: None }));
        assert_eq!((first, last + 1), (offset, offset + length));
        assert_eq!(spans.len(), lens.len());
        offset += length;
    }
    for number in [0, 1, 4, 899, 901] {
        assert_eq!(rig.read("k", Wanted::Part(number), 10).unwrap().1, WantedBytes::Unsatisfiable);
    }

    let list = |after, limit| match rig.ask(Query::ObjectParts { bucket: BUCKET, key: "k".to_owned(), after, limit }) {
        Answer::ObjectParts { settings: Some(0), record: Some(_), parts, more, total: 4 } => {
            (parts.iter().map(|part| part.number).collect::<Vec<_>>(), more)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(list(0, 10), (vec![2, 3, 5, 900], false));
    assert_eq!(list(2, 2), (vec![3, 5], true));
    assert_eq!(list(5, 1), (vec![900], false));
    assert_eq!(list(900, 1), (vec![], false));
}

#[test]
fn ten_thousand_parts_are_completed_in_well_under_a_second() {
    let mut rig = Rig::with_bucket();
    let upload = rig.create_upload("k");
    let mut named = Vec::new();
    for hundred in 0..100u16 {
        let envelopes: Vec<_> = (1..=100)
            .map(|number| {
                let (number, id) = (hundred * 100 + number, rig.id());
                named.push(super::super::command::NamedPart { number, id });
                let lens = [MAX_CHUNK_LEN as u32, MIB];
                rig.envelope(super::super::testing::put_part("k", upload, number, id, &lens))
            })
            .collect();
        assert!(rig.apply(envelopes).iter().all(Result::is_ok));
    }
    let size = 10_000 * 9 * u64::from(MIB);
    let started = std::time::Instant::now();
    rig.complete("k", upload, named.clone(), size).unwrap();
    let took = started.elapsed();
    eprintln!("completed 10,000 parts in {took:?}");
    assert!(took.as_secs() < 5, "{took:?}");
    assert_eq!(check(&rig.store), 20_000);

    let layout = layout(&named.iter().map(|part| (part.id, vec![8 * MIB, MIB])).collect::<Vec<_>>());
    let started = std::time::Instant::now();
    for first in [0, 1, 8 * u64::from(MIB), 4_711 * 9 * u64::from(MIB) + 17, size - 1] {
        let last = (first + 100 * u64::from(MIB)).min(size - 1);
        assert_eq!(rig.spans("k", Wanted::Between(first, last), 1000), overlapping(&layout, first, last));
    }
    eprintln!("five ranges in {:?}", started.elapsed());
    for number in [1, 256, 257, 9_999, 10_000] {
        let (_, bytes) = rig.read("k", Wanted::PartHead(number), 1).unwrap();
        let WantedBytes::Chunks { first, part: Some(part), .. } = bytes else { panic!() };
        assert_eq!((first, part.number, part.count), (u64::from(number - 1) * 9 * u64::from(MIB), number, 10_000));
    }

    rig.delete("k").unwrap();
    rig.now += 1000;
    let steps = rig.collect_all(5_000, 1000);
    assert!(steps >= 6);
    assert_eq!(check(&rig.store), 0);
    assert_eq!(rig.statistics().manifests, 0);
}

#[test]
fn what_is_half_collected_never_gives_bytes_at_a_wrong_place() {
    let mut rig = Rig::with_bucket();
    let lens = vec![10; 600];
    let id = rig.put_chunks("k", &lens);
    let layout = layout(&[(id, lens)]);
    rig.delete("k").unwrap();
    for _ in 0..7 {
        rig.run(Command::CollectGarbage { limit: 100, grace_ms: 0 }).unwrap();
        for offset in [0, 990, 1000, 2550, 2560, 5990] {
            let spans = chunks_from(&rig, id, offset, 1000);
            let whole = overlapping(&layout, offset, 6000);
            assert_eq!(spans, whole[..spans.len()]);
        }
        check(&rig.store);
    }
    assert_eq!(rig.statistics().manifests, 0);
}
