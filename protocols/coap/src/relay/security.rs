//! Letting requests for others past the security layer.

use crate::message::Message;
use crate::option::OptionNumber;
use crate::security::{Answer, OpenedResponse, Opening, Plain, SealError, Sealed, Security};
use capmesh_wire::Instant;
use core::net::SocketAddr;

/// Who is at the other end of a relaying endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop<P> {
    /// A peer of this side's own, as its security layer knows it.
    Peer(P),
    /// No more than an address: the next hop of something that is passed on.
    Address(SocketAddr),
}

/// The binding of [`Relaying`].
#[derive(Clone, Debug)]
pub enum HopBinding<B> {
    /// That of this side's security layer.
    Peer(B),
    /// What is passed on has no security of this side's.
    Address,
}

/// A security layer that takes requests to a proxy (with Proxy-Uri or Proxy-Scheme) as they are, and
/// leaves everything else to `S`.
///
/// What is passed on is neither opened nor sealed: a message that OSCORE protects between its ends
/// stays protected, as RFC 8613 section 10 has it. The options that make a proxy's work are outside
/// of that protection, which is why nobody is anybody to the relay but an address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Relaying<S>(pub S);

impl<S: Security> Security for Relaying<S> {
    type Peer = Hop<S::Peer>;
    type Binding = HopBinding<S::Binding>;

    const AUTHENTICATES: bool = S::AUTHENTICATES;
    const OVERHEAD: usize = S::OVERHEAD;

    fn address(&self, peer: Self::Peer) -> Option<SocketAddr> {
        match peer {
            Hop::Peer(peer) => self.0.address(peer),
            Hop::Address(address) => Some(address),
        }
    }

    fn readiness(&self) -> u32 {
        self.0.readiness()
    }

    fn open_request<'b>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        outer: Message<'b>,
        scratch: &'b mut [u8],
    ) -> Opening<'b, Self::Peer, Self::Binding> {
        if is_for_a_proxy(&outer) {
            let (peer, binding) = (Hop::Address(from), HopBinding::Address);
            return Opening::Request { peer, binding, inner: outer };
        }
        match self.0.open_request(now, from, outer, scratch) {
            Opening::Request { peer, binding, inner } => Opening::Request {
                peer: Hop::Peer(peer),
                binding: HopBinding::Peer(binding),
                inner,
            },
            Opening::Challenge { binding, echo } => {
                Opening::Challenge { binding: HopBinding::Peer(binding), echo }
            }
            Opening::Answer { code, max_age, content_format, payload } => {
                Opening::Answer { code, max_age, content_format, payload }
            }
            Opening::Drop => Opening::Drop,
        }
    }

    fn seal_response(
        &mut self,
        now: Instant,
        binding: &Self::Binding,
        role: Answer,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        match binding {
            HopBinding::Peer(binding) => self.0.seal_response(now, binding, role, inner, out),
            HopBinding::Address => Plain.seal_response(now, &(), role, inner, out),
        }
    }

    fn seal_request(
        &mut self,
        now: Instant,
        to: Self::Peer,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<Sealed<Self::Binding>, SealError> {
        match to {
            Hop::Peer(peer) => {
                let Sealed { len, address, binding } =
                    self.0.seal_request(now, peer, inner, out)?;
                Ok(Sealed { len, address, binding: HopBinding::Peer(binding) })
            }
            Hop::Address(address) => {
                let Sealed { len, .. } = Plain.seal_request(now, address, inner, out)?;
                Ok(Sealed { len, address, binding: HopBinding::Address })
            }
        }
    }

    fn reopen_request(
        &mut self,
        binding: &Self::Binding,
        outer: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        match binding {
            HopBinding::Peer(binding) => self.0.reopen_request(binding, outer, out),
            HopBinding::Address => Plain.reopen_request(&(), outer, out),
        }
    }

    fn open_response<'b>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: Self::Peer,
        binding: &mut Self::Binding,
        outer: Message<'b>,
        scratch: &'b mut [u8],
    ) -> OpenedResponse<'b, Self::Peer> {
        match (to, binding) {
            (Hop::Peer(peer), HopBinding::Peer(binding)) => {
                let opened = self.0.open_response(now, from, peer, binding, outer, scratch);
                by_whom(opened, Hop::Peer)
            }
            (Hop::Address(to), HopBinding::Address) => {
                let opened = Plain.open_response(now, from, to, &mut (), outer, scratch);
                by_whom(opened, Hop::Address)
            }
            _ => OpenedResponse::Drop,
        }
    }

    fn is_address_verified(&self, peer: Self::Peer, address: SocketAddr) -> bool {
        match peer {
            Hop::Peer(peer) => self.0.is_address_verified(peer, address),
            Hop::Address(_) => false,
        }
    }
}

fn by_whom<P, Q>(opened: OpenedResponse<'_, P>, hop: fn(P) -> Q) -> OpenedResponse<'_, Q> {
    match opened {
        OpenedResponse::Response { peer, inner, ordered } => {
            OpenedResponse::Response { peer: hop(peer), inner, ordered }
        }
        OpenedResponse::Drop => OpenedResponse::Drop,
        OpenedResponse::Restart => OpenedResponse::Restart,
    }
}

/// Whether a request is one to a proxy.
pub(super) fn is_for_a_proxy(request: &Message<'_>) -> bool {
    request.option(OptionNumber::PROXY_URI).is_some()
        || request.option(OptionNumber::PROXY_SCHEME).is_some()
}
