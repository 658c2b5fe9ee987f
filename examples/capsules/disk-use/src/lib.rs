//! How full the disk of a Linux node is.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;
use sensing::{period, share_used};

capmesh_sdk::describe!();

/// It keeps nothing but its clock.
pub struct DiskUse;

#[capsule]
impl DiskUse {
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
        let Ok(now) = sensors::DISK.read() else { return Ok(()) };
        let Some(value) = share_used(now.total, now.available) else { return Ok(()) };
        outputs::LOAD.publish(&Load { value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    fn load(total: u64, available: u64) -> Vec<Load> {
        let mut node = Harness::<DiskUse>::start();
        node.sample(sensors::DISK, &Disk { total, available });
        node.advance(Duration::from_secs(1)).published(outputs::LOAD)
    }

    #[test]
    fn it_is_the_share_that_is_not_available() {
        assert_eq!(load(4 << 30, 1 << 30), [Load { value: 0.75 }]);
    }

    #[test]
    fn without_a_sample_or_a_size_there_is_nothing_to_say() {
        assert_eq!(load(0, 0), []);
        let mut node = Harness::<DiskUse>::start();
        assert!(node.advance(Duration::from_secs(3)).published(outputs::LOAD).is_empty());
    }
}
