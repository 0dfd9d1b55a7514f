//! The decisions of repair and collection, as functions of what is known.

use crate::chunk::ChunkInfo;
use crate::types::{DiskId, UnixMillis};
use crate::wire::Stat;

/// A copy that was written at most so long before its chunk was queued is taken for the late one that the queue is
/// about, milliseconds.
const LATE_COPY_MS: u64 = 60_000;

/// What is to be done with a chunk of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    /// It is in use after all, or what the disk noted is later than now, by a clock that was ahead: touch it, which
    /// clears the condemnation.
    Touch,
    Condemn,
    /// It has stood condemned for the grace time. The store checks that once more, in one step with the drop.
    Drop,
}

/// Judges a chunk by what its group says. `referenced` and `grace_ms` must be one answer of the group, asked after `info`
/// was read and after it was `now`.
///
/// Why no live chunk is dropped, whatever the grace time is set to. Let the chunk be touched at t0, condemned after that,
/// and dropped because a question at tq found it condemned for the grace time G that the group had at tq; so tq >= t0 + G.
/// - A commit before tq is seen by the question.
/// - A commit after tq is judged by a grace time of at most G, unless a longer one was set after tq. By G it is refused:
///   its chunk was touched longer ago than G / 2. A longer one that was set at ts > tq counts as the time since ts at
///   most, and the chunk was touched before ts: longer ago than half of that.
/// - A shorter one holds for commits before any disk can hear of it.
///
/// So nobody needs to have heard of anything: a disk that was away, or a node that still has an older map, asks first.
pub fn judge(info: &ChunkInfo, referenced: bool, now: UnixMillis, grace_ms: u64) -> Verdict {
    match (referenced, info.condemned_ms) {
        (true, None) => Verdict::Keep,
        (true, Some(_)) => Verdict::Touch,
        // Otherwise it would stay until that time. A touch that comes later than the one before is always right.
        (false, since) if info.touched_ms.max(since.unwrap_or(0)) > now => Verdict::Touch,
        // Past half the grace time no commit takes the chunk without another touch; until then it may be on its way.
        (false, None) if now.saturating_sub(info.touched_ms) <= grace_ms / 2 => Verdict::Keep,
        (false, None) => Verdict::Condemn,
        (false, Some(since)) if now.saturating_sub(since) < grace_ms => Verdict::Keep,
        (false, Some(_)) => Verdict::Drop,
    }
}

/// What a home of a chunk says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HomeState {
    /// It did not answer.
    Down,
    Missing,
    Has(Stat),
}

/// What a queued chunk needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need {
    /// The homes that have no copy.
    pub missing: Vec<DiskId>,
    /// The homes whose copy must be read before it counts: the one who queued the chunk did not know of a good one.
    pub doubtful: Vec<DiskId>,
    /// Whether a home is down: the entry stays queued then.
    pub waits: bool,
    /// The length, if any home has it.
    pub len: Option<u32>,
}

/// What a chunk needs that was queued at `queued_ms` by somebody who knew of good copies on `known`.
pub fn need(homes: &[(DiskId, HomeState)], known: &[DiskId], queued_ms: UnixMillis) -> Need {
    let mut need = Need::default();
    for (disk, state) in homes {
        match state {
            HomeState::Down => need.waits = true,
            HomeState::Missing => need.missing.push(*disk),
            HomeState::Has(stat) => {
                need.len = Some(stat.len);
                let is_late_copy = stat.stored_ms.saturating_add(LATE_COPY_MS) >= queued_ms;
                if !known.contains(disk) && !is_late_copy {
                    need.doubtful.push(*disk);
                }
            }
        }
    }
    need
}

#[cfg(test)]
#[path = "plan_test.rs"]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: u64 = 10_000;
    const NOW: UnixMillis = 1_000_000;

    fn chunk(touched_ago: u64, condemned_ago: Option<u64>) -> ChunkInfo {
        ChunkInfo {
            len: 1,
            stored_ms: 0,
            touched_ms: NOW - touched_ago,
            condemned_ms: condemned_ago.map(|ago| NOW - ago),
        }
    }

    #[test]
    fn a_referenced_chunk_is_never_condemned_or_dropped() {
        assert_eq!(judge(&chunk(GRACE * 9, None), true, NOW, GRACE), Verdict::Keep);
        assert_eq!(judge(&chunk(GRACE * 9, Some(GRACE * 8)), true, NOW, GRACE), Verdict::Touch);
    }

    #[test]
    fn an_unreferenced_chunk_takes_two_steps() {
        assert_eq!(judge(&chunk(GRACE / 2, None), false, NOW, GRACE), Verdict::Keep);
        assert_eq!(judge(&chunk(GRACE / 2 + 1, None), false, NOW, GRACE), Verdict::Condemn);
        assert_eq!(judge(&chunk(GRACE * 3, Some(GRACE - 1)), false, NOW, GRACE), Verdict::Keep);
        assert_eq!(judge(&chunk(GRACE * 3, Some(GRACE)), false, NOW, GRACE), Verdict::Drop);
    }

    #[test]
    fn what_a_clock_noted_that_was_ahead_is_kept_and_counts_anew() {
        let touched = ChunkInfo { len: 1, stored_ms: 0, touched_ms: NOW + 50, condemned_ms: None };
        let condemned = ChunkInfo { touched_ms: NOW, condemned_ms: Some(NOW + 50), ..touched };
        for info in [touched, condemned] {
            assert_eq!(judge(&info, false, NOW, GRACE), Verdict::Touch);
        }
        assert_eq!(judge(&touched, true, NOW, GRACE), Verdict::Keep);
    }

    fn disk(number: u8) -> DiskId {
        DiskId([number; 16])
    }

    fn has(stored_ms: u64) -> HomeState {
        HomeState::Has(Stat { len: 7, stored_ms })
    }

    #[test]
    fn a_queued_chunk_waits_for_a_home_that_is_down() {
        let queued = 500_000;
        let need =
            need(&[(disk(1), has(0)), (disk(2), HomeState::Down), (disk(3), HomeState::Missing)], &[disk(1)], queued);
        assert_eq!(need, Need { missing: vec![disk(3)], doubtful: vec![], waits: true, len: Some(7) });
    }

    #[test]
    fn a_late_third_copy_counts_and_an_old_one_that_nobody_vouches_for_is_read() {
        let queued = 500_000;
        let late = need(&[(disk(1), has(queued)), (disk(2), has(queued + 9))], &[disk(1)], queued);
        assert_eq!((late.missing.len(), late.doubtful.len(), late.waits), (0, 0, false));
        let old = need(&[(disk(1), has(7)), (disk(2), has(7))], &[disk(1)], queued);
        assert_eq!(old.doubtful, vec![disk(2)]);
    }
}
