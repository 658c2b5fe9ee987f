//! Says which means of loads do not fit those before, by their z-score.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::math::sqrt;
use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// Readings that must have come before one can be judged.
const WARM_UP: u16 = 8;

/// Mean and variance, to which older readings count less and less.
pub struct Detector {
    count: u16,
    mean: f64,
    variance: f64,
}

#[capsule]
impl Detector {
    const fn new() -> Self {
        Self { count: 0, mean: 0.0, variance: 0.0 }
    }

    #[on(summary)]
    fn summary(&mut self, summary: LoadSummary) -> Result<(), Errno> {
        let distance = f64::from(summary.mean) - self.mean;
        let deviation = sqrt(self.variance);
        let threshold = config::THRESHOLD.get();
        let is_anomaly = self.count >= WARM_UP && distance.abs() > threshold * deviation;
        let expected = self.mean as f32;
        self.learn(distance, is_anomaly.then_some(threshold * deviation));
        if !is_anomaly {
            return Ok(());
        }
        // After a constant everything else is infinitely unlikely.
        let score = if deviation > 0.0 { distance / deviation } else { f64::INFINITY };
        outputs::ANOMALY.publish(&LoadAnomaly {
            value: summary.mean,
            mean: expected,
            score: score as f32,
        })
    }

    /// Takes a reading's distance from the mean in. An anomaly counts as if it had been just
    /// `at_most` away, so that a new level is learnt in time and one outlier does not hide the next.
    fn learn(&mut self, distance: f64, at_most: Option<f64>) {
        let memory = config::MEMORY.get().max(2);
        self.count = (self.count + 1).min(memory);
        let weight = 1.0 / f64::from(self.count);
        let distance = match at_most {
            Some(at_most) if self.variance > 0.0 => distance.clamp(-at_most, at_most),
            _ => distance,
        };
        self.mean += weight * distance;
        self.variance = (1.0 - weight) * (self.variance + weight * distance * distance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    fn anomalies(readings: &[f32]) -> Vec<LoadAnomaly> {
        let mut node = Harness::<Detector>::start();
        let readings = readings.iter().map(|&value| summary(value));
        node.send_all(inputs::SUMMARY, readings).published(outputs::ANOMALY)
    }

    fn summary(mean: f32) -> LoadSummary {
        LoadSummary { count: 1, min: mean, max: mean, mean, deviation: 0.0 }
    }

    /// 20 and a bit, of which mean and deviation are known: 0, 1, 2, 3, 2, 1 again and again.
    fn ordinary(count: u16) -> Vec<f32> {
        (0..count).map(|i| 20.0 + [0.0, 1.0, 2.0, 3.0, 2.0, 1.0][usize::from(i % 6)]).collect()
    }

    #[test]
    fn what_is_ordinary_is_not_reported() {
        assert_eq!(anomalies(&ordinary(1000)), []);
    }

    #[test]
    fn a_score_is_the_distance_in_deviations() {
        let before = ordinary(60);
        let mut readings = before.clone();
        readings.push(40.0);
        let found = anomalies(&readings);
        // All 60 count the same as long as they are fewer than the memory: the plain mean and
        // population deviation, in two passes.
        let mean = before.iter().map(|&x| f64::from(x)).sum::<f64>() / 60.0;
        let variance = before.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / 60.0;
        let score = (40.0 - mean) / variance.sqrt();
        assert_eq!((found.len(), found[0].value), (1, 40.0));
        assert!((f64::from(found[0].mean) - mean).abs() < 1e-5, "{found:?}");
        assert!((f64::from(found[0].score) - score).abs() < 1e-4, "{found:?} is {score}");
    }

    #[test]
    fn one_outlier_does_not_hide_the_next_and_a_new_level_is_learnt() {
        let mut readings = ordinary(100);
        readings.extend([1000.0, 21.0, 22.0, 40.0]);
        let values: Vec<f32> = anomalies(&readings).iter().map(|a| a.value).collect();
        assert_eq!(values, [1000.0, 40.0]);
        let mut readings = ordinary(100);
        readings.extend(ordinary(600).iter().map(|x| x + 30.0));
        let found = anomalies(&readings);
        assert!((1..100).contains(&found.len()), "{} of 600", found.len());
    }
}
