//! Count, least, largest, mean and deviation of each window of readings.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;
use sensing::{Statistics, Window};

capmesh_sdk::describe!();

/// The window so far.
pub struct WindowedStatistics {
    window: Window,
}

#[capsule]
impl WindowedStatistics {
    const fn new() -> Self {
        Self { window: Window::new() }
    }

    #[on(reading)]
    fn reading(&mut self, reading: Temperature) -> Result<(), Errno> {
        let whole = self.window.add(reading.value, config::WINDOW.get());
        let Some(Statistics { count, min, max, mean, deviation }) = whole else { return Ok(()) };
        outputs::SUMMARY.publish(&Summary { count, min, max, mean, deviation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    #[test]
    fn each_window_is_summed_up() {
        let builder = Harness::<WindowedStatistics>::builder();
        let (mut node, _) = builder.config(config::WINDOW, 2).start();
        let readings = [1.0, 3.0, -5.0, -5.0, 7.0].map(|value| Temperature { value });
        let found = node.send_all(inputs::READING, readings).published(outputs::SUMMARY);
        let first = Summary { count: 2, min: 1.0, max: 3.0, mean: 2.0, deviation: 1.0 };
        let second = Summary { count: 2, min: -5.0, max: -5.0, mean: -5.0, deviation: 0.0 };
        assert_eq!(found, [first, second]);
    }
}
