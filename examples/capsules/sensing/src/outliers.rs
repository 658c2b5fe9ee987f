//! Readings that do not fit those before.

use capmesh_sdk::math::sqrt;

/// Readings that must have come before one can be judged.
const WARM_UP: u16 = 8;

/// Mean and variance, to which older readings count less and less.
#[derive(Clone, Debug)]
pub struct Outliers {
    count: u16,
    mean: f64,
    variance: f64,
}

/// A reading that does not fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlier {
    /// What was to be expected.
    pub mean: f32,
    /// How many standard deviations lie between that and the reading: its z-score. After a constant,
    /// everything else is infinitely unlikely.
    pub score: f32,
}

impl Outliers {
    /// Nothing is known yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { count: 0, mean: 0.0, variance: 0.0 }
    }

    /// Judges a reading by those before and takes it in. It does not fit if its score is more than
    /// `threshold`; mean and deviation look `memory` readings back.
    pub fn judge(&mut self, value: f32, threshold: f64, memory: u16) -> Option<Outlier> {
        let distance = f64::from(value) - self.mean;
        let deviation = sqrt(self.variance);
        let is_outlier = self.count >= WARM_UP && distance.abs() > threshold * deviation;
        let mean = self.mean as f32;
        self.learn(distance, is_outlier.then_some(threshold * deviation), memory);
        if !is_outlier {
            return None;
        }
        let score = if deviation > 0.0 { distance / deviation } else { f64::INFINITY };
        Some(Outlier { mean, score: score as f32 })
    }

    /// Takes a reading's distance from the mean in. An outlier counts as if it had been just `at_most`
    /// away, so that a new level is learnt in time and one outlier does not hide the next.
    fn learn(&mut self, distance: f64, at_most: Option<f64>, memory: u16) {
        self.count = (self.count + 1).min(memory.max(2));
        let weight = 1.0 / f64::from(self.count);
        let distance = match at_most {
            Some(at_most) if self.variance > 0.0 => distance.clamp(-at_most, at_most),
            _ => distance,
        };
        self.mean += weight * distance;
        self.variance = (1.0 - weight) * (self.variance + weight * distance * distance);
    }
}

impl Default for Outliers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn outliers(readings: &[f32]) -> Vec<(f32, Outlier)> {
        let mut before = Outliers::new();
        let judged = readings.iter().map(|&x| Some((x, before.judge(x, 4.0, 64)?)));
        judged.flatten().collect()
    }

    /// 20 and a bit, of which mean and deviation are known: 0, 1, 2, 3, 2, 1 again and again.
    fn ordinary(count: u16) -> Vec<f32> {
        (0..count).map(|i| 20.0 + [0.0, 1.0, 2.0, 3.0, 2.0, 1.0][usize::from(i % 6)]).collect()
    }

    #[test]
    fn what_is_ordinary_is_not_reported() {
        assert_eq!(outliers(&ordinary(1000)), []);
    }

    #[test]
    fn a_score_is_the_distance_in_deviations() {
        let before = ordinary(60);
        let mut readings = before.clone();
        readings.push(40.0);
        let found = outliers(&readings);
        // All 60 count the same as long as they are fewer than the memory: the plain mean and
        // population deviation, in two passes.
        let mean = before.iter().map(|&x| f64::from(x)).sum::<f64>() / 60.0;
        let variance = before.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / 60.0;
        let score = (40.0 - mean) / variance.sqrt();
        let [(40.0, outlier)] = found[..] else { panic!("{found:?}") };
        assert!((f64::from(outlier.mean) - mean).abs() < 1e-5, "{found:?}");
        assert!((f64::from(outlier.score) - score).abs() < 1e-4, "{found:?} is {score}");
    }

    #[test]
    fn one_outlier_does_not_hide_the_next_and_a_new_level_is_learnt() {
        let mut readings = ordinary(100);
        readings.extend([1000.0, 21.0, 22.0, 40.0]);
        let values: Vec<f32> = outliers(&readings).iter().map(|(value, _)| *value).collect();
        assert_eq!(values, [1000.0, 40.0]);
        let mut readings = ordinary(100);
        readings.extend(ordinary(600).iter().map(|x| x + 30.0));
        let found = outliers(&readings);
        assert!((1..100).contains(&found.len()), "{} of 600", found.len());
    }

    #[test]
    fn after_a_constant_everything_else_is_infinitely_unlikely() {
        let mut readings = [20.0; 20].to_vec();
        readings.push(20.5);
        let expected = Outlier { mean: 20.0, score: f32::INFINITY };
        assert_eq!(outliers(&readings), [(20.5, expected)]);
    }
}
