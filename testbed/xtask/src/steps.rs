//! A run of named steps, each timed; one that fails does not hide the others.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// The steps of a chore, in order.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Step>,
}

struct Step {
    name: &'static str,
    time: Duration,
    outcome: Outcome,
}

enum Outcome {
    Passed,
    Failed,
    Skipped(String),
}

/// What a step that did not fail has to say.
pub(crate) enum Done {
    Passed,
    /// It could not be done here, and why.
    Skipped(String),
}

impl Steps {
    /// Runs one step, and says when it starts and how it ended.
    pub(crate) fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<Done>) {
        eprintln!("\n== {name}");
        let start = Instant::now();
        let outcome = match step() {
            Ok(Done::Passed) => Outcome::Passed,
            Ok(Done::Skipped(why)) => Outcome::Skipped(why),
            Err(error) => {
                eprintln!("step {name} failed: {error:#}");
                Outcome::Failed
            }
        };
        let step = Step { name, time: start.elapsed(), outcome };
        eprintln!("== {step}");
        self.done.push(step);
    }

    /// Prints all steps with their times; an error names those that failed.
    pub(crate) fn finish(&self) -> Result<()> {
        println!("\nSteps");
        for step in &self.done {
            println!("  {step}");
        }
        let total: Duration = self.done.iter().map(|step| step.time).sum();
        println!("  {:<12} {:>7.1} s", "total", total.as_secs_f64());
        let failed: Vec<&str> = self
            .done
            .iter()
            .filter(|step| matches!(step.outcome, Outcome::Failed))
            .map(|step| step.name)
            .collect();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<12} {:>7.1} s  ", self.name, self.time.as_secs_f64())?;
        match &self.outcome {
            Outcome::Passed => f.write_str("ok"),
            Outcome::Failed => f.write_str("FAILED"),
            Outcome::Skipped(why) => write!(f, "skipped: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_does_not_stop_the_next_and_is_named_at_the_end() {
        let mut steps = Steps::default();
        let mut ran = Vec::new();
        steps.run("one", || bail!("broken"));
        steps.run("two", || {
            ran.push(2);
            Ok(Done::Passed)
        });
        steps.run("three", || Ok(Done::Skipped("no board".into())));
        assert_eq!(ran, [2]);
        assert_eq!(steps.finish().unwrap_err().to_string(), "failed: one");
    }

    #[test]
    fn steps_that_pass_or_are_skipped_make_no_error() {
        let mut steps = Steps::default();
        steps.run("one", || Ok(Done::Passed));
        steps.run("two", || Ok(Done::Skipped("no board".into())));
        steps.finish().unwrap();
    }
}
