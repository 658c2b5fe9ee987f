//! Reasons, and how they travel: every error response carries a [`Problem`].

use alloc::string::String;
use capmesh_coap::block::BlockValue;
use capmesh_coap::endpoint::Responder;
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::{Done, Handled, Outbox, Reply};
use capmesh_coap::{Code, MessageWriter};
use capmesh_session::Peer;
use capmesh_wire::cbor::encode;
use capmesh_wire::{ErrorCode, Instant, Problem, Text, limits};
use core::fmt::{self, Write};

/// The Content-Format of a problem: application/cbor, which clients of other makers show.
pub const FORMAT: u16 = 60;

/// Bytes of an encoded problem, at most: the detail, and 16 for each of the other fields.
const ENCODED: usize = limits::DETAIL + 48;

/// Why something was refused or failed, with words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The reason, for peers to act on.
    pub code: ErrorCode,
    /// In how many milliseconds to try again, if that may help.
    pub retry_ms: Option<u32>,
    detail: String,
}

impl Reason {
    /// A reason and nothing else.
    #[must_use]
    pub const fn new(code: ErrorCode) -> Self {
        Self { code, retry_ms: None, detail: String::new() }
    }

    /// A reason that goes away by itself.
    #[must_use]
    pub const fn retry(code: ErrorCode, millis: u32) -> Self {
        Self { code, retry_ms: Some(millis), detail: String::new() }
    }

    /// Explains it, in at most [`limits::DETAIL`] bytes: what is longer is cut.
    #[must_use]
    pub fn because(mut self, detail: impl fmt::Display) -> Self {
        self.detail.clear();
        // It says that it is full by failing, and then holds what did fit.
        let _ = write!(Bounded(&mut self.detail), "{detail}");
        self
    }

    /// The words.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// As it travels.
    #[must_use]
    pub fn problem(&self) -> Problem<'_> {
        let detail = (!self.detail.is_empty()).then(|| Text::cut(&self.detail));
        Problem { retry_ms: self.retry_ms, detail, ..Problem::new(self.code) }
    }
}

impl From<ErrorCode> for Reason {
    fn from(code: ErrorCode) -> Self {
        Self::new(code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => self.code.fmt(f),
            detail => write!(f, "{}: {detail}", self.code),
        }
    }
}

impl core::error::Error for Reason {}

/// Text that grows to [`limits::DETAIL`] bytes and no further.
struct Bounded<'a>(&'a mut String);

impl Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.0.len() + character.len_utf8() > limits::DETAIL {
                return Err(fmt::Error);
            }
            self.0.push(character);
        }
        Ok(())
    }
}

/// Answers a request with a problem, from within its resource.
///
/// # Errors
/// None; the type is that of handlers.
pub fn refuse(reply: &mut Reply<'_>, problem: &Problem<'_>) -> Handled {
    let mut buf = [0; ENCODED];
    let len = encode(problem, &mut buf).unwrap_or_default();
    reply.content_format(FORMAT).write(buf.get(..len).unwrap_or_default());
    if let Some(seconds) = max_age(problem) {
        reply.max_age(seconds);
    }
    Ok(Done::Code(Code(problem.code.coap_code())))
}

/// Answers a request with a problem later, when its resource has said
/// [`Done::Later`](capmesh_coap::server::Done::Later). `block` is the Block1 option that the answer
/// has to carry, if any. That nobody waits for the answer any more is nobody's loss.
pub fn refuse_later(
    now: Instant,
    out: &mut dyn Outbox<Peer>,
    to: Responder,
    block: Option<BlockValue>,
    problem: &Problem<'_>,
) {
    let mut buf = [0; ENCODED];
    let len = encode(problem, &mut buf).unwrap_or_default();
    let payload = buf.get(..len).unwrap_or_default();
    let mut build = |writer: &mut MessageWriter<'_>| {
        writer.option_uint(OptionNumber::CONTENT_FORMAT, u32::from(FORMAT))?;
        if let Some(seconds) = max_age(problem) {
            writer.option_uint(OptionNumber::MAX_AGE, seconds)?;
        }
        if let Some(block) = block {
            block.last().write(OptionNumber::BLOCK1, writer)?;
        }
        writer.payload(payload)?;
        Ok(())
    };
    let code = Code(problem.code.coap_code());
    if out.respond(now, to, code, &mut build).is_err() {
        out.ignore(now, to);
    }
}

/// Seconds after which to try again, for the header of a response.
fn max_age(problem: &Problem<'_>) -> Option<u32> {
    problem.retry_ms.map(|millis| millis.div_ceil(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_and_stay_text() {
        let reason = Reason::new(ErrorCode::InvalidModule).because("ä".repeat(100));
        assert_eq!(reason.detail().len(), limits::DETAIL);
        assert_eq!(reason.problem().detail.unwrap().as_str(), reason.detail());
        let mut buf = [0; ENCODED];
        let full = Problem {
            moved_to: Some(capmesh_wire::NodeId::from_bytes([255; 8])),
            retry_ms: Some(u32::MAX),
            ..reason.problem()
        };
        assert!(encode(&full, &mut buf).is_ok());
        assert_eq!(Reason::new(ErrorCode::Full).problem().detail, None);
    }
}
