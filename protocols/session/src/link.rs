//! An endpoint with sessions, whatever its bounds.

use crate::peer::{Peer, Roster};
use crate::secure::SecureEndpoint;
use crate::sessions::{IntroduceError, Sessions};
use crate::stats::Stats;
use capmesh_coap::endpoint::{Event, Output, Via};
use capmesh_coap::server::Outbox;
use capmesh_wire::{Instant, NodeId};
use core::net::SocketAddr;
use rand_core::{CryptoRng, RngCore};

/// An endpoint with sessions, without the constants of its type: what a node or a gateway says to
/// others goes through a `&mut dyn Link`, so that its code exists once whatever they are.
///
/// Requests, responses and observations are those of [`Outbox`].
pub trait Link: Outbox<Peer> {
    /// [`SecureEndpoint::handle`].
    fn handle<'b>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        datagram: &'b [u8],
        scratch: &'b mut [u8],
    ) -> Option<Event<'b, Peer>>;

    /// [`SecureEndpoint::poll`].
    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<Output>;

    /// [`SecureEndpoint::poll_timeout`].
    fn poll_timeout(&self) -> Option<Instant>;

    /// The longest datagram, in bytes: what buffers have to hold.
    fn mtu(&self) -> usize;

    /// The sessions.
    fn peers(&self) -> &dyn Peers;

    /// The sessions, to be changed.
    fn peers_mut(&mut self) -> &mut dyn Peers;

    /// [`Peers::own_id`].
    fn own_id(&self) -> NodeId {
        self.peers().own_id()
    }

    /// [`Sessions::introduce`].
    ///
    /// # Errors
    /// As there.
    fn introduce(
        &mut self,
        now: Instant,
        id: NodeId,
        address: SocketAddr,
    ) -> Result<Peer, IntroduceError> {
        self.peers_mut().introduce(now, id, address)
    }

    /// [`Sessions::relocate`].
    fn relocate(&mut self, id: NodeId, address: SocketAddr) -> bool {
        self.peers_mut().relocate(id, address)
    }

    /// [`Sessions::peer`].
    fn peer(&self, id: NodeId) -> Option<Peer> {
        self.peers().peer(id)
    }

    /// [`Sessions::serial`].
    fn serial(&self, id: NodeId) -> Option<u32> {
        self.peers().serial(id)
    }

    /// [`Peers::set_roster`].
    fn set_roster(&mut self, now: Instant, roster: &capmesh_wire::Roster<'_>) {
        self.peers_mut().set_roster(now, roster);
    }

    /// [`Sessions::set_unix_time`].
    fn set_unix_time(&mut self, now: Instant, seconds: u64) {
        self.peers_mut().set_unix_time(now, seconds);
    }

    /// What the sessions have counted.
    fn stats(&self) -> &Stats {
        self.peers().stats()
    }

    /// Nobody may have requests relayed from now on. An endpoint that does not relay never lets them.
    fn forbid_all(&mut self) {}

    /// Somebody at this address may have requests relayed to all others that are named here, and they
    /// to it ([`RelayEndpoint`](crate::RelayEndpoint)).
    fn allow(&mut self, id: NodeId, address: SocketAddr) {
        let _ = (id, address);
    }

    /// Introduces somebody who is reached through the relay at this address from now on. Returns
    /// whether that is so: not if they are not on the roster, there is no room, or this endpoint
    /// knows of no relays.
    fn detour(&mut self, now: Instant, id: NodeId, relay: SocketAddr) -> bool {
        let _ = (now, id, relay);
        false
    }

    /// Somebody is reached at the address of its session again.
    fn end_detour(&mut self, id: NodeId) {
        let _ = id;
    }
}

/// The [`Sessions`] of an endpoint, whatever their bounds.
pub trait Peers {
    /// This side's id.
    fn own_id(&self) -> NodeId;

    /// [`Sessions::introduce`].
    ///
    /// # Errors
    /// As there.
    fn introduce(
        &mut self,
        now: Instant,
        id: NodeId,
        address: SocketAddr,
    ) -> Result<Peer, IntroduceError>;

    /// [`Sessions::relocate`].
    fn relocate(&mut self, id: NodeId, address: SocketAddr) -> bool;

    /// [`Sessions::peer`].
    fn peer(&self, id: NodeId) -> Option<Peer>;

    /// [`Sessions::serial`].
    fn serial(&self, id: NodeId) -> Option<u32>;

    /// Another roster counts from now on: sessions of those who are no longer on it end.
    fn set_roster(&mut self, now: Instant, roster: &capmesh_wire::Roster<'_>);

    /// [`Sessions::set_unix_time`].
    fn set_unix_time(&mut self, now: Instant, seconds: u64);

    /// What the sessions have counted.
    fn stats(&self) -> &Stats;
}

impl<R: Replaceable, G: RngCore + CryptoRng, const N: usize, const H: usize> Peers
    for Sessions<R, G, N, H>
{
    fn own_id(&self) -> NodeId {
        Self::own_id(self)
    }

    fn introduce(
        &mut self,
        now: Instant,
        id: NodeId,
        address: SocketAddr,
    ) -> Result<Peer, IntroduceError> {
        Self::introduce(self, now, id, address)
    }

    fn relocate(&mut self, id: NodeId, address: SocketAddr) -> bool {
        Self::relocate(self, id, address)
    }

    fn peer(&self, id: NodeId) -> Option<Peer> {
        Self::peer(self, id)
    }

    fn serial(&self, id: NodeId) -> Option<u32> {
        Self::serial(self, id)
    }

    fn set_roster(&mut self, now: Instant, roster: &capmesh_wire::Roster<'_>) {
        self.roster_mut().replace(roster);
        self.revalidate(now);
    }

    fn set_unix_time(&mut self, now: Instant, seconds: u64) {
        Self::set_unix_time(self, now, seconds);
    }

    fn stats(&self) -> &Stats {
        Self::stats(self)
    }
}

/// A roster in whose place another one can be put, when the site's members have changed.
pub trait Replaceable: Roster {
    /// Takes the members of a roster that was verified, in place of those before.
    fn replace(&mut self, roster: &capmesh_wire::Roster<'_>);
}

/// An endpoint that lies elsewhere: a board keeps its own in static memory, and not in the node, which
/// passes over the stack when it is made.
impl<L: Link + ?Sized> Link for &mut L {
    fn handle<'b>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        datagram: &'b [u8],
        scratch: &'b mut [u8],
    ) -> Option<Event<'b, Peer>> {
        (**self).handle(now, from, via, datagram, scratch)
    }

    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<Output> {
        (**self).poll(now, buf)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (**self).poll_timeout()
    }

    fn mtu(&self) -> usize {
        (**self).mtu()
    }

    fn peers(&self) -> &dyn Peers {
        (**self).peers()
    }

    fn peers_mut(&mut self) -> &mut dyn Peers {
        (**self).peers_mut()
    }

    fn forbid_all(&mut self) {
        (**self).forbid_all();
    }

    fn allow(&mut self, id: NodeId, address: SocketAddr) {
        (**self).allow(id, address);
    }

    fn detour(&mut self, now: Instant, id: NodeId, relay: SocketAddr) -> bool {
        (**self).detour(now, id, relay)
    }

    fn end_detour(&mut self, id: NodeId) {
        (**self).end_detour(id);
    }
}

impl<
    R: Replaceable,
    G: RngCore + CryptoRng,
    const N: usize,
    const H: usize,
    const MTU: usize,
    const EXCHANGES: usize,
    const MESSAGES: usize,
    const UNANSWERED: usize,
    const OBSERVERS: usize,
    const RECENT: usize,
    const REPLIES: usize,
> Link
    for SecureEndpoint<
        Sessions<R, G, N, H>,
        MTU,
        EXCHANGES,
        MESSAGES,
        UNANSWERED,
        OBSERVERS,
        RECENT,
        REPLIES,
    >
{
    fn handle<'b>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        datagram: &'b [u8],
        scratch: &'b mut [u8],
    ) -> Option<Event<'b, Peer>> {
        Self::handle(self, now, from, via, datagram, scratch)
    }

    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<Output> {
        Self::poll(self, now, buf)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Self::poll_timeout(self)
    }

    fn mtu(&self) -> usize {
        MTU
    }

    fn peers(&self) -> &dyn Peers {
        self.sessions()
    }

    fn peers_mut(&mut self) -> &mut dyn Peers {
        self.sessions_mut()
    }
}
