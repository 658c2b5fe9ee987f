//! How busy the network of a Linux node is.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;
use sensing::period;

capmesh_sdk::describe!();

/// It keeps nothing but its clock.
pub struct NetworkUse;

#[capsule]
impl NetworkUse {
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
        let Ok(now) = sensors::NETWORK.read() else { return Ok(()) };
        let busier = now.received.max(now.sent).max(0.0);
        let share = busier / config::CAPACITY.get().max(1.0);
        outputs::LOAD.publish(&Load { value: share.min(1.0) as f32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    fn load(received: f64, sent: f64) -> f32 {
        let builder = Harness::<NetworkUse>::builder();
        let (mut node, _) = builder.config(config::CAPACITY, 1e6).start();
        node.sample(sensors::NETWORK, &Network { received, sent });
        node.advance(Duration::from_secs(1)).published(outputs::LOAD)[0].value
    }

    #[test]
    fn the_busier_direction_counts() {
        assert_eq!(load(250_000.0, 100.0), 0.25);
        assert_eq!(load(100.0, 500_000.0), 0.5);
        assert_eq!(load(0.0, 0.0), 0.0);
        assert_eq!(load(5e6, 0.0), 1.0, "more than it can carry is all of it");
    }
}
