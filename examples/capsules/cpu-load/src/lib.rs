//! How busy the processor of a Linux node is.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;
use sensing::period;

capmesh_sdk::describe!();

/// Whether it has been busy since it was last said so.
pub struct CpuLoad {
    is_busy: bool,
}

#[capsule]
impl CpuLoad {
    const fn new() -> Self {
        Self { is_busy: false }
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
        let Ok(load) = sensors::CPU.read() else { return Ok(()) };
        let was_busy = core::mem::replace(&mut self.is_busy, load.value > config::LIMIT.get());
        if self.is_busy && !was_busy {
            log!(warning, "busy: {load.value:.2}");
        }
        outputs::LOAD.publish(&load)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    #[test]
    fn each_period_it_says_how_busy_the_processor_is() {
        let (mut node, _) = Harness::<CpuLoad>::builder().config(config::PERIOD, 5).start();
        assert!(node.advance(Duration::from_secs(5)).published(outputs::LOAD).is_empty());
        node.sample(sensors::CPU, &Load { value: 0.25 });
        let effects = node.advance(Duration::from_secs(10));
        assert_eq!(effects.published(outputs::LOAD), [Load { value: 0.25 }; 2]);
        assert_eq!(effects.logs(), [""; 0]);
    }

    #[test]
    fn being_busy_is_logged_once() {
        let mut node = Harness::<CpuLoad>::start();
        for (value, lines) in [(0.95, 1), (0.99, 0), (0.5, 0), (0.91, 1)] {
            node.sample(sensors::CPU, &Load { value });
            assert_eq!(node.advance(Duration::from_secs(1)).logs().len(), lines, "{value}");
        }
    }
}
