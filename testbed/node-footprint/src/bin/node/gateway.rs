//! The gateway: an endpoint that asks one thing at a time.

use alloc::vec::Vec;
use capmesh_coap::{
    Code, MessageWriter,
    endpoint::{Event, ExchangeId, Outcome, Output, Reliability, Via},
    option::OptionNumber,
};
use capmesh_session::{
    Replaceable as _,
    edhoc::{Credential, Identity},
};
use capmesh_wire::{Instant, Roster, content_format, paths};
use core::net::SocketAddr;
use footprint::{Place, fail, must};

use crate::{
    machine::{Core, MTU, endpoint, scalar},
    site,
    world::{address, id},
};

/// The number that its key is made of.
const NUMBER: u8 = 201;

/// Blocks of 512 bytes, as an option says it.
const BLOCK_EXPONENT: u32 = 5;
pub const BLOCK: usize = 512;

static PLACE: Place<Core> = Place::new();

pub struct Gateway {
    core: &'static mut Core,
    asked: Option<ExchangeId>,
    pub answer: Option<(Code, Vec<u8>)>,
}

/// A request: its method, path, body, and which block of a longer body it is, more of which follows.
pub struct Ask<'a> {
    pub code: Code,
    pub path: &'a str,
    pub body: &'a [u8],
    pub block: Option<(u32, bool)>,
}

impl Gateway {
    pub fn new() -> Self {
        let credential = must(Credential::parse(site!("gateway")).ok(), b"credential");
        let identity = must(Identity::new(&scalar(NUMBER), credential).ok(), b"identity");
        let core = PLACE.fill(|| endpoint(identity, 3));
        let roster = must(Roster::from_trusted(site!("roster")).ok(), b"roster");
        core.sessions_mut().roster_mut().replace(&roster);
        for n in [0, 1] {
            let met = core.sessions_mut().introduce(Instant::ZERO, id(n), address(n));
            must(met.ok(), b"introduction");
        }
        Self { core, asked: None, answer: None }
    }

    /// Asks a node.
    pub fn ask(&mut self, now: Instant, n: usize, ask: &Ask<'_>) {
        let peer = must(self.core.sessions().peer(id(n)), b"peer");
        let build = |writer: &mut MessageWriter<'_>| {
            writer.path(ask.path)?;
            if !ask.body.is_empty() {
                let format = match ask.path {
                    paths::PLAN => content_format::PLAN,
                    paths::CAPSULES => content_format::BUNDLE,
                    _ => content_format::CONTROL,
                };
                writer.option_uint(OptionNumber::CONTENT_FORMAT, u32::from(format))?;
            }
            if let Some((number, more)) = ask.block {
                let value = number << 4 | u32::from(more) << 3 | BLOCK_EXPONENT;
                writer.option_uint(OptionNumber::BLOCK1, value)?;
            }
            if !ask.body.is_empty() {
                writer.payload(ask.body)?;
            }
            Ok(())
        };
        let asked = self.core.request(now, peer, Reliability::Confirmable, ask.code, build);
        self.asked = Some(must(asked.ok(), b"request"));
        self.answer = None;
    }

    pub fn handle(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let mut scratch = [0; MTU];
        match self.core.handle(now, from, Via::Unicast, datagram, &mut scratch) {
            Some(Event::Response { exchange, message, .. }) if Some(exchange) == self.asked => {
                self.answer = Some((message.code(), message.payload().to_vec()));
            }
            Some(Event::Request { responder, .. }) => {
                let _ = self.core.respond(now, responder, Code::NOT_FOUND, |_| Ok(()));
            }
            _ => {}
        }
    }

    pub fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<(SocketAddr, usize)> {
        loop {
            match self.core.poll(now, buf)? {
                Output::Transmit { to, len } => return Some((to, len)),
                Output::Outcome(Outcome::Failed { .. }) => fail(b"a request failed"),
                Output::Outcome(_) => {}
            }
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }
}
