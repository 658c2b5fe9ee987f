//! Lets readings of known sensors pass: a sensor is known from its second reading on. Who is known is kept
//! in 128 bytes, by a Bloom filter (1970): at 100 sensors one in 1,000 new ones is taken for known.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;

capmesh_sdk::describe!();

/// Words of 32 bits.
const WORDS: usize = 32;

/// Bits that a sensor sets.
const PROBES: u32 = 4;

/// The bits of all sensors that were seen.
pub struct BloomFilter {
    words: [u32; WORDS],
}

#[capsule]
impl BloomFilter {
    const fn new() -> Self {
        Self { words: [0; WORDS] }
    }

    #[on(climate)]
    fn climate(&mut self, climate: AirClimate) -> Result<(), Errno> {
        if self.insert(climate.sensor) {
            return Ok(());
        }
        outputs::KNOWN.publish(&climate)
    }

    /// Notes a sensor; true if it was certainly not noted before.
    fn insert(&mut self, sensor: u32) -> bool {
        let (mut bits, step) = (mix(sensor), mix(sensor ^ 0x9e37_79b9) | 1);
        let mut is_new = false;
        for _ in 0..PROBES {
            let bit = bits >> 22;
            if let Some(word) = self.words.get_mut(bit as usize / 32) {
                is_new |= *word & 1 << (bit % 32) == 0;
                *word |= 1 << (bit % 32);
            }
            bits = bits.wrapping_add(step);
        }
        is_new
    }
}

/// The last step of MurmurHash3.
fn mix(mut hash: u32) -> u32 {
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_sdk::testing::Harness;

    #[test]
    fn a_sensor_is_known_from_its_second_reading_on() {
        let mut node = Harness::<BloomFilter>::start();
        let sensors = [1, 2, 1, 3, 2, 1, 4];
        let climates =
            sensors.map(|sensor| AirClimate { row: 0, sensor, temperature: None, humidity: None });
        let known = node.send_all(inputs::CLIMATE, climates).published(outputs::KNOWN);
        let known: Vec<u32> = known.iter().map(|climate| climate.sensor).collect();
        assert_eq!(known, [1, 2, 1]);
    }

    #[test]
    fn few_are_taken_for_known() {
        let mut filter = BloomFilter::new();
        let wrong = (0..100_u32).filter(|n| !filter.insert(n.wrapping_mul(2_654_435_761))).count();
        assert!(wrong <= 3, "{wrong} of 100");
        // With 100 in it, 1 - e^(-400/1024) of the bits are set: (0.32)^4 = 1 % of others look known.
        let looks_known = |n: u32| {
            let mut copy = BloomFilter { words: filter.words };
            !copy.insert(n.wrapping_mul(2_654_435_761))
        };
        let wrong = (1_000..11_000).filter(|n| looks_known(*n)).count();
        assert!((40..250).contains(&wrong), "{wrong} of 10,000");
    }
}
