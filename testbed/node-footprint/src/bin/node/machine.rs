//! A node and its flash.

use alloc::{boxed::Box, string::ToString, vec, vec::Vec};
use capmesh_coap::{Endpoint, endpoint};
use capmesh_node::{
    Boot, Config, Node,
    config::{Actuator, Budget},
    flash::{Op, Store, kinds},
    site::Members,
};
use capmesh_runtime::Runtime;
use capmesh_session::{SecureEndpoint, Sessions, edhoc::Identity};
use capmesh_wire::{Instant, Unit};
use footprint::must;
use rand_core::{CryptoRng, RngCore};

/// The longest datagram.
pub const MTU: usize = 1152;

/// The endpoint of a board, and of the gateway.
pub type Core = SecureEndpoint<Sessions<Members, Dice, 4, 2>, MTU, 8, { 8 * (MTU + 4) }, 8, 4, 32, 8192>;

/// SplitMix64: good enough to measure with.
pub struct Dice(pub u64);

impl RngCore for Dice {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        out.fill_with(|| (self.next_u32() >> 24) as u8);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Dice {}

/// An endpoint without members. It is made where the caller's variable is: to go from there to another
/// place, it would be on the stack as a whole.
#[inline(never)]
pub fn endpoint(identity: Identity, seed: u64) -> Core {
    let mut dice = Dice(seed);
    let mut own = [0; 16];
    dice.fill_bytes(&mut own);
    let config = capmesh_session::Config::default();
    over(Sessions::new(Instant::ZERO, config, identity, Members::new(), dice), own)
}

/// Its frame is not to lie under the one that makes the sessions.
#[inline(never)]
fn over(sessions: Sessions<Members, Dice, 4, 2>, seed: [u8; 16]) -> Core {
    SecureEndpoint::new(Endpoint::new(endpoint::Config::default(), sessions, seed))
}

/// The private key of the party that the site made with this number.
pub fn scalar(n: u8) -> [u8; 32] {
    let mut scalar = [n; 32];
    scalar[0] = 1;
    scalar
}

/// Flash of a node: 24 sectors of 4 KB.
pub struct Flash(&'static mut [u8]);

pub const FLASH: usize = 24 * 4096;

impl Flash {
    /// Takes the memory and erases it.
    pub fn new(memory: &'static mut [u8]) -> Self {
        memory.fill(0xff);
        Self(memory)
    }

    pub fn bytes(&self) -> &[u8] {
        self.0
    }

    pub fn program(&mut self, at: u32, bytes: &[u8]) {
        let place = must(self.0.get_mut(at as usize..), b"a place in flash");
        for (to, from) in place.iter_mut().zip(bytes) {
            *to &= from;
        }
    }

    pub fn erase(&mut self, at: u32) {
        must(self.0.get_mut(at as usize..at as usize + 4096), b"a sector").fill(0xff);
    }
}

/// A node, its flash, and what it has done to the world.
pub struct Machine<'l> {
    pub flash: Flash,
    pub node: Option<Box<Node<&'l mut Core, Runtime>>>,
    pub actuated: f64,
}

impl<'l> Machine<'l> {
    /// A node that belongs to the site and has not started: its flash holds its key and the roster.
    pub fn new(n: u8, memory: &'static mut [u8]) -> Self {
        let mut flash = Flash::new(memory);
        let name: &[u8] = if n == 1 { b"n1" } else { b"n2" };
        let own: Vec<u8> = scalar(n).iter().chain(name).copied().collect();
        let config = config().flash;
        let mut store = Store::mount(flash.bytes(), config);
        for (kind, value) in [
            (kinds::IDENTITY, &own[..]),
            (kinds::SITE, super::site!("site")),
            (kinds::ROSTER, super::site!("roster")),
        ] {
            must(store.put(kind, 0, value).ok(), b"record");
            settle(&mut store, &mut flash);
        }
        Self { flash, node: None, actuated: 0.0 }
    }

    /// The identity that its endpoint is to have.
    pub fn identity(&self) -> Identity {
        self.found().own().identity().clone()
    }

    /// Starts the node.
    pub fn boot(&mut self, now: Instant, link: &'l mut Core, seed: u64) {
        let boot = self.found();
        let node = boot.start(now, self.flash.bytes(), link, Runtime::new(), seed);
        self.node = Some(Box::new(node));
    }

    fn found(&self) -> Boot {
        must(Boot::new(config(), self.flash.bytes(), [9; 32]).ok(), b"boot")
    }
}

fn settle(store: &mut Store, flash: &mut Flash) {
    while let Some(op) = store.poll(flash.bytes()) {
        match op {
            Op::Program { at, bytes } => {
                let bytes = bytes.to_vec();
                flash.program(at, &bytes);
            }
            Op::Erase { at } => flash.erase(at),
        }
        store.flashed(flash.bytes(), Ok(()));
    }
}

/// A board that runs a few capsules.
fn config() -> Config {
    let default = Config::default();
    Config {
        budget: Budget { instances: 4, ..default.budget },
        actuators: vec![Actuator { name: "sum".to_string().into_boxed_str(), unit: Unit::None }],
        flash: capmesh_node::flash::Config {
            log_sectors: 8,
            extent_sectors: 16,
            max_records: 64,
            max_extents: 8,
            ..default.flash
        },
        ..default
    }
}
