//! Who is who, and chance.

use crate::Host;
use capmesh_session::edhoc::{self, Identity};
use capmesh_wire::cose::SigningKey;
use capmesh_wire::roster::{EntriesWriter, Entry};
use capmesh_wire::{Claim, Credential, Name, NodeId, Revision, Role, limits};
use rand_core::{CryptoRng, RngCore};
use std::net::{IpAddr, SocketAddr};

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Chance of its own for whoever is called `label`, which takes nothing from this one.
    #[must_use]
    pub fn fork(&self, label: u64) -> Self {
        let mut fork = Self(self.0 ^ label.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Self(fork.roll() ^ label.rotate_left(32))
    }

    /// Whether something happens that does so in so many of a thousand cases.
    pub fn chance(&mut self, thousandths: u16) -> bool {
        thousandths > 0 && self.below(1_000) < u64::from(thousandths)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }
}

impl RngCore for Dice {
    fn next_u32(&mut self) -> u32 {
        (self.roll() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.roll()
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        out.fill_with(|| self.roll().to_be_bytes()[0]);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Dice {}

/// The number that the site's key is made of.
pub const SITE: Host = 60_000;
/// The gateway's.
pub const GATEWAY: Host = 60_001;
/// The publisher's.
pub const PUBLISHER: Host = 60_002;
/// The registry's.
pub const REGISTRY: Host = 60_003;
/// The operator's.
pub const OPERATOR: Host = 60_004;

pub(crate) fn scalar(n: Host) -> [u8; 32] {
    let [high, low] = n.to_be_bytes();
    let mut scalar = [low; 32];
    scalar[..2].copy_from_slice(&[1, high]);
    scalar
}

/// Somebody's key.
#[must_use]
pub fn key(n: Host) -> SigningKey {
    SigningKey::from_bytes(&scalar(n)).unwrap()
}

/// Where somebody is.
#[must_use]
pub fn address(n: Host) -> SocketAddr {
    let [high, low] = n.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 5683))
}

/// Who is there.
#[must_use]
pub fn host_of(address: SocketAddr) -> Option<Host> {
    match address.ip() {
        IpAddr::V4(ip) => match ip.octets() {
            [10, 0, high, low] => Some(Host::from_be_bytes([high, low])),
            _ => None,
        },
        IpAddr::V6(_) => None,
    }
}

/// Somebody's id.
#[must_use]
pub fn node_id(n: Host) -> NodeId {
    key(n).id()
}

/// What a node prints at its first start.
#[must_use]
pub fn claim(n: Host) -> Claim {
    key(n).public_key().claim()
}

/// What somebody is called.
pub(crate) fn name(n: Host) -> String {
    match n {
        SITE => "site".into(),
        GATEWAY => "gateway".into(),
        PUBLISHER => "publisher".into(),
        REGISTRY => "registry".into(),
        OPERATOR => "operator".into(),
        n => format!("n{n}"),
    }
}

pub(crate) fn credential(n: Host) -> Vec<u8> {
    let mut buf = [0; limits::CREDENTIAL];
    let name = name(n);
    let len = Credential::encode(Name::new(&name).unwrap(), &key(n).public_key(), &mut buf);
    buf[..len.unwrap()].to_vec()
}

pub(crate) fn identity(n: Host) -> Identity {
    let credential = edhoc::Credential::parse(&credential(n)).unwrap();
    Identity::new(&scalar(n), credential).unwrap()
}

/// The site's credential: what its members trust.
pub(crate) fn site_credential() -> Vec<u8> {
    let mut buf = vec![0; limits::CREDENTIAL];
    let len = Credential::encode(Name::new("site").unwrap(), &key(SITE).public_key(), &mut buf);
    buf.truncate(len.unwrap());
    buf
}

/// A roster with those that are not nodes and, if there are any, nodes 1 to `nodes`.
pub(crate) fn roster(nodes: Host) -> Vec<u8> {
    roster_with(nodes, None)
}

/// A registry that is nowhere, and comes before [`REGISTRY`] on a roster.
pub(crate) fn absent_registry() -> Host {
    let before = |n: &Host| node_id(*n) < node_id(REGISTRY);
    (OPERATOR + 1..).find(before).unwrap_or(OPERATOR + 1)
}

/// As [`roster`], with another registry.
pub(crate) fn roster_with(nodes: Host, registry: Option<Host>) -> Vec<u8> {
    let mut members = vec![
        (Role::Gateway, credential(GATEWAY)),
        (Role::Publisher, credential(PUBLISHER)),
        (Role::Registry, credential(REGISTRY)),
        (Role::Operator, credential(OPERATOR)),
    ];
    members.extend(registry.map(|n| (Role::Registry, credential(n))));
    members.extend((1..=nodes).map(|n| (Role::Node, credential(n))));
    members.sort_by_cached_key(|(_, bytes)| Credential::parse(bytes).unwrap().id());
    let room = limits::ROSTER_HEAD + members.len() * limits::ROSTER_ENTRY + 8;
    let mut buf = vec![0; room];
    let mut entries = EntriesWriter::new(&mut buf);
    for (role, bytes) in &members {
        let credential = Credential::parse(bytes).unwrap();
        entries.push(&Entry { role: *role, expires: 4_000_000_000, credential }).unwrap();
    }
    let head = entries.head(Name::new("site").unwrap(), Revision(1), 1_700_000_000);
    let mut out = vec![0; room];
    let len = entries.sign(&head, &key(SITE), &mut out).unwrap();
    out.truncate(len);
    out
}
