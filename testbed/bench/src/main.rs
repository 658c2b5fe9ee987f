//! Measures the protocol core as a whole, over loopback UDP, beside other implementations.
//!
//! ```sh
//! cargo run --release -p capmesh-bench
//! ```
//!
//! Each server has one core to itself, the load generator another one. The generator keeps a number
//! of GETs outstanding; its OSCORE requests are sealed before the clock starts, and it opens a sample
//! of the responses after the clock has stopped, so that it has less to do for each than the server.
//! The share of its core that it used is printed, since a generator that is busy all the time
//! measures itself.

mod handshake;
mod load;
mod machine;
mod servers;

use clap::Parser;
use load::Outcome;
use serde_json::{Value, json};
use servers::Contender;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Requests a second, latencies and handshakes of the protocol core and of others.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How long to ask each server, in seconds
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How many requests are outstanding at any time
    #[arg(long, default_value_t = 8)]
    outstanding: usize,
    /// The core that servers run on; the generator takes the other end
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core that the generator runs on
    #[arg(long, default_value_t = 1)]
    generator_core: usize,
    /// Run server and generator in a real-time class (by `chrt`, as root), so that whatever else the
    /// machine does is not measured
    #[arg(long)]
    realtime: bool,
    /// Measure only the contenders whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Write the figures to this file too, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Serve as one of our own contenders, with the rest of the line as coap-pair's arguments
    #[arg(long, hide = true, num_args = 0.., allow_hyphen_values = true)]
    pair: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(pair) = arguments.pair {
        return capmesh_coap_pair::command::main_with(pair);
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("capmesh-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    if cfg!(debug_assertions) {
        eprintln!("capmesh-bench: this is a debug build; its figures say nothing");
    }
    let mut figures = Vec::new();
    println!(
        "GET at {} outstanding for {} s, server on core {}, generator on core {}",
        arguments.outstanding, arguments.seconds, arguments.server_core, arguments.generator_core
    );
    println!(
        "{:<24} {:>10} {:>9} {:>9} {:>9} {:>9} {:>12} {:>10}",
        "server",
        "requests/s",
        "p50 us",
        "p90 us",
        "p99 us",
        "p99.9 us",
        "server us/rq",
        "generator"
    );
    for contender in Contender::ALL {
        let name = contender.name();
        if arguments.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        match measure(contender, arguments)? {
            Some(outcome) => {
                println!("{}", row(name, &outcome));
                figures.push(figure(name, &outcome));
            }
            None => println!("{name:<24} not installed"),
        }
    }
    let handshake = handshake::measure()?;
    println!();
    println!("EDHOC, both sides, with the first request: {handshake}");
    if let Some(file) = &arguments.json {
        let figures = json!({ "get": figures, "handshake": handshake.to_json() });
        fs::write(file, format!("{figures:#}\n"))?;
    }
    Ok(())
}

fn measure(
    contender: Contender,
    arguments: &Arguments,
) -> Result<Option<Outcome>, Box<dyn std::error::Error>> {
    machine::pin(arguments.server_core)?;
    let Some(server) = contender.start()? else { return Ok(None) };
    machine::pin(arguments.generator_core)?;
    if arguments.realtime {
        machine::hurry(server.process.id())?;
        machine::hurry(std::process::id())?;
    }
    let duration = Duration::from_secs(arguments.seconds);
    let limit = contender.most_per_second() * usize::try_from(arguments.seconds)?;
    load::run(&server, arguments.outstanding, duration, limit).map(Some)
}

fn row(name: &str, outcome: &Outcome) -> String {
    let micros = |quantile| f64::from(outcome.latency(quantile)) / 1e3;
    format!(
        "{name:<24} {:>10.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>12.1} {:>8.0} %",
        outcome.per_second(),
        micros(0.5),
        micros(0.9),
        micros(0.99),
        micros(0.999),
        outcome.server_micros(),
        outcome.generator_share() * 100.0,
    )
}

fn figure(name: &str, outcome: &Outcome) -> Value {
    json!({
        "server": name,
        "requests_per_second": outcome.per_second(),
        "requests": outcome.requests(),
        "latency_ns": {
            "p50": outcome.latency(0.5),
            "p90": outcome.latency(0.9),
            "p99": outcome.latency(0.99),
            "p99.9": outcome.latency(0.999),
            "max": outcome.latency(1.0),
        },
        "server_us_per_request": outcome.server_micros(),
        "generator_share": outcome.generator_share(),
    })
}
