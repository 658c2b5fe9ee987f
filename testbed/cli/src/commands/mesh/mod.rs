//! What people ask of a gateway, and tell it.

pub(super) mod doctor;
pub(super) mod instances;
mod mistakes;
pub(super) mod nodes;
pub(super) mod pipelines;
mod table;
pub(super) mod top;
pub(super) mod watch;

use super::Context;
use anyhow::{Context as _, Result, anyhow};
use capmesh_client::{Client, Error};
use serde::Serialize;
use std::fmt::Write as _;

/// A client of the gateway, and the thread that it works in.
struct Mesh {
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Mesh {
    fn new(at: &Context) -> Result<Self> {
        let client =
            Client::new(&at.gateway, at.token.as_deref()).map_err(|error| explain(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self { client, runtime: runtime.context("cannot start")? })
    }

    /// What becomes of a request.
    fn ask<'a, T, F>(&'a self, request: impl FnOnce(&'a Client) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.ask_about("", request)
    }

    /// As [`Mesh::ask`], for a request with a text in which there may be mistakes.
    fn ask_about<'a, T, F>(&'a self, text: &str, request: impl FnOnce(&'a Client) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.runtime.block_on(request(&self.client)).map_err(|error| explain_in(&error, text))
    }
}

/// A failure with its causes, and what to do.
pub(crate) fn explain(error: &Error) -> anyhow::Error {
    explain_in(error, "")
}

/// As [`explain`], with what is wrong where in the text that was sent.
fn explain_in(error: &Error, sent: &str) -> anyhow::Error {
    let mut text = String::new();
    let mistakes = error.refusal().map(|refusal| refusal.mistakes.as_slice()).unwrap_or_default();
    for mistake in mistakes {
        mistakes::show(&mut text, mistake, sent);
    }
    for cause in error.causes() {
        let _ = write!(text, "\n  {cause}");
    }
    if let Some(help) = error.help() {
        let _ = write!(text, "\n  help: {help}");
    }
    anyhow!("{error}{text}")
}

/// Prints values as JSON, one a line.
fn print_json<T: Serialize>(values: &[T]) -> Result<()> {
    for value in values {
        println!("{}", serde_json::to_string(value)?);
    }
    Ok(())
}
