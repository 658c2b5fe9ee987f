//! Why the process ends.

use std::fmt;

/// Why the node could not start or go on.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    error: anyhow::Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Other,
    InUse,
    State,
    Address,
    Arguments,
}

impl Failure {
    pub(crate) fn new(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Self { kind, error: error.into() }
    }

    /// What the process says when it ends.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self.kind {
            Kind::Other => 1,
            Kind::Arguments => 2,
            Kind::InUse => 3,
            Kind::State => 4,
            Kind::Address => 5,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl std::error::Error for Failure {}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Kind::Other, error)
    }
}
