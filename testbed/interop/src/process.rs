//! Other programs under a test's thumb: their output is kept, every wait is bounded, and they die
//! with the value that stands for them.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A running program. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
    /// How many lines of standard output [`Process::next_line`] has given out.
    taken: usize,
}

/// What a program has written so far, line by line.
#[derive(Default)]
struct Output {
    state: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    out: Vec<String>,
    err: Vec<String>,
    open: usize,
}

/// A program did not do what a test waits for.
#[derive(Debug)]
pub struct Disappointment(String);

impl fmt::Display for Disappointment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Disappointment {}

impl Process {
    /// Starts `command` with its three standard streams in the test's hands.
    ///
    /// # Errors
    /// If the operating system does not start it.
    pub fn start(name: &str, command: &mut Command) -> Result<Self, Disappointment> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                Disappointment(format!("{name} ({command:?}) did not start: {error}"))
            })?;
        let output = Arc::new(Output::default());
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(output.follow(stdout, |lines| &mut lines.out));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(output.follow(stderr, |lines| &mut lines.err));
        }
        let stdin = child.stdin.take();
        Ok(Self { name: name.into(), child, stdin, output, readers, taken: 0 })
    }

    /// Waits for a line of standard output that contains `needle`, and returns it.
    ///
    /// # Errors
    /// If none comes `within` that time, or the program ends before.
    pub fn wait_for(&self, needle: &str, within: Duration) -> Result<String, Disappointment> {
        self.wait_until(&format!("the line {needle:?}"), within, |lines| {
            lines.out.iter().find(|line| line.contains(needle)).cloned()
        })
    }

    /// Waits for the next line of standard output that this function has not returned before.
    ///
    /// # Errors
    /// If none comes `within` that time, or the program ends before.
    pub fn next_line(&mut self, within: Duration) -> Result<String, Disappointment> {
        let taken = self.taken;
        let line =
            self.wait_until("another line", within, |lines| lines.out.get(taken).cloned())?;
        self.taken += 1;
        Ok(line)
    }

    /// Writes a line to the program's standard input.
    ///
    /// # Errors
    /// If the program does not take it.
    pub fn write_line(&mut self, line: &str) -> Result<(), Disappointment> {
        let Some(stdin) = self.stdin.as_mut() else {
            return Err(self.disappointment("has its standard input closed"));
        };
        let written = writeln!(stdin, "{line}").and_then(|()| stdin.flush());
        written.map_err(|error| self.disappointment(&format!("takes no input: {error}")))
    }

    /// Closes the program's standard input and waits for its end.
    ///
    /// # Errors
    /// If it has not ended `within` that time; it is killed then.
    pub fn finish(mut self, within: Duration) -> Result<Finished, Disappointment> {
        self.stdin = None;
        let deadline = Instant::now() + within;
        // The streams close with the program: no need to poll while they are open.
        {
            let mut lines = self.output.lock();
            while lines.open > 0 {
                let Some(left) = deadline.checked_duration_since(Instant::now()) else { break };
                lines = self.output.wait(lines, left);
            }
        }
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
                _ => return Err(self.disappointment(&format!("did not end within {within:?}"))),
            }
        };
        let lines = self.output.lock();
        Ok(Finished { status, out: lines.out.join("\n"), err: lines.err.join("\n") })
    }

    /// Ends the program at once, as a power cut would. All its output has been read when this
    /// returns.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that the program has written so far, for a test that fails.
    #[must_use]
    pub fn transcript(&self) -> String {
        let lines = self.output.lock();
        format!(
            "--- {}: standard output\n{}\n--- {}: standard error\n{}\n---",
            self.name,
            lines.out.join("\n"),
            self.name,
            lines.err.join("\n")
        )
    }

    fn wait_until<T>(
        &self,
        what: &str,
        within: Duration,
        found: impl Fn(&Lines) -> Option<T>,
    ) -> Result<T, Disappointment> {
        let deadline = Instant::now() + within;
        let mut lines = self.output.lock();
        let why = loop {
            if let Some(found) = found(&lines) {
                return Ok(found);
            }
            if lines.open == 0 {
                break format!("ended before {what}");
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                break format!("did not write {what} within {within:?}");
            };
            lines = self.output.wait(lines, left);
        };
        drop(lines);
        Err(self.disappointment(&why))
    }

    fn disappointment(&self, why: &str) -> Disappointment {
        Disappointment(format!("{} {why}\n{}", self.name, self.transcript()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("{}", self.transcript());
        }
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, lines: MutexGuard<'a, Lines>, left: Duration) -> MutexGuard<'a, Lines> {
        self.changed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0
    }

    fn follow(
        self: &Arc<Self>,
        stream: impl Read + Send + 'static,
        into: fn(&mut Lines) -> &mut Vec<String>,
    ) -> JoinHandle<()> {
        self.lock().open += 1;
        let output = Arc::clone(self);
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line);
                into(&mut output.lock()).push(text.trim_end_matches('\n').into());
                output.changed.notify_all();
                line.clear();
            }
            output.lock().open -= 1;
            output.changed.notify_all();
        })
    }
}
