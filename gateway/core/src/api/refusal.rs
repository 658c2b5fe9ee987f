//! Why something was not done.

use super::codes::optional_reason;
use super::limits;
use capmesh_wire::ErrorCode;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Why a request was not granted, for programs (the code) and people (the rest).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason.
    pub code: RefusalCode,
    /// What went wrong, in one sentence that names what was asked for.
    pub message: String,
    /// Why, from the nearest cause to the farthest; one line for each capsule that fits nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The mistakes in a pipeline's text, in the order of their places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<Mistake>,
    /// What a node said, if it was a node that refused.
    #[serde(default, with = "optional_reason", skip_serializing_if = "Option::is_none")]
    pub node_said: Option<ErrorCode>,
    /// In how many milliseconds it may be worth another try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u32>,
}

macro_rules! refusal_codes {
    ($($(#[$meta:meta])* $variant:ident = $name:literal, $status:literal;)*) => {
        /// A reason. The names never change, and there may be more of them one day.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum RefusalCode {
            $($(#[$meta])* #[serde(rename = $name)] $variant,)*
            /// A newer gateway's, unknown to this version.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl RefusalCode {
            /// Every reason that this version knows.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name, as in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Unknown => "unknown",
                }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                    Self::Unknown => 500,
                }
            }
        }
    };
}

refusal_codes! {
    /// The request is not one.
    Malformed = "malformed", 400;
    /// Nobody has said who asks, or not convincingly.
    Unauthenticated = "unauthenticated", 401;
    /// Who asks may not do this.
    Forbidden = "forbidden", 403;
    /// There is nothing of this name on the page or in the API.
    NotFound = "not-found", 404;
    /// The site has no such node.
    UnknownNode = "unknown-node", 404;
    /// There is no such instance.
    UnknownInstance = "unknown-instance", 404;
    /// There is no such pipeline.
    UnknownPipeline = "unknown-pipeline", 404;
    /// Neither the gateway nor the registry knows the capsule.
    UnknownCapsule = "unknown-capsule", 404;
    /// It contradicts what there is: a name that is taken, a capsule that is in use.
    Conflict = "conflict", 409;
    /// It cannot be done in the state that things are in.
    WrongState = "wrong-state", 409;
    /// The same instance or node is being dealt with already.
    Underway = "underway", 409;
    /// The request had run out before it was taken up.
    Expired = "expired", 410;
    /// It is past a bound.
    TooLarge = "too-large", 413;
    /// The pipeline has mistakes; they are listed.
    InvalidPipeline = "invalid-pipeline", 422;
    /// The nodes have no place for it; the causes say what is missing.
    Unplaceable = "unplaceable", 422;
    /// The claim is not that of who answers at the address.
    ClaimMismatch = "claim-mismatch", 422;
    /// It takes the site's signing key, which this gateway does not have.
    NoSiteKey = "no-site-key", 501;
    /// A node has refused.
    NodeRefused = "node-refused", 502;
    /// The registry is not there or has refused.
    Registry = "registry", 502;
    /// There is too much to do already, or a table is full.
    Busy = "busy", 503;
    /// The node cannot be reached.
    Unreachable = "unreachable", 504;
    /// It was not done in time. It may still be.
    Timeout = "timeout", 504;
    /// A fault of the gateway's.
    Internal = "internal", 500;
}

/// A mistake in a pipeline's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mistake {
    /// The file, if the request named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1.
    pub line: u32,
    /// The column, in characters from 1.
    pub column: u32,
    /// How many characters it concerns.
    pub length: u32,
    /// What sort of mistake it is: a name that never changes, such as `unknown-key`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What was to stand there, or what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What exists and is spelled most like what stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
}

impl Refusal {
    /// A refusal without more than a sentence.
    #[must_use]
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            causes: Vec::new(),
            help: None,
            mistakes: Vec::new(),
            node_said: None,
            retry_ms: None,
        }
    }

    /// With one more cause; those past [`limits::CAUSES`] are left out.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        if self.causes.len() < limits::CAUSES {
            self.causes.push(cause.into());
        }
        self
    }

    /// With what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With a time after which it may be worth another try.
    #[must_use]
    pub const fn retry_in(mut self, millis: u32) -> Self {
        self.retry_ms = Some(millis);
        self
    }

    /// A pipeline with mistakes; those past [`limits::MISTAKES`] are left out.
    #[must_use]
    pub fn invalid_pipeline(mut mistakes: Vec<Mistake>) -> Self {
        let message = match mistakes.len() {
            1 => "the pipeline has a mistake".to_owned(),
            count => format!("the pipeline has {count} mistakes"),
        };
        mistakes.truncate(limits::MISTAKES);
        Self { mistakes, ..Self::new(RefusalCode::InvalidPipeline, message) }
    }

    /// What a node has refused.
    #[must_use]
    pub fn node_refused(node: &str, said: ErrorCode) -> Self {
        let message = format!("{node} refuses: {said}");
        Self { node_said: Some(said), ..Self::new(RefusalCode::NodeRefused, message) }
    }

    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.code.status()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl core::error::Error for Refusal {}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        write!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        if let Some(nearest) = &self.nearest {
            write!(f, " (did you mean `{nearest}`?)")?;
        }
        Ok(())
    }
}
