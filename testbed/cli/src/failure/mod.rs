//! Why a command failed: a text for people, JSON for programs, and what the process ends with.

mod mistakes;

use crate::operator::Silence;
use capmesh_client::api::Mistake;
use capmesh_client::{Error as GatewayError, api::RefusalCode};
use capmesh_registry::client::Error as RegistryError;
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::io;
use std::process::ExitCode;

/// Why a command failed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Failure {
    /// The reason, by a name that never changes: a gateway's, or one of those in this file.
    pub code: String,
    /// What went wrong, in one sentence.
    pub message: String,
    /// Why, from the nearest cause to the farthest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The mistakes in the text that was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<Mistake>,
    /// That text.
    #[serde(skip)]
    sent: String,
}

impl Failure {
    /// A failure without more than a sentence.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), ..Self::default() }
    }

    /// With one more cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// With what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What a gateway does not grant, or why it cannot be asked; `sent` is the text that was sent, if
    /// there may be mistakes in it.
    #[must_use]
    pub fn of_gateway(error: &GatewayError, sent: &str) -> Self {
        let refusal = error.refusal();
        let help = match refusal.map(|refusal| refusal.code) {
            Some(RefusalCode::Unauthenticated) => {
                Some("give the gateway's token: --token, or CAPMESH_TOKEN")
            }
            _ => error.help(),
        };
        Self {
            code: error.code().to_owned(),
            message: error.to_string(),
            causes: error.causes(),
            help: help.map(str::to_owned),
            mistakes: refusal.map(|refusal| refusal.mistakes.clone()).unwrap_or_default(),
            sent: sent.to_owned(),
        }
    }

    /// Arguments that are none.
    #[must_use]
    pub fn of_arguments(error: &clap::Error) -> Self {
        let text = error.to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let message = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let causes = lines.filter(|line| !line.starts_with("For more information"));
        let causes = causes.map(str::to_owned).collect();
        Self { causes, ..Self::new("usage", message) }.help("`--help` says what can be given")
    }

    /// What is known of an error: the first of its causes that says more than a text, with what stands
    /// before it.
    #[must_use]
    pub fn of(error: &anyhow::Error) -> Self {
        let mut before = String::new();
        for cause in error.chain() {
            if let Some(mut failure) = Self::known(cause) {
                failure.message.insert_str(0, &before);
                return failure;
            }
            // Writing to a string never fails.
            let _ = write!(before, "{cause}: ");
        }
        let text = before.trim_end_matches(": ");
        let mut lines = text.lines().map(str::trim);
        let mut failure = Self::new("failed", lines.next().unwrap_or_default());
        for line in lines {
            match line.strip_prefix("help: ") {
                Some(help) => failure.help = Some(help.to_owned()),
                None => failure.causes.push(line.to_owned()),
            }
        }
        failure
    }

    fn known(cause: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if let Some(failure) = cause.downcast_ref::<Self>() {
            return Some(failure.clone());
        }
        if let Some(error) = cause.downcast_ref::<GatewayError>() {
            return Some(Self::of_gateway(error, ""));
        }
        if let Some(error) = cause.downcast_ref::<RegistryError>() {
            let failure = Self::new(error.code(), error.to_string());
            return Some(Self { help: error.help().map(str::to_owned), ..failure });
        }
        if let Some(failure) = cause.downcast_ref::<capmesh_capsule::cli::Failure>() {
            let code = match failure {
                capmesh_capsule::cli::Failure::Given(_) => "invalid-capsule",
                capmesh_capsule::cli::Failure::Machine(_) => "machine",
            };
            return Some(Self::new(code, failure.to_string()));
        }
        if let Some(failure) = cause.downcast_ref::<capmesh_gatewayd::Failure>() {
            let code = if failure.code() == 2 { "configuration" } else { "not-started" };
            let known = Self::new(code, failure.to_string());
            return Some(Self { help: failure.help(), ..known });
        }
        if let Some(failure) = cause.downcast_ref::<capmesh_node_linux::Failure>() {
            let code = if failure.code() == 2 { "usage" } else { "not-started" };
            return Some(Self::new(code, failure.to_string()));
        }
        if let Some(silence) = cause.downcast_ref::<Silence>() {
            return Some(Self::new("no-answer", silence.to_string()));
        }
        let error = cause.downcast_ref::<io::Error>()?;
        Some(Self::new("machine", error.to_string()))
    }

    /// What the process ends with: 2 if it was told something wrong, 3 if something that it needs is not
    /// there, 1 otherwise.
    #[must_use]
    pub fn exit(&self) -> ExitCode {
        match self.code.as_str() {
            "usage" | "configuration" | "invalid-url" => ExitCode::from(2),
            "machine" | "no-gateway" | "no-registry" | "no-answer" => ExitCode::from(3),
            _ => ExitCode::FAILURE,
        }
    }

    /// As a line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::json!({ "error": self }).to_string()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.message.clone();
        for mistake in &self.mistakes {
            mistakes::show(&mut text, mistake, &self.sent);
        }
        f.write_str(&text)?;
        self.causes.iter().try_for_each(|cause| write!(f, "\n  {cause}"))?;
        self.help.iter().try_for_each(|help| write!(f, "\n  help: {help}"))
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context as _, anyhow};

    #[test]
    fn what_is_known_is_said_behind_where_it_happened() {
        let refused = Failure::new("unknown-node", "no node is called x").help("there is hall");
        let error = Err::<(), _>(refused).context("node x was not adopted").unwrap_err();
        let failure = Failure::of(&error);
        let said = "node x was not adopted: no node is called x\n  help: there is hall";
        assert_eq!(failure.to_string(), said);
        assert_eq!(failure.exit(), ExitCode::FAILURE);
        assert_eq!(
            failure.json(),
            r#"{"error":{"code":"unknown-node","help":"there is hall","message":"node x was not adopted: no node is called x"}}"#
        );
    }

    #[test]
    fn files_that_are_not_there_are_told_from_other_failures() {
        let error = std::fs::read("there/is/none").context("there/is/none").unwrap_err();
        let failure = Failure::of(&error);
        assert_eq!((failure.code.as_str(), failure.exit()), ("machine", ExitCode::from(3)));
        assert!(failure.message.starts_with("there/is/none: "), "{failure}");
    }

    #[test]
    fn texts_of_several_lines_are_taken_apart() {
        let failure = Failure::of(&anyhow!("it is wrong\n  since it is\n  help: mend it"));
        assert_eq!((failure.code.as_str(), failure.message.as_str()), ("failed", "it is wrong"));
        assert_eq!(failure.causes, ["since it is"]);
        assert_eq!(failure.help.as_deref(), Some("mend it"));
    }
}
