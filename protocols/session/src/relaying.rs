//! The endpoint that relays between others, and reaches its own peers through relays.

use crate::link::{Link, Peers, Replaceable};
use crate::peer::Peer;
use crate::secure::SecureEndpoint;
use crate::sessions::Sessions;
use capmesh_coap::endpoint::{Endpoint, Event, Output, Via};
use capmesh_coap::relay::{Decision, Hop, Policy, Relay, Relaying, Target};
use capmesh_wire::{Instant, NodeId};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::ops::{Deref, DerefMut};
use heapless::Vec;
use rand_core::{CryptoRng, RngCore};

/// Addresses that are relayed between. More are not noted.
pub const PLACES: usize = 64;

/// The port of `coap` URIs (RFC 7252 section 6.1).
const PORT: u16 = 5683;

/// A [`SecureEndpoint`] that also does what the mesh needs where nodes cannot reach each other:
///
/// - Requests to a peer behind a relay ([`Link::detour`]) go to that relay, which is told whom they are
///   for; OSCORE and EDHOC stay between the two ends.
/// - It relays between those it was told of ([`Link::allow`]), and for nobody else, `RELAYED` requests
///   and observations at once.
///
/// A relay is told whom a request is for by an address that says who it is rather than where: in the
/// prefix for discarding (100::/64, RFC 6666), so that it leads nowhere if it is ever taken for a
/// place. So only the relay has to know where somebody is. A request to the address itself of somebody
/// that it was told of is relayed as well.
///
/// It is driven like the endpoint it [dereferences](Deref) to, but for [`handle`](Self::handle),
/// [`poll`](Self::poll) and [`poll_timeout`](Self::poll_timeout): use these three here, or nothing is
/// relayed.
///
/// The other numbers are those of the [`Endpoint`].
#[derive(Debug)]
pub struct RelayEndpoint<
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
    const RELAYED: usize,
> {
    endpoint: SecureEndpoint<
        Relaying<Sessions<R, G, N, H>>,
        MTU,
        EXCHANGES,
        MESSAGES,
        UNANSWERED,
        OBSERVERS,
        RECENT,
        REPLIES,
    >,
    relay: Relay<RELAYED>,
    places: Places,
}

/// Those that are relayed between, and where they are.
#[derive(Debug)]
struct Places(Vec<(NodeId, SocketAddr), PLACES>);

impl Policy for Places {
    fn route(&self, from: SocketAddr, target: &Target<'_>) -> Decision {
        if !self.0.iter().any(|(_, address)| *address == from) {
            return Decision::Refuse;
        }
        let Some(named) = target.literal() else { return Decision::NoRoute };
        let place = match named_by(named) {
            Some(id) => self.0.iter().find(|(known, _)| *known == id),
            None => self.0.iter().find(|(_, address)| *address == named),
        };
        match place {
            // Whoever forges the address of another has no answer of any length relayed to it: the
            // target gives those to nobody but its peers.
            Some((_, to)) => Decision::Pass { to: *to, is_relay: false, is_verified: true },
            None => Decision::NoRoute,
        }
    }
}

/// What a relay is told of somebody.
fn name_of(id: NodeId) -> SocketAddr {
    let [a, b, c, d, e, f, g, h] = *id.as_bytes();
    let address = [0x01, 0, 0, 0, 0, 0, 0, 0, a, b, c, d, e, f, g, h];
    SocketAddr::from((Ipv6Addr::from(address), PORT))
}

/// Who is meant by such an address.
fn named_by(address: SocketAddr) -> Option<NodeId> {
    let IpAddr::V6(ip) = address.ip() else { return None };
    match ip.octets() {
        [0x01, 0, 0, 0, 0, 0, 0, 0, id @ ..] => Some(NodeId::from_bytes(id)),
        _ => None,
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
    const RELAYED: usize,
>
    RelayEndpoint<
        R,
        G,
        N,
        H,
        MTU,
        EXCHANGES,
        MESSAGES,
        UNANSWERED,
        OBSERVERS,
        RECENT,
        REPLIES,
        RELAYED,
    >
{
    /// Wraps an endpoint. `name` is what it calls itself where a relay says who it is (see
    /// [`Relay::new`]).
    #[must_use]
    pub const fn new(
        endpoint: Endpoint<
            Relaying<Sessions<R, G, N, H>>,
            MTU,
            EXCHANGES,
            MESSAGES,
            UNANSWERED,
            OBSERVERS,
            RECENT,
            REPLIES,
        >,
        name: &'static str,
    ) -> Self {
        Self {
            endpoint: SecureEndpoint::new(endpoint),
            relay: Relay::new(name),
            places: Places(Vec::new()),
        }
    }

    /// As [`SecureEndpoint::handle`]. What is passed on between others, either way, is dealt with here.
    pub fn handle<'b>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        datagram: &'b [u8],
        scratch: &'b mut [u8],
    ) -> Option<Event<'b, Peer>> {
        let event = self.endpoint.handle(now, from, via, datagram, scratch)?;
        match self.relay.handle(now, &mut self.endpoint, &self.places, event)? {
            Event::Request { responder, peer: Hop::Peer(peer), message, via } => {
                Some(Event::Request { responder, peer, message, via })
            }
            Event::Response { exchange, peer: Hop::Peer(peer), message, last } => {
                Some(Event::Response { exchange, peer, message, last })
            }
            // What has no peer of this side's is the relay's.
            _ => None,
        }
    }

    /// As [`SecureEndpoint::poll`].
    pub fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<Output> {
        self.relay.poll(now, &mut self.endpoint);
        loop {
            match self.endpoint.poll(now, buf)? {
                Output::Outcome(outcome) => {
                    let outcome = self.relay.handle_outcome(now, &mut self.endpoint, outcome);
                    if let Some(outcome) = outcome {
                        return Some(Output::Outcome(outcome));
                    }
                }
                output => return Some(output),
            }
        }
    }

    /// As [`SecureEndpoint::poll_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timeouts = [self.endpoint.poll_timeout(), self.relay.poll_timeout()];
        timeouts.into_iter().flatten().min()
    }

    /// The sessions.
    #[must_use]
    pub fn sessions(&self) -> &Sessions<R, G, N, H> {
        self.endpoint.security().inner()
    }

    /// The sessions, to be changed.
    pub fn sessions_mut(&mut self) -> &mut Sessions<R, G, N, H> {
        self.endpoint.security_mut().inner_mut()
    }

    /// How many requests and observations of others are being relayed.
    #[must_use]
    pub fn relayed(&self) -> usize {
        self.relay.len()
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
    const RELAYED: usize,
> Link
    for RelayEndpoint<
        R,
        G,
        N,
        H,
        MTU,
        EXCHANGES,
        MESSAGES,
        UNANSWERED,
        OBSERVERS,
        RECENT,
        REPLIES,
        RELAYED,
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

    fn forbid_all(&mut self) {
        self.places.0.clear();
    }

    fn allow(&mut self, id: NodeId, address: SocketAddr) {
        // One that finds no room is not relayed for.
        let _ = self.places.0.push((id, address));
    }

    fn detour(&mut self, now: Instant, id: NodeId, relay: SocketAddr) -> bool {
        // What the peer sends comes from the relay, too: that is where its session is.
        let Ok(peer) = self.introduce(now, id, relay) else { return false };
        self.endpoint.security_mut().set_detour(peer, name_of(id), relay)
    }

    fn end_detour(&mut self, id: NodeId) {
        if let Some(peer) = self.peer(id) {
            self.endpoint.security_mut().end_detour(peer);
        }
    }
}

/// What it sends of its own: this side's peers are the hops that requests go to.
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
    const RELAYED: usize,
> Deref
    for RelayEndpoint<
        R,
        G,
        N,
        H,
        MTU,
        EXCHANGES,
        MESSAGES,
        UNANSWERED,
        OBSERVERS,
        RECENT,
        REPLIES,
        RELAYED,
    >
{
    type Target = Endpoint<
        Relaying<Sessions<R, G, N, H>>,
        MTU,
        EXCHANGES,
        MESSAGES,
        UNANSWERED,
        OBSERVERS,
        RECENT,
        REPLIES,
    >;

    fn deref(&self) -> &Self::Target {
        &self.endpoint
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
    const RELAYED: usize,
> DerefMut
    for RelayEndpoint<
        R,
        G,
        N,
        H,
        MTU,
        EXCHANGES,
        MESSAGES,
        UNANSWERED,
        OBSERVERS,
        RECENT,
        REPLIES,
        RELAYED,
    >
{
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.endpoint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_address_that_leads_nowhere() {
        let id = NodeId::from_bytes([1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(name_of(id), "[100::102:304:506:708]:5683".parse().unwrap());
        assert_eq!(named_by(name_of(id)), Some(id));
        assert_eq!(named_by("[fd00::1]:5683".parse().unwrap()), None);
        assert_eq!(named_by("192.0.2.1:5683".parse().unwrap()), None);
    }

    #[test]
    fn it_is_relayed_between_those_who_are_allowed_and_nobody_else() {
        let [a, b, stranger]: [SocketAddr; 3] =
            ["192.0.2.1:7", "192.0.2.2:7", "192.0.2.3:7"].map(|text| text.parse().unwrap());
        let (of_a, of_b) = (NodeId::from_bytes([1; 8]), NodeId::from_bytes([2; 8]));
        let places = Places(Vec::from_slice(&[(of_a, a), (of_b, b)]).unwrap());
        let route = |from, to: SocketAddr| {
            let host = std::string::ToString::to_string(&to.ip());
            places.route(from, &Target::at(&host, to.port()))
        };
        let pass = Decision::Pass { to: b, is_relay: false, is_verified: true };
        assert_eq!(route(a, name_of(of_b)), pass);
        assert_eq!(route(a, b), pass);
        assert_eq!(route(stranger, name_of(of_b)), Decision::Refuse);
        assert_eq!(route(a, stranger), Decision::NoRoute);
        assert_eq!(route(a, name_of(NodeId::from_bytes([3; 8]))), Decision::NoRoute);
    }
}
