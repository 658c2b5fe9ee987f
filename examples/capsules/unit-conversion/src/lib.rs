//! Readings in another unit.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// It remembers nothing.
pub struct UnitConversion;

#[capsule]
impl UnitConversion {
    const fn new() -> Self {
        Self
    }

    #[on(kelvin)]
    fn convert(&mut self, reading: Kelvin) -> Result<(), Errno> {
        // In double precision: 273.15 is none of the numbers that a single can hold.
        let value = f64::from(reading.value) * config::SCALE.get() + config::OFFSET.get();
        outputs::CELSIUS.publish(&Temperature { value: value as f32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    #[test]
    fn kelvin_become_degrees_celsius() {
        let mut node = Harness::<UnitConversion>::start();
        let readings = [0.0, 273.15, 293.15, 373.15].map(|value| Kelvin { value });
        let celsius = node.send_all(inputs::KELVIN, readings).published(outputs::CELSIUS);
        let expected = [-273.15, 0.0, 20.0, 100.0];
        for (found, expected) in celsius.iter().zip(expected) {
            assert!((found.value - expected).abs() < 2e-5, "{found:?} is {expected}");
        }
        assert_eq!(celsius.len(), 4);
    }

    #[test]
    fn scale_and_offset_come_from_the_pipeline() {
        let builder = Harness::<UnitConversion>::builder();
        let (mut node, _) = builder.config(config::SCALE, 2.0).config(config::OFFSET, 1.0).start();
        let effects = node.send(inputs::KELVIN, &Kelvin { value: 3.0 });
        assert_eq!(effects.published(outputs::CELSIUS), [Temperature { value: 7.0 }]);
    }
}
