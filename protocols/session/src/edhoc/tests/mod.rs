use super::*;
use rand_core::{CryptoRng, RngCore};

mod hostile;
mod mutation;
mod rfc9529;
mod rules;

/// A generator that gives the same 32 bytes again and again: the scalar of a vector.
struct Bytes([u8; 32]);

impl RngCore for Bytes {
    fn next_u32(&mut self) -> u32 {
        u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]])
    }

    fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32())
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        out.iter_mut().zip(self.0.iter().cycle()).for_each(|(to, from)| *to = *from);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Bytes {}
