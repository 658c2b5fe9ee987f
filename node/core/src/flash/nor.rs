//! A simulated NOR flash that enforces the rules, counts wear, and tears what a power cut interrupts.

use super::{Fault, Geometry, Op, Store};
use alloc::vec;
use alloc::vec::Vec;

/// What of an operation has happened when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Nothing.
    Nothing,
    /// The first bytes.
    Front(u32),
    /// All but the first bytes.
    Back(u32),
    /// Each bit that was to change, by the toss of a coin with this seed.
    Bits(u64),
    /// All of it; only the answer was lost.
    Everything,
}

/// An [`Op`] that was asked for and is not done.
#[derive(Clone, Debug)]
pub enum Pending {
    /// See [`Op::Program`].
    Program {
        /// Where.
        at: u32,
        /// What is there then.
        bytes: Vec<u8>,
    },
    /// See [`Op::Erase`].
    Erase {
        /// Where.
        at: u32,
    },
}

impl Pending {
    /// The operation.
    #[must_use]
    pub fn op(&self) -> Op<'_> {
        match self {
            Self::Program { at, bytes } => Op::Program { at: *at, bytes },
            Self::Erase { at } => Op::Erase { at: *at },
        }
    }
}

/// The flash.
#[derive(Clone, Debug)]
pub struct Nor {
    geometry: Geometry,
    bytes: Vec<u8>,
    /// How often each unit was programmed since its erase.
    programs: Vec<u8>,
    erases: Vec<u32>,
    programmed: u64,
}

impl Nor {
    /// Erased flash of `bytes` bytes.
    #[must_use]
    pub fn new(geometry: Geometry, bytes: u32) -> Self {
        Self::with_content(geometry, vec![0xff; bytes as usize])
    }

    /// Flash with any content.
    #[must_use]
    pub fn with_content(geometry: Geometry, bytes: Vec<u8>) -> Self {
        let units = bytes.len() / geometry.unit as usize;
        let sectors = bytes.len() / geometry.sector as usize;
        let programs = bytes.chunks(geometry.unit as usize);
        let programs = programs.map(|unit| u8::from(unit.iter().any(|byte| *byte != 0xff)));
        let programs = programs.take(units).collect();
        Self { geometry, bytes, programs, erases: vec![0; sectors], programmed: 0 }
    }

    /// The content, as it is lent to a store.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How often each sector was erased.
    #[must_use]
    pub fn erases(&self) -> &[u32] {
        &self.erases
    }

    /// How many bytes were programmed.
    #[must_use]
    pub const fn programmed(&self) -> u64 {
        self.programmed
    }

    /// Changes a byte whatever the rules say, as rot does.
    pub fn spoil(&mut self, at: u32, change: u8) {
        if let Some(byte) = self.bytes.get_mut(at as usize) {
            *byte ^= change;
        }
    }

    /// Does an operation.
    ///
    /// # Errors
    /// None; the type is that of a driver.
    ///
    /// # Panics
    /// If the operation breaks a rule: alignment, page, bounds, a bit that would have to be set, or
    /// a unit that is programmed twice where that is not allowed.
    pub fn apply(&mut self, op: Op<'_>) -> Result<(), Fault> {
        self.tear(op, Tear::Everything);
        Ok(())
    }

    /// Does everything that a store wants done. Whoever waits for one of it is not told.
    ///
    /// # Panics
    /// As [`Nor::apply`].
    pub fn settle(&mut self, store: &mut Store) {
        while let Some(op) = store.poll(&self.bytes) {
            let result = self.apply(op);
            let _ = store.flashed(&self.bytes, result);
        }
    }

    /// Does a part of an operation.
    ///
    /// # Panics
    /// As [`Nor::apply`].
    pub fn tear(&mut self, op: Op<'_>, tear: Tear) {
        match op {
            Op::Program { at, bytes } => {
                self.check_program(at, bytes);
                let mut random = Random::new(tear);
                let place = self.bytes.iter_mut().skip(at as usize);
                for (n, (old, new)) in (0_u32..).zip(place.zip(bytes)) {
                    *old &= new | !random.changed(tear, n);
                }
                let unit = self.geometry.unit as usize;
                let first = at as usize / unit;
                let units = self.bytes.chunks(unit).zip(&mut self.programs).skip(first);
                for (bytes, programs) in units.take(bytes.len() / unit) {
                    let is_blank = bytes.iter().all(|byte| *byte == 0xff);
                    *programs |= u8::from(tear == Tear::Everything || !is_blank);
                }
                self.programmed += bytes.len() as u64;
            }
            Op::Erase { at } => {
                let sector = self.geometry.sector;
                assert!(at.is_multiple_of(sector), "an erase at {at} is not aligned");
                let number = (at / sector) as usize;
                let count = self.erases.get_mut(number).expect("the sector exists");
                *count += 1;
                let mut random = Random::new(tear);
                let place = self.bytes.iter_mut().skip(at as usize).take(sector as usize);
                for (n, old) in (0_u32..).zip(place) {
                    *old |= random.changed(tear, n);
                }
                let unit = self.geometry.unit as usize;
                let (first, units) = (at as usize / unit, sector as usize / unit);
                let units = self.bytes.chunks(unit).zip(&mut self.programs).skip(first).take(units);
                for (bytes, programs) in units {
                    *programs = u8::from(bytes.iter().any(|byte| *byte != 0xff));
                }
            }
        }
    }

    fn check_program(&self, at: u32, bytes: &[u8]) {
        let Geometry { unit, page, rewrites, .. } = self.geometry;
        let len = u32::try_from(bytes.len()).expect("a program fits flash");
        assert!(
            at.is_multiple_of(unit) && len.is_multiple_of(unit),
            "a program of {len} at {at} is not aligned"
        );
        assert!(len == 0 || at / page == (at + len - 1) / page, "{len} at {at} crosses a page");
        let old = self.bytes.get(at as usize..(at + len) as usize).expect("it is inside");
        assert!(
            old.iter().zip(bytes).all(|(old, new)| old & new == *new),
            "a program of {len} at {at} sets bits"
        );
        if !rewrites {
            let units = self.programs.iter().skip((at / unit) as usize).take((len / unit) as usize);
            assert!(units.sum::<u8>() == 0, "a program of {len} at {at} repeats a unit");
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    const fn new(tear: Tear) -> Self {
        match tear {
            Tear::Bits(seed) => Self(seed),
            _ => Self(0),
        }
    }

    /// The bits of byte `n` that change.
    fn changed(&mut self, tear: Tear, n: u32) -> u8 {
        let whole = match tear {
            Tear::Nothing => false,
            Tear::Everything => true,
            Tear::Front(len) => n < len,
            Tear::Back(skip) => n >= skip,
            Tear::Bits(_) => {
                self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = self.0;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                let [byte, ..] = (z ^ (z >> 31)).to_le_bytes();
                return byte;
            }
        };
        if whole { 0xff } else { 0 }
    }
}
