//! Who is who: keys, rosters and endpoints.

use capmesh_coap::Endpoint;
use capmesh_coap::endpoint;
use capmesh_coap::relay::Relaying;
use capmesh_coap::test_util::Dice;
use capmesh_node::site::Members;
use capmesh_session::edhoc::{self, Identity};
use capmesh_session::{Peer, RelayEndpoint, SecureEndpoint, Sessions};
use capmesh_wire::cose::SigningKey;
use capmesh_wire::roster::{EntriesWriter, Entry};
use capmesh_wire::{Credential, Digest, Instant, Name, NodeId, Revision, Role, limits};
use rand_core::RngCore;
use std::net::SocketAddr;

pub(crate) const MTU: usize = 1280;

/// The endpoint of the gateway.
pub(crate) type Core =
    SecureEndpoint<Sessions<Members, Dice, 8, 4>, MTU, 24, { 24 * (MTU + 4) }, 16, 8, 128, 16_384>;

/// The endpoint of a node.
pub(crate) type NodeCore =
    RelayEndpoint<Members, Dice, 8, 4, MTU, 24, { 24 * (MTU + 4) }, 16, 8, 128, 16_384, 4>;

/// The seeds of a test with chance in it: `CAPMESH_SEEDS=100..200` asks for others than the usual.
pub(crate) fn seeds(usual: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("CAPMESH_SEEDS").ok();
    let range = asked.as_deref().and_then(|asked| asked.split_once(".."));
    range.map_or(0..usual, |(first, end)| first.parse().unwrap()..end.parse().unwrap())
}

pub(crate) fn scalar(n: u8) -> [u8; 32] {
    let mut scalar = [n; 32];
    scalar[0] = 1;
    scalar
}

/// Site time at the start of the world's clock, in microseconds since 1970.
pub(crate) const UNIX: u64 = 1_700_000_000_000_000;

/// Who is who: by the number that their key is made of.
pub(crate) const SITE: u8 = 200;
pub(crate) const GATEWAY: u8 = 201;
pub(crate) const PUBLISHER: u8 = 202;

pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&scalar(n)).unwrap()
}

pub(crate) fn credential(name: &str, n: u8) -> Vec<u8> {
    let mut buf = [0; limits::CREDENTIAL];
    let len = Credential::encode(Name::new(name).unwrap(), &key(n).public_key(), &mut buf);
    buf[..len.unwrap()].to_vec()
}

fn identity(name: &str, n: u8) -> Identity {
    let credential = edhoc::Credential::parse(&credential(name, n)).unwrap();
    Identity::new(&scalar(n), credential).unwrap()
}

pub(crate) fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 5683))
}

pub(crate) fn node_id(n: u8) -> NodeId {
    key(n).id()
}

/// The roster of the nodes 1 to `nodes`, without those who were revoked.
pub(crate) fn roster(version: u32, nodes: u8, revoked: &[u8]) -> Vec<u8> {
    let mut members: Vec<(Role, Vec<u8>)> = (1..=nodes)
        .filter(|n| !revoked.contains(n))
        .map(|n| (Role::Node, credential(&format!("n{n}"), n)))
        .collect();
    if !revoked.contains(&GATEWAY) {
        members.push((Role::Gateway, credential("gateway", GATEWAY)));
    }
    if !revoked.contains(&PUBLISHER) {
        members.push((Role::Publisher, credential("publisher", PUBLISHER)));
    }
    members.sort_by_key(|(_, bytes)| Credential::parse(bytes).unwrap().id());
    let mut buf = vec![0; 8_192];
    let mut entries = EntriesWriter::new(&mut buf);
    for (role, bytes) in &members {
        let credential = Credential::parse(bytes).unwrap();
        entries.push(&Entry { role: *role, expires: 4_000_000_000, credential }).unwrap();
    }
    let head = entries.head(Name::new("site").unwrap(), Revision(version), 1_700_000_000);
    let mut out = vec![0; 8_192];
    let len = entries.sign(&head, &key(SITE), &mut out).unwrap();
    out.truncate(len);
    out
}

/// Sessions of somebody without members yet, and what an endpoint needs beside them.
fn sessions(
    name: &str,
    n: u8,
    seed: u64,
) -> (endpoint::Config, Sessions<Members, Dice, 8, 4>, [u8; 16]) {
    let mut dice = Dice::new(seed ^ u64::from(n) << 40);
    let config = endpoint::Config { nstart: 8, ..endpoint::Config::default() };
    let sessions = Sessions::new(
        Instant::ZERO,
        capmesh_session::Config::for_host(),
        identity(name, n),
        Members::new(),
        dice.clone(),
    );
    let mut seed = [0; 16];
    dice.fill_bytes(&mut seed);
    (config, sessions, seed)
}

pub(super) fn core(name: &str, n: u8, seed: u64) -> Core {
    let (config, sessions, seed) = sessions(name, n, seed);
    SecureEndpoint::new(Endpoint::new(config, sessions, seed))
}

pub(super) fn node_core(name: &str, n: u8, seed: u64) -> NodeCore {
    let (config, sessions, seed) = sessions(name, n, seed);
    RelayEndpoint::new(Endpoint::new(config, Relaying::new(sessions), seed), "node")
}

/// Who a member of the site is.
pub(crate) fn peer(n: u8) -> Peer {
    let role = if n == GATEWAY { Role::Gateway } else { Role::Node };
    Peer::Member(capmesh_session::Member { id: node_id(n), role })
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(bytes)
}
