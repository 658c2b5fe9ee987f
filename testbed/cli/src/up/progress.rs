//! What is happening, and how long it took.

use std::time::Instant;

/// Lines on standard error, each with the time that has passed.
pub(super) struct Progress(Instant);

impl Progress {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    /// Something is done.
    pub(super) fn done(&self, what: &str) {
        eprintln!("{:>6.1} s  {what}", self.0.elapsed().as_secs_f64());
    }

    pub(super) fn ending(&self) {
        eprintln!("{:>6.1} s  ending", self.0.elapsed().as_secs_f64());
    }
}
