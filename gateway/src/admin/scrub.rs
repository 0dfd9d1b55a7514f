//! The scrub of all disks: `GET /_cairn/admin/v1/scrub` and `POST /_cairn/admin/v1/scrub/start`, which begins a new round on
//! each. Both answer `{"disks": [{"disk", "node", "reached", "running", "started", "finished", "checked", "corrupt",
//! "chunks"}]}`; the last six are `null` where the disk was not reached.

use cairn_storage::types::{DiskEntry, DiskState};
use serde_json::{Value, json};

use crate::gate::Pass;
use crate::gateway::Gateway;
use crate::xml::iso_8601;

pub async fn scrub(gateway: &Gateway, pass: Pass, start: bool) -> Value {
    let client = gateway.client(pass);
    let map = client.map();
    let disks = map.disks.iter().filter(|disk| disk.state != DiskState::Removed);
    let asked = disks.map(|entry: &DiskEntry| async move {
        let service = client.repair_disk(entry.id).filter(|_| client.is_up(entry.id));
        let status = match service {
            Some(service) => service.scrub(start).await.ok(),
            None => None,
        };
        let status = status.as_ref();
        json!({
            "disk": entry.id.to_string(),
            "node": entry.node.0,
            "reached": status.is_some(),
            "running": status.map(|status| status.started_ms.is_some()),
            "started": status.and_then(|status| status.started_ms).map(iso_8601),
            "finished": status.and_then(|status| status.finished_ms).map(iso_8601),
            "checked": status.map(|status| status.checked),
            "corrupt": status.map(|status| status.corrupt),
            "chunks": status.map(|status| status.chunks),
        })
    });
    json!({ "disks": futures::future::join_all(asked).await })
}
