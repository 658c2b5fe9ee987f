//! What a resource answers with.

use crate::block::{ETag, Windowed};
use crate::message::{Code, Kind, MessageWriter, Overflow, Token};
use crate::option::OptionNumber;
use core::fmt;
#[cfg(feature = "coap-handler")]
use {crate::message::Options, core::ops::Range};

/// The response under way: options and body, in any order.
///
/// The body is written as if it were wanted as a whole, however long it is; only the block that the
/// client asked for is kept (see [`Windowed`]). Nothing here fails: if the options do not fit the
/// [`Reply::OPTIONS`] bytes that there are for them, the client gets 5.00.
#[derive(Debug)]
pub struct Reply<'r> {
    pub(super) head: Option<MessageWriter<'r>>,
    pub(super) body: Windowed<'r>,
    pub(super) etag: Option<ETag>,
    pub(super) wants_etag: bool,
    pub(super) overflowed: bool,
    pub(super) content_format: Option<u16>,
}

impl<'r> Reply<'r> {
    /// The most bytes that the options of a response may take, as encoded.
    pub const OPTIONS: usize = 124;

    /// How much of a buffer the head takes: header and options.
    pub(super) const HEAD: usize = 4 + Self::OPTIONS;

    pub(super) fn new(head: &'r mut [u8], body: Windowed<'r>) -> Self {
        let head = MessageWriter::new(head, Kind::Confirmable, Code::CONTENT, 0, Token::EMPTY).ok();
        let overflowed = head.is_none();
        Self { head, body, etag: None, wants_etag: false, overflowed, content_format: None }
    }

    /// Sets the Content-Format of the body.
    pub fn content_format(&mut self, format: u16) -> &mut Self {
        self.content_format = Some(format);
        self.option_uint(OptionNumber::CONTENT_FORMAT, u32::from(format))
    }

    /// Sets how many seconds the response stays fresh: 60 if it is not said.
    pub fn max_age(&mut self, seconds: u32) -> &mut Self {
        self.option_uint(OptionNumber::MAX_AGE, seconds)
    }

    /// Names the representation. Without it, a name is made from the bytes of the body where one is
    /// needed: when it takes several blocks, and when the client asks whether what it has is still
    /// valid.
    pub fn etag(&mut self, tag: ETag) -> &mut Self {
        self.etag = Some(tag);
        self.wants_etag = true;
        self
    }

    /// Has the representation named by its bytes even where it would not be needed, so that the
    /// client can ask for it conditionally the next time.
    pub const fn with_etag(&mut self) -> &mut Self {
        self.wants_etag = true;
        self
    }

    /// Says where the created resource is: a path, split at `/`.
    pub fn location_path(&mut self, path: &str) -> &mut Self {
        for segment in path.trim_matches('/').split('/') {
            self.option(OptionNumber::LOCATION_PATH, segment.as_bytes());
        }
        self
    }

    /// Adds an argument to the created resource's location.
    pub fn location_query(&mut self, argument: &str) -> &mut Self {
        self.option(OptionNumber::LOCATION_QUERY, argument.as_bytes())
    }

    /// Adds any other option.
    pub fn option(&mut self, number: OptionNumber, value: &[u8]) -> &mut Self {
        let written = self.head.as_mut().ok_or(Overflow);
        self.overflowed |= written.and_then(|head| head.option(number, value).map(drop)).is_err();
        self
    }

    /// Adds any other option of format uint.
    pub fn option_uint(&mut self, number: OptionNumber, value: u32) -> &mut Self {
        let written = self.head.as_mut().ok_or(Overflow);
        let written = written.and_then(|head| head.option_uint(number, value).map(drop));
        self.overflowed |= written.is_err();
        self
    }

    /// Takes the response from a message that was written to the body's buffer: encoded options and a
    /// payload.
    #[cfg(feature = "coap-handler")]
    pub(crate) fn take_message(&mut self, options: Range<usize>, payload: Range<usize>) {
        let written = self.head.as_mut().ok_or(Overflow).and_then(|head| {
            let bytes = self.body.buffer().get(options).unwrap_or_default();
            Options::new(bytes).try_for_each(|(number, value)| head.option(number, value).map(drop))
        });
        self.overflowed |= written.is_err();
        self.body.keep(payload);
    }

    /// Appends to the body.
    pub fn write(&mut self, bytes: &[u8]) -> &mut Self {
        self.body.write(bytes);
        self
    }

    /// Where to write the body, for those who take a [`fmt::Write`] or write in many places.
    pub const fn body(&mut self) -> &mut Windowed<'r> {
        &mut self.body
    }
}

impl fmt::Write for Reply<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.body.write(s.as_bytes());
        Ok(())
    }
}
