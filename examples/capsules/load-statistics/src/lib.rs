//! Count, least, largest, mean and deviation of each window of loads.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::math::sqrt;
use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// What is known of the window so far.
///
/// Mean and sum of squares are kept as Welford does (1962): the textbook's difference of two large
/// sums would lose all digits.
pub struct LoadStatistics {
    count: u32,
    min: f32,
    max: f32,
    mean: f64,
    /// The sum of the squared distances from the mean.
    squares: f64,
}

#[capsule]
impl LoadStatistics {
    const fn new() -> Self {
        Self { count: 0, min: 0.0, max: 0.0, mean: 0.0, squares: 0.0 }
    }

    #[on(load)]
    fn load(&mut self, load: Load) -> Result<(), Errno> {
        let value = load.value;
        if self.count == 0 {
            *self = Self { min: value, max: value, ..Self::new() };
        }
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let distance = f64::from(value) - self.mean;
        self.mean += distance / f64::from(self.count);
        self.squares += distance * (f64::from(value) - self.mean);
        if self.count < config::WINDOW.get() {
            return Ok(());
        }
        let summary = LoadSummary {
            count: self.count,
            min: self.min,
            max: self.max,
            mean: self.mean as f32,
            deviation: sqrt(self.squares / f64::from(self.count)) as f32,
        };
        *self = Self::new();
        outputs::SUMMARY.publish(&summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    fn summaries(window: u32, readings: &[f32]) -> Vec<LoadSummary> {
        let builder = Harness::<LoadStatistics>::builder();
        let (mut node, _) = builder.config(config::WINDOW, window).start();
        let readings = readings.iter().map(|&value| Load { value });
        node.send_all(inputs::LOAD, readings).published(outputs::SUMMARY)
    }

    #[test]
    fn the_textbook_s_example() {
        // Mean 5, population deviation 2.
        let found = summaries(8, &[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0, 100.0]);
        let expected = LoadSummary { count: 8, min: 2.0, max: 9.0, mean: 5.0, deviation: 2.0 };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn small_deviations_of_large_values_keep_their_digits() {
        let readings: Vec<f32> = (0..4096_u16).map(|i| 1e6 + f32::from(i % 4)).collect();
        let found = summaries(4096, &readings);
        // 0, 1, 2, 3 in equal shares: mean 1.5, variance 1.25.
        assert_eq!(found[0].mean, 1_000_001.5);
        assert!((found[0].deviation - 1.25_f32.sqrt()).abs() < 1e-6, "{:?}", found[0]);
    }

    #[test]
    fn each_window_starts_anew() {
        let found = summaries(2, &[1.0, 3.0, -5.0, -5.0]);
        assert_eq!(
            found[0],
            LoadSummary { count: 2, min: 1.0, max: 3.0, mean: 2.0, deviation: 1.0 }
        );
        assert_eq!(
            found[1],
            LoadSummary { count: 2, min: -5.0, max: -5.0, mean: -5.0, deviation: 0.0 }
        );
    }
}
