//! The calls of an application, each a function of its own: what the compiler inlines into these is
//! the protocols', and counts as theirs.

use capmesh_coap::{
    Endpoint,
    endpoint::{self, Event, Output, Reliability, Responder, Via},
    message::Code,
};
use capmesh_session::{Config, Entry, Peer, SecureEndpoint, Sessions, edhoc::Identity};
use capmesh_wire::{Instant, NodeId};
use core::net::SocketAddr;
use footprint::Place;

use crate::Weak;

/// The longest datagram, in bytes.
pub const MTU: usize = 1152;

/// Sessions with so many peers, one handshake at a time.
pub type Peers<const N: usize> = Sessions<&'static [Entry], Weak, N, 1>;

/// Nobody observes where observing is not built in.
const OBSERVERS: usize = if cfg!(feature = "full") { 4 } else { 0 };

/// An endpoint of the size of [`capmesh_coap::endpoint::BoardEndpoint`].
pub type Board = SecureEndpoint<Peers<4>, MTU, 4, { 4 * (MTU + 4) }, 4, OBSERVERS, 16, 4608>;

#[inline(never)]
pub fn start(
    place: &'static Place<Board>,
    identity: Identity,
    roster: &'static [Entry],
    number: u8,
) -> &'static mut Board {
    place.fill(|| {
        let rng = Weak(u32::from(number));
        let sessions = Sessions::new(Instant::ZERO, Config::default(), identity, roster, rng);
        SecureEndpoint::new(Endpoint::new(endpoint::Config::default(), sessions, [number; 16]))
    })
}

#[inline(never)]
pub fn introduce(board: &mut Board, id: NodeId, address: SocketAddr) -> bool {
    board.security_mut().introduce(Instant::ZERO, id, address).is_ok()
}

#[inline(never)]
pub fn request(board: &mut Board, now: Instant, peer: Peer) -> bool {
    let asked = board.request(now, peer, Reliability::Confirmable, Code::GET, |message| {
        message.path("sensors").map(drop)
    });
    asked.is_ok()
}

#[inline(never)]
pub fn respond(board: &mut Board, now: Instant, to: Responder) -> bool {
    let answered =
        board.respond(now, to, Code::CONTENT, |message| message.payload(&[7; 64]).map(drop));
    answered.is_ok()
}

#[inline(never)]
pub fn handle<'b>(
    board: &mut Board,
    now: Instant,
    from: SocketAddr,
    datagram: &'b [u8],
    scratch: &'b mut [u8],
) -> Option<Event<'b, Peer>> {
    board.handle(now, from, Via::Unicast, datagram, scratch)
}

#[inline(never)]
pub fn poll(board: &mut Board, now: Instant, buf: &mut [u8]) -> Option<Output> {
    board.poll(now, buf)
}
