//! The commands that look at the chunks themselves: `cairn explain`, `cairn fsck` and `cairn scrub`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytesize::ByteSize;
use cairn_gateway::auth::sign::uri_encode;
use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::admin::{array, text};
use crate::arguments::{Endpoint, Explain, Scrub};
use crate::endpoint::{call, call_long, call_with, is_late};

const API: &str = "/_cairn/admin/v1";
/// Steps of a progress bar for each group and each disk.
const STEPS: u64 = 1000;
/// Findings that are shown; all of them are counted.
const SHOWN: usize = 100;
/// Lost chunks whose objects are looked for at once: each time all objects are stepped over.
const CHUNKS_AT_ONCE: usize = 10_000;
/// How often in all a run asks again, a second later, for what its gateway cannot reach: one that has just begun does not
/// know yet which disks are up.
const PATIENCE: u32 = 3;
/// How often a page is asked for that nobody could answer: a leader may be on its way.
const ATTEMPTS: usize = 5;

/// Shows where an object is, and whether every copy of it is whole.
///
/// # Errors
/// Not of the form `s3://BUCKET/KEY`, no such object, or as every command that asks an endpoint.
pub async fn explain(object: &str, endpoint: &Endpoint) -> Result<()> {
    let named = object.strip_prefix("s3://").and_then(|rest| rest.split_once('/')).filter(|(_, key)| !key.is_empty());
    let (bucket, key) = named.with_context(|| format!("{object} is not of the form s3://BUCKET/KEY"))?;
    let place = format!("bucket={}&key={}", uri_encode(bucket), uri_encode(key));
    let mut whole = Value::Null;
    let mut offset = 0;
    loop {
        let query = format!("{place}&offset={offset}");
        let page = call_long(endpoint, Method::GET, &format!("{API}/explain"), &query, Vec::new()).await?;
        let next = page["next"].as_u64();
        if whole.is_null() {
            whole = page;
        } else {
            let same = whole["etag"] == page["etag"] && whole["modified"] == page["modified"];
            ensure!(same, "the object was overwritten meanwhile; try again");
            append(&mut whole, page);
        }
        match next {
            Some(next) => offset = next,
            None => break,
        }
    }
    if let Some(object) = whole.as_object_mut() {
        object.remove("next");
    }
    if endpoint.json {
        println!("{whole}");
    } else {
        print!("{}", render(&whole));
    }
    Ok(())
}

/// Shows whether a user may do something, and why.
///
/// # Errors
/// No such user or bucket, or as every command that asks an endpoint.
pub async fn explain_access(asked: &Explain) -> Result<()> {
    let Explain::Access { user, action, resource, from, endpoint } = asked;
    let resource = resource.strip_prefix("s3://").unwrap_or(resource);
    let [user, action, resource] = [user.as_str(), action, resource].map(uri_encode);
    let mut query = format!("action={action}&resource={resource}&user={user}");
    if let Some(from) = from {
        query = format!("action={action}&from={}&resource={resource}&user={user}", uri_encode(&from.to_string()));
    }
    let verdict = call_with(endpoint, Method::GET, &format!("{API}/access"), &query, Vec::new()).await?;
    if endpoint.json {
        println!("{verdict}");
        return Ok(());
    }
    let is = if verdict["allowed"] == json!(true) { "allowed" } else { "denied" };
    println!("{is}: {}", text(&verdict, "because"));
    if let Some(statement) = verdict["statement"].as_str() {
        println!("{statement}");
    }
    Ok(())
}

/// Adds a further page of chunks, and what would be lost of them.
fn append(whole: &mut Value, mut page: Value) {
    if let (Some(chunks), Some(more)) = (whole["chunks"].as_array_mut(), page["chunks"].as_array_mut()) {
        chunks.append(more);
    }
    for node in whole["nodes"].as_array_mut().into_iter().flatten() {
        let same = array(&page, "nodes").find(|other| other["node"] == node["node"]);
        for field in ["lost", "last_copy"] {
            let more = same.and_then(|other| other[field].as_u64()).unwrap_or(0);
            node[field] = json!(node[field].as_u64().unwrap_or(0) + more);
        }
    }
}

fn render(object: &Value) -> String {
    let size = object["size"].as_u64().unwrap_or(0);
    let mut out = format!(
        "s3://{}/{}\nETag {}, {} ({size} bytes), of {}, in metadata group {}\n",
        text(object, "bucket"),
        text(object, "key"),
        text(object, "etag"),
        ByteSize(size),
        text(object, "modified"),
        object["group"],
    );
    if object["inline"] == true {
        out += "Its bytes are kept with its metadata.\n";
    }
    for chunk in array(object, "chunks") {
        out += &format!("\nChunk {} at {}, {} bytes\n", text(chunk, "hash"), chunk["offset"], chunk["length"]);
        for copy in array(chunk, "copies") {
            let elsewhere = if copy["home"] == true { "" } else { " (on its way home)" };
            out += &format!(
                "  {:<12}disk {} of node {}{elsewhere}\n",
                text(copy, "state"),
                text(copy, "disk"),
                copy["node"]
            );
        }
    }
    out += "\nWithout one of these nodes:\n";
    for node in array(object, "nodes") {
        let mut effects = Vec::new();
        let count = |field: &str| node[field].as_u64().filter(|count| *count > 0);
        effects.extend(count("lost").map(|count| format!("{count} chunks LOST")));
        effects.extend(count("last_copy").map(|count| format!("{count} chunks down to one copy")));
        effects.extend(array(node, "groups").map(|group| format!("metadata group {group} stops")));
        let effects = if effects.is_empty() { "nothing breaks".to_owned() } else { effects.join(", ") };
        out += &format!("  {:<20}{effects}\n", node["node"].to_string());
    }
    out
}

/// Runs `cairn scrub ...`.
///
/// # Errors
/// As every command that asks an endpoint.
pub async fn scrub(command: Scrub) -> Result<()> {
    let (method, path, endpoint) = match &command {
        Scrub::Start { endpoint } => (Method::POST, "scrub/start", endpoint),
        Scrub::Status { endpoint } => (Method::GET, "scrub", endpoint),
    };
    let status = call(endpoint, method, &format!("{API}/{path}"), Vec::new()).await?;
    if endpoint.json {
        println!("{status}");
        return Ok(());
    }
    println!("{:<34}{:<12}{:<24}{:<10}LAST ENDED", "DISK", "STATE", "READ", "ROTTED");
    for disk in array(&status, "disks") {
        let state = match (disk["reached"] == true, disk["running"] == true) {
            (false, _) => "NOT REACHED",
            (true, true) => "running",
            (true, false) => "resting",
        };
        let read = format!("{} of {}", disk["checked"], disk["chunks"]);
        let ended = disk["finished"].as_str().unwrap_or("-");
        println!("{:<34}{state:<12}{read:<24}{:<10}{ended}", text(disk, "disk"), disk["corrupt"].to_string());
    }
    Ok(())
}

/// What a run of `fsck` has come upon.
#[derive(Default)]
struct Found {
    chunks: u64,
    copies: u64,
    unreachable_copies: u64,
    garbage_chunks: u64,
    garbage_bytes: u64,
    misplaced: u64,
    findings: Vec<Value>,
    /// The objects that need a chunk that is lost, as far as they were looked for.
    damaged: Vec<String>,
    /// As many objects need one chunk as a group names at most: there may be more.
    unnamed: bool,
}

impl Found {
    fn add(&mut self, page: &mut Value, is_group: bool) {
        let figure = |field: &str| page[field].as_u64().unwrap_or(0);
        *if is_group { &mut self.chunks } else { &mut self.copies } += figure("checked");
        self.unreachable_copies += figure("unreachable_copies");
        self.garbage_chunks += figure("garbage_chunks");
        self.garbage_bytes += figure("garbage_bytes");
        self.misplaced += figure("misplaced");
        if let Some(findings) = page["findings"].as_array_mut() {
            self.findings.append(findings);
        }
    }

    fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.unreachable_copies == 0
    }

    fn json(&self) -> Value {
        json!({
            "clean": self.is_clean(),
            "chunks": self.chunks,
            "copies": self.copies,
            "unreachable_copies": self.unreachable_copies,
            "garbage_chunks": self.garbage_chunks,
            "garbage_bytes": self.garbage_bytes,
            "misplaced": self.misplaced,
            "findings": self.findings,
            "damaged": self.damaged,
            "damaged_unnamed": self.unnamed,
        })
    }

    fn render(&self, repair: bool) -> String {
        let mut out = String::new();
        for finding in self.findings.iter().take(SHOWN) {
            let disks: Vec<&str> = array(finding, "disks").filter_map(Value::as_str).collect();
            out += &format!("{}: {} ({})\n", text(finding, "problem"), text(finding, "chunk"), disks.join(", "));
        }
        if self.findings.len() > SHOWN {
            out += &format!("and {} more\n", self.findings.len() - SHOWN);
        }
        for object in self.damaged.iter().take(SHOWN) {
            out += &format!("damaged: {object}\n");
        }
        if self.damaged.len() > SHOWN {
            out += &format!("and {} more objects; `--json` has all\n", self.damaged.len() - SHOWN);
        }
        if self.unnamed {
            out += "More objects may need a lost chunk than could be named.\n";
        }
        let mut problems: BTreeMap<&str, u64> = BTreeMap::new();
        for finding in &self.findings {
            *problems.entry(text(finding, "problem")).or_default() += 1;
        }
        out += &format!("{} chunks are referred to, {} copies are on the disks.\n", self.chunks, self.copies);
        let garbage = ByteSize(self.garbage_bytes);
        out += &format!("{} of the copies ({garbage}) wait to be collected, ", self.garbage_chunks);
        out += &format!("{} are on their way to other disks.\n", self.misplaced);
        if self.unreachable_copies > 0 {
            out += &format!("{} copies could not be looked at: their disks are down.\n", self.unreachable_copies);
        }
        for (problem, count) in problems {
            out += &format!("{count} {problem}\n");
        }
        match (self.findings.is_empty(), repair) {
            (true, _) if self.is_clean() => out += "Clean.\n",
            (true, _) => {}
            (false, true) => {
                out += "What can be made anew from another copy is queued; `cairn status` shows how many are left.\n"
            }
            (false, false) => out += "`cairn fsck --repair` has what can be made from another copy made anew.\n",
        }
        out
    }
}

/// Checks the metadata against the chunks and the chunks against the metadata. The exit code is 0 where all is clean, 1
/// where something was found, 2 where it could not be done.
pub async fn fsck(verify: bool, repair: bool, endpoint: &Endpoint) -> ExitCode {
    match check_all(verify, repair, endpoint).await {
        Ok(found) => {
            if endpoint.json {
                println!("{}", found.json());
            } else {
                print!("{}", found.render(repair));
            }
            ExitCode::from(u8::from(!found.is_clean()))
        }
        Err(error) => {
            eprintln!("cairn: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn check_all(verify: bool, repair: bool, endpoint: &Endpoint) -> Result<Found> {
    let mut patience = PATIENCE;
    let mut status = call(endpoint, Method::GET, &format!("{API}/status"), Vec::new()).await?;
    while array(&status, "disks").any(|disk| disk["up"] != true) && wait(&mut patience).await {
        status = call(endpoint, Method::GET, &format!("{API}/status"), Vec::new()).await?;
    }
    let groups = array(&status, "groups").filter_map(|group| group["group"].as_u64()).filter(|group| *group > 0);
    let mut parts: Vec<(bool, String)> = groups.map(|group| (true, format!("groups/{group}"))).collect();
    let mut found = Found::default();
    for disk in array(&status, "disks") {
        let id = text(disk, "id");
        if disk["up"] == true {
            parts.push((false, format!("disks/{id}")));
        } else {
            found.findings.push(json!({ "problem": "a disk that is down", "chunk": "all", "disks": [id] }));
        }
    }
    let wishes = [(verify, "verify"), (repair, "repair")];
    let wishes: Vec<String> = wishes.iter().filter(|(wish, _)| *wish).map(|(_, name)| format!("{name}=")).collect();

    let bar = ProgressBar::new(parts.len() as u64 * STEPS);
    if let Ok(style) = ProgressStyle::with_template("{msg:<40} [{bar:30}] {percent:>3}%  {eta} left") {
        bar.set_style(style.progress_chars("#>."));
    }
    for (number, (is_group, part)) in parts.iter().enumerate() {
        bar.set_message(part.clone());
        let mut after: Option<String> = None;
        loop {
            let after_query = after.iter().map(|after| format!("after={}", uri_encode(after)));
            let query: Vec<String> = wishes.iter().cloned().chain(after_query).collect();
            let (path, query) = (format!("{API}/fsck/{part}"), query.join("&"));
            let mut answer = page(endpoint, &path, &query, Vec::new()).await?;
            while answer["unreachable_copies"].as_u64().unwrap_or(0) > 0 && wait(&mut patience).await {
                answer = page(endpoint, &path, &query, Vec::new()).await?;
            }
            found.add(&mut answer, *is_group);
            let position = answer["position"].as_f64().unwrap_or(1.0);
            bar.set_position(number as u64 * STEPS + (position * STEPS as f64) as u64);
            after = answer["next"].as_str().map(str::to_owned);
            if after.is_none() {
                break;
            }
        }
    }
    let lost = found.findings.iter().filter(|finding| finding["problem"] == "lost");
    let lost: Vec<&str> = lost.map(|finding| text(finding, "chunk")).collect();
    let mut batches: Vec<&[&str]> = lost.chunks(CHUNKS_AT_ONCE).collect();
    while let Some(batch) = batches.pop() {
        bar.set_message("the objects that need them");
        let mut query = String::new();
        loop {
            let page = page(endpoint, &format!("{API}/fsck/objects"), &query, json!(batch).to_string().into()).await?;
            found.damaged.extend(array(&page, "objects").filter_map(Value::as_str).map(str::to_owned));
            if page["more"] == true && batch.len() > 1 {
                let (left, right) = batch.split_at(batch.len() / 2);
                batches.extend([left, right]);
                break;
            }
            found.unnamed |= page["more"] == true;
            let Some(bucket) = page["next"]["bucket"].as_str() else { break };
            query = format!("bucket={}", uri_encode(bucket));
            if let Some(after) = page["next"]["after"].as_str() {
                query = format!("after={}&{query}", uri_encode(after));
            }
        }
    }
    found.damaged.sort();
    found.damaged.dedup();
    bar.finish_and_clear();
    Ok(found)
}

/// Waits a second, if there is patience left for it.
async fn wait(patience: &mut u32) -> bool {
    let there_is = *patience > 0;
    if there_is {
        *patience -= 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    there_is
}

async fn page(endpoint: &Endpoint, path: &str, query: &str, body: Vec<u8>) -> Result<Value> {
    let mut attempt = 1;
    loop {
        match call_long(endpoint, Method::POST, path, query, body.clone()).await {
            Err(error) if attempt < ATTEMPTS && !is_late(&error) => tokio::time::sleep(Duration::from_secs(1)).await,
            answer => return answer,
        }
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_an_explanation_add_up() {
        let page = |offset: u64| {
            json!({
                "bucket": "b", "key": "k", "etag": "e", "size": 20, "modified": "m", "group": 1, "inline": false,
                "chunks": [{"offset": offset, "length": 10, "hash": "aa",
                            "copies": [{"disk": "d", "node": 7, "home": true, "state": "whole"}]}],
                "nodes": [{"node": 7, "lost": 1, "last_copy": 0, "groups": [1]}, {"node": 8, "lost": 0, "last_copy": 0, "groups": []}],
            })
        };
        let mut whole = page(0);
        append(&mut whole, page(10));
        let shown = render(&whole);
        for part in [
            "s3://b/k",
            "aa at 10",
            "whole       disk d of node 7",
            "2 chunks LOST, metadata group 1 stops",
            "8                   nothing breaks",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
    }

    #[test]
    fn only_what_was_looked_at_and_is_there_is_clean() {
        let mut found = Found::default();
        found.add(&mut json!({"checked": 5, "unreachable_copies": 0, "findings": []}), true);
        found.add(
            &mut json!({"checked": 15, "garbage_chunks": 2, "garbage_bytes": 10, "misplaced": 0, "findings": []}),
            false,
        );
        assert!(found.is_clean() && found.render(false).contains("Clean."));
        assert_eq!((found.chunks, found.copies), (5, 15));
        found.add(&mut json!({"checked": 5, "unreachable_copies": 1, "findings": []}), true);
        assert!(!found.is_clean() && found.render(false).contains("1 copies could not be looked at"));
        found.add(
            &mut json!({"checked": 1, "findings": [{"problem": "lost", "chunk": "c", "disks": ["d missing"]}]}),
            true,
        );
        assert!(found.render(false).contains("lost: c (d missing)") && found.render(true).contains("queued"));
        assert!(!found.render(false).contains("More objects"));
        found.unnamed = true;
        assert!(found.render(false).contains("More objects") && found.json()["damaged_unnamed"] == true);
    }
}
