//! What ends a node.

use anyhow::{Context, Result};
use std::io::{self, Read};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// SIGTERM, SIGINT and, if that is wanted, the end of standard input.
pub(crate) struct Stops {
    terminate: Signal,
    interrupt: Signal,
    input: Option<oneshot::Receiver<()>>,
}

impl Stops {
    /// Listens for them.
    pub(crate) fn new(with_input: bool) -> Result<Self> {
        let on = |kind| signal(kind).context("signals");
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            input: if with_input { Some(end_of_input()?) } else { None },
        })
    }

    /// Waits for the first of them.
    pub(crate) async fn stopped(&mut self) {
        let input = async {
            match &mut self.input {
                // Whether it is told or dropped: nobody reads any more.
                Some(ended) => drop(ended.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = input => {}
        }
    }
}

/// Reads standard input in a thread, which nothing waits for: it may never end.
fn end_of_input() -> Result<oneshot::Receiver<()>> {
    let (told, ended) = oneshot::channel();
    let read = move || {
        let mut buffer = [0; 64];
        let mut input = io::stdin().lock();
        while input.read(&mut buffer).is_ok_and(|len| len > 0) {}
        // The node may have ended by itself.
        let _ = told.send(());
    };
    std::thread::Builder::new().name("stdin".into()).spawn(read).context("a thread")?;
    Ok(ended)
}
