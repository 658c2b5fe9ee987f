//! Takes out what cannot be true. The row goes on without it.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// It keeps nothing.
pub struct RangeFilter;

#[capsule]
impl RangeFilter {
    const fn new() -> Self {
        Self
    }

    #[on(climate)]
    fn climate(&mut self, mut climate: AirClimate) -> Result<(), Errno> {
        // What is not a number is in no range.
        let temperatures = config::COLDEST.get()..=config::WARMEST.get();
        climate.temperature = climate.temperature.filter(|t| temperatures.contains(t));
        let humidities = config::DRIEST.get()..=config::DAMPEST.get();
        climate.humidity = climate.humidity.filter(|h| humidities.contains(h));
        outputs::VALID.publish(&climate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    #[test]
    fn only_what_cannot_be_true_is_taken_out() {
        let mut node = Harness::<RangeFilter>::start();
        let mut pass = |temperature, humidity| {
            let climate = AirClimate { row: 1, sensor: 2, temperature, humidity };
            let valid = node.send(inputs::CLIMATE, &climate).published(outputs::VALID);
            (valid[0].temperature, valid[0].humidity)
        };
        assert_eq!(pass(Some(-30.0), Some(100.0)), (Some(-30.0), Some(100.0)));
        assert_eq!(pass(Some(50.1), Some(0.0)), (None, Some(0.0)));
        assert_eq!(pass(Some(20.0), Some(-0.1)), (Some(20.0), None));
        assert_eq!(pass(Some(f32::NAN), None), (None, None));
    }
}
