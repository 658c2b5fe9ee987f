//! Runs the same small programs on Wasm engines and natively, and prints what each round takes.
//!
//! ```sh
//! cargo xtask bench
//! ```
//!
//! Engines: the capsule runtime (wasmi, metered), wasmi as the runtime configures it but not metered,
//! wasm3, Wasmtime's interpreter Pulley and its compiler Cranelift (neither metered), and the
//! programs compiled with this program. Engines take turns, so that whatever else the machine does
//! falls on all of them; of a program's samples the median counts. Every engine's checksum must be
//! that of the native program.

mod engines;
mod samples;

use std::{error::Error, process::ExitCode, time::Duration};

use engines::Engine;
use samples::Samples;

/// The programs and their modules.
const MODULES: [(&str, &[u8]); 6] = [
    ("fib", include_bytes!("../modules/fib.wasm")),
    ("crc32", include_bytes!("../modules/crc32.wasm")),
    ("sha256", include_bytes!("../modules/sha256.wasm")),
    ("sort", include_bytes!("../modules/sort.wasm")),
    ("fft", include_bytes!("../modules/fft.wasm")),
    ("biquad", include_bytes!("../modules/biquad.wasm")),
];

/// How long an engine runs a program for one sample.
const SAMPLE: Duration = Duration::from_millis(40);

/// The most that metering may cost, in percent.
const METERING: f64 = 15.0;

fn main() -> ExitCode {
    let quick = std::env::args().skip(1).any(|argument| argument == "--quick");
    match run(if quick { 3 } else { 15 }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-wasm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(count: usize) -> Result<(), Box<dyn Error>> {
    if cfg!(debug_assertions) {
        eprintln!("bench-wasm: this is a debug build; its figures say nothing");
    }
    println!("us for a round (and how many times as long as native), median of {count} samples");
    print!("{:<8}{:>10}", "", "Wasm ops");
    Engine::ALL.iter().for_each(|engine| print!("{:>20}", engine.name()));
    println!("{:>12}", "metering");
    let mut ratios = Vec::new();
    for (name, module) in MODULES {
        let samples = measure(name, module, count)?;
        let median = |engine: Engine| samples.median(engine);
        print!("{name:<8}{:>10.0}", samples.operations);
        for engine in Engine::ALL {
            let (own, native) = (median(engine), median(Engine::Native));
            print!("{:>11.2} ({:>5.1}x)", own * 1e6, own / native);
        }
        let metering = (samples.ratio(Engine::Runtime, Engine::Unmetered) - 1.0) * 100.0;
        println!("{metering:>10.1} %");
        ratios.push((samples.ratio(Engine::Runtime, Engine::Wasm3), metering));
    }
    let rounded = |values: Vec<f64>| geometric_mean(&values);
    let against_wasm3 = rounded(ratios.iter().map(|(ratio, _)| *ratio).collect());
    let metering = rounded(ratios.iter().map(|(_, percent)| 1.0 + percent / 100.0).collect());
    let metering = (metering - 1.0) * 100.0;
    println!("\nGeometric means: {against_wasm3:.2} times as long as wasm3;");
    let verdict = if metering <= METERING { "reached" } else { "not reached" };
    println!("metering costs {metering:.1} % (goal: at most {METERING} %, {verdict})");
    Ok(())
}

/// Runs a program on all engines in turn.
fn measure(name: &str, module: &[u8], count: usize) -> Result<Samples, Box<dyn Error>> {
    let mut programs = Vec::new();
    for engine in Engine::ALL {
        programs.push((engine, engine.load(name, module)?));
    }
    let mut checksums = Vec::new();
    for (engine, program) in &mut programs {
        checksums.push((engine.name(), program.run(3)?));
    }
    if checksums.windows(2).any(|pair| pair[0].1 != pair[1].1) {
        return Err(format!("{name}: the checksums differ: {checksums:?}").into());
    }
    let mut samples = Samples::default();
    let mut rounds = Vec::new();
    for (engine, program) in &mut programs {
        rounds.push(samples::rounds_for(SAMPLE, *engine, program)?);
    }
    for _ in 0..count {
        for ((engine, program), rounds) in programs.iter_mut().zip(&rounds) {
            samples.take(*engine, *rounds, program)?;
        }
    }
    samples.operations = programs[0].1.operations(10)?;
    Ok(samples)
}

fn geometric_mean(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().map(|value| value.ln()).sum();
    (sum / values.len() as f64).exp()
}
