//! The `cairn` command: arguments, configuration, wiring, and the commands of the administrator.

mod admin;
mod arguments;
mod banner;
mod check;
mod cluster;
mod disks;
mod ending;
mod endpoint;
mod identities;
mod logging;
mod metrics;
mod options;
mod self_signed;
mod serve;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use rustix::fs::Mode;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::Runtime;

use crate::arguments::{Arguments, Command};

/// Not the C library's: a small read costs a fifth to a third less CPU with it, at the same resident memory. RocksDB
/// allocates from it as well (its feature `override`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long what hangs in the threads is waited for at the end.
const THREADS_PATIENCE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cairn: {}", in_words(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with what caused it; what a message has said of its cause already is not said twice.
fn in_words(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .reduce(|said, cause| if said.ends_with(&cause) { said } else { format!("{said}: {cause}") })
        .unwrap_or_default()
}

/// A connection, a segment and a table of an index each take a file descriptor: asks for as many as are allowed.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    raise_file_limit();
    // What is written is the owner's alone; the databases hold users' secrets.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = command(&runtime, arguments.command);
    // A thread that waits for a disk must not keep the process.
    runtime.shutdown_timeout(THREADS_PATIENCE);
    ended
}

fn command(runtime: &Runtime, command: Command) -> Result<ExitCode> {
    match command {
        Command::Server(server) => {
            let settings = server.given.resolve(server.config.as_ref())?;
            logging::start(settings.log_format);
            runtime.block_on(serve::server(server.directories, settings))
        }
        Command::Storage(server) => {
            let settings = server.given.resolve(server.config.as_ref())?;
            logging::start(settings.log_format);
            runtime.block_on(serve::storage(server.directories, settings))
        }
        Command::Gateway(gateway) => {
            let settings = gateway.given.resolve(gateway.config.as_ref())?;
            logging::start(settings.log_format);
            runtime.block_on(serve::gateway(settings))
        }
        Command::Status { endpoint } => runtime.block_on(cluster::status(&endpoint)),
        Command::Node(member) => runtime.block_on(cluster::member("nodes", member)),
        Command::Disk(member) => runtime.block_on(cluster::member("disks", member)),
        Command::Explain { what: Some(asked), .. } => runtime.block_on(check::explain_access(&asked)),
        Command::Explain { what: None, object, endpoint } => {
            runtime.block_on(check::explain(&object.unwrap_or_default(), &endpoint))
        }
        Command::Fsck { verify, repair, endpoint } => {
            return Ok(runtime.block_on(check::fsck(verify, repair, &endpoint)));
        }
        Command::Scrub(scrub) => runtime.block_on(check::scrub(scrub)),
        Command::Config(config) => runtime.block_on(cluster::config(config)),
        Command::Clock(clock) => runtime.block_on(cluster::clock(clock)),
        Command::Health { url, reach } => runtime.block_on(endpoint::health(&url, &reach)),
        Command::User(user) => runtime.block_on(admin::user(user)),
        Command::Group(group) => runtime.block_on(identities::group(group)),
        Command::Policy(policy) => runtime.block_on(identities::policy(policy)),
        Command::Key(key) => runtime.block_on(identities::key(key)),
        Command::RebuildIndex(rebuild) => disks::rebuild_index(&rebuild.directory),
        Command::Recover(recover) => runtime.block_on(disks::recover(recover.directories, recover.yes)),
    }?;
    Ok(ExitCode::SUCCESS)
}
