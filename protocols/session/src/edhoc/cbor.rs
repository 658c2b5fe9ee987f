//! The little of CBOR that EDHOC is made of, read strictly: every argument in its shortest form, no
//! indefinite lengths (RFC 9528 section 3.1 asks for deterministic encoding).

use super::Refusal;

/// Reads a CBOR sequence front to back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

/// Major types (RFC 8949 section 3.1).
const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

/// What there is instead of an item: no major type is like that.
const NOTHING: (u8, u16) = (u8::MAX, 0);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn end(&self) -> Result<(), Refusal> {
        if self.is_empty() { Ok(()) } else { Err(Refusal::Malformed) }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(crate) fn int(&mut self) -> Result<i32, Refusal> {
        let (major, n) = self.head();
        match major {
            UNSIGNED => Ok(i32::from(n)),
            NEGATIVE => Ok(-1 - i32::from(n)),
            _ => Err(Refusal::Malformed),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Refusal> {
        let len = self.argument(BYTES).ok_or(Refusal::Malformed)?;
        self.take(usize::from(len))
    }

    pub(crate) fn text(&mut self) -> Result<&'a [u8], Refusal> {
        let len = self.argument(TEXT).ok_or(Refusal::Malformed)?;
        self.take(usize::from(len))
    }

    /// The number of items of an array.
    pub(crate) fn array(&mut self) -> Result<u16, Refusal> {
        self.argument(ARRAY).ok_or(Refusal::Malformed)
    }

    /// The number of pairs of a map.
    pub(crate) fn map(&mut self) -> Result<u16, Refusal> {
        self.argument(MAP).ok_or(Refusal::Malformed)
    }

    /// A byte string in the representation of RFC 9528 section 3.3.2: one that reads as a one-byte
    /// integer stands for itself, every other is a CBOR byte string.
    pub(crate) fn identifier(&mut self) -> Result<&'a [u8], Refusal> {
        if self.peek().is_some_and(is_one_byte_int) {
            return self.take(1);
        }
        match self.bytes()? {
            &[byte] if is_one_byte_int(byte) => Err(Refusal::Malformed),
            bytes => Ok(bytes),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Refusal::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn argument(&mut self, expected: u8) -> Option<u16> {
        let (major, argument) = self.head();
        (major == expected).then_some(argument)
    }

    /// Major type and argument of the next item, or [`NOTHING`].
    #[inline(never)]
    fn head(&mut self) -> (u8, u16) {
        let Some((&first, rest)) = self.rest.split_first() else { return NOTHING };
        let (argument, rest) = match (first & 0x1f, rest) {
            (n @ 0..=23, rest) => (u16::from(n), rest),
            (24, [n, rest @ ..]) if *n >= 24 => (u16::from(*n), rest),
            (25, [high, low, rest @ ..]) if *high >= 1 => (u16::from_be_bytes([*high, *low]), rest),
            _ => return NOTHING,
        };
        self.rest = rest;
        (first >> 5, argument)
    }
}

/// Whether `byte` is the CBOR encoding of an integer from -24 to 23.
pub(crate) const fn is_one_byte_int(byte: u8) -> bool {
    byte >> 5 <= NEGATIVE && byte & 0x1f < 24
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    #[test]
    fn arguments_must_be_as_short_as_possible() {
        assert_eq!(Reader::new(&hex!("17")).int(), Ok(23));
        assert_eq!(Reader::new(&hex!("1818")).int(), Ok(24));
        assert_eq!(Reader::new(&hex!("190100")).int(), Ok(256));
        assert_eq!(Reader::new(&hex!("3818")).int(), Ok(-25));
        for long in [&hex!("1817")[..], &hex!("1900ff"), &hex!("1a00010000"), &hex!("1f")] {
            assert_eq!(Reader::new(long).int(), Err(Refusal::Malformed));
        }
    }

    #[test]
    fn identifiers_have_one_encoding_each() {
        // The examples of RFC 9528 section 3.3.2.
        for (encoded, id) in [
            (&hex!("21")[..], &hex!("21")[..]),
            (&hex!("0d"), &hex!("0d")),
            (&hex!("4118"), &hex!("18")),
            (&hex!("4138"), &hex!("38")),
            (&hex!("42abcd"), &hex!("abcd")),
        ] {
            assert_eq!(Reader::new(encoded).identifier(), Ok(id));
        }
        for surplus in [&hex!("4121")[..], &hex!("410d"), &hex!("18"), &hex!("1818"), &hex!("58")] {
            assert_eq!(Reader::new(surplus).identifier(), Err(Refusal::Malformed));
        }
    }
}
