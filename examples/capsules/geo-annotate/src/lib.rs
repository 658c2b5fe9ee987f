//! Joins each reading with the last known position, and says how far that is from home.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::math::{cos, sqrt};
use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// The mean radius of the earth in metres (IUGG).
const EARTH: f64 = 6_371_008.8;

/// Where it was last, and when.
pub struct GeoAnnotate {
    place: Option<(Position, Time)>,
}

#[capsule]
impl GeoAnnotate {
    const fn new() -> Self {
        Self { place: None }
    }

    #[on(position)]
    fn position(&mut self, position: Position) {
        self.place = Some((position, now()));
    }

    /// A reading without a position that is young enough goes nowhere.
    #[on(reading)]
    fn reading(&mut self, reading: Temperature) -> Result<(), Errno> {
        let Some((place, at)) = self.place else { return Ok(()) };
        if now() - at > Duration::from_secs(u64::from(config::MAX_AGE.get())) {
            return Ok(());
        }
        let (latitude, longitude) = (config::LATITUDE.get(), config::LONGITUDE.get());
        outputs::LOCATED.publish(&Located {
            value: reading.value,
            latitude: place.latitude,
            longitude: place.longitude,
            distance: distance(place, Position { latitude, longitude }) as f32,
        })
    }
}

/// Metres between two places, as on a map of their surroundings: within 0.1 % up to 100 km, away from
/// the poles.
fn distance(a: Position, b: Position) -> f64 {
    let radians = core::f64::consts::PI / 180.0;
    let mut east = a.longitude - b.longitude;
    // The short way round.
    if east > 180.0 {
        east -= 360.0;
    } else if east < -180.0 {
        east += 360.0;
    }
    let north = a.latitude - b.latitude;
    let east = east * cos((a.latitude + b.latitude) * 0.5 * radians);
    EARTH * radians * sqrt(north * north + east * east)
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    /// The haversine formula, which holds for any two places.
    fn haversine(a: Position, b: Position) -> f64 {
        let (lat_a, lat_b) = (a.latitude.to_radians(), b.latitude.to_radians());
        let lon = (a.longitude - b.longitude).to_radians();
        let h = ((lat_a - lat_b) / 2.0).sin().powi(2)
            + lat_a.cos() * lat_b.cos() * (lon / 2.0).sin().powi(2);
        2.0 * 6_371_008.8 * h.sqrt().asin()
    }

    #[test]
    fn distances_are_those_on_the_globe() {
        let places = [(52.5163, 13.3777), (-33.8568, 151.2153), (0.0, -179.9), (64.1, -21.9)];
        for (latitude, longitude) in places {
            let a = Position { latitude, longitude };
            for (north, east) in [(0.3, 0.4), (-0.5, 0.2), (0.0, -0.7), (0.001, 0.0), (0.2, -0.3)] {
                let longitude = (longitude + east + 540.0) % 360.0 - 180.0;
                let b = Position { latitude: latitude + north, longitude };
                let expected = haversine(a, b);
                assert!((distance(a, b) - expected).abs() < expected * 1e-3, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn readings_carry_the_last_position_while_it_is_young() {
        let mut node = Harness::<GeoAnnotate>::start();
        let reading = Temperature { value: 7.5 };
        assert!(node.send(inputs::READING, &reading).is_empty(), "there is no position yet");
        let place = Position { latitude: 52.5163, longitude: 13.3877 };
        node.send(inputs::POSITION, &place);
        node.advance(Duration::from_secs(60));
        let found = node.send(inputs::READING, &reading).published(outputs::LOCATED);
        assert_eq!((found[0].value, found[0].longitude), (7.5, 13.3877));
        // A hundredth of a degree of longitude in Berlin.
        assert!((found[0].distance - 676.7).abs() < 0.5, "{found:?}");
        node.advance(Duration::from_secs(1));
        assert!(node.send(inputs::READING, &reading).is_empty(), "the position is too old");
    }
}
