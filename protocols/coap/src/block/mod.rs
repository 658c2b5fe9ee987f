//! Block-wise transfer (RFC 7959), as machines that compose.
//!
//! Words: a *body* is what a request or response means to carry as a whole; a *block* is the piece
//! of it that one message carries. Block1 describes the blocks of request bodies, Block2 those of
//! response bodies.
//!
//! | role | request body (Block1) | response body (Block2) |
//! |---|---|---|
//! | client | [`Upload`] | [`Download`] |
//! | server | [`Assembler`] | [`Windowed`] |
//!
//! [`Transfer`] is a client's upload followed by the download of its response. None of the machines
//! sends anything: they write options and payload into the next request, and are handed the
//! responses. They look only at the inner message, so that under OSCORE the inner blocks are
//! protected one by one, as RFC 8613 section 4.1.3.4 recommends. Outer blocks, which anybody on the
//! path could add, are not implemented.
//!
//! Bodies are limited to what a Block option can number: 2^20 blocks, of 16 to 1024 bytes each.
//! BERT (RFC 8323) and robust blocks (RFC 9177) are deliberately absent.

mod assembler;
mod download;
mod etag;
mod transfer;
mod upload;
mod window;

pub use assembler::{Accepted, Assembler, BlockRefusal, BodyKey, Served, Tracker};
pub use download::{Download, DownloadError, DownloadStep};
pub use etag::{ETag, ETagHasher};
pub use transfer::{Transfer, TransferStep};
pub use upload::{RequestTag, Upload, UploadError, UploadStep};
pub use window::Windowed;

use crate::message::{Message, MessageWriter, Overflow};
use crate::option::{OptionNumber, decode_uint};
use core::fmt;

/// How often a client starts a body over before it gives up: when the server has forgotten the
/// beginning of an upload, asks for smaller blocks, or the representation changes during a download.
pub const MAX_RESTARTS: u8 = 3;

/// The size of a block: a power of two from 16 to 1024 bytes, kept as its exponent SZX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockSize(u8);

impl BlockSize {
    /// 16 bytes, the smallest block.
    pub const MIN: Self = Self(0);
    /// 1024 bytes, the largest block.
    pub const MAX: Self = Self(6);

    /// The size with this exponent, or `None` for 7 (reserved) and above.
    #[must_use]
    pub const fn from_szx(szx: u8) -> Option<Self> {
        if szx <= 6 { Some(Self(szx)) } else { None }
    }

    /// The largest block size that is no more than `bytes`, or `None` under 16 bytes.
    #[must_use]
    pub const fn at_most(bytes: usize) -> Option<Self> {
        let mut szx = 6;
        while bytes < 16 << szx {
            if szx == 0 {
                return None;
            }
            szx -= 1;
        }
        Some(Self(szx))
    }

    /// The exponent: the size is 2^(SZX + 4) bytes.
    #[must_use]
    pub const fn szx(self) -> u8 {
        self.0
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        16 << self.0
    }
}

/// The value of a Block1 or Block2 option (RFC 7959 section 2.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BlockValue {
    num: u32,
    more: bool,
    size: BlockSize,
}

/// A Block option that is longer than three bytes or uses the reserved SZX of 7. RFC 7959 section
/// 2.2 calls for 4.00 (Bad Request).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBlock;

impl fmt::Display for BadBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Block option is longer than three bytes or has the reserved size exponent 7")
    }
}

impl core::error::Error for BadBlock {}

impl BlockValue {
    /// The greatest block number.
    pub const MAX_NUM: u32 = 0xf_ffff;

    /// A value, or `None` if `num` takes more than 20 bits.
    #[must_use]
    pub const fn new(num: u32, more: bool, size: BlockSize) -> Option<Self> {
        if num <= Self::MAX_NUM { Some(Self { num, more, size }) } else { None }
    }

    /// The value for the block that starts `offset` bytes into its body. `None` if the offset is not
    /// a multiple of the block size or too large.
    #[must_use]
    pub const fn at(offset: u32, more: bool, size: BlockSize) -> Option<Self> {
        if offset & (size.bytes() - 1) == 0 {
            Self::new(offset >> (size.szx() + 4), more, size)
        } else {
            None
        }
    }

    /// The same block, and nothing behind it. In a response, more to come means that this is not the
    /// final response (RFC 7959 section 2.3), whatever its code: clients go on sending.
    #[must_use]
    pub const fn last(self) -> Self {
        Self { more: false, ..self }
    }

    /// Decodes an option's value.
    ///
    /// # Errors
    /// If it is not well formed.
    pub fn decode(value: &[u8]) -> Result<Self, BadBlock> {
        let number = decode_uint(value).filter(|_| value.len() <= 3).ok_or(BadBlock)?;
        let [.., low] = number.to_be_bytes();
        let size = BlockSize::from_szx(low & 7).ok_or(BadBlock)?;
        Ok(Self { num: number >> 4, more: low & 8 != 0, size })
    }

    /// The value of the option with this number in `message`, if it has one.
    ///
    /// # Errors
    /// If it is not well formed.
    pub fn find(message: &Message<'_>, number: OptionNumber) -> Result<Option<Self>, BadBlock> {
        message.option(number).map(Self::decode).transpose()
    }

    /// Writes the option.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn write(
        self,
        number: OptionNumber,
        writer: &mut MessageWriter<'_>,
    ) -> Result<(), Overflow> {
        let more = if self.more { 8 } else { 0 };
        writer.option_uint(number, self.num << 4 | more | u32::from(self.size.szx()))?;
        Ok(())
    }

    /// NUM: which block of its size this is, from 0.
    #[must_use]
    pub const fn num(self) -> u32 {
        self.num
    }

    /// M: whether there are more blocks behind this one.
    #[must_use]
    pub const fn more(self) -> bool {
        self.more
    }

    /// The block's size.
    #[must_use]
    pub const fn size(self) -> BlockSize {
        self.size
    }

    /// Where in the body the block starts, in bytes.
    #[must_use]
    pub const fn offset(self) -> u32 {
        self.num << (self.size.szx() + 4)
    }

    /// Whether `len` bytes may be the payload of this block: exactly its size, or no more than it in
    /// the last block.
    #[must_use]
    pub fn fits(self, len: usize) -> bool {
        let size = self.size.bytes() as usize;
        len == size || (!self.more && len < size)
    }
}

impl fmt::Debug for BlockValue {
    /// As in the figures of RFC 7959: `num/more/size`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.num, u8::from(self.more), self.size.bytes())
    }
}

/// A length as the 32 bits that Size1, Size2 and offsets have. A body over 4 GiB cannot be numbered
/// anyhow, so that saturating is as good as refusing.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
