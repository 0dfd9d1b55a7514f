//! How a process is told to end: the first SIGTERM or SIGINT ends it in good order, in whatever state it is; the second
//! one ends it at once, as if it had been killed, which nothing acknowledged minds.

use std::future::Future;
use std::io;
use std::sync::mpsc;

use anyhow::{Context, Result};
use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Whether the process was told to end. Cheap to clone.
#[derive(Clone)]
pub struct Ending(CancellationToken);

impl Ending {
    /// Listens from now on, on a thread of its own: a runtime whose threads all wait for a disk hears nothing.
    ///
    /// # Errors
    /// The system's.
    pub fn listen() -> Result<Self> {
        let told = CancellationToken::new();
        let (listens, heard) = mpsc::channel();
        let thread = std::thread::Builder::new().name("signals".to_owned());
        thread.spawn({
            let told = told.clone();
            move || match run(&told, &listens) {
                Ok(()) => {}
                Err(error) => drop(listens.send(Err(error))),
            }
        })?;
        heard.recv().context("nobody listens for signals")??;
        Ok(Self(told))
    }

    /// Resolves when the process is told to end.
    pub async fn told(self) {
        self.0.cancelled().await;
    }

    /// What comes of the work, unless the process is told to end before; then the work is dropped.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.0.run_until_cancelled(work).await
    }
}

fn run(told: &CancellationToken, listens: &mpsc::Sender<io::Result<()>>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        // Whoever waits for this may have given up.
        let _ = listens.send(Ok(()));
        next().await;
        tracing::info!("told to end; finishing what is in flight; once more ends it at once");
        told.cancel();
        next().await;
        tracing::warn!("told to end once more; ending at once");
        Ok(kill_process(getpid(), Signal::KILL)?)
    })
}
