//! EDHOC, OSCORE and CoAP in both roles: two parties in one image, which shake hands, ask and answer.
//!
//! Block-wise transfer, the resource table and the relay are not in it: what a node takes of those
//! is its own choice.
#![no_std]
#![no_main]

mod messages;
mod node;
mod pair;

use cortex_m_rt::entry;
use footprint::{exit, init};
use rand_core::{CryptoRng, RngCore};

#[entry]
fn main() -> ! {
    init();
    messages::measure_oscore();
    pair::measure_endpoints();
    exit()
}

/// A generator good enough to measure with.
pub struct Weak(pub u32);

impl RngCore for Weak {
    fn next_u32(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0
    }

    fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) << 32 | u64::from(self.next_u32())
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        for byte in out {
            *byte = (self.next_u32() >> 24) as u8;
        }
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Weak {}
