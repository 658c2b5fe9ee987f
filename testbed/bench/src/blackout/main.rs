//! Measures for how long a capsule is away while it moves between two nodes.
//!
//! ```sh
//! cargo build --release -p capmesh -p capmesh-bench
//! target/release/capmesh-bench-blackout
//! ```
//!
//! A registry, a gateway, Mosquitto and three nodes run as processes of their own and talk over real UDP,
//! with handshakes, OSCORE and durable storage, as on a site. On the first node a capsule counts every
//! 5 ms; a second one, which has 8 KiB of memory, all of it in its snapshot, passes the counts on to the
//! broker, on `every` wires; and that one is moved to and fro between the other two nodes. Everything is
//! done by way of the command `capmesh`, as a person would.
//!
//! What is called a blackout:
//!
//! - **nowhere**, as the gateway has it: from when it tells the source to quiesce, which is before the last
//!   handler there has ended, until it hears that the target has started, which is after the first handler
//!   there may run. The two ways to the nodes are in it, so that it is longer than the truth, never shorter.
//! - **silence**, as a consumer has it: the longest time between two messages at a client of the broker
//!   around the move, less the 5 ms that are between two of them in any case. Beside the move there is in it
//!   what messages wait for in any case: a node makes them durable before it sends them, 20 ms at a time.
//!   What that alone gives is printed too, from stretches of the same length without a move.
//!
//! The run fails if a count is lost, comes twice or out of order, or if a snapshot has less than 8 KiB.

#[path = "../gateway/broker.rs"]
#[expect(dead_code, reason = "the other benchmark asks what the broker takes")]
mod broker;
#[path = "../gateway/client.rs"]
mod client;
mod listener;
mod site;

use clap::Parser;
use listener::Listener;
use serde_json::{Value, json};
use site::{Failed, Site};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Bytes of the state that has to move.
const STATE: u64 = 8 << 10;

/// How often the clock ticks.
const PERIOD: Duration = Duration::from_millis(5);

/// How long a move is listened to, from its beginning; and how long it is quiet between two.
const STRETCH: Duration = Duration::from_secs(2);

/// For how long a running capsule with 8 KiB of state is away while it moves.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How often it moves
    #[arg(long, default_value_t = 20)]
    moves: u32,
    /// The command `capmesh`; the one beside this program if absent
    #[arg(long)]
    capmesh: Option<PathBuf>,
    /// Write the figures to this file too, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("capmesh-bench-blackout: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failed> {
    let capmesh = match &arguments.capmesh {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("capmesh"),
    };
    if !capmesh.is_file() {
        return Err(format!("{} is not there: build it first", capmesh.display()).into());
    }
    let site = Site::start(capmesh)?;
    let listener = Listener::start(site.broker(), "capmesh/home/node/+/blackout--keeper/out")?;
    site.deploy()?;
    listener.wait(200)?;
    let mut figures = Figures::default();
    for number in 0..arguments.moves {
        let still = Instant::now();
        std::thread::sleep(STRETCH);
        figures.still.push(listener.longest(still, still + STRETCH).saturating_sub(PERIOD));
        let begun = Instant::now();
        let moved = site.migrate(if number % 2 == 0 { "right" } else { "left" })?;
        std::thread::sleep(STRETCH.saturating_sub(begun.elapsed()));
        let silence = listener.longest(begun, begun + STRETCH).saturating_sub(PERIOD);
        figures.add(&moved, silence)?;
    }
    let counted = listener.check()?;
    drop(site);
    figures.print(counted);
    if let Some(file) = &arguments.json {
        std::fs::write(file, format!("{:#}\n", figures.json(counted)))?;
    }
    Ok(())
}

/// What was measured.
#[derive(Debug, Default)]
struct Figures {
    nowhere: Vec<Duration>,
    silence: Vec<Duration>,
    still: Vec<Duration>,
    /// Bytes of the smallest snapshot.
    snapshot: Option<u64>,
}

impl Figures {
    fn add(&mut self, moved: &Value, silence: Duration) -> Result<(), Failed> {
        let number = |key: &str| moved.get(key).and_then(Value::as_u64);
        let bytes = number("snapshot_bytes").ok_or("the gateway does not say what moved")?;
        if bytes < STATE {
            return Err(format!("the snapshot has {bytes} bytes: not the whole state").into());
        }
        let nowhere = number("blackout_us").ok_or("the gateway does not say how long it took")?;
        self.snapshot = Some(self.snapshot.map_or(bytes, |least| least.min(bytes)));
        self.nowhere.push(Duration::from_micros(nowhere));
        self.silence.push(silence);
        Ok(())
    }

    fn rows(&self) -> [(&'static str, [f64; 4]); 3] {
        [
            ("nowhere", summary(&self.nowhere)),
            ("silence", summary(&self.silence)),
            ("silence without a move", summary(&self.still)),
        ]
    }

    fn print(&self, counted: u64) {
        println!(
            "{} moves with {} bytes of state; {counted} counts came, each once and in order",
            self.nowhere.len(),
            self.snapshot.unwrap_or_default()
        );
        println!("{:<24} {:>8} {:>8} {:>8} {:>8}", "ms", "min", "p50", "p99", "max");
        for (name, [min, p50, p99, max]) in self.rows() {
            println!("{name:<24} {min:>8.1} {p50:>8.1} {p99:>8.1} {max:>8.1}");
        }
    }

    fn json(&self, counted: u64) -> Value {
        let rows = self.rows().map(|(name, [min, p50, p99, max])| {
            json!({ "what": name, "min_ms": min, "p50_ms": p50, "p99_ms": p99, "max_ms": max })
        });
        json!({ "moves": self.nowhere.len(), "snapshot_bytes": self.snapshot, "counts": counted, "times": rows })
    }
}

/// The least, the middle, the one that 99 of 100 are not above, and the most, in milliseconds.
fn summary(times: &[Duration]) -> [f64; 4] {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    let at = |share: usize| (last * share).div_ceil(100);
    [0, 50, 99, 100]
        .map(|share| sorted.get(at(share)).map_or(0.0, |time| time.as_secs_f64() * 1_000.0))
}
