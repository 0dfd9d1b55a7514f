//! A command takes effect once: results are kept for ten minutes by the time of its issue, and what is older than that
//! is refused. So a result may be forgotten as soon as its operation would be refused anyway; and where the time is turned
//! back, what may have been forgotten is refused all the same.

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
        let oldest = self.state.time_ms.saturating_sub(KEPT_MS).max(self.state.forgotten_ms);
        if operation.issued_ms < oldest {
            return Ok(Some(Err(Rejection::OperationTooOld)));
        }
        let kept = self.overlay.load::<Kept>(&self.keys.operation(operation))?.map(|kept| kept.0);
        Ok(kept.map(|result| match result {
            Ok(Outcome::VersionV1(record)) => Ok(Outcome::Version(Box::new((*record).into()))),
            result => result,
        }))
    }

    /// Keeps the result for a repeated operation, and hands it on.
    pub(super) fn keep_result(
        &mut self,
        operation: OperationId,
        result: Result<Outcome, Rejection>,
    ) -> Result<Result<Outcome, Rejection>, MetaError> {
        self.state.newest_issued_ms = self.state.newest_issued_ms.max(operation.issued_ms);
        let kept = Kept(result);
        self.overlay.put(self.keys.operation(operation), &kept)?;
        Ok(kept.0)
    }

    /// Forgets the results of whole minutes that are past, of what was issued no later than anything of ten minutes ago.
    pub(super) fn expire_operations(&mut self) {
        let past = self.state.time_ms.saturating_sub(KEPT_MS);
        let long_ago = self.state.issued_ms[0].saturating_add(1);
        let to = (past - past % STEP_MS).min(long_ago);
        let from = self.state.operations_from_ms;
        if to > from {
            self.overlay.drop_range(self.keys.operations(from, to));
            self.state.operations_from_ms = to;
            self.state.forgotten_ms = self.state.forgotten_ms.max(to);
        }
    }
}

#[cfg(test)]
#[path = "operations_test.rs"]
mod tests;
