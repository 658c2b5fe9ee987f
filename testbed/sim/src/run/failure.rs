//! What was wrong with a run.

use crate::Host;
use crate::checkers::Violation;
use capmesh_wire::Instant;
use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};

/// What was wrong with a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: Instant,
    /// What kind of failure it is: two with the same are taken for the same fault. A checker's name, a
    /// phase that did not end, or the place in the source where something panicked.
    pub kind: String,
    /// What was seen.
    pub what: String,
    /// The instances that it is about.
    pub instances: Vec<u32>,
    /// The hosts that it is about.
    pub hosts: Vec<Host>,
}

impl Failure {
    /// One that is about nobody in particular.
    pub(super) fn new(at: Instant, kind: impl Into<String>, what: impl Into<String>) -> Self {
        let (kind, what) = (kind.into(), what.into());
        Self { at, kind, what, instances: Vec::new(), hosts: Vec::new() }
    }

    /// A promise was broken.
    pub(super) fn of(violation: &Violation) -> Self {
        let what = if violation.should.is_empty() {
            violation.seen.clone()
        } else {
            format!("{}; should be: {}", violation.seen, violation.should)
        };
        Self {
            instances: violation.instance.into_iter().collect(),
            hosts: violation.host.into_iter().collect(),
            ..Self::new(violation.at, violation.promise, what)
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, kind, what, .. } = self;
        write!(f, "at {:.6} s: {kind}: {what}", at.as_micros() as f64 / 1e6)
    }
}

thread_local! {
    /// What panicked last on this thread while [`catch`] was at work; `None` while it is not.
    static CAUGHT: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Has panics within a run noted rather than printed. To be called once, by the program.
pub fn keep_panics_quiet() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let is_caught = CAUGHT.with_borrow_mut(|caught| {
            let Some(caught) = caught else { return false };
            let place = info.location();
            let place = place.map(|place| format!("{}:{}", place.file(), place.line()));
            *caught = (place.unwrap_or_default(), text(info.payload()));
            true
        });
        if !is_caught {
            usual(info);
        }
    }));
}

/// Does something; a panic is where it was and what it said.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, (String, String)> {
    CAUGHT.set(Some((String::new(), String::new())));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    let caught = CAUGHT.take().unwrap_or_default();
    result.map_err(|payload| match caught {
        (place, _) if place.is_empty() => ("a panic".to_owned(), text(&*payload)),
        caught => caught,
    })
}

fn text(payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("?").to_owned()
}
