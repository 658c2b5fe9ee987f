//! How long programs took.

use std::{
    collections::BTreeMap,
    error::Error,
    time::{Duration, Instant},
};

use crate::engines::{Engine, Program};

/// Samples of one program on each engine: seconds for a round.
#[derive(Default)]
pub(crate) struct Samples {
    by_engine: BTreeMap<Engine, Vec<f64>>,
    /// Wasm operations in a round.
    pub(crate) operations: f64,
}

impl Samples {
    /// Takes one sample.
    pub(crate) fn take(
        &mut self,
        engine: Engine,
        rounds: u32,
        program: &mut Program,
    ) -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        program.run(rounds)?;
        let seconds = start.elapsed().as_secs_f64() / f64::from(rounds);
        self.by_engine.entry(engine).or_default().push(seconds);
        Ok(())
    }

    /// The median of an engine's samples.
    pub(crate) fn median(&self, engine: Engine) -> f64 {
        median(self.by_engine.get(&engine).cloned().unwrap_or_default())
    }

    /// How many times as long as the other one an engine takes: the median over samples that were
    /// taken one after the other.
    pub(crate) fn ratio(&self, engine: Engine, other: Engine) -> f64 {
        let samples = |engine| self.by_engine.get(&engine).into_iter().flatten();
        median(samples(engine).zip(samples(other)).map(|(own, other)| own / other).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How many rounds an engine does in about this time.
pub(crate) fn rounds_for(
    time: Duration,
    engine: Engine,
    program: &mut Program,
) -> Result<u32, Box<dyn Error>> {
    let mut rounds = 1;
    loop {
        let start = Instant::now();
        program.run(rounds)?;
        let elapsed = start.elapsed();
        if elapsed >= time {
            return Ok(rounds);
        }
        let factor = time.as_secs_f64() / elapsed.as_secs_f64().max(1e-6);
        let more = f64::from(rounds) * (factor * 1.05).clamp(1.1, 20.0);
        if more > 1e9 {
            return Err(format!("{} takes no time", engine.name()).into());
        }
        rounds = more.ceil() as u32;
    }
}
