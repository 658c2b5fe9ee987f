//! What people ask of a gateway, and tell it.

pub(super) mod doctor;
pub(super) mod instances;
pub(super) mod nodes;
pub(super) mod pipelines;
mod table;
pub(super) mod top;
pub(super) mod watch;

use super::Context;
use crate::Failure;
use crate::progress::Waiting;
use anyhow::{Context as _, Result};
use capmesh_client::{Client, Error};
use serde::Serialize;

/// A client of the gateway, and the thread that it works in.
struct Mesh {
    client: Client,
    runtime: tokio::runtime::Runtime,
    /// Nobody is told that something takes its time: a program reads.
    is_quiet: bool,
}

impl Mesh {
    fn new(at: &Context) -> Result<Self> {
        let client = Client::new(&at.gateway, at.token.as_deref())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self { client, runtime: runtime.context("cannot start")?, is_quiet: at.json })
    }

    /// What becomes of a request.
    fn ask<'a, T, F>(&'a self, request: impl FnOnce(&'a Client) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let _waiting = self.waiting(|| format!("the gateway at {} is asked", self.client.url()));
        self.runtime.block_on(request(&self.client)).map_err(|error| explain(&error))
    }

    /// Says what is waited for, if it takes its time.
    fn waiting(&self, what: impl FnOnce() -> String) -> Option<Waiting> {
        (!self.is_quiet).then(|| Waiting::begin(what()))
    }
}

/// A failure with its causes, and what to do.
pub(crate) fn explain(error: &Error) -> anyhow::Error {
    Failure::of_gateway(error, "").into()
}

/// Prints values as JSON, one a line.
fn print_json<T: Serialize>(values: &[T]) -> Result<()> {
    for value in values {
        println!("{}", serde_json::to_string(value)?);
    }
    Ok(())
}
