use super::super::super::check::check;
use super::super::super::command::Command;
use super::super::super::query::{Answer, Query};
use super::super::super::testing::{Rig, hash};
use super::*;

fn collect(rig: &mut Rig, limit: u32, grace_ms: u64) -> (u32, bool) {
    match rig.run(Command::CollectGarbage { limit, grace_ms }) {
        Ok(Outcome::Progress { taken, more }) => (taken, more),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reference_stands_until_the_grace_time_is_over() {
    let mut rig = Rig::with_bucket();
    let id = rig.put_chunks("k", &[5]);
    rig.delete("k").unwrap();
    let referenced = |rig: &Rig| {
        let hashes = vec![[0; 32], hash(id, 0), hash(id, 1), [0xff; 32]];
        rig.ask(Query::Referenced { hashes })
    };
    rig.now += 999;
    assert_eq!(collect(&mut rig, 10, 1000), (0, false));
    assert_eq!(referenced(&rig), Answer::Referenced(vec![false, true, false, false]));
    rig.now += 1;
    assert_eq!(collect(&mut rig, 10, 1000), (1, false));
    assert_eq!(referenced(&rig), Answer::Referenced(vec![false; 4]));
    assert_eq!(check(&rig.store), 0);
}

#[test]
fn a_chunk_of_two_manifests_loses_one_reference_at_a_time() {
    let mut rig = Rig::with_bucket();
    let id = rig.put_chunks("one", &[5]);
    let (mut body, size) = super::super::super::testing::chunks(rig.id(), &[5, 5]);
    if let super::super::super::command::NewBody::Chunks { chunks, .. } = &mut body {
        // The same chunk twice within one body, too.
        chunks.iter_mut().for_each(|chunk| chunk.hash = hash(id, 0));
    }
    rig.put("two", body, size).unwrap();
    assert_eq!(check(&rig.store), 2);
    let referenced = |rig: &Rig| rig.ask(Query::Referenced { hashes: vec![hash(id, 0)] });
    rig.delete("two").unwrap();
    assert_eq!(collect(&mut rig, 1, 0), (1, true));
    check(&rig.store);
    assert_eq!(collect(&mut rig, 1, 0), (1, false));
    assert_eq!(referenced(&rig), Answer::Referenced(vec![true]));
    rig.delete("one").unwrap();
    assert_eq!(collect(&mut rig, 1, 0), (1, false));
    assert_eq!(referenced(&rig), Answer::Referenced(vec![false]));
}

#[test]
fn steps_are_bounded_and_end() {
    let mut rig = Rig::with_bucket();
    for place in 0..100 {
        rig.put_chunks(&format!("k{place}"), &[1; 7]);
    }
    let keys = rig.keys();
    rig.run(super::super::super::testing::delete(&keys.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    let mut left = 700;
    while left > 0 {
        let (taken, more) = collect(&mut rig, 90, 0);
        assert_eq!(taken, 90.min(left));
        left -= taken;
        assert_eq!(more, left > 0);
        assert_eq!(check(&rig.store) as u32, left);
    }
    assert_eq!(collect(&mut rig, 90, 0), (0, false));
}

#[test]
fn the_chunks_that_are_referred_to_are_listed_once_each_in_the_order_of_their_hashes() {
    let mut rig = Rig::with_bucket();
    let (mut hashes, mut manifests) = (Vec::new(), Vec::new());
    for (key, chunks) in [("a", 3), ("b", 2)] {
        let id = rig.put_chunks(key, &vec![5; chunks]);
        manifests.push(id);
        hashes.extend((0..chunks).map(|chunk| hash(id, chunk)));
    }
    hashes.sort_unstable();
    let ask = |after, limit| match rig.ask(Query::References { after, limit }) {
        Answer::References(listed) => listed,
        other => panic!("{other:?}"),
    };
    assert_eq!(ask(None, 100), hashes);
    assert_eq!(ask(None, 2), hashes[..2]);
    assert_eq!(ask(Some(hashes[1]), 2), hashes[2..4]);
    assert_eq!(ask(Some(hashes[4]), 2), [[0; 32]; 0]);

    let of_b = [hash(manifests[1], 0), hash(manifests[1], 1), [9; 32]];
    let whose = |hashes: &[[u8; 32]], limit| rig.ask(Query::Referrers { hashes: hashes.to_vec(), limit });
    assert_eq!(whose(&of_b, 10), Answer::Referrers([manifests[1]].into()));
    assert_eq!(whose(&hashes, 10), Answer::Referrers(manifests.into_iter().collect()));
    assert!(matches!(whose(&hashes, 1), Answer::Referrers(one) if one.len() == 1));
}

#[test]
fn what_died_while_a_clock_was_ahead_is_collected_the_grace_time_after_it_was_set_back() {
    let mut rig = Rig::with_bucket();
    let keys: Vec<String> = (0..2 * SCAN).map(|number| format!("k{number}")).collect();
    for key in &keys {
        rig.put_chunks(key, &[5]);
    }
    let real = rig.now;
    rig.now += 30 * 60_000;
    for key in &keys {
        rig.delete(key).unwrap();
    }
    rig.now = real;
    while collect(&mut rig, 1000, 1000).1 {}
    assert_eq!(check(&rig.store), keys.len(), "its time has not come");
    rig.now += 1000;
    rig.collect_all(1000, 1000);
    assert_eq!(check(&rig.store), 0);
}

#[test]
fn what_died_before_a_clock_was_behind_is_not_collected_early_when_it_is_right_again() {
    const HOUR: u64 = 60 * 60_000;
    for behind in [HOUR, 25 * HOUR] {
        let mut rig = Rig::with_bucket();
        rig.put_chunks("k", &[5]);
        rig.delete("k").unwrap();
        let real = rig.now;
        rig.now = real - behind;
        assert_eq!(collect(&mut rig, 1000, 24 * HOUR), (0, false));
        // It leaps.
        rig.now = real + 60_000;
        rig.apply_stamped(rig.now, Vec::new());
        rig.collect_all(1000, 24 * HOUR);
        assert_eq!(check(&rig.store), 1, "it died a minute ago");
        for _ in 0..24 * 12 - 1 {
            rig.now += 5 * 60_000;
            rig.collect_all(1000, 24 * HOUR);
        }
        assert_eq!(check(&rig.store), 1, "it died less than a day ago");
        rig.now += 5 * 60_000;
        rig.collect_all(1000, 24 * HOUR);
        assert_eq!(check(&rig.store), 0);
    }
}
