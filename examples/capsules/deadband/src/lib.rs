//! Passes readings on when they have changed, and now and then when they have not.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// What was passed on last, if anything was.
pub struct Deadband {
    last: Option<f32>,
}

#[capsule]
impl Deadband {
    const fn new() -> Self {
        Self { last: None }
    }

    #[on(reading)]
    fn reading(&mut self, reading: Temperature) -> Result<(), Errno> {
        let band = config::BAND.get();
        if self.last.is_some_and(|last| (reading.value - last).abs() < band) {
            return Ok(());
        }
        self.report(reading.value)
    }

    /// Who listens can tell an unchanged value from a sensor that has died.
    #[timer(silence)]
    fn silence(&mut self) -> Result<(), Errno> {
        self.last.map_or(Ok(()), |last| self.report(last))
    }

    fn report(&mut self, value: f32) -> Result<(), Errno> {
        self.last = Some(value);
        timers::SILENCE.after(Duration::from_secs(u64::from(config::SILENCE.get())))?;
        outputs::CHANGE.publish(&Temperature { value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::{Effects, Harness};

    fn values(effects: &Effects) -> Vec<f32> {
        effects.published(outputs::CHANGE).iter().map(|change| change.value).collect()
    }

    #[test]
    fn only_changes_are_passed_on() {
        let mut node = Harness::<Deadband>::start();
        let readings =
            [20.0, 20.25, 20.49, 20.5, 20.25, 20.0, 19.0].map(|value| Temperature { value });
        let effects = node.send_all(inputs::READING, readings);
        assert_eq!(values(&effects), [20.0, 20.5, 20.0, 19.0]);
    }

    #[test]
    fn after_a_long_silence_the_last_is_sent_again() {
        let mut node = Harness::<Deadband>::start();
        assert!(node.advance(Duration::from_secs(3600)).is_empty(), "there is nothing to send yet");
        node.send(inputs::READING, &Temperature { value: 20.0 });
        node.advance(Duration::from_secs(599));
        node.send(inputs::READING, &Temperature { value: 20.1 });
        assert_eq!(values(&node.advance(Duration::from_secs(1))), [20.0]);
        assert_eq!(values(&node.advance(Duration::from_secs(1200))), [20.0, 20.0]);
        node.send(inputs::READING, &Temperature { value: 25.0 });
        assert!(node.advance(Duration::from_secs(599)).is_empty(), "a change starts it anew");
    }
}
