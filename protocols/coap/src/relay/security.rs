//! Letting requests for others past the security layer, and sending own ones through relays.

use super::detour::{Detour, Detours, name_target};
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

impl<P> From<P> for Hop<P> {
    fn from(peer: P) -> Self {
        Self::Peer(peer)
    }
}

/// The binding of [`Relaying`].
#[derive(Clone, Debug)]
pub enum HopBinding<B> {
    /// That of this side's security layer.
    Peer(B),
    /// The same, of a request that has taken a detour.
    Detoured(B),
    /// What is passed on has no security of this side's.
    Address,
}

/// A security layer that takes requests to a proxy (with Proxy-Uri or Proxy-Scheme) as they are, sends
/// requests to [peers behind relays](Relaying::set_detour) on their way, and leaves everything else to
/// `S`.
///
/// What is passed on is neither opened nor sealed: a message that OSCORE protects between its ends
/// stays protected, as RFC 8613 section 10 has it. The options that make a proxy's work are outside
/// of that protection, which is why nobody is anybody to the relay but an address.
#[derive(Clone, Debug)]
pub struct Relaying<S: Security> {
    inner: S,
    detours: Detours<S::Peer>,
}

impl<S: Security> Relaying<S> {
    /// Wraps a security layer.
    #[must_use]
    pub const fn new(inner: S) -> Self {
        Self { inner, detours: Detours::new() }
    }

    /// The security layer behind it.
    #[must_use]
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    /// The security layer behind it, to be changed.
    pub const fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Requests to `peer`, and to the address `target`, go to `relay` from now on, which is told to
    /// pass them on to `target`. Returns whether there was [room](super::DETOURS).
    pub fn set_detour(&mut self, peer: S::Peer, target: SocketAddr, relay: SocketAddr) -> bool {
        self.detours.set(Detour { peer, target, relay })
    }

    /// Requests to `peer` go where its security layer has it again.
    pub fn end_detour(&mut self, peer: S::Peer) {
        self.detours.end(peer);
    }

    /// Where requests to whoever is behind `peer` go that are not sealed for it: what its relay is
    /// told. `None` if it is behind none.
    #[must_use]
    pub fn target_of(&self, peer: S::Peer) -> Option<SocketAddr> {
        self.detours.of(peer).map(|detour| detour.target)
    }

    /// The detour of what goes to `peer`, at `address` as far as its security layer knows.
    fn detour(&self, peer: S::Peer, address: SocketAddr) -> Option<&Detour<S::Peer>> {
        self.detours.of(peer).or_else(|| self.detours.to(address))
    }
}

impl<S: Security> Security for Relaying<S> {
    type Peer = Hop<S::Peer>;
    type Binding = HopBinding<S::Binding>;

    const AUTHENTICATES: bool = S::AUTHENTICATES;
    const OVERHEAD: usize = S::OVERHEAD;
    const RESERVED: usize = S::RESERVED;

    fn address(&self, peer: Self::Peer) -> Option<SocketAddr> {
        match peer {
            Hop::Peer(peer) => {
                let address = self.inner.address(peer)?;
                Some(self.detour(peer, address).map_or(address, |detour| detour.relay))
            }
            Hop::Address(address) => Some(address),
        }
    }

    fn readiness(&self) -> u32 {
        self.inner.readiness()
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
        match self.inner.open_request(now, from, outer, scratch) {
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
            HopBinding::Peer(binding) | HopBinding::Detoured(binding) => {
                self.inner.seal_response(now, binding, role, inner, out)
            }
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
                    self.inner.seal_request(now, peer, inner, out)?;
                let Some(detour) = self.detour(peer, address) else {
                    return Ok(Sealed { len, address, binding: HopBinding::Peer(binding) });
                };
                let len =
                    name_target(out, len, Some(detour.target)).map_err(|_| SealError::Overflow)?;
                let binding = HopBinding::Detoured(binding);
                Ok(Sealed { len, address: detour.relay, binding })
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
            HopBinding::Peer(binding) => self.inner.reopen_request(binding, outer, out),
            HopBinding::Detoured(binding) => {
                let len = self.inner.reopen_request(binding, outer, out)?;
                name_target(out, len, None).map_err(|_| SealError::Overflow)
            }
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
                let opened = self.inner.open_response(now, from, peer, binding, outer, scratch);
                by_whom(opened, Hop::Peer)
            }
            (Hop::Peer(peer), HopBinding::Detoured(binding)) => {
                // What was sent to an address, rather than to a peer, is expected from there.
                let to = self.inner.address(peer).and_then(|to| self.detours.to(to));
                let from = to.map_or(from, |detour| detour.target);
                let opened = self.inner.open_response(now, from, peer, binding, outer, scratch);
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
            Hop::Peer(peer) => self.inner.is_address_verified(peer, address),
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
