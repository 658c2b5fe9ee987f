//! What is happening, and how long it took.

use crate::progress::Waiting;
use std::cell::RefCell;
use std::time::Instant;

/// Lines on standard error, each with the time that has passed, and what is under way.
pub(super) struct Progress {
    begun: Instant,
    waiting: RefCell<Option<Waiting>>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), waiting: RefCell::new(None) }
    }

    /// Something begins.
    pub(super) fn begin(&self, what: &str) {
        *self.waiting.borrow_mut() = Some(Waiting::begin(what));
    }

    /// What has begun is done.
    pub(super) fn done(&self, what: &str) {
        *self.waiting.borrow_mut() = None;
        eprintln!("{:>6.1} s  {what}", self.begun.elapsed().as_secs_f64());
    }
}
