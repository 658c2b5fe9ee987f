//! A client's whole exchange: body up, body down.

use super::download::{Download, DownloadError, DownloadStep};
use super::upload::{Upload, UploadError, UploadStep};
use crate::message::{Code, Message, MessageWriter, Overflow};

/// An [`Upload`] and the [`Download`] of its response, as one machine (RFC 7959 section 3.3).
#[derive(Clone, Debug)]
pub struct Transfer {
    upload: Upload,
    download: Download,
    uploaded: bool,
}

/// What a response meant to a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferStep<'m> {
    /// Send the next request.
    Next,
    /// A piece of the response's body; as in [`DownloadStep::Part`].
    Part {
        /// Where in the body it belongs.
        offset: u32,
        /// Its bytes.
        payload: &'m [u8],
        /// Whether another request is needed.
        more: bool,
    },
    /// The server answered with an error, whose code this is.
    Refused(Code),
    /// The body could not be sent.
    UploadFailed(UploadError),
    /// The response's body could not be fetched. What the request asked for may have been done.
    DownloadFailed(DownloadError),
}

impl Transfer {
    /// Sends with `upload`, then fetches with `download`.
    #[must_use]
    pub const fn new(upload: Upload, download: Download) -> Self {
        Self { upload, download, uploaded: false }
    }

    /// Writes the next request's options and payload; `body` is the whole body of the request.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn write(&self, writer: &mut MessageWriter<'_>, body: &[u8]) -> Result<(), Overflow> {
        self.download.write(writer)?;
        if self.uploaded { self.upload.write_tag(writer) } else { self.upload.write(writer, body) }
    }

    /// Takes the response to the request written last.
    pub fn handle<'m>(&mut self, response: &Message<'m>) -> TransferStep<'m> {
        if !self.uploaded {
            match self.upload.handle(response) {
                UploadStep::Next | UploadStep::Restart => return TransferStep::Next,
                UploadStep::Failed(error) => return TransferStep::UploadFailed(error),
                UploadStep::Done => self.uploaded = true,
            }
        }
        match self.download.handle(response) {
            DownloadStep::Part { offset, payload, more } => {
                TransferStep::Part { offset, payload, more }
            }
            // What was asked for has been done: to send it again is not ours to decide.
            DownloadStep::Restart => TransferStep::DownloadFailed(DownloadError::Changed),
            DownloadStep::Refused(code) => TransferStep::Refused(code),
            DownloadStep::Failed(error) => TransferStep::DownloadFailed(error),
        }
    }
}
