//! Option numbers and the formats of their values (RFC 7252 sections 3.2, 5.4 and 5.10).

use core::fmt;

/// An option's number, which also says how to treat it when it is not known (RFC 7252 section 5.4.6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OptionNumber(pub u16);

macro_rules! options {
    ($($name:ident = $number:literal, $text:literal, $rfc:literal;)*) => {
        impl OptionNumber {
            $(#[doc = concat!(" ", $text, " (", $rfc, ").")] pub const $name: Self = Self($number);)*

            /// The registered name of the option, if this crate knows it.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

options! {
    IF_MATCH = 1, "If-Match", "RFC 7252 section 5.10.8.1";
    URI_HOST = 3, "Uri-Host", "RFC 7252 section 5.10.1";
    ETAG = 4, "ETag", "RFC 7252 section 5.10.6";
    IF_NONE_MATCH = 5, "If-None-Match", "RFC 7252 section 5.10.8.2";
    OBSERVE = 6, "Observe", "RFC 7641";
    URI_PORT = 7, "Uri-Port", "RFC 7252 section 5.10.1";
    LOCATION_PATH = 8, "Location-Path", "RFC 7252 section 5.10.7";
    OSCORE = 9, "OSCORE", "RFC 8613";
    URI_PATH = 11, "Uri-Path", "RFC 7252 section 5.10.1";
    CONTENT_FORMAT = 12, "Content-Format", "RFC 7252 section 5.10.3";
    MAX_AGE = 14, "Max-Age", "RFC 7252 section 5.10.5";
    URI_QUERY = 15, "Uri-Query", "RFC 7252 section 5.10.1";
    HOP_LIMIT = 16, "Hop-Limit", "RFC 8768";
    ACCEPT = 17, "Accept", "RFC 7252 section 5.10.4";
    LOCATION_QUERY = 20, "Location-Query", "RFC 7252 section 5.10.7";
    EDHOC = 21, "EDHOC", "RFC 9668";
    BLOCK2 = 23, "Block2", "RFC 7959";
    BLOCK1 = 27, "Block1", "RFC 7959";
    SIZE2 = 28, "Size2", "RFC 7959";
    PROXY_URI = 35, "Proxy-Uri", "RFC 7252 section 5.10.2";
    PROXY_SCHEME = 39, "Proxy-Scheme", "RFC 7252 section 5.10.2";
    SIZE1 = 60, "Size1", "RFC 7252 section 5.10.9";
    ECHO = 252, "Echo", "RFC 9175";
    NO_RESPONSE = 258, "No-Response", "RFC 7967";
    REQUEST_TAG = 292, "Request-Tag", "RFC 9175";
}

impl OptionNumber {
    /// Whether a message with this option must be rejected by an endpoint that does not know it.
    #[must_use]
    pub const fn is_critical(self) -> bool {
        self.0 & 1 == 1
    }

    /// Whether a proxy that does not know this option must not forward it.
    #[must_use]
    pub const fn is_unsafe_to_forward(self) -> bool {
        self.0 & 2 == 2
    }

    /// Whether the option is left out of a cache key.
    #[must_use]
    pub const fn is_no_cache_key(self) -> bool {
        self.0 & 0x1e == 0x1c
    }
}

impl fmt::Debug for OptionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Option({})", self.0),
        }
    }
}

/// Decodes a value of format uint: big-endian, leading zeroes allowed when read (RFC 7252 section
/// 3.2). `None` if there are more than four bytes.
#[must_use]
pub fn decode_uint(value: &[u8]) -> Option<u32> {
    if value.len() > 4 {
        return None;
    }
    Some(value.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

/// Encodes a value of format uint in as few bytes as it takes, none for zero.
pub fn encode_uint(value: u32, buf: &mut [u8; 4]) -> &[u8] {
    *buf = value.to_be_bytes();
    let zeroes = (value.leading_zeros() / 8) as usize;
    buf.get(zeroes..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_those_of_the_registry() {
        // Number, critical, unsafe to forward, no cache key: RFC 7252 table 4, RFC 7641, RFC 7959,
        // RFC 7967, RFC 8613, RFC 8768, RFC 9175, RFC 9668.
        let registry = [
            (OptionNumber::IF_MATCH, true, false, false),
            (OptionNumber::URI_HOST, true, true, false),
            (OptionNumber::ETAG, false, false, false),
            (OptionNumber::IF_NONE_MATCH, true, false, false),
            (OptionNumber::OBSERVE, false, true, false),
            (OptionNumber::URI_PORT, true, true, false),
            (OptionNumber::LOCATION_PATH, false, false, false),
            (OptionNumber::OSCORE, true, false, false),
            (OptionNumber::URI_PATH, true, true, false),
            (OptionNumber::CONTENT_FORMAT, false, false, false),
            (OptionNumber::MAX_AGE, false, true, false),
            (OptionNumber::URI_QUERY, true, true, false),
            (OptionNumber::HOP_LIMIT, false, false, false),
            (OptionNumber::ACCEPT, true, false, false),
            (OptionNumber::LOCATION_QUERY, false, false, false),
            (OptionNumber::EDHOC, true, false, false),
            (OptionNumber::BLOCK2, true, true, false),
            (OptionNumber::BLOCK1, true, true, false),
            (OptionNumber::SIZE2, false, false, true),
            (OptionNumber::PROXY_URI, true, true, false),
            (OptionNumber::PROXY_SCHEME, true, true, false),
            (OptionNumber::SIZE1, false, false, true),
            (OptionNumber::ECHO, false, false, true),
            (OptionNumber::NO_RESPONSE, false, true, false),
            (OptionNumber::REQUEST_TAG, false, false, false),
        ];
        for (number, critical, unsafe_to_forward, no_cache_key) in registry {
            assert_eq!(number.is_critical(), critical, "{number:?}");
            assert_eq!(number.is_unsafe_to_forward(), unsafe_to_forward, "{number:?}");
            assert_eq!(number.is_no_cache_key(), no_cache_key, "{number:?}");
            assert!(number.name().is_some());
        }
        assert_eq!(OptionNumber(4711).name(), None);
    }
}
