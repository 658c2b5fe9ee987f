//! The command: runs seeds, counts, and shows what failed.

pub(crate) mod options;
mod show;
pub(crate) mod tables;

use capmesh_sim::run::{self, Report, keep_panics_quiet, run_noted, run_twice, shrink};
use capmesh_sim::scenario::STACK;
use capmesh_sim::script::Script;
use options::{Case, Options, Seeds};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Scripts that are run at most to find the smallest that fails.
const SHRINK: usize = 60;

/// How often progress is said, where it goes to a file.
const SAY: Duration = Duration::from_secs(30);

pub(crate) fn run(options: &Options) -> ExitCode {
    let cases = match cases(options) {
        Ok(cases) => cases,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    if options.shows_script {
        for case in &cases {
            show::script(&script(case, options));
        }
        return ExitCode::SUCCESS;
    }
    keep_panics_quiet();
    let work = Work::new(options, cases);
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            let thread = std::thread::Builder::new().stack_size(STACK);
            let spawned = thread.spawn_scoped(scope, || work.go());
            if let Err(error) = spawned {
                eprintln!("error: no thread: {error}");
            }
        }
    });
    work.finish()
}

fn cases(options: &Options) -> Result<Vec<Case>, String> {
    match &options.seeds {
        Seeds::From(first, count) => {
            let first = first.unwrap_or_else(random);
            let case = |n| Case { seed: first.wrapping_add(n), shape: options.shape };
            Ok((0..*count).map(case).collect())
        }
        Seeds::List(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
            options::list(&text, options.shape)
                .map_err(|error| format!("{}: {error}", path.display()))
        }
    }
}

/// A seed that nobody has chosen, short enough to be typed.
fn random() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(time.subsec_nanos()) ^ (time.as_secs() % 1_000_000_007)
}

fn script(case: &Case, options: &Options) -> Script {
    let script = Script::draw_without(case.seed, case.shape, &options.without);
    let script = options.first.map_or_else(|| script.clone(), |first| script.prefix(first));
    options.only.as_ref().map_or_else(|| script.clone(), |only| script.only(only))
}

/// What is to be done, and what was.
struct Work<'a> {
    options: &'a Options,
    start: Instant,
    stops: AtomicBool,
    state: Mutex<State>,
}

struct State {
    left: std::vec::IntoIter<Case>,
    total: usize,
    done: usize,
    failed: Vec<Case>,
    lasted: Duration,
    said: Instant,
}

impl<'a> Work<'a> {
    fn new(options: &'a Options, cases: Vec<Case>) -> Self {
        let start = Instant::now();
        let state = State {
            total: cases.len(),
            left: cases.into_iter(),
            done: 0,
            failed: Vec::new(),
            lasted: Duration::ZERO,
            said: start,
        };
        Self { options, start, stops: AtomicBool::new(false), state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn next(&self) -> Option<Case> {
        let is_late =
            self.options.seconds.is_some_and(|most| self.start.elapsed().as_secs() >= most);
        if is_late || self.stops.load(Ordering::Relaxed) {
            return None;
        }
        self.state().left.next()
    }

    /// Runs seeds until there are none left.
    fn go(&self) {
        while let Some(case) = self.next() {
            let script = script(&case, self.options);
            let report = if self.options.once { run::run(&script) } else { run_twice(&script) };
            if let Some(path) = &self.options.trace
                && let Err(error) = show::trace(&script, path)
            {
                eprintln!("error: {}: {error}", path.display());
            }
            if report.failure.is_some() && !self.options.keeps_going {
                self.stops.store(true, Ordering::Relaxed);
            }
            self.note(case, &report);
            if report.failure.is_some() {
                self.fail(&case, &script, report);
            }
        }
    }

    fn note(&self, case: Case, report: &Report) {
        let mut state = self.state();
        state.done += 1;
        state.lasted += report.lasted * if self.options.once { 1 } else { 2 };
        if report.failure.is_some() {
            state.failed.push(case);
        }
        let is_terminal = std::io::stderr().is_terminal();
        let pause = if is_terminal { Duration::from_millis(200) } else { SAY };
        if !self.options.is_quiet && state.total > 1 && state.said.elapsed() >= pause {
            state.said = Instant::now();
            let line = state.line(self.start.elapsed());
            if is_terminal {
                eprint!("\r\x1b[K{line}");
                let _ = std::io::stderr().flush();
            } else {
                eprintln!("{line}");
            }
        }
    }

    /// Shows a failure and what it takes.
    fn fail(&self, case: &Case, script: &Script, report: Report) {
        let Some(failure) = report.failure else { return };
        let shrunk = self.options.shrinks.then(|| {
            eprintln!(
                "seed {} fails; looking for the smallest part of it that does ...",
                case.seed
            );
            shrink(script, failure.clone(), SHRINK, |script| run::run(script).failure)
        });
        let least = shrunk.as_ref().map_or(script, |shrunk| &shrunk.script);
        let (report, history) = run_noted(least);
        // One at a time.
        let _state = self.state();
        show::failure(case, script, &failure, shrunk.as_ref());
        show::timeline(&history, &report.failure.unwrap_or(failure));
        show::again(case, script, shrunk.as_ref());
    }

    fn finish(&self) -> ExitCode {
        let state = self.state();
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
        println!("{}", state.line(self.start.elapsed()));
        for case in &state.failed {
            println!("failed: {case}");
        }
        if state.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
    }
}

impl State {
    /// How far it is, and how fast.
    fn line(&self, took: Duration) -> String {
        let real = took.as_secs_f64().max(1e-3);
        let Self { done, total, failed, lasted, .. } = self;
        format!(
            "{done} of {total} seeds, {} failed; {:.1} s, {:.2} seeds/s, {:.0} virtual seconds a second",
            failed.len(),
            real,
            *done as f64 / real,
            lasted.as_secs_f64() / real,
        )
    }
}
