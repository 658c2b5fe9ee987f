//! Says what a row means, and hands its parts to statistics.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::math::ln;
use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// It keeps nothing.
pub struct Annotate;

#[capsule]
impl Annotate {
    const fn new() -> Self {
        Self
    }

    #[on(air)]
    fn air(&mut self, air: Air) -> Result<(), Errno> {
        let level = match air.dust {
            Some(dust) if dust >= config::POOR.get() => "poor",
            Some(dust) if dust >= config::FAIR.get() => "fair",
            // Some sensors say -1 where they have no answer.
            Some(dust) if dust >= 0.0 => "good",
            _ => "unknown",
        };
        outputs::ANNOTATED.publish(&AirAnnotated {
            row: air.row,
            sensor: air.sensor,
            temperature: air.temperature,
            humidity: air.humidity,
            dust: air.dust,
            quality: air.quality,
            level: Text::cut(level),
            dew_point: dew_point(air.temperature.into(), air.humidity.into()) as f32,
        })?;
        outputs::TEMPERATURE.publish(&Temperature { value: air.temperature })?;
        let id = Bytes::new(&air.sensor.to_be_bytes()).unwrap_or(Bytes::EMPTY);
        outputs::SENSOR.publish(&Visitor { id })
    }
}

/// At which temperature there would be dew, by Magnus's formula with the constants of Sonntag (1990).
fn dew_point(temperature: f64, humidity: f64) -> f64 {
    let (b, c) = (17.62, 243.12);
    // Below that the formula leads nowhere.
    let share = humidity.max(1.0) / 100.0;
    let gamma = ln(share) + b * temperature / (c + temperature);
    c * gamma / (b - gamma)
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    fn annotated(dust: Option<f32>) -> (AirAnnotated, f32, usize) {
        let mut node = Harness::<Annotate>::start();
        let (temperature, humidity, quality) = (20.0, 50.0, 7.0);
        let air = Air { row: 3, sensor: 4, temperature, humidity, dust, quality };
        let effects = node.send(inputs::AIR, &air);
        let value = effects.published(outputs::TEMPERATURE)[0].value;
        let id = effects.published(outputs::SENSOR)[0].id;
        (effects.published(outputs::ANNOTATED).remove(0), value, id.as_slice().len())
    }

    #[test]
    fn limits_decide_about_the_level() {
        let dusts = [None, Some(-1.0), Some(0.0), Some(499.0), Some(500.0), Some(2000.0)];
        let levels = ["unknown", "unknown", "good", "good", "fair", "poor"];
        for (dust, level) in dusts.into_iter().zip(levels) {
            let (found, temperature, id) = annotated(dust);
            assert_eq!((found.level.as_str(), found.row, temperature, id), (level, 3, 20.0, 4));
        }
    }

    #[test]
    fn the_dew_point_is_that_of_the_tables() {
        // Of tables of dew points: 20 Cel at 50 % has 9.3 Cel, 30 Cel at 80 % has 26.2 Cel.
        assert!((dew_point(20.0, 50.0) - 9.26).abs() < 0.02);
        assert!((dew_point(30.0, 80.0) - 26.16).abs() < 0.05);
        assert!((dew_point(15.0, 100.0) - 15.0).abs() < 1e-9);
        assert!(dew_point(15.0, 0.0).is_finite());
    }
}
