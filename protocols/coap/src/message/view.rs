//! A checked view of received bytes.

use super::{Code, Kind, Token};
use crate::option::OptionNumber;
use core::fmt;

/// A received message whose header, token, options and payload marker have been checked: no getter
/// can fail or panic. It says nothing about whether the options make sense together.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Where the options start: after the token.
    options_at: usize,
    /// Where the options end: at the payload marker or the end of the message.
    options_end: usize,
}

/// Why bytes are not a CoAP message (RFC 7252 section 3 calls each a message format error).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Fewer than the four bytes of a header, or than the header's token length says.
    Truncated,
    /// Longer than 65,535 bytes, which no datagram is.
    TooLong,
    /// A version other than 1. Such a message is to be ignored silently.
    Version,
    /// A token length of 9 to 15.
    TokenLength,
    /// An option delta or length nibble of 15, or one that reaches past the end.
    OptionLength,
    /// An option number past 65,535.
    OptionNumber,
    /// A payload marker with nothing behind it.
    EmptyPayload,
    /// A message with code 0.00 that is more than its header.
    NotEmpty,
    /// A code of class 1, 6 or 7, which are reserved.
    ReservedCode,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the message ends within its header or token",
            Self::TooLong => "the message is longer than 65535 bytes",
            Self::Version => "the version is not 1",
            Self::TokenLength => "the token is longer than 8 bytes",
            Self::OptionLength => "an option reaches past the end or uses the reserved length 15",
            Self::OptionNumber => "an option's number is past 65535",
            Self::EmptyPayload => "a payload marker is followed by no payload",
            Self::NotEmpty => "a message with code 0.00 carries more than its header",
            Self::ReservedCode => "the code is of a reserved class",
        })
    }
}

impl core::error::Error for Malformed {}

impl<'a> Message<'a> {
    /// Checks `bytes`. The work is one pass over the options.
    ///
    /// # Errors
    /// What is wrong with the format. Whether it calls for a Reset depends on the message's type
    /// (RFC 7252 sections 4.2 and 4.3).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() > usize::from(u16::MAX) {
            return Err(Malformed::TooLong);
        }
        let &[first, code, _, _, ..] = bytes else { return Err(Malformed::Truncated) };
        if first >> 6 != 1 {
            return Err(Malformed::Version);
        }
        let token_len = usize::from(first & 0x0f);
        if token_len > Token::MAX {
            return Err(Malformed::TokenLength);
        }
        match Code(code) {
            Code::EMPTY if bytes.len() != 4 => return Err(Malformed::NotEmpty),
            code if matches!(code.class(), 1 | 3 | 6 | 7) => return Err(Malformed::ReservedCode),
            _ => {}
        }
        let options_at = 4 + token_len;
        let mut options = Options::new(bytes.get(options_at..).ok_or(Malformed::Truncated)?);
        while options.try_next()?.is_some() {}
        if options.rest == [Options::MARKER] {
            return Err(Malformed::EmptyPayload);
        }
        Ok(Self { bytes, options_at, options_end: bytes.len() - options.rest.len() })
    }

    /// A view of bytes that are known to be well formed.
    pub(super) const fn from_parts(bytes: &'a [u8], options_at: usize, options_end: usize) -> Self {
        Self { bytes, options_at, options_end }
    }

    /// The whole message as it came.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The message's type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::from_bits(self.header(0) >> 4)
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        Code(self.header(1))
    }

    /// The message id, which matches acknowledgements and finds duplicates.
    #[must_use]
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.header(2), self.header(3)])
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> Token {
        let bytes = self.bytes.get(4..self.options_at).unwrap_or_default();
        Token::new(bytes).unwrap_or_default()
    }

    /// The options in the order of their numbers, repeated ones in the order they came.
    #[must_use]
    pub fn options(&self) -> Options<'a> {
        Options { rest: self.options_bytes(), number: 0 }
    }

    /// The values of one option, in order.
    #[must_use]
    pub fn option_values(&self, number: OptionNumber) -> OptionValues<'a> {
        OptionValues { options: self.options(), number }
    }

    /// The first value of one option.
    #[must_use]
    pub fn option(&self, number: OptionNumber) -> Option<&'a [u8]> {
        self.option_values(number).next()
    }

    /// The first value of an option of format uint (RFC 7252 section 3.2), or `None` if the option
    /// is absent or longer than four bytes.
    #[must_use]
    pub fn option_uint(&self, number: OptionNumber) -> Option<u32> {
        crate::option::decode_uint(self.option(number)?)
    }

    /// The payload, empty if there is none.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(self.options_end + 1..).unwrap_or_default()
    }

    /// The encoded options, from after the token to before the payload marker.
    #[must_use]
    pub fn options_bytes(&self) -> &'a [u8] {
        self.bytes.get(self.options_at..self.options_end).unwrap_or_default()
    }

    fn header(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} id {} {:?}", self.kind(), self.code(), self.id(), self.token())?;
        for (number, value) in self.options() {
            write!(f, " {number:?}={value:02x?}")?;
        }
        write!(f, " payload {} B", self.payload().len())
    }
}

/// Iterates over encoded options. Made by [`Message::options`], or from bare option bytes with
/// [`Options::new`] (OSCORE's plaintext starts after its code).
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
    number: u16,
}

impl<'a> Options<'a> {
    /// Separates options from payload.
    pub const MARKER: u8 = 0xff;

    /// Iterates over `bytes`: options, and behind them perhaps a payload marker and a payload.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, number: 0 }
    }

    /// The next option, `None` at the payload marker or the end. After `None`, [`Options::rest`] is
    /// the marker with the payload, or nothing.
    ///
    /// # Errors
    /// What is wrong with the encoding.
    pub fn try_next(&mut self) -> Result<Option<(OptionNumber, &'a [u8])>, Malformed> {
        let (&first, mut rest) = match self.rest.split_first() {
            None | Some((&Self::MARKER, _)) => return Ok(None),
            Some(split) => split,
        };
        let delta = extended(first >> 4, &mut rest)?;
        let len = usize::from(extended(first & 0x0f, &mut rest)?);
        self.number = self.number.checked_add(delta).ok_or(Malformed::OptionNumber)?;
        let (value, rest) = rest.split_at_checked(len).ok_or(Malformed::OptionLength)?;
        self.rest = rest;
        Ok(Some((OptionNumber(self.number), value)))
    }

    /// What has not been iterated over.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = (OptionNumber, &'a [u8]);

    /// Ends at the first malformed option; a [`Message`]'s options have none.
    fn next(&mut self) -> Option<Self::Item> {
        self.try_next().ok().flatten()
    }
}

/// The values of one option. Made by [`Message::option_values`].
#[derive(Clone, Debug)]
pub struct OptionValues<'a> {
    options: Options<'a>,
    number: OptionNumber,
}

impl<'a> Iterator for OptionValues<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (number, value) = self.options.next()?;
            if number == self.number {
                return Some(value);
            }
            if number > self.number {
                // Those behind it are greater still.
                self.options.rest = &[];
            }
        }
    }
}

/// Reads the extension that a delta or length nibble of 13 or 14 announces.
fn extended(nibble: u8, rest: &mut &[u8]) -> Result<u16, Malformed> {
    let (value, after) = match (nibble, *rest) {
        (0..=12, rest) => (u16::from(nibble), rest),
        (13, [a, after @ ..]) => (u16::from(*a) + 13, after),
        (14, [a, b, after @ ..]) => {
            (u16::from_be_bytes([*a, *b]).checked_add(269).ok_or(Malformed::OptionNumber)?, after)
        }
        _ => return Err(Malformed::OptionLength),
    };
    *rest = after;
    Ok(value)
}
