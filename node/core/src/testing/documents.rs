//! Who is who, and the documents that they sign.

use capmesh_wire::cose::SigningKey;
use capmesh_wire::plan::{Assignment, Failover, Plan};
use capmesh_wire::roster::{EntriesWriter, Entry};
use capmesh_wire::{
    Credential, Digest, Epoch, InstanceId, List, Name, NodeId, Revision, Role, format,
};
use std::vec;
use std::vec::Vec;

pub(crate) fn name(text: &str) -> Name<'_> {
    Name::new(text).unwrap()
}

/// Somebody's key: everybody has a number.
pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32]).unwrap()
}

pub(crate) fn id(n: u8) -> NodeId {
    key(n).id()
}

pub(crate) const SITE: u8 = 100;
pub(crate) const GATEWAY: u8 = 101;
pub(crate) const PUBLISHER: u8 = 102;
pub(crate) const OPERATOR: u8 = 103;
pub(crate) const REGISTRY: u8 = 104;

pub(crate) const FAR: u64 = 4_000_000_000;

pub(crate) fn role(n: u8) -> Role {
    match n {
        GATEWAY => Role::Gateway,
        PUBLISHER => Role::Publisher,
        OPERATOR => Role::Operator,
        REGISTRY => Role::Registry,
        _ => Role::Node,
    }
}

/// The credential of a party; nodes are called as their [`Site`] calls them.
pub(crate) fn credential(n: u8) -> Vec<u8> {
    let mut buf = [0; 128];
    let subject = if role(n) == Role::Node { "node" } else { "other" };
    let len = Credential::encode(name(subject), &key(n).public_key(), &mut buf).unwrap();
    buf[..len].to_vec()
}

/// A signed roster of these parties.
pub(crate) fn roster(version: u32, members: &[u8]) -> Vec<u8> {
    let members: Vec<_> = members.iter().map(|n| (*n, role(*n), FAR)).collect();
    roster_with(version, &members)
}

pub(crate) fn roster_with(version: u32, members: &[(u8, Role, u64)]) -> Vec<u8> {
    signed_roster("greenhouse", SITE, version, members)
}

pub(crate) fn signed_roster(
    site: &str,
    signer: u8,
    version: u32,
    members: &[(u8, Role, u64)],
) -> Vec<u8> {
    let credentials: Vec<_> = members.iter().map(|(n, ..)| credential(*n)).collect();
    let mut entries: Vec<_> = credentials
        .iter()
        .zip(members)
        .map(|(bytes, (_, role, expires))| {
            let credential = Credential::parse(bytes).unwrap();
            Entry { role: *role, expires: *expires, credential }
        })
        .collect();
    entries.sort_by_key(Entry::id);
    entries.dedup_by_key(|entry| entry.id());
    let mut buf = vec![0; 70_000];
    let mut writer = EntriesWriter::new(&mut buf);
    for entry in &entries {
        writer.push(entry).unwrap();
    }
    let head = writer.head(name(site), Revision(version), 1_790_000_000);
    let mut out = vec![0; 70_000];
    let len = writer.sign(&head, &key(signer), &mut out).unwrap();
    out[..len].to_vec()
}

/// A signed plan for a node, with rows for these capsules.
pub(crate) fn plan(revision: u32, node: NodeId, signer: u8, rows: &[(Digest, bool)]) -> Vec<u8> {
    let rows: Vec<_> = (1..)
        .zip(rows)
        .map(|(instance, (capsule, rollback))| Assignment {
            instance: InstanceId(instance),
            epoch: Epoch(1),
            capsule: *capsule,
            pipeline: name("air"),
            name: name("clean"),
            replica: 0,
            lease_ms: None,
            failover: Failover::Restart,
            checkpoint_ms: None,
            rollback: *rollback,
            config: None,
            inbound: List::EMPTY,
            outbound: List::EMPTY,
            peers: List::EMPTY,
        })
        .collect();
    let plan = Plan {
        format: format::PLAN,
        site: name("greenhouse"),
        revision: Revision(revision),
        node,
        routes: List::EMPTY,
        assignments: List::new(&rows).unwrap(),
    };
    let (mut scratch, mut buf) = (vec![0; 8_192], vec![0; 8_192]);
    let len = plan.sign(&key(signer), &mut scratch, &mut buf).unwrap();
    buf[..len].to_vec()
}
