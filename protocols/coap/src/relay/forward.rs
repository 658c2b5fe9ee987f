//! What changes in a message that is passed on.

use super::target::Target;
use crate::message::{Code, Message, MessageWriter, Overflow};
use crate::option::OptionNumber;

/// The Hop-Limit option (RFC 8768) of a request that is to be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HopLimit(u8);

impl HopLimit {
    /// What a relay gives to a request that has none (RFC 8768 section 3).
    const DEFAULT: Self = Self(16);

    /// The value to send on.
    ///
    /// # Errors
    /// 5.08 if there are no more hops, 4.00 if the value was not from 1 to 255.
    pub(super) fn next(request: &Message<'_>) -> Result<Self, Code> {
        if request.option(OptionNumber::HOP_LIMIT).is_none() {
            return Ok(Self::DEFAULT);
        }
        let value = request.option_uint(OptionNumber::HOP_LIMIT);
        match value.and_then(|value| u8::try_from(value).ok()) {
            None | Some(0) => Err(Code::BAD_REQUEST),
            Some(1) => Err(Code::HOP_LIMIT_REACHED),
            Some(value) => Ok(Self(value - 1)),
        }
    }
}

/// What becomes of an option of a request.
enum Fate {
    Keep,
    Drop,
    Refuse,
}

/// How a request goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Onward<'a> {
    pub(super) target: Target<'a>,
    pub(super) hops: HopLimit,
    /// Whether it goes to another relay, which wants to know the target as well.
    pub(super) is_relay: bool,
}

impl Onward<'_> {
    /// Checks that all options of a request can be dealt with.
    ///
    /// # Errors
    /// 4.02 if one is unsafe to forward and not known (RFC 7252 section 5.7.1).
    pub(super) fn check(&self, request: &Message<'_>) -> Result<(), Code> {
        let refused =
            request.options().any(|(number, _)| matches!(self.fate(number), Fate::Refuse));
        if refused { Err(Code::BAD_OPTION) } else { Ok(()) }
    }

    /// Writes options and payload.
    pub(super) fn write(
        &self,
        request: &Message<'_>,
        writer: &mut MessageWriter<'_>,
    ) -> Result<(), Overflow> {
        for (number, value) in request.options() {
            if matches!(self.fate(number), Fate::Keep) {
                writer.option(number, value)?;
            }
        }
        if !self.is_relay && self.target.local.is_some() {
            if self.target.literal().is_none() {
                writer.option(OptionNumber::URI_HOST, self.target.host.as_bytes())?;
            }
            self.target.write_local(writer)?;
        }
        writer.option_uint(OptionNumber::HOP_LIMIT, u32::from(self.hops.0))?;
        writer.payload(request.payload())?;
        Ok(())
    }

    fn fate(&self, number: OptionNumber) -> Fate {
        let in_uri = self.target.local.is_some();
        match number {
            OptionNumber::HOP_LIMIT => Fate::Drop,
            // The endpoint does as it says, towards whoever asked.
            OptionNumber::NO_RESPONSE => Fate::Drop,
            OptionNumber::PROXY_URI
            | OptionNumber::PROXY_SCHEME
            | OptionNumber::URI_HOST
            | OptionNumber::URI_PORT
                if self.is_relay =>
            {
                Fate::Keep
            }
            OptionNumber::PROXY_URI | OptionNumber::PROXY_SCHEME => Fate::Drop,
            // The target knows its own address and port; only a name is news to it.
            OptionNumber::URI_PORT => Fate::Drop,
            OptionNumber::URI_HOST if in_uri || self.target.literal().is_some() => Fate::Drop,
            // Proxy-Uri takes the place of the others (RFC 7252 section 5.10.2).
            OptionNumber::URI_PATH | OptionNumber::URI_QUERY if in_uri && !self.is_relay => {
                Fate::Drop
            }
            OptionNumber::URI_HOST
            | OptionNumber::URI_PATH
            | OptionNumber::URI_QUERY
            | OptionNumber::OBSERVE
            | OptionNumber::BLOCK1
            | OptionNumber::BLOCK2
            | OptionNumber::MAX_AGE => Fate::Keep,
            number if number.is_unsafe_to_forward() => Fate::Refuse,
            _ => Fate::Keep,
        }
    }
}

/// Whether a response can be passed back: it has no unknown option that is unsafe to forward.
pub(super) fn is_response_safe(response: &Message<'_>) -> bool {
    response.options().all(|(number, _)| match number {
        OptionNumber::OBSERVE
        | OptionNumber::MAX_AGE
        | OptionNumber::BLOCK1
        | OptionNumber::BLOCK2 => true,
        number => !number.is_unsafe_to_forward(),
    })
}

/// Writes the options and the payload of a response as they go back; Observe is the endpoint's. To a
/// 5.08, a relay adds its name in front (RFC 8768 section 4).
pub(super) fn write_response(
    response: &Message<'_>,
    name: &str,
    writer: &mut MessageWriter<'_>,
) -> Result<(), Overflow> {
    for (number, value) in response.options() {
        if number != OptionNumber::OBSERVE {
            writer.option(number, value)?;
        }
    }
    let payload = response.payload();
    let trace = response.code() == Code::HOP_LIMIT_REACHED;
    if trace && writer.room() > payload.len() + name.len() + 2 {
        writer.payload(name.as_bytes())?.payload(b" ")?;
    }
    writer.payload(payload)?;
    Ok(())
}
