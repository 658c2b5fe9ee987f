//! Statistics of windows of readings.

use capmesh_sdk::math::sqrt;

/// What is known of a window so far.
///
/// Mean and sum of squares are kept as Welford does (1962): the textbook's difference of two large
/// sums would lose all digits.
#[derive(Clone, Debug)]
pub struct Window {
    count: u32,
    min: f32,
    max: f32,
    mean: f64,
    /// The sum of the squared distances from the mean.
    squares: f64,
}

/// What the readings of a window have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// How many there were.
    pub count: u32,
    /// The least of them.
    pub min: f32,
    /// The largest of them.
    pub max: f32,
    /// Their mean.
    pub mean: f32,
    /// Their standard deviation, as that of all there are.
    pub deviation: f32,
}

impl Window {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { count: 0, min: 0.0, max: 0.0, mean: 0.0, squares: 0.0 }
    }

    /// Takes a reading in. The one that completes a window of `length` gives its statistics, and the
    /// next begins another one.
    pub fn add(&mut self, value: f32, length: u32) -> Option<Statistics> {
        if self.count == 0 {
            *self = Self { min: value, max: value, ..Self::new() };
        }
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        let distance = f64::from(value) - self.mean;
        self.mean += distance / f64::from(self.count);
        self.squares += distance * (f64::from(value) - self.mean);
        if self.count < length {
            return None;
        }
        let statistics = Statistics {
            count: self.count,
            min: self.min,
            max: self.max,
            mean: self.mean as f32,
            deviation: sqrt(self.squares / f64::from(self.count)) as f32,
        };
        *self = Self::new();
        Some(statistics)
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn statistics(length: u32, readings: &[f32]) -> Vec<Statistics> {
        let mut window = Window::new();
        readings.iter().filter_map(|reading| window.add(*reading, length)).collect()
    }

    #[test]
    fn the_textbook_s_example() {
        // Mean 5, population deviation 2.
        let found = statistics(8, &[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0, 100.0]);
        let expected = Statistics { count: 8, min: 2.0, max: 9.0, mean: 5.0, deviation: 2.0 };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn small_deviations_of_large_values_keep_their_digits() {
        let readings: Vec<f32> = (0..4096_u16).map(|i| 1e6 + f32::from(i % 4)).collect();
        let found = statistics(4096, &readings);
        // 0, 1, 2, 3 in equal shares: mean 1.5, variance 1.25.
        assert_eq!(found[0].mean, 1_000_001.5);
        assert!((found[0].deviation - 1.25_f32.sqrt()).abs() < 1e-6, "{:?}", found[0]);
    }

    #[test]
    fn each_window_starts_anew() {
        let found = statistics(2, &[1.0, 3.0, -5.0, -5.0]);
        let first = Statistics { count: 2, min: 1.0, max: 3.0, mean: 2.0, deviation: 1.0 };
        let second = Statistics { count: 2, min: -5.0, max: -5.0, mean: -5.0, deviation: 0.0 };
        assert_eq!(found, [first, second]);
    }
}
