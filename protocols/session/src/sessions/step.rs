//! What the sessions ask of the endpoint around them.

use crate::edhoc::MAX_CREDENTIAL;
use capmesh_coap::endpoint::ExchangeId;
use core::net::SocketAddr;
use heapless::Vec;

/// The longest message_3 of ours: head, ID_CRED_I by value, MAC, tag.
pub(super) const MAX_MESSAGE_3: usize = 2 + 2 + MAX_CREDENTIAL + 9 + 8;

/// What [`SecureEndpoint`](crate::SecureEndpoint) is to do for a handshake.
#[derive(Debug)]
pub enum Step {
    /// To send a confirmable POST with this payload to the EDHOC resource.
    Send {
        /// The handshake.
        attempt: usize,
        /// Where to.
        to: SocketAddr,
        /// What.
        payload: Vec<u8, { MAX_MESSAGE_3 + 8 }, u8>,
    },
    /// To cancel this request.
    Cancel(ExchangeId),
}
