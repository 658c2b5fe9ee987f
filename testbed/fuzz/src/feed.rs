//! The input as a sequence of choices.

/// Draws numbers and strings from the input; zeroes when it is used up.
#[derive(Clone, Debug)]
pub struct Feed<'a>(&'a [u8]);

impl<'a> Feed<'a> {
    /// Draws from `data`.
    #[must_use]
    pub const fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `bound`, which is at most 256.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    /// Two bytes as a number.
    pub fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Up to `most` bytes; how many is drawn first.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let len = usize::from(self.word()) % (most + 1);
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    /// A copy of `bytes` with a few changes that are drawn: bytes replaced, an end cut off, bytes
    /// added.
    pub fn mutated(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..self.below(4) {
            let (at, value) = (usize::from(self.word()), self.byte());
            match self.below(4) {
                _ if bytes.is_empty() => bytes.push(value),
                0 => bytes.truncate(at % bytes.len()),
                1 => bytes.insert(at % bytes.len(), value),
                2 => bytes.extend_from_slice(self.bytes(64)),
                _ => {
                    let at = at % bytes.len();
                    bytes[at] ^= value.max(1);
                }
            }
        }
        bytes
    }
}
