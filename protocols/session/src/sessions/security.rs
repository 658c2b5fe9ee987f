//! The sessions as what stands between an endpoint's two layers.

use super::{Binding, Bound, Sessions, copy};
use crate::peer::{Peer, Roster};
use capmesh_coap::message::Message;
use capmesh_coap::security::{Answer, OpenedResponse, Opening, SealError, Sealed, Security};
use capmesh_wire::Instant;
use core::net::SocketAddr;
use rand_core::{CryptoRng, RngCore};

impl<R: Roster, G: RngCore + CryptoRng, const N: usize, const H: usize> Security
    for Sessions<R, G, N, H>
{
    type Peer = Peer;
    type Binding = Binding;

    const AUTHENTICATES: bool = true;
    /// OSCORE's. A first request that becomes too long with message_3 goes without it.
    const OVERHEAD: usize = 45;
    const RESERVED: usize = 1;

    fn address(&self, peer: Peer) -> Option<SocketAddr> {
        match peer {
            Peer::Anonymous(address) => Some(address),
            Peer::Member(member) => Some(self.table.get(self.table.find(member.id)?)?.address),
        }
    }

    fn readiness(&self) -> u32 {
        self.readiness
    }

    fn open_request<'b>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        outer: Message<'b>,
        scratch: &'b mut [u8],
    ) -> Opening<'b, Peer, Binding> {
        self.now = now;
        self.open_any_request(from, outer, scratch)
    }

    fn seal_response(
        &mut self,
        now: Instant,
        binding: &Binding,
        role: Answer,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        self.now = now;
        self.seal_any_response(binding, role, inner, out)
    }

    fn seal_request(
        &mut self,
        now: Instant,
        to: Peer,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<Sealed<Binding>, SealError> {
        self.now = now;
        match to {
            Peer::Anonymous(address) => {
                Ok(Sealed { len: copy(inner, out)?, address, binding: Binding(Bound::Plain) })
            }
            Peer::Member(member) => {
                let at = self.table.find(member.id).ok_or(SealError::NoPeer)?;
                self.seal_for_member(at, inner, out)
            }
        }
    }

    fn reopen_request(
        &mut self,
        binding: &Binding,
        outer: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        self.reopen_any_request(binding, outer, out)
    }

    fn open_response<'b>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: Peer,
        binding: &mut Binding,
        outer: Message<'b>,
        scratch: &'b mut [u8],
    ) -> OpenedResponse<'b, Peer> {
        self.now = now;
        self.open_any_response(from, to, binding, outer, scratch)
    }

    fn is_address_verified(&self, peer: Peer, address: SocketAddr) -> bool {
        match peer {
            Peer::Anonymous(_) => false,
            Peer::Member(member) => self
                .table
                .find(member.id)
                .and_then(|at| self.table.get(at))
                .is_some_and(|slot| slot.is_address_verified && slot.address == address),
        }
    }
}
