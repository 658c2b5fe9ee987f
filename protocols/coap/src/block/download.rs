//! A response body at the client, block by block.

use super::{BadBlock, BlockSize, BlockValue, ETag, MAX_RESTARTS, length};
use crate::message::{Code, Message, MessageWriter, Overflow};
use crate::option::OptionNumber;
use core::fmt;

/// Fetches a response body in blocks, each with a request of its own (RFC 7959 section 2.4).
///
/// For each request, write its own options (the same ones every time), then call
/// [`Download::write`]; hand the response to [`Download::handle`], which lends the piece of the body
/// that came. Blocks are taken in order and once; a block that carries another entity-tag than the
/// first did starts the download over.
///
/// A notification of an observation is the first block of a new download, so that one
/// `Download` serves one notification.
#[derive(Clone, Debug)]
pub struct Download {
    /// How much has come.
    offset: u32,
    /// The most bytes that the caller takes.
    limit: u32,
    size: BlockSize,
    /// Whether even the first request names the block size.
    early: bool,
    etag: Option<ETag>,
    /// Size2 of the response: only a hint.
    total: Option<u32>,
    restarts: u8,
}

/// What a response meant to a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownloadStep<'m> {
    /// A piece of the body.
    Part {
        /// Where in the body it belongs: right behind the one before.
        offset: u32,
        /// Its bytes.
        payload: &'m [u8],
        /// Whether another request is needed. If not, the body is complete.
        more: bool,
    },
    /// The representation has changed: forget what came, and send the next request.
    Restart,
    /// The server answered with an error instead, whose code this is.
    Refused(Code),
    /// The download cannot go on.
    Failed(DownloadError),
}

/// Why a download failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownloadError {
    /// The body is larger than the caller takes.
    TooLarge,
    /// Another block came than was asked for, of another length than it says, or its Block2 option
    /// is malformed.
    WrongBlock,
    /// The representation changed more often than [`MAX_RESTARTS`], or once where the request cannot
    /// be repeated.
    Changed,
}

impl fmt::Display for DownloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the body is larger than it may be",
            Self::WrongBlock => "another block came than was asked for",
            Self::Changed => "the representation changed while it was fetched",
        })
    }
}

impl core::error::Error for DownloadError {}

impl From<BadBlock> for DownloadError {
    fn from(_: BadBlock) -> Self {
        Self::WrongBlock
    }
}

impl Download {
    /// Starts a download of at most `limit` bytes. The first request says nothing about blocks; once
    /// the server has started to send them, they are asked for in at most `size`.
    #[must_use]
    pub const fn new(limit: u32, size: BlockSize) -> Self {
        Self { offset: 0, limit, size, early: false, etag: None, total: None, restarts: 0 }
    }

    /// Asks for the block size in the first request already (early negotiation).
    #[must_use]
    pub const fn early(mut self) -> Self {
        self.early = true;
        self
    }

    /// How many bytes have come.
    #[must_use]
    pub const fn received(&self) -> u32 {
        self.offset
    }

    /// The server's estimate of the body's size in bytes, if it gave one.
    #[must_use]
    pub const fn total(&self) -> Option<u32> {
        self.total
    }

    /// The entity-tag of the representation that is being fetched.
    #[must_use]
    pub const fn etag(&self) -> Option<ETag> {
        self.etag
    }

    /// Writes the next request's Block2 option.
    ///
    /// # Errors
    /// If it does not fit, or if the body has more blocks than can be numbered.
    pub fn write(&self, writer: &mut MessageWriter<'_>) -> Result<(), Overflow> {
        if self.early || self.offset > 0 {
            let block = BlockValue::at(self.offset, false, self.size).ok_or(Overflow)?;
            block.write(OptionNumber::BLOCK2, writer)?;
        }
        Ok(())
    }

    /// Takes the response to the request written last.
    pub fn handle<'m>(&mut self, response: &Message<'m>) -> DownloadStep<'m> {
        if !response.code().is_success() {
            return DownloadStep::Refused(response.code());
        }
        match self.step(response) {
            Ok(step) => step,
            Err(error) => DownloadStep::Failed(error),
        }
    }

    fn step<'m>(&mut self, response: &Message<'m>) -> Result<DownloadStep<'m>, DownloadError> {
        let payload = response.payload();
        let block = BlockValue::find(response, OptionNumber::BLOCK2)?;
        let etag = response.option(OptionNumber::ETAG).and_then(ETag::new);
        if self.offset > 0 && etag != self.etag {
            return self.restart();
        }
        let (offset, more) = block.map_or((0, false), |block| (block.offset(), block.more()));
        if offset != self.offset || block.is_some_and(|block| !block.fits(payload.len())) {
            return Err(DownloadError::WrongBlock);
        }
        let size2 = response.option_uint(OptionNumber::SIZE2);
        let end = offset.saturating_add(length(payload.len()));
        if end > self.limit || size2.is_some_and(|total| total > self.limit) {
            return Err(DownloadError::TooLarge);
        }
        self.etag = etag;
        self.total = size2.or(self.total);
        self.offset = end;
        if let Some(block) = block {
            self.size = self.size.min(block.size());
        }
        Ok(DownloadStep::Part { offset, payload, more })
    }

    fn restart<'m>(&mut self) -> Result<DownloadStep<'m>, DownloadError> {
        if self.restarts == MAX_RESTARTS {
            return Err(DownloadError::Changed);
        }
        self.restarts += 1;
        self.offset = 0;
        self.etag = None;
        self.total = None;
        Ok(DownloadStep::Restart)
    }
}
