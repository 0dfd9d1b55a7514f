//! A command takes effect once: results are kept for ten minutes by the time of its issue, and what is older than that
//! is refused. So a result may be forgotten as soon as its operation would be refused anyway.

use super::super::command::{Outcome, Rejection};
use super::super::error::MetaError;
use super::super::overlay::Read;
use super::super::stored::Kept;
use super::Applier;
use crate::types::OperationId;

/// How long results are kept, in milliseconds after the operation was issued.
const KEPT_MS: u64 = 10 * 60 * 1000;

/// Results are forgotten by the minute: one range deletion, and no tombstone for each.
const STEP_MS: u64 = 60 * 1000;

impl Applier<'_> {
    /// The answer of an operation that was applied before, or is too old to tell.
    pub(super) fn known_result(&self, operation: OperationId) -> Result<Option<Result<Outcome, Rejection>>, MetaError> {
        if operation.issued_ms < self.state.time_ms.saturating_sub(KEPT_MS) {
            return Ok(Some(Err(Rejection::OperationTooOld)));
        }
        Ok(self.overlay.load::<Kept>(&self.keys.operation(operation))?.map(|kept| kept.0))
    }

    /// Keeps the result for a repeated operation, and hands it on.
    pub(super) fn keep_result(
        &mut self,
        operation: OperationId,
        result: Result<Outcome, Rejection>,
    ) -> Result<Result<Outcome, Rejection>, MetaError> {
        let kept = Kept(result);
        self.overlay.put(self.keys.operation(operation), &kept)?;
        Ok(kept.0)
    }

    /// Forgets the results of whole minutes that are past.
    pub(super) fn expire_operations(&mut self) {
        let past = self.state.time_ms.saturating_sub(KEPT_MS);
        let to = past - past % STEP_MS;
        let from = self.state.operations_from_ms;
        if to > from {
            self.overlay.drop_range(self.keys.operations(from, to));
            self.state.operations_from_ms = to;
        }
    }
}

#[cfg(test)]
#[path = "operations_test.rs"]
mod tests;
