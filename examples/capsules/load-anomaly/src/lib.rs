//! Says which means of loads do not fit those before, by their z-score.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;
use sensing::{Outlier, Outliers};

capmesh_sdk::describe!();

/// What is ordinary.
pub struct Detector {
    before: Outliers,
}

#[capsule]
impl Detector {
    const fn new() -> Self {
        Self { before: Outliers::new() }
    }

    #[on(summary)]
    fn summary(&mut self, summary: LoadSummary) -> Result<(), Errno> {
        let value = summary.mean;
        let found = self.before.judge(value, config::THRESHOLD.get(), config::MEMORY.get());
        let Some(Outlier { mean, score }) = found else { return Ok(()) };
        outputs::ANOMALY.publish(&LoadAnomaly { value, mean, score })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    fn summary(mean: f32) -> LoadSummary {
        LoadSummary { count: 1, min: mean, max: mean, mean, deviation: 0.0 }
    }

    #[test]
    fn what_does_not_fit_is_reported_with_what_was_expected() {
        let mut node = Harness::<Detector>::start();
        // Mean 21, population deviation 1.
        let ordinary = (0..60).map(|i| summary(if i % 2 == 0 { 20.0 } else { 22.0 }));
        assert_eq!(node.send_all(inputs::SUMMARY, ordinary).published(outputs::ANOMALY), []);
        let found = node.send(inputs::SUMMARY, &summary(40.0)).published(outputs::ANOMALY);
        assert_eq!((found.len(), found[0].value), (1, 40.0));
        assert!((found[0].mean - 21.0).abs() < 1e-5, "{found:?}");
        assert!((found[0].score - 19.0).abs() < 1e-4, "{found:?}");
    }

    #[test]
    fn the_threshold_can_be_told() {
        let builder = Harness::<Detector>::builder();
        let (mut node, _) = builder.config(config::THRESHOLD, 20.0).start();
        let readings = (0..60).map(|i| summary(if i % 2 == 0 { 20.0 } else { 22.0 }));
        let readings = readings.chain([summary(40.0)]);
        assert_eq!(node.send_all(inputs::SUMMARY, readings).published(outputs::ANOMALY), []);
    }
}
