//! A client's request body, block by block.

use super::{BadBlock, BlockSize, BlockValue, MAX_RESTARTS, length};
use crate::message::{Code, Message, MessageWriter, Overflow};
use crate::option::OptionNumber;
use core::fmt;

/// The value of a Request-Tag option (RFC 9175 section 3): up to eight bytes that tell one body of a
/// client's from another that goes to the same resource at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTag {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl RequestTag {
    /// The longest tag, in bytes.
    pub const MAX: usize = 8;

    /// A tag of these bytes, or `None` if there are more than eight.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut tag = Self { bytes: [0; Self::MAX], len: u8::try_from(bytes.len()).ok()? };
        tag.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(tag)
    }

    /// Writes the option.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn write(&self, writer: &mut MessageWriter<'_>) -> Result<(), Overflow> {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        writer.option(OptionNumber::REQUEST_TAG, bytes)?;
        Ok(())
    }
}

/// Sends a request body in blocks, one request after the other's response (RFC 7959 section 2.5).
///
/// For each request, write its own options, then call [`Upload::write`]; hand the response to
/// [`Upload::handle`]. A body that fits one block is sent without a Block1 option, and becomes
/// block-wise if the server asks for it.
#[derive(Clone, Debug)]
pub struct Upload {
    total: u32,
    /// Where the block that is to be sent, or is in flight, starts.
    offset: u32,
    size: BlockSize,
    tag: Option<RequestTag>,
    restarts: u8,
}

/// What a response meant to an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadStep {
    /// Send the next request.
    Next,
    /// The server wants the body from its beginning again, perhaps in smaller blocks: send the next
    /// request.
    Restart,
    /// This response is the answer to the whole request, whatever its code.
    Done,
    /// The upload cannot go on.
    Failed(UploadError),
}

/// Why an upload failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadError {
    /// The server takes bodies of at most this many bytes (Size1 of a 4.13).
    TooLarge {
        /// The server's limit.
        limit: u32,
    },
    /// The server took a block for the whole body: it does not do block-wise transfer.
    NotBlockwise,
    /// The response speaks of another block than the one sent, or its Block1 option is malformed.
    WrongBlock,
    /// The server lost the beginning of the body more often than [`MAX_RESTARTS`].
    Restarts,
}

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => write!(f, "the server takes at most {limit} bytes"),
            Self::NotBlockwise => f.write_str("the server does not take bodies in blocks"),
            Self::WrongBlock => f.write_str("the server answered for another block"),
            Self::Restarts => f.write_str("the server kept losing the beginning of the body"),
        }
    }
}

impl core::error::Error for UploadError {}

impl From<BadBlock> for UploadError {
    fn from(_: BadBlock) -> Self {
        Self::WrongBlock
    }
}

impl Upload {
    /// Starts the upload of a body of `total` bytes, in blocks of at most `size`.
    #[must_use]
    pub const fn new(total: u32, size: BlockSize) -> Self {
        Self { total, offset: 0, size, tag: None, restarts: 0 }
    }

    /// An upload of a body that is in memory.
    #[must_use]
    pub fn of(body: &[u8], size: BlockSize) -> Self {
        Self::new(length(body.len()), size)
    }

    /// Sets the Request-Tag that all requests carry. It is needed when two bodies for the same
    /// resource, from the same client and with the same options, may be under way at once.
    #[must_use]
    pub const fn with_request_tag(mut self, tag: RequestTag) -> Self {
        self.tag = Some(tag);
        self
    }

    /// Which bytes of the body the next request carries: offset and length.
    #[must_use]
    pub fn wanted(&self) -> (u32, u32) {
        (self.offset, (self.total - self.offset).min(self.size.bytes()))
    }

    /// Writes the next request's Request-Tag, Block1, Size1 and payload, with `fill(offset, bytes)`
    /// asked for the payload.
    ///
    /// # Errors
    /// If they do not fit, or if the body has more blocks than can be numbered.
    pub fn write_with(
        &self,
        writer: &mut MessageWriter<'_>,
        fill: impl FnOnce(u32, &mut [u8]),
    ) -> Result<(), Overflow> {
        let (offset, len) = self.wanted();
        let more = offset + len < self.total;
        self.write_tag(writer)?;
        if more || offset > 0 {
            let block = BlockValue::at(offset, more, self.size).ok_or(Overflow)?;
            block.write(OptionNumber::BLOCK1, writer)?;
            if offset == 0 {
                writer.option_uint(OptionNumber::SIZE1, self.total)?;
            }
        }
        fill(offset, writer.payload_room(len as usize)?);
        Ok(())
    }

    /// [`Upload::write_with`] from a body in memory.
    ///
    /// # Errors
    /// As there, and if `body` is shorter than the upload's total.
    pub fn write(&self, writer: &mut MessageWriter<'_>, body: &[u8]) -> Result<(), Overflow> {
        let (offset, len) = self.wanted();
        let block = body.get(offset as usize..).and_then(|rest| rest.get(..len as usize));
        let block = block.ok_or(Overflow)?;
        self.write_with(writer, |_, payload| payload.copy_from_slice(block))
    }

    /// Takes the response to the request written last.
    pub fn handle(&mut self, response: &Message<'_>) -> UploadStep {
        match self.step(response) {
            Ok(step) => step,
            Err(error) => UploadStep::Failed(error),
        }
    }

    /// Writes the Request-Tag, if there is one: the requests for the blocks of the response carry it
    /// as well.
    pub(super) fn write_tag(&self, writer: &mut MessageWriter<'_>) -> Result<(), Overflow> {
        self.tag.as_ref().map_or(Ok(()), |tag| tag.write(writer))
    }

    fn step(&mut self, response: &Message<'_>) -> Result<UploadStep, UploadError> {
        let (_, len) = self.wanted();
        let end = self.offset + len;
        let block = BlockValue::find(response, OptionNumber::BLOCK1)?;
        match response.code() {
            Code::REQUEST_ENTITY_INCOMPLETE if self.offset > 0 => self.restart(self.size),
            Code::REQUEST_ENTITY_TOO_LARGE => self.too_large(response, block),
            Code::CONTINUE if end == self.total => Err(UploadError::WrongBlock),
            code if code.is_success() && end < self.total => {
                let block = block.ok_or(UploadError::NotBlockwise)?;
                // The server may answer with its own, smaller size; NUM is then still that of the
                // block as sent (RFC 7959 section 2.3, figure 8).
                if block.num() != self.offset >> (self.size.szx() + 4) {
                    return Err(UploadError::WrongBlock);
                }
                self.offset = end;
                self.size = self.size.min(block.size());
                Ok(UploadStep::Next)
            }
            _ => Ok(UploadStep::Done),
        }
    }

    /// 4.13: the body is too large, or only the block is (RFC 7959 section 2.9.3).
    fn too_large(
        &mut self,
        response: &Message<'_>,
        block: Option<BlockValue>,
    ) -> Result<UploadStep, UploadError> {
        match (response.option_uint(OptionNumber::SIZE1), block) {
            (Some(limit), _) if limit < self.total => Err(UploadError::TooLarge { limit }),
            (_, Some(block)) if block.size() < self.size => self.restart(block.size()),
            _ => Ok(UploadStep::Done),
        }
    }

    fn restart(&mut self, size: BlockSize) -> Result<UploadStep, UploadError> {
        if self.restarts == MAX_RESTARTS {
            return Err(UploadError::Restarts);
        }
        self.restarts += 1;
        self.offset = 0;
        self.size = size;
        Ok(UploadStep::Restart)
    }
}
