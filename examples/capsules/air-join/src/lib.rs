//! Joins the parts of a row, whichever comes first.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// Parts of each kind that wait for the other: those of later rows take the place of earlier ones.
const WAITING: usize = 8;

/// The parts that wait, at the places that their rows give.
pub struct Join {
    climates: [Option<AirClimate>; WAITING],
    particles: [Option<AirParticles>; WAITING],
}

#[capsule]
impl Join {
    const fn new() -> Self {
        Self { climates: [const { None }; WAITING], particles: [const { None }; WAITING] }
    }

    #[on(climate)]
    fn climate(&mut self, climate: AirClimate) -> Result<(), Errno> {
        let place = climate.row as usize % WAITING;
        if let Some(waiting) = self.climates.get_mut(place) {
            *waiting = Some(climate);
        }
        self.join(place)
    }

    #[on(particles)]
    fn particles(&mut self, particles: AirParticles) -> Result<(), Errno> {
        let place = particles.row as usize % WAITING;
        if let Some(waiting) = self.particles.get_mut(place) {
            *waiting = Some(particles);
        }
        self.join(place)
    }

    fn join(&mut self, place: usize) -> Result<(), Errno> {
        let parts = self.climates.get_mut(place).zip(self.particles.get_mut(place));
        let Some((climate, particles)) = parts else { return Ok(()) };
        let (Some(one), Some(other)) = (climate.as_ref(), particles.as_ref()) else {
            return Ok(());
        };
        let whole = one.temperature.zip(one.humidity);
        let Some((temperature, humidity)) = whole.filter(|_| one.row == other.row) else {
            return Ok(());
        };
        let (row, sensor) = (one.row, one.sensor);
        let (dust, quality) = (other.dust, other.quality);
        (*climate, *particles) = (None, None);
        outputs::AIR.publish(&Air { row, sensor, temperature, humidity, dust, quality })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    fn climate(row: u32) -> AirClimate {
        AirClimate { row, sensor: 1, temperature: Some(row as f32), humidity: Some(50.0) }
    }

    fn particles(row: u32) -> AirParticles {
        AirParticles { row, sensor: 1, dust: None, quality: row as f32 }
    }

    #[test]
    fn parts_of_one_row_meet_in_any_order() {
        let mut node = Harness::<Join>::start();
        assert!(node.send(inputs::CLIMATE, &climate(1)).is_empty());
        assert!(node.send(inputs::PARTICLES, &particles(2)).is_empty());
        let first = node.send(inputs::PARTICLES, &particles(1)).published(outputs::AIR);
        assert_eq!((first[0].row, first[0].temperature, first[0].quality), (1, 1.0, 1.0));
        let second = node.send(inputs::CLIMATE, &climate(2)).published(outputs::AIR);
        assert_eq!(second[0].row, 2);
        assert!(node.send(inputs::CLIMATE, &climate(2)).is_empty(), "it has been joined");
    }

    #[test]
    fn a_part_waits_for_eight_rows() {
        let mut node = Harness::<Join>::start();
        node.send_all(inputs::PARTICLES, (0..9).map(particles));
        assert!(node.send(inputs::CLIMATE, &climate(0)).is_empty());
        assert_eq!(node.send(inputs::CLIMATE, &climate(1)).published(outputs::AIR).len(), 1);
    }
}
