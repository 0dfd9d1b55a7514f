//! The rules of the house that a machine can check by reading: file length, arrows between the rooms, module
//! headers, and who may touch what.

use std::fs;
use std::path::{Path, PathBuf};

const LONGEST_FILE_LINES: usize = 600;

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn is_in(&self, room: &str) -> bool {
        self.path.starts_with(room)
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests") || self.path.to_string_lossy().ends_with("_test.rs")
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for room in ["src", "gateway", "storage", "tests"] {
        for entry in walkdir::WalkDir::new(root.join(room)) {
            let path = entry.expect("the tree can be read").into_path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file can be read");
                found.push(Source { path: path.strip_prefix(root).expect("below the root").to_owned(), text });
            }
        }
    }
    assert!(found.len() > 40, "the tree was not found: {} files", found.len());
    found
}

/// Fails with every offender at once.
fn assert_none(what: &str, offenders: Vec<String>) {
    assert!(offenders.is_empty(), "{what}:\n  {}", offenders.join("\n  "));
}

#[test]
fn no_file_is_longer_than_600_lines() {
    let long = sources()
        .iter()
        .map(|source| (source.text.lines().count(), &source.path))
        .filter(|(lines, _)| *lines > LONGEST_FILE_LINES)
        .map(|(lines, path)| format!("{} has {lines} lines", path.display()))
        .collect();
    assert_none("files that want to be two", long);
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent = sources()
        .iter()
        // A sibling `_test.rs` is the inside of the module whose name it bears.
        .filter(|source| !source.path.to_string_lossy().ends_with("_test.rs") && !source.text.starts_with("//!"))
        .map(|source| source.path.display().to_string())
        .collect();
    assert_none("files without a //! line at their top", silent);
}

/// (room, words that may not stand in it, why)
const FORBIDDEN: &[(&str, &[&str], &str)] = &[
    ("storage/src", &["cairn_gateway"], "storage knows nothing of S3"),
    ("storage/src/chunk", &["crate::meta", "crate::raft", "axum", "reqwest"], "chunk knows neither meta nor HTTP"),
    ("storage/src/meta", &["crate::chunk", "crate::raft", "axum", "reqwest"], "meta knows neither chunk nor HTTP"),
    ("storage/src/placement", &["crate::meta", "crate::chunk", "tokio", "axum"], "placement is a pure function"),
    ("storage/src/server", &["rocksdb"], "only raft, meta and chunk touch a RocksDB"),
    ("storage/src/repair", &["rocksdb"], "only raft, meta and chunk touch a RocksDB"),
    ("storage/src/client", &["rocksdb"], "only raft, meta and chunk touch a RocksDB"),
    (
        "gateway/src",
        &["cairn_storage::chunk", "cairn_storage::raft", "cairn_storage::node", "cairn_storage::repair", "rocksdb"],
        "the gateway reaches the cluster through storage::client",
    ),
    ("gateway/src/auth", &["cairn_storage", "tokio", "SystemTime"], "auth is pure"),
];

#[test]
fn the_arrows_between_the_rooms_go_one_way() {
    let sources = sources();
    let mut crossed = Vec::new();
    for (room, words, why) in FORBIDDEN {
        for source in sources.iter().filter(|source| source.is_in(room) && !source.is_test()) {
            for (number, line) in source.text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for word in words.iter().filter(|word| code.contains(**word)) {
                    crossed.push(format!("{}:{}: {word} ({why})", source.path.display(), number + 1));
                }
            }
        }
    }
    assert_none("imports that cross a wall", crossed);
}

#[test]
fn only_the_error_table_knows_s3_status_codes() {
    let offenders = sources()
        .iter()
        .filter(|source| source.is_in("gateway/src/ops") && !source.is_test())
        .flat_map(|source| {
            source.text.lines().enumerate().filter_map(move |(number, line)| {
                let code = line.split("//").next().unwrap_or_default();
                ["BAD_REQUEST", "FORBIDDEN", "NOT_FOUND", "CONFLICT", "PRECONDITION_FAILED", "RANGE_NOT_SATISFIABLE"]
                    .iter()
                    .find(|status| code.contains(**status))
                    .map(|status| format!("{}:{}: {status}", source.path.display(), number + 1))
            })
        })
        .collect();
    assert_none("statuses outside gateway/src/error.rs", offenders);
}

#[test]
fn nothing_is_left_for_later_without_saying_so() {
    let words = ["todo!(", "unimplemented!(", "FIXME", "XXX", "#[ignore]"];
    let offenders = sources()
        .iter()
        .filter(|source| source.path != Path::new("tests/tidy.rs"))
        .flat_map(|source| {
            source.text.lines().enumerate().filter_map(move |(number, line)| {
                words
                    .iter()
                    .find(|word| line.contains(**word))
                    .map(|word| format!("{}:{}: {word}", source.path.display(), number + 1))
            })
        })
        .collect();
    assert_none("loose ends", offenders);
}
