//! How options are protected (RFC 8613 Figure 5, and the RFCs that registered options since).

use capmesh_coap::option::OptionNumber;

/// Who may see and change an option on the way. Class I (authenticated but visible) exists in RFC
/// 8613 but has no options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Encrypted and authenticated, for the peer. An outer instance is for proxies and is discarded.
    E,
    /// Unprotected, for proxies on the way as well as for the peer.
    U,
    /// Unprotected, and consumed by this layer or the one below: OSCORE and EDHOC.
    Hop,
}

/// The class of an option. Those that RFC 8613 gives both classes are E here: an inner instance is
/// what the endpoints mean, an outer one is discarded when the message is opened. Options not
/// listed are E (RFC 8613 section 4.1).
#[must_use]
pub const fn class(number: OptionNumber) -> Class {
    match number {
        OptionNumber::URI_HOST
        | OptionNumber::URI_PORT
        | OptionNumber::HOP_LIMIT // RFC 8768 section 3
        | OptionNumber::PROXY_URI
        | OptionNumber::PROXY_SCHEME => Class::U,
        OptionNumber::OSCORE | OptionNumber::EDHOC => Class::Hop, // RFC 9668 section 3.1
        _ => Class::E,
    }
}
