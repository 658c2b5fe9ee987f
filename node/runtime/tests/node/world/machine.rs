//! One node with its flash.

use super::capsules;
use super::watched::Record;
use super::who::{NodeCore, SITE, credential, node_core, scalar};
use capmesh_node::flash::nor::{Nor, Pending, Tear};
use capmesh_node::flash::{Owner, Store, kinds};
use capmesh_node::test_util::Hooked;
use capmesh_node::{Boot, Config, Node};
use capmesh_runtime::Runtime;
use capmesh_wire::Instant;

/// A node, its flash, and what it has done to the world.
pub(crate) struct Machine {
    pub(crate) n: u8,
    pub(crate) config: Config,
    pub(crate) nor: Nor,
    pub(crate) node: Option<Box<Node<NodeCore, Hooked<Runtime, Record>>>>,
    /// When the operation that flash works on is done, and what it is.
    pub(super) flashing: Option<(Instant, Pending)>,
    pub(crate) actuations: Vec<(Instant, u8, f64)>,
    pub(crate) boots: u32,
    /// What its capsules have been given to do.
    pub(crate) record: Record,
}

impl Machine {
    /// A node whose flash holds its key, the site and the roster.
    pub(super) fn new(n: u8, config: Config, roster: &[u8]) -> Self {
        let nor = Nor::new(config.flash.geometry, config.flash.bytes());
        let mut machine = Self {
            n,
            config,
            nor,
            node: None,
            flashing: None,
            actuations: Vec::new(),
            boots: 0,
            record: Record::default(),
        };
        let mut own = scalar(n).to_vec();
        own.extend_from_slice(format!("n{n}").as_bytes());
        machine.put(kinds::IDENTITY, 0, &own);
        machine.put(kinds::SITE, 0, &credential("site", SITE));
        machine.put(kinds::ROSTER, 0, roster);
        machine
    }

    /// Writes a record past the node.
    fn put(&mut self, kind: u8, id: u32, value: &[u8]) {
        let mut store = Store::mount(self.nor.bytes(), self.config.flash);
        store.put(kind, id, value).unwrap();
        self.nor.settle(&mut store);
    }

    /// Gives the node another roster past the node.
    pub(crate) fn set_roster(&mut self, roster: &[u8]) {
        self.put(kinds::ROSTER, 0, roster);
    }

    /// Puts a capsule into flash past the node.
    pub(crate) fn preload(&mut self, id: u32, capsule: &capsules::Packed) {
        self.put(kinds::CAPSULE, id, &capsule.manifest);
        let mut store = Store::mount(self.nor.bytes(), self.config.flash);
        let owner = Owner { kind: kinds::CAPSULE, id };
        let extent = store.allocate(self.nor.bytes(), &capsule.blob, owner).unwrap();
        self.nor.settle(&mut store);
        for (offset, bytes) in capsule.pieces() {
            store.write(self.nor.bytes(), extent, offset, bytes).unwrap();
            self.nor.settle(&mut store);
        }
        let mut group = store.group();
        group.commit_extent(self.nor.bytes(), extent).unwrap();
        group.submit().unwrap();
        self.nor.settle(&mut store);
    }

    pub(crate) fn boot(&mut self, now: Instant, seed: u64) {
        self.boots += 1;
        let flash = self.nor.bytes();
        let boot = Boot::new(self.config.clone(), flash, [9; 32]).unwrap();
        let link = node_core(&format!("n{}", self.n), self.n, seed ^ u64::from(self.boots) << 48);
        let host = Hooked { inner: Runtime::new(), hook: self.record.clone() };
        let node = boot.start(now, flash, link, host, seed + u64::from(self.boots));
        self.node = Some(Box::new(node));
    }

    /// Whether flash works on something.
    pub(crate) const fn is_flashing(&self) -> bool {
        self.flashing.is_some()
    }

    /// The power goes: what flash was doing is done in part.
    pub(crate) fn crash(&mut self, tear: Tear) {
        self.node = None;
        if let Some((_, op)) = self.flashing.take() {
            self.nor.tear(op.op(), tear);
        }
    }
}
