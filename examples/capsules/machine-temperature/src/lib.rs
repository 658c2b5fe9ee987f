//! How warm a Linux node is, where its kernel says so.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;
use sensing::period;

capmesh_sdk::describe!();

/// It keeps nothing but its clock.
pub struct MachineTemperature;

#[capsule]
impl MachineTemperature {
    const fn new() -> Self {
        Self
    }

    #[start]
    fn start(&mut self) -> Result<(), Errno> {
        timers::TICK.after(period(config::PERIOD.get()))
    }

    #[timer(tick)]
    fn tick(&mut self) -> Result<(), Errno> {
        // First of all, so that nothing below can stop the clock.
        self.start()?;
        // A node that has just started has no sample yet.
        let Ok(now) = sensors::TEMPERATURE0.read() else { return Ok(()) };
        outputs::TEMPERATURE.publish(&now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    #[test]
    fn each_period_it_says_how_warm_it_is() {
        let (mut node, _) =
            Harness::<MachineTemperature>::builder().config(config::PERIOD, 2).start();
        assert!(node.advance(Duration::from_secs(2)).published(outputs::TEMPERATURE).is_empty());
        node.sample(sensors::TEMPERATURE0, &Temperature { value: 41.5 });
        let effects = node.advance(Duration::from_secs(4));
        assert_eq!(effects.published(outputs::TEMPERATURE), [Temperature { value: 41.5 }; 2]);
    }
}
