//! Parts of a piece of which any so many make the piece.
//!
//! A piece, with its length before it and zeroes behind it, is cut into `of` sources of the same size. Part
//! `n` is source `n`, and from `of` on a sum of all sources, each times `1 / (n + source)` in the field of
//! 256 elements (a Cauchy matrix: any `of` parts can be solved for the sources; Blomer et al., *An
//! XOR-Based Erasure-Resilient Coding Scheme*, 1995). Those who lack different parts of a piece are thus
//! helped by the same one.

use capmesh_wire::limits::PARTS;
use heapless::Vec;

/// Bytes before a piece: its length.
pub(super) const LENGTH: usize = 2;

/// The field's polynomial without its highest term: x^8 + x^4 + x^3 + x^2 + 1, which 2 generates.
const POLYNOMIAL: u8 = 0x1d;

/// Powers of 2, and the exponents that make them.
const TABLES: ([u8; 256], [u8; 256]) = tables();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn tables() -> ([u8; 256], [u8; 256]) {
    let (mut powers, mut logs) = ([0; 256], [0; 256]);
    let (mut exponent, mut power) = (0_u8, 1_u8);
    while exponent < 255 {
        powers[exponent as usize] = power;
        logs[power as usize] = exponent;
        power = power << 1 ^ if power & 0x80 != 0 { POLYNOMIAL } else { 0 };
        exponent += 1;
    }
    powers[255] = 1;
    (powers, logs)
}

fn log(value: u8) -> u16 {
    TABLES.1.get(usize::from(value)).copied().unwrap_or_default().into()
}

fn power(exponent: u16) -> u8 {
    TABLES.0.get(usize::from(exponent % 255)).copied().unwrap_or_default()
}

fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 { 0 } else { power(log(a) + log(b)) }
}

fn inverse(value: u8) -> u8 {
    power(255 - log(value))
}

/// What source `source` is multiplied with in part `number`.
fn factor(number: u8, source: u8) -> u8 {
    inverse(number ^ source)
}

/// Adds `from`, times `by`, to `to`.
fn add(to: &mut [u8], from: impl Iterator<Item = u8>, by: u8) {
    if by == 0 {
        return;
    }
    let by = log(by);
    for (to, from) in to.iter_mut().zip(from) {
        if from != 0 {
            *to ^= power(log(from) + by);
        }
    }
}

/// Into how many parts a piece of `len` bytes is cut if each has at most `room` bytes, and how long they
/// are. `None` if they are more than [`PARTS`].
pub(super) fn cut(len: usize, room: usize) -> Option<(u8, usize)> {
    let len = len + LENGTH;
    let of = len.div_ceil(room.max(1));
    let count = u8::try_from(of).ok().filter(|_| of <= PARTS)?;
    Some((count, len.div_ceil(of)))
}

/// Writes part `number` of `piece`, which is cut into `of`, over all of `out`.
pub(super) fn part(piece: &[u8], of: u8, number: u8, out: &mut [u8]) {
    let size = out.len();
    let source = |source: u8| {
        let len = u16::try_from(piece.len()).unwrap_or(u16::MAX).to_be_bytes();
        let bytes = len.into_iter().chain(piece.iter().copied()).chain(core::iter::repeat(0));
        bytes.skip(usize::from(source) * size).take(size)
    };
    out.fill(0);
    if number < of {
        out.iter_mut().zip(source(number)).for_each(|(out, byte)| *out = byte);
    } else {
        (0..of).for_each(|at| add(out, source(at), factor(number, at)));
    }
}

/// Which parts of a piece have come: its bytes are elsewhere, one part after the other.
#[derive(Clone, Debug)]
pub struct Parts {
    of: u8,
    size: u16,
    /// The number of the part that is in each place, if there is one. Sources are in their own.
    places: Vec<Option<u8>, PARTS>,
}

impl Parts {
    /// None of `of` parts of `size` bytes.
    #[must_use]
    pub fn new(of: u8, size: u16) -> Self {
        let mut places = Vec::new();
        let of = of.min(u8::try_from(PARTS).unwrap_or(u8::MAX));
        // As many as it has room for.
        let _ = places.resize(usize::from(of), None);
        Self { of, size, places }
    }

    /// Bytes that they take in all.
    #[must_use]
    pub fn room(&self) -> usize {
        usize::from(self.of) * usize::from(self.size)
    }

    /// Whether these are parts of this number and size.
    #[must_use]
    pub const fn are(&self, of: u8, size: usize) -> bool {
        self.of == of && self.size as usize == size
    }

    /// How many are lacking.
    #[must_use]
    pub fn lacking(&self) -> u8 {
        let lacking = self.places.iter().filter(|place| place.is_none()).count();
        u8::try_from(lacking).unwrap_or(u8::MAX)
    }

    /// Keeps a part, in `bytes`, which has [`Parts::room`]. Says whether it was lacking.
    pub fn keep(&mut self, number: u8, part: &[u8], bytes: &mut [u8]) -> bool {
        let is_new = !self.places.contains(&Some(number));
        let Some(empty) = self.places.iter().rposition(Option::is_none).filter(|_| is_new) else {
            return false;
        };
        let own = usize::from(number);
        let place = match self.places.get(own) {
            // A sum of others was put there meanwhile.
            Some(Some(sum)) => {
                let sum = *sum;
                let size = usize::from(self.size);
                if own * size + size <= bytes.len() {
                    bytes.copy_within(own * size..own * size + size, empty * size);
                }
                self.set(empty, sum);
                own
            }
            Some(None) => own,
            None => empty,
        };
        self.set(place, number);
        if let Some(place) = row(bytes, place, self.size.into()) {
            place.iter_mut().zip(part).for_each(|(place, byte)| *place = *byte);
        }
        true
    }

    fn set(&mut self, place: usize, number: u8) {
        if let Some(place) = self.places.get_mut(place) {
            *place = Some(number);
        }
    }

    /// Makes the piece of the parts, in place, once none is lacking. `None` if that does not give a piece.
    /// The work is that of a multiplication for each byte of the piece, for each source that had not come.
    pub fn solve<'b>(&mut self, bytes: &'b mut [u8]) -> Option<&'b [u8]> {
        if self.lacking() > 0 || bytes.len() < self.room() {
            return None;
        }
        // The sources that are missing, by their places, and the sums that are there in their stead.
        let missing: Vec<(u8, u8), PARTS> = (0..self.of)
            .zip(self.places.iter().flatten())
            .filter(|(place, number)| place != *number)
            .map(|(place, number)| (place, *number))
            .collect();
        self.subtract_known(&missing, bytes);
        self.eliminate(&missing, bytes)?;
        for (place, _) in &missing {
            self.set(usize::from(*place), *place);
        }
        let (len, rest) = bytes.split_first_chunk()?;
        rest.get(..usize::from(u16::from_be_bytes(*len)))
    }

    /// Takes the sources that are known out of the sums.
    fn subtract_known(&self, missing: &[(u8, u8)], bytes: &mut [u8]) {
        let size = usize::from(self.size);
        for (place, number) in missing {
            for source in (0..self.of).filter(|it| !missing.iter().any(|(place, _)| place == it)) {
                add_rows(bytes, (*place).into(), source.into(), size, factor(*number, source));
            }
        }
    }

    /// Gaussian elimination, of the sums and of the factors at once.
    fn eliminate(&self, missing: &[(u8, u8)], bytes: &mut [u8]) -> Option<()> {
        let size = usize::from(self.size);
        let mut factors: Vec<Vec<u8, PARTS>, PARTS> = missing
            .iter()
            .map(|(_, number)| missing.iter().map(|(source, _)| factor(*number, *source)).collect())
            .collect();
        for (at, (place, _)) in missing.iter().enumerate() {
            // Every square part of a Cauchy matrix can be inverted, and stays so: no row is swapped.
            let pivot = *factors.get(at)?.get(at)?;
            let by = inverse(Some(pivot).filter(|pivot| *pivot != 0)?);
            factors.get_mut(at)?.iter_mut().for_each(|factor| *factor = multiply(*factor, by));
            let own = row(bytes, (*place).into(), size)?;
            own.iter_mut().for_each(|byte| *byte = multiply(*byte, by));
            let pivots = factors.get(at)?.clone();
            for (other, (target, _)) in missing.iter().enumerate().filter(|(other, _)| *other != at)
            {
                let factors = factors.get_mut(other)?;
                let by = *factors.get(at)?;
                add(factors, pivots.iter().copied(), by);
                add_rows(bytes, (*target).into(), (*place).into(), size, by);
            }
        }
        Some(())
    }
}

fn row(bytes: &mut [u8], at: usize, size: usize) -> Option<&mut [u8]> {
    bytes.get_mut(at * size..at * size + size)
}

/// Adds one row, times `by`, to another one.
fn add_rows(bytes: &mut [u8], to: usize, from: usize, size: usize, by: u8) {
    let first = to.min(from) * size;
    let second = to.max(from) * size;
    let Some((low, high)) = bytes.split_at_mut_checked(second) else { return };
    let (Some(low), Some(high)) = (low.get_mut(first..first + size), high.get_mut(..size)) else {
        return;
    };
    let (to, from) = if to < from { (low, high) } else { (high, low) };
    add(to, from.iter().copied(), by);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    #[test]
    fn the_field_is_one() {
        for a in 1..=255 {
            assert_eq!(multiply(a, inverse(a)), 1);
            assert_eq!(multiply(a, 1), a);
        }
        assert_eq!(multiply(0x80, 2), POLYNOMIAL);
    }

    #[test]
    fn pieces_are_cut_to_fit() {
        assert_eq!(cut(1_024, 71), Some((15, 69)));
        assert_eq!(cut(0, 71), Some((1, 2)));
        assert_eq!(cut(1_024, 1_100), Some((1, 1_026)));
        assert_eq!(cut(2_048, 71), Some((29, 71)));
        assert_eq!(cut(4_096, 71), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Any so many parts, in any order, make the piece.
        #[test]
        fn any_parts_make_the_piece(
            piece in proptest::collection::vec(any::<u8>(), 0..2_048),
            numbers in Just((0..=255_u8).collect::<std::vec::Vec<_>>()).prop_shuffle(),
            sources in 0..40_usize,
        ) {
            let (of, size) = cut(piece.len(), 71).unwrap();
            let mut parts = Parts::new(of, size.try_into().unwrap());
            let mut bytes = vec![0; parts.room()];
            // Some of the sources come first or in between, as they do; the rest is sums.
            let often = |number: &u8| *number < of && usize::from(*number) < sources;
            let (first, rest): (std::vec::Vec<_>, std::vec::Vec<_>) = numbers.into_iter().partition(often);
            let order = rest.iter().take(2).chain(&first).chain(rest.iter().skip(2));
            let mut taken = 0;
            for number in order {
                if parts.lacking() == 0 { break; }
                let mut said = vec![0; size];
                part(&piece, of, *number, &mut said);
                prop_assert!(parts.keep(*number, &said, &mut bytes));
                prop_assert!(!parts.keep(*number, &said, &mut bytes));
                taken += 1;
            }
            prop_assert_eq!(taken, usize::from(of));
            prop_assert_eq!(parts.solve(&mut bytes), Some(&piece[..]));
        }

        /// Parts that do not belong together do no harm.
        #[test]
        fn garbage_gives_garbage(noise in proptest::collection::vec(any::<u8>(), 15 * 69), first in 0..200_u8) {
            let mut parts = Parts::new(15, 69);
            let mut bytes = vec![0; parts.room()];
            for (number, part) in (first..).zip(noise.chunks(69)) {
                parts.keep(number, part, &mut bytes);
            }
            if let Some(piece) = parts.solve(&mut bytes) {
                prop_assert!(piece.len() <= 15 * 69);
            }
        }
    }
}
