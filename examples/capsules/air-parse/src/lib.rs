//! Takes rows of a recording of city sensors apart.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// Letters of a sensor's name; what follows changes from row to row.
const NAME: usize = 25;

/// The row that was last, and its number.
pub struct Parse {
    last: Option<AirQuality>,
    row: u32,
}

#[capsule]
impl Parse {
    const fn new() -> Self {
        Self { last: None, row: 0 }
    }

    #[start]
    fn start(&mut self) -> Result<(), Errno> {
        timers::TICK.after(Duration::from_millis(u64::from(config::PERIOD.get().max(1))))
    }

    /// A row that is still there at the second look is the same row.
    #[timer(tick)]
    fn tick(&mut self) -> Result<(), Errno> {
        self.start()?;
        let Ok(now) = sensors::AIR_QUALITY.read() else { return Ok(()) };
        if self.last.as_ref() == Some(&now) {
            return Ok(());
        }
        let (row, sensor) = (self.row, hash(now.source.as_str()));
        self.row = self.row.wrapping_add(1);
        let (temperature, humidity) = (now.temperature, now.humidity);
        let (dust, quality) = (now.dust, now.airquality_raw);
        self.last = Some(now);
        outputs::CLIMATE.publish(&AirClimate { row, sensor, temperature, humidity })?;
        outputs::PARTICLES.publish(&AirParticles { row, sensor, dust, quality })
    }
}

/// FNV-1a of the part of a source's name that says which sensor it is.
fn hash(source: &str) -> u32 {
    let name = source.as_bytes().iter().take(NAME);
    name.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    fn row(source: &str, temperature: Option<f32>) -> AirQuality {
        AirQuality {
            source: Text::new(source).expect("a short name"),
            longitude: 6.1,
            latitude: 46.2,
            temperature,
            humidity: Some(50.0),
            light: None,
            dust: Some(-1.0),
            airquality_raw: 20.0,
        }
    }

    #[test]
    fn rows_are_numbered_and_taken_apart_once() {
        let mut node = Harness::<Parse>::start();
        let second = Duration::from_secs(1);
        assert_eq!(node.advance(second).published(outputs::CLIMATE), [], "there is no row yet");
        node.sample(sensors::AIR_QUALITY, &row("ci4lr75sl000802ypo4qrcjda23", Some(8.0)));
        let effects = node.advance(second);
        let first = effects.published(outputs::CLIMATE)[0].clone();
        assert_eq!((first.row, first.temperature, first.humidity), (0, Some(8.0), Some(50.0)));
        assert_eq!(effects.published(outputs::PARTICLES)[0].dust, Some(-1.0));
        assert_eq!(node.advance(second).published(outputs::CLIMATE), [], "it is the same row");
        node.sample(sensors::AIR_QUALITY, &row("ci4lr75sl000802ypo4qrcjda7", None));
        let second = node.advance(second).published(outputs::CLIMATE)[0].clone();
        // The same sensor, whatever the number behind its name.
        assert_eq!((second.row, second.sensor, second.temperature), (1, first.sensor, None));
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(hash(""), 0x811c_9dc5);
        assert_eq!(hash("a"), 0xe40c_292c);
        assert_eq!(hash("foobar"), 0xbf9c_f968);
    }
}
