//! What the flash is like, and what the store may take of it and of RAM.

use super::extents::RECORD_LEN;
use super::log::format::{self, FRAME, RECORD};

/// What the flash is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes that are erased together: a power of two from 256 bytes to 1 MB.
    pub sector: u32,
    /// Bytes that are programmed together, and what a program's place is a multiple of: a power of
    /// two, at most [`Geometry::MAX_UNIT`].
    pub unit: u32,
    /// The most bytes of one program, which never crosses a multiple of it: a power of two of at
    /// least 16 bytes, at least a unit and at most a sector. It bounds how long one operation takes,
    /// and is the RAM that programs are put together in.
    pub page: u32,
    /// Whether a unit may be programmed again to clear more of its bits, as often as it has bits.
    /// Most external NOR flash allows it; flash with error correction (STM32) does not, nor does
    /// flash that bounds how often (nRF52: twice).
    pub rewrites: bool,
}

impl Geometry {
    /// The largest unit: so that the digests in a blob's pages, 32 bytes each, can be written one by
    /// one.
    pub const MAX_UNIT: u32 = 32;

    const fn check(&self) {
        assert!(self.sector.is_power_of_two() && self.sector >= 256 && self.sector <= 1 << 20);
        assert!(self.unit.is_power_of_two() && self.unit <= Self::MAX_UNIT);
        assert!(self.page.is_power_of_two() && self.page >= 16);
        assert!(self.page >= self.unit && self.page <= self.sector);
    }

    /// `len` rounded up to whole units.
    pub(super) const fn align(&self, len: u32) -> u32 {
        len.next_multiple_of(self.unit)
    }
}

/// What the store may take. The log's sectors come first, those for extents follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the flash is like.
    pub geometry: Geometry,
    /// Sectors of the log, at least 3: one is always erased, and the more there are the less is
    /// copied.
    pub log_sectors: u16,
    /// Sectors for extents.
    pub extent_sectors: u16,
    /// Bytes of a value or of a group of values, each with [`Config::RECORD`] bytes more. At most
    /// what a sector holds.
    pub max_group: u16,
    /// Records that may exist at the same time, 12 bytes of RAM each.
    pub max_records: u16,
    /// Extents that may exist or be remembered as gone at the same time. They are records too.
    pub max_extents: u16,
    /// Bytes of RAM for what waits to be written into the log; at least `max_group`.
    pub queue: u16,
    /// Bytes of RAM for what waits to be written into an extent: the longest write.
    pub write: u16,
}

impl Config {
    /// What a record takes beside its value.
    pub const RECORD: u16 = 8;

    /// Asserts that the numbers make sense together. [`Store::mount`](super::Store::mount) calls it;
    /// boards can have it checked when they are compiled.
    ///
    /// # Panics
    /// If they do not.
    pub const fn check(&self) {
        self.geometry.check();
        assert!(self.log_sectors >= 3);
        assert!(Self::RECORD as u32 == RECORD);
        assert!(self.max_group > Self::RECORD && self.queue >= self.max_group);
        assert!(self.longest_frame() + self.floor_frame() <= self.sector_data());
        assert!(self.max_records >= self.max_extents);
        assert!(self.max_extents == 0 || self.max_group as u32 >= RECORD + RECORD_LEN as u32);
        assert!((self.bytes() as u64) < u32::MAX as u64);
        assert!(self.capacity() >= self.longest_frame());
    }

    /// Bytes of flash.
    #[must_use]
    pub const fn bytes(&self) -> u32 {
        (self.log_sectors as u32 + self.extent_sectors as u32).saturating_mul(self.geometry.sector)
    }

    /// Bytes of live records that fit into the log, each counted with what it takes alone
    /// ([`Config::cost`]). More is refused; with less, compaction always makes room.
    ///
    /// After one round of compaction, live frames lie one behind the other, and a sector ends where
    /// the next frame did not fit. Two bounds follow, and the greater counts: each sector but the
    /// last is filled but for less than the longest frame; and of each two that follow one another,
    /// the fillings add up to more than a sector. Two sectors are set aside: the one that is always
    /// erased, and the one that the next frame goes into. Each round writes a floor for each sector.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        let sectors = self.log_sectors as u32 - 2;
        let room = self.sector_data() - self.floor_frame();
        let by_frame = sectors * (room - self.longest_frame());
        let by_pair = sectors / 2 * room;
        let most = if by_frame > by_pair { by_frame } else { by_pair };
        most.saturating_sub((sectors + 1) * self.floor_frame())
    }

    /// Bytes of the longest value.
    #[must_use]
    pub const fn max_value(&self) -> u16 {
        self.max_group - Self::RECORD
    }

    /// What a record with a value of `len` bytes takes in the log, alone in its frame.
    #[must_use]
    pub const fn cost(&self, len: u16) -> u32 {
        self.geometry.align(FRAME + RECORD + len as u32)
    }

    /// Bytes of a sector behind what it begins with.
    pub(super) const fn sector_data(&self) -> u32 {
        self.geometry.sector - format::data_at(&self.geometry)
    }

    /// The longest frame.
    pub(super) const fn longest_frame(&self) -> u32 {
        self.geometry.align(FRAME + self.max_group as u32)
    }

    /// The frame that declares sectors dead.
    pub(super) const fn floor_frame(&self) -> u32 {
        self.geometry.align(FRAME + 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Config = Config {
        geometry: Geometry { sector: 4096, unit: 4, page: 256, rewrites: true },
        log_sectors: 8,
        extent_sectors: 32,
        max_group: 2_400,
        max_records: 128,
        max_extents: 16,
        queue: 4_096,
        write: 1_024,
    };

    #[test]
    fn sense_passes_and_nonsense_does_not() {
        GOOD.check();
        let geometry = GOOD.geometry;
        let refused = |config: Config| std::panic::catch_unwind(|| config.check()).is_err();
        for config in [
            Config { log_sectors: 2, ..GOOD },
            Config { max_group: 4_090, ..GOOD },
            Config { max_group: 64, ..GOOD },
            Config { queue: 2_000, ..GOOD },
            Config { max_records: 15, ..GOOD },
            Config { geometry: Geometry { sector: 4_000, ..geometry }, ..GOOD },
            Config { geometry: Geometry { unit: 64, ..geometry }, ..GOOD },
            Config { geometry: Geometry { unit: 3, ..geometry }, ..GOOD },
            Config { geometry: Geometry { page: 8_192, ..geometry }, ..GOOD },
            Config { geometry: Geometry { page: 2, ..geometry }, ..GOOD },
        ] {
            assert!(refused(config), "{config:?}");
        }
    }

    #[test]
    fn long_groups_cost_room() {
        let short = Config { max_group: 512, ..GOOD };
        assert_eq!(short.capacity(), 6 * (4_096 - 20 - 12 - 520) - 7 * 12);
        assert_eq!(GOOD.capacity(), 3 * (4_096 - 20 - 12) - 7 * 12);
    }
}
