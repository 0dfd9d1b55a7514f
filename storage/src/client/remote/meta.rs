//! The groups, through any node that answers.

use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Method;
use serde::de::DeserializeOwned;

use super::call::Body;
use super::{CallError, Cluster, Remote};
use crate::client::{MetaService, ServiceError};
use crate::meta::{Answer, Envelope, Outcome, Query, Rejection};
use crate::types::GroupId;
use crate::wire::{self, message, path};

/// How long a group is asked, at whatever nodes. No node is asked after that; one that was lets on within five seconds
/// that it found no leader, so that a client hears of it within ten.
const PATIENCE: Duration = Duration::from_millis(4500);
/// A node looks for the group's leader by itself for five seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(6);
/// The rest after all nodes were asked in vain.
const PAUSE: Duration = Duration::from_millis(100);

impl Remote {
    /// Asks one node after the other until one has an answer. The same bytes each time: a command keeps its id. A node
    /// that does not take this process's proof, most often because its clock is wrong, is passed over: only where all
    /// refuse it is this process to blame.
    async fn ask<A: DeserializeOwned>(&self, target: &str, question: Vec<u8>) -> Result<A, ServiceError> {
        let begun = Instant::now();
        // Who has refused the proof does not take it a moment later either.
        let mut refusals: Vec<(String, ServiceError)> = Vec::new();
        loop {
            let nodes = self.nodes();
            for address in &nodes {
                if refusals.iter().any(|(refused, _)| refused == address) {
                    continue;
                }
                let body = Body::Small(question.clone());
                let failure = match self.call(address, Method::POST, target, body, CALL_TIMEOUT).await {
                    Ok(answer) => match answer.message(message::MAX_ANSWER_LEN).await {
                        Ok(answer) => return Ok(answer),
                        Err(error) => error,
                    },
                    Err(error) => error,
                };
                if let CallError::Unauthorized(_) | CallError::Refused(_) = &failure {
                    tracing::warn!(%address, error = %failure, "a node does not serve this process");
                }
                let is_refusal = matches!(failure, CallError::Unauthorized(_));
                match ServiceError::from(failure) {
                    ServiceError::Unavailable => {}
                    error if is_refusal => refusals.push((address.clone(), error)),
                    error => return Err(error),
                }
                if begun.elapsed() >= PATIENCE {
                    return Err(ServiceError::Unavailable);
                }
            }
            let is_refused = |address: &String| refusals.iter().any(|(refused, _)| refused == address);
            if nodes.iter().all(is_refused)
                && let Some((_, refusal)) = refusals.pop()
            {
                return Err(refusal);
            }
            tokio::time::sleep(PAUSE).await;
            if begun.elapsed() >= PATIENCE {
                return Err(ServiceError::Unavailable);
            }
        }
    }
}

impl MetaService for Cluster {
    fn command(
        &self,
        group: GroupId,
        envelope: Envelope,
    ) -> BoxFuture<'_, Result<Result<Outcome, Rejection>, ServiceError>> {
        async move {
            let question = wire::encode(&envelope).map_err(|error| ServiceError::Refused(error.to_string()))?;
            self.0.ask(&path::command(group), question).await
        }
        .boxed()
    }

    fn query(&self, group: GroupId, query: Query) -> BoxFuture<'_, Result<Answer, ServiceError>> {
        async move {
            let question = wire::encode(&query).map_err(|error| ServiceError::Refused(error.to_string()))?;
            self.0.ask(&path::query(group), question).await
        }
        .boxed()
    }
}

#[cfg(test)]
#[path = "meta_test.rs"]
mod tests;
