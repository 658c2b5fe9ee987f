//! Says on standard error that something takes its time, once it does.
//!
//! On a terminal it is one line that moves and goes away; elsewhere, such as in the log of a CI run, a
//! line now and then.

use ratatui::crossterm::terminal;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What takes less is not worth a word.
const WORTH: Duration = Duration::from_secs(1);

/// How often the line on a terminal is drawn.
const DRAW: Duration = Duration::from_millis(100);

/// How often there is a line where there is no terminal.
const AGAIN: Duration = Duration::from_secs(10);

/// Columns of a bar.
const BAR: usize = 20;

/// Something that is waited for, until it is dropped.
#[derive(Debug)]
pub struct Waiting {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Debug, Default)]
struct State {
    what: String,
    /// So many steps of how many are done, if there are steps.
    steps: Option<(usize, usize)>,
    is_over: bool,
}

impl Waiting {
    /// Begins to wait for something; `what` says for what.
    #[must_use]
    pub fn begin(what: impl Into<String>) -> Self {
        let state = State { what: what.into(), ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        // Without a thread for it nothing is said, and everything else works.
        let thread = std::thread::Builder::new().name("progress".to_owned());
        let thread = thread.spawn(move || of_thread.say()).ok();
        Self { shared, thread }
    }

    /// Says how far it is, and what is under way.
    pub fn step(&self, done: usize, of: usize, what: impl Into<String>) {
        let mut state = self.shared.lock();
        (state.what, state.steps) = (what.into(), Some((done, of)));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It says nothing more either way.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is so after a time, unless it is over before.
    fn after(&self, time: Duration) -> Option<State> {
        let waited = self.changed.wait_timeout_while(self.lock(), time, |state| !state.is_over);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (!state.is_over).then(|| state.clone())
    }

    /// Says how it stands until it is over. Nobody need read it.
    fn say(&self) {
        let begun = Instant::now();
        let moves = io::stderr().is_terminal();
        let (mut pause, mut drawn) = (WORTH, false);
        while let Some(state) = self.after(pause) {
            let line = line(&state, begun.elapsed());
            if moves {
                let columns = terminal::size().ok().map(|(columns, _)| usize::from(columns));
                // Some terminals do not say how wide they are.
                let columns = columns.filter(|columns| *columns > 0).unwrap_or(80);
                let line: String = line.chars().take(columns.saturating_sub(1)).collect();
                let _ = write!(io::stderr(), "\r\x1b[2K{line}");
            } else {
                let _ = writeln!(io::stderr(), "{line}");
            }
            (pause, drawn) = (if moves { DRAW } else { AGAIN }, true);
        }
        if moves && drawn {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

fn line(state: &State, elapsed: Duration) -> String {
    let mut line = String::new();
    if let Some((done, of)) = state.steps {
        let filled = (done * BAR).checked_div(of).unwrap_or(0).min(BAR);
        // Writing to a string never fails.
        let _ = write!(line, "[{:-<BAR$}] {done} of {of}, ", "#".repeat(filled));
    }
    let _ = write!(line, "{}, {} s", state.what, elapsed.as_secs());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_how_far_and_how_long() {
        let mut state = State { what: "moving".to_owned(), ..State::default() };
        assert_eq!(line(&state, Duration::from_millis(2_900)), "moving, 2 s");
        state.steps = Some((1, 4));
        let said = "[#####---------------] 1 of 4, moving, 2 s";
        assert_eq!(line(&state, Duration::from_secs(2)), said);
        state.steps = Some((0, 0));
        assert!(line(&state, Duration::ZERO).starts_with("[--------------------] 0 of 0"));
    }

    #[test]
    fn what_is_over_at_once_holds_nobody_up() {
        let begun = Instant::now();
        drop(Waiting::begin("nothing"));
        assert!(begun.elapsed() < WORTH);
    }
}
