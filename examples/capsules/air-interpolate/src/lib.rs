//! Puts in what is missing: the mean of the last two values of that sensor.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// Sensors that are remembered, each at the place that its number gives; a new one takes the place of one
/// that is there.
const SENSORS: usize = 32;

/// The last two values of something; not a number if there is none.
#[derive(Clone, Copy)]
struct Last([f32; 2]);

impl Last {
    /// What is to stand for `value`.
    fn fill(&mut self, value: Option<f32>) -> Option<f32> {
        let Self([before, last]) = *self;
        if let Some(value) = value {
            *self = Self([last, value]);
            return Some(value);
        }
        match (before.is_nan(), last.is_nan()) {
            (_, true) => None,
            (true, false) => Some(last),
            (false, false) => Some((before + last) * 0.5),
        }
    }
}

#[derive(Clone, Copy)]
struct Sensor {
    number: u32,
    temperature: Last,
    humidity: Last,
}

const NOTHING: Last = Last([f32::NAN; 2]);

/// What is remembered of each sensor.
pub struct Interpolate {
    sensors: [Sensor; SENSORS],
}

#[capsule]
impl Interpolate {
    const fn new() -> Self {
        let nobody = Sensor { number: 0, temperature: NOTHING, humidity: NOTHING };
        Self { sensors: [nobody; SENSORS] }
    }

    /// A row of which something is missing that never was there goes nowhere.
    #[on(climate)]
    fn climate(&mut self, mut climate: AirClimate) -> Result<(), Errno> {
        let place = climate.sensor as usize % SENSORS;
        let Some(sensor) = self.sensors.get_mut(place) else { return Ok(()) };
        if sensor.number != climate.sensor {
            let number = climate.sensor;
            *sensor = Sensor { number, temperature: NOTHING, humidity: NOTHING };
        }
        climate.temperature = sensor.temperature.fill(climate.temperature);
        climate.humidity = sensor.humidity.fill(climate.humidity);
        if climate.temperature.is_none() || climate.humidity.is_none() {
            return Ok(());
        }
        outputs::WHOLE.publish(&climate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    #[test]
    fn what_is_missing_is_the_mean_of_the_last_two() {
        let mut node = Harness::<Interpolate>::start();
        let mut pass = |sensor, temperature, humidity| {
            let climate = AirClimate { row: 0, sensor, temperature, humidity };
            let whole = node.send(inputs::CLIMATE, &climate).published(outputs::WHOLE);
            whole.first().map(|whole| (whole.temperature, whole.humidity))
        };
        assert_eq!(pass(1, None, Some(40.0)), None, "nothing is known of its temperature");
        assert_eq!(pass(1, Some(10.0), Some(50.0)), Some((Some(10.0), Some(50.0))));
        assert_eq!(pass(1, None, None), Some((Some(10.0), Some(45.0))));
        assert_eq!(pass(1, Some(20.0), None), Some((Some(20.0), Some(45.0))));
        assert_eq!(pass(1, None, Some(60.0)), Some((Some(15.0), Some(60.0))));
        // Another sensor has nothing to do with it, until it takes its place.
        assert_eq!(pass(2, None, Some(1.0)), None);
        assert_eq!(pass(1, None, None), Some((Some(15.0), Some(55.0))));
        assert_eq!(pass(33, Some(1.0), Some(2.0)), Some((Some(1.0), Some(2.0))));
        assert_eq!(pass(1, None, None), None);
    }
}
