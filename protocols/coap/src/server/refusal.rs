//! Why a request was not granted.

use crate::block::{BadBlock, BlockRefusal};
use crate::echo::EchoValue;
use crate::message::{Code, MessageWriter, Overflow};
use crate::option::OptionNumber;

/// A request that is not granted: a code of class 4 or 5, a word of explanation for people
/// (RFC 7252 section 5.5.2), and what the code wants to be accompanied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub(super) code: Code,
    pub(super) diagnostic: &'static str,
    detail: Detail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    None,
    MaxAge(u32),
    Size1(u32),
    Echo(EchoValue),
}

impl Refusal {
    /// A refusal with nothing but its code.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        Self { code, diagnostic: "", detail: Detail::None }
    }

    /// Explains it.
    #[must_use]
    pub const fn because(mut self, diagnostic: &'static str) -> Self {
        self.diagnostic = diagnostic;
        self
    }

    /// 5.03 (Service Unavailable): try again in so many seconds.
    #[must_use]
    pub const fn retry_after(seconds: u32) -> Self {
        let detail = Detail::MaxAge(seconds);
        Self { code: Code::SERVICE_UNAVAILABLE, diagnostic: "", detail }
    }

    /// 4.13 (Request Entity Too Large): no more than so many bytes are taken.
    #[must_use]
    pub const fn too_large(limit: u32) -> Self {
        let detail = Detail::Size1(limit);
        Self { code: Code::REQUEST_ENTITY_TOO_LARGE, diagnostic: "", detail }
    }

    /// 4.01 (Unauthorized) until the client repeats the request with this Echo value.
    #[must_use]
    pub const fn challenge(value: EchoValue) -> Self {
        Self { code: Code::UNAUTHORIZED, diagnostic: "", detail: Detail::Echo(value) }
    }

    /// The code of the response.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    pub(super) fn write(&self, writer: &mut MessageWriter<'_>) -> Result<(), Overflow> {
        match &self.detail {
            Detail::None => {}
            Detail::MaxAge(seconds) => {
                writer.option_uint(OptionNumber::MAX_AGE, *seconds)?;
            }
            Detail::Size1(limit) => {
                writer.option_uint(OptionNumber::SIZE1, *limit)?;
            }
            Detail::Echo(value) => {
                writer.option(OptionNumber::ECHO, value.as_bytes())?;
            }
        }
        writer.payload(self.diagnostic.as_bytes())?;
        Ok(())
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl From<BlockRefusal> for Refusal {
    fn from(refusal: BlockRefusal) -> Self {
        match refusal {
            BlockRefusal::TooLarge { limit } => Self::too_large(limit),
            BlockRefusal::Full { retry_after } => Self::retry_after(retry_after),
            BlockRefusal::Incomplete | BlockRefusal::Malformed => Self::new(refusal.code()),
        }
    }
}

impl From<BadBlock> for Refusal {
    fn from(_: BadBlock) -> Self {
        Self::new(Code::BAD_REQUEST).because("bad Block option")
    }
}

impl From<Overflow> for Refusal {
    fn from(_: Overflow) -> Self {
        Self::new(Code::INTERNAL_SERVER_ERROR).because("the response does not fit")
    }
}
