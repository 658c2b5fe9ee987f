//! CRC-32C (Castagnoli): every error of up to three bits, and every burst of up to 32, in more bytes
//! than any frame has.

/// The polynomial, bits reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What four bits do: 64 bytes of flash instead of 1 KB for a byte's table, at half its speed.
const TABLE: [u32; 16] = {
    let mut table = [0; 16];
    let mut rest: &mut [u32] = &mut table;
    let mut nibble = 0_u32;
    while let Some((entry, after)) = rest.split_first_mut() {
        let mut value = nibble;
        let mut bit = 0;
        while bit < 4 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        *entry = value;
        nibble += 1;
        rest = after;
    }
    table
};

/// A sum in the making.
#[derive(Clone, Copy)]
pub(super) struct Crc(u32);

impl Crc {
    pub(super) const fn new() -> Self {
        Self(u32::MAX)
    }

    pub(super) fn update(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 ^= u32::from(*byte);
            for _ in 0..2 {
                let entry = TABLE.get((self.0 & 15) as usize).copied().unwrap_or_default();
                self.0 = self.0 >> 4 ^ entry;
            }
        }
        self
    }

    pub(super) fn word(self, word: u32) -> Self {
        self.update(&word.to_le_bytes())
    }

    pub(super) const fn finish(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_rfc_3720() {
        let sum = |bytes: &[u8]| Crc::new().update(bytes).finish();
        assert_eq!(sum(b"123456789"), 0xe306_9283);
        // RFC 3720 appendix B.4.
        assert_eq!(sum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(sum(&[0xff; 32]), 0x62a8_ab43);
    }
}
