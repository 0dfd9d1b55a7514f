//! Whether a history of one key can be explained by requests that took effect one after the other, each between its call
//! and its answer. The search of Wing and Gong, with the memory of Lowe: a set of requests that took effect together
//! with the value that they left is looked at once.

use std::collections::HashSet;

use super::history::{Action, Event, Outcome};

/// What a search may remember. A history that takes more counts as one that cannot be explained.
const MOST_STATES: usize = 4_000_000;

/// The value that an action leaves where `value` is there, if it could have had this outcome.
fn step(action: Action, outcome: Outcome, value: u64) -> Vec<u64> {
    let holds = match action {
        Action::Create(_) => value == 0,
        Action::Replace(expected, _) => value == expected,
        Action::Read | Action::Write(_) | Action::Delete => true,
    };
    let after = match action {
        Action::Read => value,
        Action::Write(new) | Action::Create(new) | Action::Replace(_, new) => new,
        Action::Delete => 0,
    };
    match outcome {
        Outcome::Saw(seen) => (seen == value).then_some(value).into_iter().collect(),
        Outcome::SawSome => (value != 0).then_some(value).into_iter().collect(),
        Outcome::Done => holds.then_some(after).into_iter().collect(),
        Outcome::Refused => (!holds).then_some(value).into_iter().collect(),
        Outcome::Unknown => {
            if holds {
                vec![after]
            } else {
                Vec::new()
            }
        }
    }
}

/// A set of requests by their number.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Set(Vec<u64>);

impl Set {
    fn has(&self, number: usize) -> bool {
        self.0[number / 64] >> (number % 64) & 1 == 1
    }

    fn with(&self, number: usize) -> Self {
        let mut set = self.clone();
        set.0[number / 64] |= 1 << (number % 64);
        set
    }
}

/// The events that cannot be explained: `Ok` where all can. An error is the greatest number of events that could.
pub fn check(events: &[Event]) -> Result<(), usize> {
    // A read that nobody heard the end of says nothing.
    let says = |event: &&Event| !(event.outcome == Outcome::Unknown && event.action == Action::Read);
    let mut events: Vec<Event> = events.iter().filter(says).copied().collect();
    events.sort_by_key(|event| event.called);
    // Most often nothing that nobody heard the end of and that nobody saw has happened. Each such event would double
    // what there is to search, and a fault may leave many.
    let likely: Vec<Event> = events.iter().filter(|event| is_seen(event, &events)).copied().collect();
    search(&likely).or_else(|_| search(&events))
}

/// Whether an event is known to have happened, or somebody saw what it left.
fn is_seen(event: &Event, events: &[Event]) -> bool {
    let (Action::Write(left) | Action::Create(left) | Action::Replace(_, left)) = event.action else { return true };
    let saw = |other: &Event| match (other.action, other.outcome) {
        (_, Outcome::Saw(seen)) => seen == left,
        (Action::Replace(expected, _), Outcome::Done) => expected == left,
        _ => false,
    };
    event.outcome != Outcome::Unknown || events.iter().any(saw)
}

/// `events` are in the order of their calls.
fn search(events: &[Event]) -> Result<(), usize> {
    let known = events.iter().filter(|event| event.outcome != Outcome::Unknown).count();
    let mut seen = HashSet::new();
    let mut best = 0;
    let mut stack = vec![(Set(vec![0; events.len() / 64 + 1]), 0u64, 0usize, 0usize)];
    while let Some((done, value, first, explained)) = stack.pop() {
        best = best.max(explained);
        assert!(seen.len() < MOST_STATES, "after {explained} events there is no telling");
        if explained == known {
            return Ok(());
        }
        // Everything that is called before the earliest answer that is still out may be next.
        let open = (first..events.len()).filter(|number| !done.has(*number));
        let returned = |number: &usize| match events[*number].outcome {
            Outcome::Unknown => None,
            _ => Some(events[*number].returned),
        };
        let earliest = open.clone().filter_map(|number| returned(&number)).min();
        for number in open {
            let event = &events[number];
            if earliest.is_some_and(|earliest| event.called > earliest) {
                break;
            }
            for after in step(event.action, event.outcome, value) {
                let next = done.with(number);
                let mut from = first;
                while from < events.len() && next.has(from) {
                    from += 1;
                }
                if seen.insert((next.clone(), after)) {
                    let counts = usize::from(event.outcome != Outcome::Unknown);
                    stack.push((next, after, from, explained + counts));
                }
            }
        }
    }
    Err(best)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn event(called: u64, returned: u64, action: Action, outcome: Outcome) -> Event {
        let (called, returned) = (Duration::from_millis(called), Duration::from_millis(returned));
        Event { action, outcome, called, returned }
    }

    #[test]
    fn a_stale_read_is_found() {
        let write = event(0, 1, Action::Write(1), Outcome::Done);
        let newer = event(2, 3, Action::Write(2), Outcome::Done);
        assert!(check(&[write, newer, event(4, 5, Action::Read, Outcome::Saw(2))]).is_ok());
        assert_eq!(check(&[write, newer, event(4, 5, Action::Read, Outcome::Saw(1))]), Err(2));
        // While the newer one is under way either is right, but not the older after the newer.
        let slow = event(2, 9, Action::Write(2), Outcome::Done);
        let (old, new) =
            (|at| event(at, at, Action::Read, Outcome::Saw(1)), |at| event(at, at, Action::Read, Outcome::Saw(2)));
        assert!(check(&[write, slow, old(4), new(5)]).is_ok());
        assert!(check(&[write, slow, new(4), old(5)]).is_err());
    }

    #[test]
    fn a_lost_write_is_found() {
        let write = event(0, 1, Action::Write(1), Outcome::Done);
        assert!(check(&[write, event(2, 3, Action::Read, Outcome::Saw(0))]).is_err());
        let delete = event(1, 4, Action::Delete, Outcome::Unknown);
        assert!(check(&[write, delete, event(2, 3, Action::Read, Outcome::Saw(0))]).is_ok());
    }

    #[test]
    fn two_creations_that_both_won_are_found() {
        let first = event(0, 5, Action::Create(1), Outcome::Done);
        assert!(check(&[first, event(0, 5, Action::Create(2), Outcome::Refused)]).is_ok());
        assert!(check(&[first, event(0, 5, Action::Create(2), Outcome::Done)]).is_err());
        assert!(check(&[first, event(6, 7, Action::Replace(1, 3), Outcome::Done)]).is_ok());
        assert!(check(&[first, event(6, 7, Action::Replace(2, 3), Outcome::Done)]).is_err());
    }

    #[test]
    fn what_nobody_heard_the_end_of_may_take_effect_late_or_never() {
        let unknown = event(0, 1, Action::Write(1), Outcome::Unknown);
        let reads = [
            event(2, 3, Action::Read, Outcome::Saw(0)),
            event(4, 5, Action::Read, Outcome::Saw(1)),
            event(6, 7, Action::Read, Outcome::Saw(1)),
        ];
        assert!(check(&[unknown, reads[0], reads[1], reads[2]]).is_ok());
        assert!(check(&[unknown, reads[0]]).is_ok());
        assert!(
            check(&[unknown, event(2, 3, Action::Read, Outcome::Saw(1)), event(4, 5, Action::Read, Outcome::Saw(0))])
                .is_err()
        );
    }

    #[test]
    fn what_nobody_heard_the_end_of_nor_saw_counts_where_something_else_shows_it() {
        let unknown = event(0, 1, Action::Create(1), Outcome::Unknown);
        let refused = event(2, 3, Action::Create(2), Outcome::Refused);
        let rest = [event(4, 5, Action::Delete, Outcome::Done), event(6, 7, Action::Read, Outcome::Saw(0))];
        assert!(check(&[unknown, refused, rest[0], rest[1]]).is_ok());
        assert!(check(&[refused, rest[0], rest[1]]).is_err());
    }

    #[test]
    fn many_writes_of_which_nothing_was_seen_are_in_nobodys_way() {
        let unknown = (1..=200).map(|value| event(0, 1, Action::Write(value), Outcome::Unknown));
        let known = (0..50).flat_map(|number| {
            let (at, value) = (10 * number, 1000 + number);
            [
                event(at, at + 4, Action::Write(value), Outcome::Done),
                event(at + 1, at + 5, Action::Read, Outcome::Saw(value)),
                event(at + 2, at + 3, Action::Create(2000 + number), Outcome::Refused),
            ]
        });
        let before = event(0, 1, Action::Write(999), Outcome::Done);
        assert_eq!(check(&unknown.chain([before]).chain(known).collect::<Vec<_>>()), Ok(()));
    }

    proptest! {
        /// What did happen one after the other is explained, however far the calls and answers reach.
        #[test]
        fn a_history_that_was_sequential_is_explained(
            steps in proptest::collection::vec((0u8..5, 0u64..30, 0u64..30, 0u8..10), 1..60)
        ) {
            let (mut value, mut events) = (0, Vec::new());
            for (number, (kind, before, behind, unknown)) in steps.into_iter().enumerate() {
                let (new, at) = (number as u64 + 1, 100 + number as u64 * 10);
                let action = match kind {
                    0 => Action::Read,
                    1 => Action::Write(new),
                    2 => Action::Create(new),
                    3 => Action::Replace(value.max(1), new),
                    _ => Action::Delete,
                };
                let (outcome, after) = match action {
                    Action::Read => (Outcome::Saw(value), value),
                    Action::Create(_) if value != 0 => (Outcome::Refused, value),
                    Action::Replace(expected, _) if value != expected => (Outcome::Refused, value),
                    Action::Delete => (Outcome::Done, 0),
                    _ => (Outcome::Done, new),
                };
                value = after;
                let outcome = if unknown == 0 && outcome != Outcome::Refused { Outcome::Unknown } else { outcome };
                events.push(event(at - before, at + behind, action, outcome));
            }
            prop_assert_eq!(check(&events), Ok(()));
        }
    }
}
