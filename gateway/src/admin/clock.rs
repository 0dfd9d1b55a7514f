//! The time by which each group judges what is past: `GET /_cairn/admin/v1/clock`, and `POST .../clock/reset`, which has
//! each group take the clock of its leader for it, for a person who has seen to the clocks. Both answer `{"groups":
//! [{"group", "time", "ahead_ms"}]}`: how far it is ahead of this gateway, negative where it is behind. Both are `null`
//! where the group did not answer.

use std::time::Duration;

use cairn_storage::meta::{Answer, Command, Query};
use cairn_storage::types::now_ms;
use serde_json::{Value, json};

use crate::gate::Pass;
use crate::gateway::Gateway;
use crate::xml::iso_8601;

/// How long a group is waited for.
const GROUP_TIMEOUT: Duration = Duration::from_secs(5);

pub async fn clock(gateway: &Gateway, pass: Pass, reset: bool) -> Value {
    let client = gateway.client(pass);
    let map = client.map();
    let asked = map.groups.iter().map(|group| async move {
        let ask = async {
            if reset {
                match client.command(group.id, Command::ResetClock).await {
                    Ok(Ok(_)) => tracing::warn!(group = %group.id, "a group's time was reset"),
                    Ok(Err(error)) => tracing::warn!(group = %group.id, %error, "a group's time was not reset"),
                    Err(error) => tracing::warn!(group = %group.id, %error, "a group's time was not reset"),
                }
            }
            match client.query(group.id, Query::Clock).await {
                Ok(Answer::Clock { time_ms, .. }) => Some(time_ms),
                _ => None,
            }
        };
        let time = tokio::time::timeout(GROUP_TIMEOUT, ask).await.ok().flatten();
        let ahead = |time: u64| i64::try_from(i128::from(time) - i128::from(now_ms())).unwrap_or(i64::MAX);
        json!({ "group": group.id.0, "time": time.map(iso_8601), "ahead_ms": time.map(ahead) })
    });
    json!({ "groups": futures::future::join_all(asked).await })
}
