//! The value behind noisy readings, by a Kalman filter of one dimension.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::math::sqrt;
use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// The estimate, and its variance; negative while there has been no reading.
pub struct Kalman {
    value: f64,
    variance: f64,
}

#[capsule]
impl Kalman {
    const fn new() -> Self {
        Self { value: 0.0, variance: -1.0 }
    }

    #[on(reading)]
    fn reading(&mut self, reading: Temperature) -> Result<(), Errno> {
        let reading = f64::from(reading.value);
        let (drift, noise) = (config::DRIFT.get(), config::NOISE.get());
        let noise = noise * noise;
        if self.variance < 0.0 {
            (self.value, self.variance) = (reading, noise);
        } else {
            // The value may have wandered since; then the reading counts by how sure each is.
            let predicted = self.variance + drift * drift;
            let gain = predicted / (predicted + noise);
            self.value += gain * (reading - self.value);
            self.variance = (1.0 - gain) * predicted;
        }
        outputs::ESTIMATE
            .publish(&Estimate { value: self.value as f32, deviation: sqrt(self.variance) as f32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    fn estimates(drift: f64, noise: f64, readings: impl Iterator<Item = f32>) -> Vec<Estimate> {
        let builder = Harness::<Kalman>::builder();
        let (mut node, _) =
            builder.config(config::DRIFT, drift).config(config::NOISE, noise).start();
        let readings = readings.map(|value| Temperature { value });
        node.send_all(inputs::READING, readings).published(outputs::ESTIMATE)
    }

    #[test]
    fn without_drift_it_is_the_mean() {
        // Of n equally good readings of a constant, the best estimate is their mean, with a
        // deviation of noise / sqrt(n).
        let readings = [3.0_f32, 5.0, 4.0, 8.0, 5.0];
        let found = estimates(0.0, 1.0, readings.into_iter());
        for (n, estimate) in (1_u8..).zip(&found) {
            let mean = readings[..usize::from(n)].iter().sum::<f32>() / f32::from(n);
            assert!((estimate.value - mean).abs() < 1e-6, "{n}: {estimate:?}");
            assert!((estimate.deviation - 1.0 / f32::from(n).sqrt()).abs() < 1e-6, "{n}");
        }
    }

    #[test]
    fn with_drift_its_sureness_settles_where_theory_says() {
        // The steady state of the Riccati equation: p = (-q + sqrt(q^2 + 4 q r)) / 2.
        let (q, r) = (0.04_f64, 0.25);
        let found = estimates(0.2, 0.5, std::iter::repeat_n(20.0, 200));
        let steady = (-q + (q * q + 4.0 * q * r).sqrt()) / 2.0;
        let deviation = f64::from(found[199].deviation);
        assert!((deviation - steady.sqrt()).abs() < 1e-6, "{deviation}");
        assert_eq!(found[199].value, 20.0);
    }
}
