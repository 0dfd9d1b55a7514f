//! The state machine's time: what of the leaders' clocks is believed. What is judged to be past is judged by it, and by
//! nothing else.
//!
//! One stamp moves it forward by at most [`STEP_MS`]: a clock that was wrong for one command does not let a day pass. A
//! group gets a command at least every minute, so that only a clock that jumps, or a cluster that was off, comes to feel
//! the bound; then the time follows command by command, and until it has caught up things merely count as younger.
//! Up to where it has been before ([`GroupState::high_ms`]) it follows at once, and an hour on.
//!
//! It goes back where it is further ahead of a leader than the clocks of one cluster may be apart: somebody's clock was
//! ahead then, and everybody else's commands would be refused as too old until the real time has caught up. Going back
//! makes nothing pass; what garbage was queued under later times counts anew then, and once more from each leap after that.
//!
//! An operation that is repeated must not take effect twice, whatever the clocks do between. So no result is forgotten
//! before ten minutes have passed without a leap: of which an entry counts a minute at most, and a clock that goes back
//! counts them anew. What was forgotten nobody repeats any more.
//!
//! [`GroupState::high_ms`]: super::super::stored::GroupState::high_ms

use super::Applier;
use crate::types::UnixMillis;

/// How far one stamp moves the time forward, in milliseconds.
pub(super) const STEP_MS: u64 = 60 * 60 * 1000;
/// How far two clocks of a cluster may be apart, in milliseconds: nodes refuse each other past five minutes.
pub(super) const SKEW_MS: u64 = 6 * 60 * 1000;
/// How much time one stamp lets pass for what must not be forgotten, in milliseconds.
const CALM_STEP_MS: u64 = 60 * 1000;
/// September 2020: whose clock says less has not set it yet.
const FIRST_MS: UnixMillis = 1_600_000_000_000;

impl Applier<'_> {
    /// Takes the stamp of an entry.
    pub(super) fn take_stamp(&mut self, stamped_ms: UnixMillis) {
        self.count_calm(stamped_ms);
        let state = &mut self.state;
        let now = state.time_ms;
        if now < FIRST_MS {
            state.time_ms = now.max(stamped_ms);
        } else if stamped_ms > now {
            state.time_ms = stamped_ms.min(now.max(state.high_ms).saturating_add(STEP_MS));
        } else if stamped_ms >= FIRST_MS && now - stamped_ms > SKEW_MS {
            self.set_back(stamped_ms);
        }
        self.note_leap(now);
        self.state.high_ms = self.state.high_ms.max(self.state.time_ms);
        self.stamped_ms = stamped_ms;
        self.noted_ms = stamped_ms.max(self.state.time_ms);
    }

    /// `Command::ResetClock`: the leader's clock is right, for a person says so.
    pub(super) fn reset_clock(&mut self) {
        if self.stamped_ms < self.state.time_ms {
            self.set_back(self.stamped_ms);
        }
        let before = self.state.time_ms;
        self.state.time_ms = self.stamped_ms;
        self.note_leap(before);
        self.state.high_ms = self.stamped_ms;
        self.noted_ms = self.stamped_ms;
    }

    /// Counts the time that passes without a leap.
    fn count_calm(&mut self, stamped_ms: UnixMillis) {
        let state = &mut self.state;
        if state.stamped_ms.saturating_sub(stamped_ms) > SKEW_MS {
            state.issued_ms = Default::default();
            state.newest_issued_ms = state.newest_issued_ms.min(stamped_ms);
            state.stamped_ms = stamped_ms;
        }
        state.calm_ms += stamped_ms.saturating_sub(state.stamped_ms).min(CALM_STEP_MS);
        state.stamped_ms = state.stamped_ms.max(stamped_ms);
        if state.calm_ms >= CALM_STEP_MS {
            state.calm_ms -= CALM_STEP_MS;
            state.issued_ms.rotate_left(1);
            state.issued_ms[9] = state.newest_issued_ms;
        }
    }

    /// What was made to count anew (`garbage`) has not become older by a leap: it counts from there.
    fn note_leap(&mut self, before: UnixMillis) {
        let state = &mut self.state;
        let counts = before < state.brought_ms.saturating_add(state.grace_ms);
        if counts && state.time_ms.saturating_sub(before) > SKEW_MS {
            state.brought_ms = state.time_ms;
        }
    }

    /// Turns the time back. Garbage that was queued under a later time counts anew (`garbage`); completed uploads are
    /// remembered until then.
    fn set_back(&mut self, to: UnixMillis) {
        let state = &mut self.state;
        // What was issued later and forgotten came from a clock that was ahead.
        state.forgotten_ms = state.forgotten_ms.min(to);
        state.operations_from_ms = state.operations_from_ms.min(state.forgotten_ms);
        state.garbage_from_ms = state.garbage_from_ms.min(to);
        state.completed_from_ms = state.completed_from_ms.min(to);
        state.brought_ms = state.brought_ms.min(to);
        state.time_ms = to;
    }
}

#[cfg(test)]
#[path = "time_test.rs"]
mod tests;
