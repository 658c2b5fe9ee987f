//! What tests and fuzzers of a node and its parts share.

pub mod capsules;
mod hooked;

pub use hooked::{Hook, Hooked};

use alloc::collections::BTreeMap;
use capmesh_coap::Message;
use capmesh_coap::security::{Answer, OpenedResponse, Opening, Plain, SealError, Sealed, Security};
use capmesh_session::{Member, Peer};
use capmesh_wire::Instant;
use core::net::SocketAddr;

/// A security layer that takes everybody for the member whose address they have: for parts that need
/// to know who is there, and no handshake.
#[derive(Clone, Debug, Default)]
pub struct ByAddress(pub BTreeMap<SocketAddr, Member>);

impl Security for ByAddress {
    type Peer = Peer;
    type Binding = ();

    const AUTHENTICATES: bool = true;
    const OVERHEAD: usize = 0;
    const RESERVED: usize = 0;

    fn address(&self, peer: Peer) -> Option<SocketAddr> {
        match peer {
            Peer::Anonymous(address) => Some(address),
            Peer::Member(member) => {
                self.0.iter().find(|(_, known)| known.id == member.id).map(|(at, _)| *at)
            }
        }
    }

    fn readiness(&self) -> u32 {
        0
    }

    fn open_request<'b>(
        &mut self,
        _: Instant,
        from: SocketAddr,
        outer: Message<'b>,
        _: &'b mut [u8],
    ) -> Opening<'b, Peer, ()> {
        let known = self.0.get(&from);
        let peer = known.map_or(Peer::Anonymous(from), |member| Peer::Member(*member));
        Opening::Request { peer, binding: (), inner: outer }
    }

    fn seal_response(
        &mut self,
        now: Instant,
        binding: &(),
        role: Answer,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        Plain.seal_response(now, binding, role, inner, out)
    }

    fn seal_request(
        &mut self,
        now: Instant,
        to: Peer,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<Sealed<()>, SealError> {
        let address = self.address(to).ok_or(SealError::NoPeer)?;
        Plain.seal_request(now, address, inner, out)
    }

    fn reopen_request(
        &mut self,
        binding: &(),
        outer: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        Plain.reopen_request(binding, outer, out)
    }

    fn open_response<'b>(
        &mut self,
        _: Instant,
        _: SocketAddr,
        to: Peer,
        (): &mut (),
        outer: Message<'b>,
        _: &'b mut [u8],
    ) -> OpenedResponse<'b, Peer> {
        OpenedResponse::Response { peer: to, inner: outer, ordered: false }
    }

    fn is_address_verified(&self, _: Peer, _: SocketAddr) -> bool {
        true
    }
}
