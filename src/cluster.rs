//! The commands that show the cluster and change its nodes and disks.

use std::io::IsTerminal;

use anyhow::{Result, ensure};
use bytesize::ByteSize;
use http::Method;
use serde_json::Value;

use crate::admin::{array, text};
use crate::arguments::{Clock, Config, Endpoint, Member};
use crate::endpoint::{call, call_with};

const API: &str = "/_cairn/admin/v1";
/// Cells of a bar.
const BAR: usize = 20;

/// Shows how the cluster is.
///
/// # Errors
/// As every command that asks an endpoint.
pub async fn status(endpoint: &Endpoint) -> Result<()> {
    let status = call(endpoint, Method::GET, &format!("{API}/status"), Vec::new()).await?;
    if endpoint.json {
        println!("{status}");
    } else {
        print!("{}", render(&status));
    }
    Ok(())
}

/// Runs `cairn node ...` and `cairn disk ...`; `kind` is `nodes` or `disks`.
///
/// # Errors
/// As every command that asks an endpoint; the cluster refuses what would lose data.
pub async fn member(kind: &str, command: Member) -> Result<()> {
    let (id, action, force, endpoint) = match &command {
        Member::List { endpoint } => {
            let status = call(endpoint, Method::GET, &format!("{API}/status"), Vec::new()).await?;
            if endpoint.json {
                println!("{}", status[kind]);
            } else {
                print!("{}", if kind == "nodes" { nodes(&status) } else { disks(&status) });
            }
            return Ok(());
        }
        Member::Drain { id, endpoint } => (id, "drain", false, endpoint),
        Member::Undrain { id, endpoint } => (id, "undrain", false, endpoint),
        Member::Remove { id, force, endpoint } => (id, "remove", *force, endpoint),
    };
    ensure!(id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id} is no id; see `cairn status`");
    let query = if force { "force=" } else { "" };
    let path = format!("{API}/{kind}/{id}/{action}");
    let status = call_with(endpoint, Method::POST, &path, query, Vec::new()).await?;
    if endpoint.json {
        println!("{status}");
    } else {
        println!("Done. The cluster is {}; `cairn status` shows what is under way.", text(&status, "health"));
    }
    Ok(())
}

/// Runs `cairn config ...`.
///
/// # Errors
/// As every command that asks an endpoint.
pub async fn config(command: Config) -> Result<()> {
    let (config, json) = match &command {
        Config::Show { endpoint } => {
            (call(endpoint, Method::GET, &format!("{API}/config"), Vec::new()).await?, endpoint.json)
        }
        Config::Set { name, value, endpoint } => {
            ensure!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name} is no setting");
            let (path, query) = (format!("{API}/config/{name}"), format!("ms={}", value.as_millis()));
            let config = call_with(endpoint, Method::POST, &path, &query, Vec::new()).await?;
            (config, endpoint.json)
        }
    };
    if json {
        println!("{config}");
    } else {
        for (name, field) in [("gc-grace", "gc_grace_ms"), ("out-after", "out_after_ms")] {
            let time = config[field].as_u64().map(std::time::Duration::from_millis);
            println!("{name:<11}{}", time.map_or("?".to_owned(), |time| humantime::format_duration(time).to_string()));
        }
    }
    Ok(())
}

/// Runs `cairn clock ...`.
///
/// # Errors
/// As every command that asks an endpoint.
pub async fn clock(command: Clock) -> Result<()> {
    let (endpoint, method, path) = match &command {
        Clock::Show { endpoint } => (endpoint, Method::GET, format!("{API}/clock")),
        Clock::Reset { endpoint } => (endpoint, Method::POST, format!("{API}/clock/reset")),
    };
    let clocks = call(endpoint, method, &path, Vec::new()).await?;
    if endpoint.json {
        println!("{clocks}");
    } else {
        println!("{:<7}{:<27}AHEAD OF THE GATEWAY", "GROUP", "TIME");
        for group in array(&clocks, "groups") {
            let ahead =
                group["ahead_ms"].as_i64().map_or("?".to_owned(), |ahead| format!("{:.1} s", ahead as f64 / 1000.0));
            println!("{:<7}{:<27}{ahead}", group["group"].to_string(), group["time"].as_str().unwrap_or("no answer"));
        }
    }
    Ok(())
}

fn render(status: &Value) -> String {
    let colour = |code: &str, text: &str| {
        if std::io::stdout().is_terminal() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    };
    let health = text(status, "health");
    let health = match health {
        "healthy" => colour("32", health),
        "degraded" => colour("33", health),
        _ => colour("31", health),
    };
    let mut out =
        format!("Cluster {} is {health}; {} copies of each chunk\n\n", text(status, "cluster"), status["copies"]);
    out += &nodes(status);
    out.push('\n');
    out += &disks(status);
    out += "\nGROUP  LEADER ON DISK                     VOTERS  OBJECTS     STORED      TO REPAIR\n";
    for group in array(status, "groups") {
        let leader = group["leader"]["disk"].as_str().unwrap_or("nobody");
        let voters = array(group, "voters").count();
        let changing = if group["changing"] == true { "*" } else { "" };
        let stored = group["object_bytes"].as_u64().map_or("?".to_owned(), |bytes| ByteSize(bytes).to_string());
        out += &format!(
            "{:<7}{leader:<35}{:<8}{:<12}{stored:<12}{}\n",
            group["group"].to_string(),
            format!("{voters}{changing}"),
            figure(&group["objects"]),
            figure(&group["queued_repairs"]),
        );
    }
    let count = |field: &str| status[field].as_u64().unwrap_or(0);
    let (queued, misplaced) = (count("queued_repairs"), count("misplaced"));
    if queued + misplaced > 0 {
        out += &format!("\n{queued} chunks to repair, {misplaced} to move; {} a minute", count("settled_per_minute"));
        let left = status["seconds_left"].as_u64().map(std::time::Duration::from_secs);
        out += &left.map_or("\n".to_owned(), |left| format!(", about {} left\n", humantime::format_duration(left)));
    }
    for refused in array(status, "refused") {
        let node = refused["node"].to_string();
        out += &format!("\nNode {node} at {} is refused: {}\n", text(refused, "address"), text(refused, "why"));
    }
    let hints = hints(status);
    if !hints.is_empty() {
        out += "\nWhat to do next:\n";
        hints.iter().for_each(|hint| out += &format!("- {hint}\n"));
    }
    out
}

fn figure(value: &Value) -> String {
    value.as_u64().map_or("?".to_owned(), |figure| figure.to_string())
}

fn nodes(status: &Value) -> String {
    let mut out = format!("{:<18}{:<26}{:<16}{:<8}VERSION\n", "NODE", "ADDRESS", "RACK", "UP");
    for node in array(status, "nodes") {
        let up = if node["up"] == true { "up" } else { "DOWN" };
        let (id, version) = (node["id"].to_string(), node["version"].as_str().unwrap_or("?"));
        out += &format!("{id:<18}{:<26}{:<16}{up:<8}{version}\n", text(node, "address"), text(node, "rack"));
    }
    out
}

fn disks(status: &Value) -> String {
    let mut out = format!("{:<34}{:<18}{:<10}{:<6}{:<30}CHUNKS\n", "DISK", "NODE", "STATE", "UP", "USED");
    for disk in array(status, "disks") {
        let up = if disk["up"] == true { "up" } else { "DOWN" };
        let fill = match (disk["used"].as_u64(), disk["capacity"].as_u64()) {
            (Some(used), Some(capacity)) if capacity > 0 => {
                let share = used as f64 / capacity as f64;
                let cells = ((share * BAR as f64).round() as usize).min(BAR);
                format!("[{}{}] {:>3.0}%", "#".repeat(cells), ".".repeat(BAR - cells), share * 100.0)
            }
            _ => "?".to_owned(),
        };
        let misplaced = disk["misplaced"].as_u64().filter(|count| *count > 0);
        let moving = misplaced.map_or(String::new(), |count| format!(" ({count} on their way to other disks)"));
        let node = disk["node"].to_string();
        out += &format!(
            "{:<34}{node:<18}{:<10}{up:<6}{fill:<30}{}{moving}\n",
            text(disk, "id"),
            text(disk, "state"),
            figure(&disk["chunks"]),
        );
    }
    out
}

/// What a person could do about it.
fn hints(status: &Value) -> Vec<String> {
    let mut hints = Vec::new();
    for disk in array(status, "disks") {
        let id = text(disk, "id");
        let empty = disk["chunks"] == 0;
        match (text(disk, "state"), disk["up"] == true) {
            ("active", false) => hints.push(format!("disk {id} is down: bring its node back, or `cairn disk remove {id} --force` if it is lost")),
            ("out", _) => hints.push(format!("disk {id} was silent for too long and is left out: it is taken back when its node returns; if it is lost, `cairn disk remove {id}`")),
            ("draining", true) if empty => hints.push(format!("disk {id} is drained: `cairn disk remove {id}`")),
            _ => {}
        }
    }
    for group in array(status, "groups") {
        for ended in array(group, "ended") {
            let (id, disk, why) = (&group["group"], text(ended, "disk"), text(ended, "why"));
            let then = if ended["broken"] == true {
                "the group's data is what breaks it, so it is not replaced: please report this"
            } else {
                "it is replaced as soon as most of the group's voters run"
            };
            hints.push(format!("a voter of group {id} on disk {disk} does not run ({why}): {then}"));
        }
    }
    if array(status, "groups").any(|group| group["leader"].is_null()) {
        hints.push("a metadata group has no leader: more than half of its voters must be up".to_owned());
    }
    if status["checking"] == true {
        hints.push("the cluster has changed, and the disks look where their chunks should be now".to_owned());
    }
    if let Some(queued) = status["queued_repairs"].as_u64().filter(|queued| *queued > 0) {
        hints.push(format!(
            "{queued} chunks have fewer copies than they should; they are repaired as soon as their disks are up"
        ));
    }
    hints
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_down_is_shown_with_what_to_do() {
        let status = json!({
            "health": "degraded", "cluster": "c", "copies": 3, "queued_repairs": 2, "misplaced": 1, "settled_per_minute": 6, "seconds_left": 90,
            "nodes": [{"id": 7, "address": "a:1", "rack": "r", "up": false, "version": null}],
            "disks": [{"id": "d1", "node": 7, "state": "active", "up": false, "used": null, "capacity": null, "chunks": null},
                      {"id": "d2", "node": 8, "state": "draining", "up": true, "used": 5, "capacity": 10, "chunks": 0}],
            "groups": [{"group": 0, "leader": null, "voters": [], "queued_repairs": null,
                        "ended": [{"replica": 5, "disk": "d2", "broken": false, "why": "no memory"}]}],
            "refused": [{"node": 9, "address": "b:1", "why": "it is older"}],
        });
        let shown = render(&status);
        for part in [
            "DOWN",
            "[##########..........]  50%",
            "cairn disk remove d1 --force",
            "d2 is drained",
            "no leader",
            "2 chunks to repair, 1 to move; 6 a minute, about 1m 30s left",
            "2 chunks",
            "a voter of group 0 on disk d2 does not run (no memory)",
            "Node 9 at b:1 is refused: it is older",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
    }
}
