//! What can go wrong.

use crate::api::{Refusal, RefusalCode};
use std::fmt;
use std::io;

/// Why there is no answer: a [code](Error::code) for programs, a sentence, causes and
/// [what to do](Error::help) for people.
#[derive(Debug)]
pub enum Error {
    /// The address is none.
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody answers there.
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        cause: io::Error,
    },
    /// It did not answer in time.
    Timeout {
        /// Where.
        url: String,
    },
    /// Who answers is no gateway, or one of another version.
    Protocol(String),
    /// The gateway does not grant it.
    Refused(Box<Refusal>),
}

impl Error {
    pub(crate) fn protocol(cause: &dyn fmt::Display) -> Self {
        Self::Protocol(cause.to_string())
    }

    /// The reason, by a name that never changes: a [refusal's](RefusalCode), or one of `invalid-url`,
    /// `no-gateway`, `no-answer` and `not-understood`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url { .. } => "invalid-url",
            Self::Unreachable { .. } => "no-gateway",
            Self::Timeout { .. } => "no-answer",
            Self::Protocol(_) => "not-understood",
            Self::Refused(refusal) => refusal.code.name(),
        }
    }

    /// Why, from the nearest cause to the farthest.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        match self {
            Self::Url { why, .. } => vec![why.clone()],
            Self::Unreachable { cause, .. } => vec![cause.to_string()],
            Self::Timeout { .. } => Vec::new(),
            Self::Protocol(cause) => vec![cause.clone()],
            Self::Refused(refusal) => refusal.causes.clone(),
        }
    }

    /// What to do.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Url { .. } => Some("give it as http://HOST:PORT"),
            Self::Unreachable { .. } => {
                Some("is the gateway running? `capmesh up` starts one on this machine")
            }
            Self::Timeout { .. } => Some("the gateway's log says what it is doing"),
            Self::Protocol(_) => {
                Some("is this the address of a gateway, and of the same version as this program?")
            }
            Self::Refused(refusal) => refusal.help.as_deref().or(match refusal.code {
                RefusalCode::Unauthenticated => Some("give the gateway's token"),
                _ => None,
            }),
        }
    }

    /// What the gateway says, if it does not grant something.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Whether the same may be granted a little later.
    #[must_use]
    pub fn is_worth_retrying(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => true,
            Self::Refused(refusal) => {
                refusal.retry_ms.is_some()
                    || matches!(refusal.code, RefusalCode::Busy | RefusalCode::Underway)
            }
            Self::Url { .. } | Self::Protocol(_) => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url { url, .. } => write!(f, "`{url}` is not a gateway's address"),
            Self::Unreachable { url, .. } => write!(f, "no gateway answers at {url}"),
            Self::Timeout { url } => write!(f, "the gateway at {url} does not answer in time"),
            Self::Protocol(_) => f.write_str("what answers is not understood"),
            Self::Refused(refusal) => f.write_str(&refusal.message),
        }
    }
}

impl std::error::Error for Error {}
