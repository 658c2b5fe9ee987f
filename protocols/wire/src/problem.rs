//! Why something was refused or failed, for peers to act on.

use crate::cbor::macros::{codes, record};
use crate::id::NodeId;
use crate::limits;
use crate::text::Text;

codes! {
    /// A reason. Details stay in the log of who found them.
    pub enum ErrorCode {
        /// A fault of the one who answers.
        Internal = 0, "internal";
        /// The payload is not what the resource takes.
        Malformed = 1, "malformed";
        /// A version or code that the one who answers does not know.
        Unsupported = 2, "unsupported";
        /// The role does not allow it.
        Forbidden = 3, "forbidden";
        /// The payload, or what it leads to, is past a bound.
        TooLarge = 4, "too-large";
        /// A table is full.
        Full = 5, "full";
        /// Not now; try again.
        Busy = 6, "busy";
        /// Somebody else did not answer in time.
        Timeout = 7, "timeout";
        /// There is no way to the node in question.
        Unreachable = 8, "unreachable";
        /// No such instance.
        UnknownInstance = 9, "unknown-instance";
        /// No such capsule.
        UnknownCapsule = 10, "unknown-capsule";
        /// No such blob.
        UnknownBlob = 11, "unknown-blob";
        /// The plan routes no such stream from this producer.
        UnknownStream = 12, "unknown-stream";
        /// The epoch is older than one that was seen.
        StaleEpoch = 13, "stale-epoch";
        /// The roster or plan is older than the one that is held.
        StaleRevision = 14, "stale-revision";
        /// The instance is in no state for it.
        WrongState = 15, "wrong-state";
        /// The instance is on its way to another node.
        Moving = 16, "moving";
        /// The inbox is full.
        InboxFull = 17, "inbox-full";
        /// The payload does not fit the schema.
        SchemaMismatch = 18, "schema-mismatch";
        /// Not enough flash.
        NoFlash = 19, "no-flash";
        /// Not enough RAM.
        NoRam = 20, "no-ram";
        /// Not enough fuel per second.
        NoFuel = 21, "no-fuel";
        /// No such sensor.
        NoSensor = 22, "no-sensor";
        /// No such actuator.
        NoActuator = 23, "no-actuator";
        /// An ABI version that the node does not offer.
        AbiVersion = 24, "abi-version";
        /// The signature is not valid.
        BadSignature = 25, "bad-signature";
        /// The signer is not on the roster for this.
        Untrusted = 26, "untrusted";
        /// The sequence number is lower than that of what is installed.
        RolledBack = 27, "rolled-back";
        /// The bytes are not those of the digest.
        DigestMismatch = 28, "digest-mismatch";
        /// The module is not valid, or breaks a rule of admission.
        InvalidModule = 29, "invalid-module";
        /// The snapshot is of another capsule, or of a layout that is not compatible.
        StateMismatch = 30, "state-mismatch";
        /// A handler trapped.
        Trapped = 31, "trapped";
        /// A handler used up its fuel.
        OutOfFuel = 32, "out-of-fuel";
        /// An instance asked for more memory than it may have.
        OutOfMemory = 33, "out-of-memory";
        /// A handler left more in its outbox than it may.
        OutboxOverflow = 34, "outbox-overflow";
        /// The lease ran out.
        LeaseExpired = 35, "lease-expired";
        /// The flash failed.
        Flash = 36, "flash";
    }
}

impl ErrorCode {
    /// The CoAP response code that goes with it, as the byte on the wire (RFC 7252 section 12.1.2).
    #[must_use]
    pub const fn coap_code(self) -> u8 {
        const fn code(class: u8, detail: u8) -> u8 {
            class << 5 | detail
        }
        match self {
            Self::Malformed
            | Self::SchemaMismatch
            | Self::BadSignature
            | Self::DigestMismatch
            | Self::InvalidModule => code(4, 0),
            Self::Unsupported | Self::AbiVersion => code(4, 15),
            Self::Forbidden | Self::Untrusted => code(4, 3),
            Self::TooLarge => code(4, 13),
            Self::UnknownInstance
            | Self::UnknownCapsule
            | Self::UnknownBlob
            | Self::UnknownStream => code(4, 4),
            Self::StaleEpoch
            | Self::StaleRevision
            | Self::WrongState
            | Self::RolledBack
            | Self::StateMismatch
            | Self::LeaseExpired => code(4, 9),
            Self::NoFlash | Self::NoRam | Self::NoFuel | Self::NoSensor | Self::NoActuator => {
                code(4, 22)
            }
            Self::Busy | Self::Moving | Self::InboxFull | Self::Full => code(5, 3),
            Self::Timeout | Self::Unreachable => code(5, 4),
            Self::Internal
            | Self::Trapped
            | Self::OutOfFuel
            | Self::OutOfMemory
            | Self::OutboxOverflow
            | Self::Flash
            | Self::Unknown(_) => code(5, 0),
        }
    }
}

record! {
    /// The payload of every error response.
    pub struct Problem<'a> {
        /// The reason.
        0 => code: ErrorCode,
        /// In how many milliseconds to try again. A CoAP response also carries Max-Age, which counts
        /// in seconds (RFC 7252 section 5.9.3.4).
        1 => retry_ms: Option<u32>,
        /// Where the instance is now, or will be.
        2 => moved_to: Option<NodeId>,
        /// More, for people.
        3 => detail: Option<Text<'a, { limits::DETAIL }>>,
    }
}

impl Problem<'_> {
    /// A reason and nothing else.
    #[must_use]
    pub const fn new(code: ErrorCode) -> Self {
        Self { code, retry_ms: None, moved_to: None, detail: None }
    }

    /// A reason that goes away by itself.
    #[must_use]
    pub const fn retry(code: ErrorCode, millis: u32) -> Self {
        Self { retry_ms: Some(millis), ..Self::new(code) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_an_error_response() {
        for (number, code) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(usize::from(code.code()), number);
            assert!(matches!(code.coap_code() >> 5, 4 | 5), "{code}");
        }
        assert_eq!(ErrorCode::from_code(255).coap_code(), 5 << 5);
        assert_eq!(ErrorCode::InboxFull.coap_code(), 0xa3);
    }
}
