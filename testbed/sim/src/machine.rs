//! A node, its flash, and what it has done to the world.

use crate::site::{Dice, identity, name, scalar};
use crate::world::MTU;
use capmesh_coap::endpoint::{self, Endpoint};
use capmesh_coap::relay::Relaying;
use capmesh_node::flash::nor::{Nor, Tear};
use capmesh_node::flash::{Op, Store, kinds};
use capmesh_node::site::Members;
use capmesh_node::{Boot, Config, Node};
use capmesh_runtime::Runtime;
use capmesh_session::{RelayEndpoint, Sessions};
use capmesh_wire::Instant;
use rand_core::RngCore;

pub(crate) type Core = RelayEndpoint<Members, Dice, 16, 4, MTU, 24, 16, 8, 128, 16_384, 4>;

/// A node, its flash, and what it has done to the world.
#[derive(Debug)]
pub struct Machine {
    pub(crate) n: u8,
    config: Config,
    pub(crate) nor: Nor,
    pub(crate) node: Option<Box<Node<Core, Runtime>>>,
    /// When the operation that flash works on is done, and what it is.
    pub(crate) flashing: Option<(Instant, OwnedOp)>,
    /// What its actuators were set to.
    pub actuations: Vec<(Instant, u8, f64)>,
    boots: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum OwnedOp {
    Program { at: u32, bytes: Vec<u8> },
    Erase { at: u32 },
}

impl OwnedOp {
    pub(crate) fn op(&self) -> Op<'_> {
        match self {
            Self::Program { at, bytes } => Op::Program { at: *at, bytes },
            Self::Erase { at } => Op::Erase { at: *at },
        }
    }
}

impl Machine {
    /// A new node, which has its key and belongs to no site.
    pub(crate) fn new(n: u8, config: Config) -> Self {
        let mut nor = Nor::new(config.flash.geometry, config.flash.bytes());
        let mut own = scalar(n).to_vec();
        own.extend_from_slice(name(n).as_bytes());
        let mut store = Store::mount(nor.bytes(), config.flash);
        store.put(kinds::IDENTITY, 0, &own).unwrap();
        loop {
            let op = match store.poll(nor.bytes()) {
                None => break,
                Some(Op::Program { at, bytes }) => OwnedOp::Program { at, bytes: bytes.to_vec() },
                Some(Op::Erase { at }) => OwnedOp::Erase { at },
            };
            nor.apply(op.op()).unwrap();
            let _ = store.flashed(nor.bytes(), Ok(()));
        }
        Self { n, config, nor, node: None, flashing: None, actuations: Vec::new(), boots: 0 }
    }

    /// The power comes back.
    pub(crate) fn boot(&mut self, now: Instant, seed: u64) {
        self.boots += 1;
        let flash = self.nor.bytes();
        let boot = Boot::new(self.config.clone(), flash, [9; 32]).unwrap();
        let link = core(self.n, seed ^ u64::from(self.boots) << 48);
        let node = boot.start(now, flash, link, Runtime::new(), seed + u64::from(self.boots));
        self.node = Some(Box::new(node));
    }

    /// Whether it is on.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.node.is_some()
    }

    /// The power goes: what flash was doing is done in part.
    pub(crate) fn crash(&mut self, tear: Tear) {
        self.node = None;
        if let Some((_, op)) = self.flashing.take() {
            self.nor.tear(op.op(), tear);
        }
    }
}

fn core(n: u8, seed: u64) -> Core {
    let mut dice = Dice(seed ^ u64::from(n) << 40);
    let config = endpoint::Config { nstart: 8, ..endpoint::Config::default() };
    let sessions = Sessions::new(
        Instant::ZERO,
        capmesh_session::Config::for_host(),
        identity(n),
        Members::new(),
        dice.clone(),
    );
    let mut seed = [0; 16];
    dice.fill_bytes(&mut seed);
    RelayEndpoint::new(Endpoint::new(config, Relaying::new(sessions), seed), "node")
}
