//! The log: lines for people on a terminal, JSON for machines; always on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::options::LogFormat;

/// Starts logging. `RUST_LOG` chooses what is logged; by default, `info` and above (one line per request is at
/// `debug`: `RUST_LOG=info,cairn::request=debug`).
pub fn start(format: LogFormat) {
    // openraft tells every step of every election; what an operator needs of it we log ourselves.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,openraft=error"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Human => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
