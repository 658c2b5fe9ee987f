//! A node and its site, over links and flash that fail.

mod adoption;
mod identity;
mod plans;
mod rosters;
mod spreading;

use super::documents::Known;
use super::rebuild::Rebuilt;
use super::start::look;
use super::{Event, documents::Kind};
use crate::flash::kinds;
use crate::flash::nor::{Nor, Tear};
use crate::testing::*;
use capmesh_coap::Code;
use capmesh_coap::block::BlockSize;
use capmesh_coap::test_util::Faults;
use capmesh_wire::control::Adopt;
use capmesh_wire::roster::Delta;
use capmesh_wire::{
    BlobRef, Bytes, Credential, Digest, ErrorCode, Instant, Revision, Role, Roster, content_format,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::format;
use std::time::Duration;
use std::vec;
use std::vec::Vec;

const EVERYBODY: &[u8] = &[1, 2, 3, GATEWAY, PUBLISHER, OPERATOR];

fn node(n: u8) -> Party {
    Party::new(n).with_roster(&roster(1, EVERYBODY))
}

/// A roster of so many more nodes, whose keys take a while to make.
fn long_roster(version: u32, more: u8) -> Vec<u8> {
    let more = (20..20 + more).chain(EVERYBODY.iter().copied());
    roster(version, &more.collect::<Vec<_>>())
}

fn put(world: &mut World, from: u8, path: &str, body: &[u8]) -> Said {
    world.machine(address(from)).ask(peer(1), Code::PUT, path, body);
    assert!(run(world, from, 600, |party| party.answer().is_some()));
    world.machine(address(from)).asking.take().unwrap().answer.unwrap()
}

fn problem(said: &Said) -> ErrorCode {
    let problem = said.problem();
    assert_eq!(said.code.0, problem.code.coap_code());
    problem.code
}

fn two() -> World {
    world(1, vec![(1, node(1)), (GATEWAY, node(GATEWAY))])
}

fn plan_2() -> Vec<u8> {
    plan(2, id(1), GATEWAY, &[])
}

#[test]
fn who_has_expired_is_not_believed_once_the_time_is_known() {
    let soon = roster_with(
        2,
        &[(1, Role::Node, FAR), (GATEWAY, Role::Gateway, 1_000), (3, Role::Gateway, FAR)],
    );
    let mut world = two();
    put(&mut world, GATEWAY, "r", &soon);
    world.machine(address(1)).site.set_unix_time(999);
    assert_eq!(put(&mut world, GATEWAY, "p", &plan_2()).code, Code::CHANGED);
    world.machine(address(1)).site.set_unix_time(1_000);
    let said = put(&mut world, GATEWAY, "p", &plan(3, id(1), GATEWAY, &[]));
    assert_eq!(problem(&said), ErrorCode::Untrusted);
    assert_eq!(put(&mut world, GATEWAY, "p", &plan(1, id(1), 3, &[])).code, Code::CHANGED);
}

#[test]
fn members_are_sources_as_their_role_says() {
    let party = node(1);
    let flash = party.nor.bytes();
    let source = |n| party.site.source(flash, &party.store, id(n));
    assert_eq!(source(2), Some((peer(2), 0)));
    assert_eq!(source(GATEWAY), Some((peer(GATEWAY), 1)));
    assert_eq!((source(PUBLISHER), source(77)), (None, None));
}

fn a_blob(bytes: &[u8]) -> BlobRef {
    BlobRef::of_one_chunk(bytes, 10).unwrap()
}

#[test]
fn an_adoption_without_a_credential_is_refused() {
    let mut party = Party::new(1);
    let claim = Some(party.claim());
    let adopt = Adopt { site: Bytes::new(b"none").unwrap(), roster: a_blob(b"x"), claim };
    let refused = party.site.adopt(&party.store, peer(GATEWAY), &adopt).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Malformed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A delta applied in stretches is the same as one that is applied at once.
    #[test]
    fn stretches_of_a_rebuilt_roster_are_the_roster(
        old in prop::collection::btree_set(1_u8..40, 1..20),
        new in prop::collection::btree_set(1_u8..40, 1..20),
        step in 1_usize..700,
    ) {
        let make = |version, members: &BTreeSet<u8>| {
            roster(version, &members.iter().copied().collect::<Vec<_>>())
        };
        let (old, new) = (make(1, &old), make(2, &new));
        let base = Roster::from_trusted(&old).unwrap();
        let mut buf = [0; 4_096];
        let len = Delta::between(&base, &Roster::from_trusted(&new).unwrap(), &mut buf).unwrap();
        let delta = Delta::parse(&buf[..len]).unwrap();
        let rebuilt = Rebuilt::new(&buf[..len], &delta, &base).unwrap();
        prop_assert_eq!(rebuilt.len(), new.len());
        let mut out = Vec::<u8>::new();
        let mut chunk = vec![0; step];
        loop {
            let count = rebuilt.read(out.len(), &mut chunk);
            out.extend(&chunk[..count]);
            if count < step { break }
        }
        prop_assert_eq!(out, new);
    }

    /// The beginning of a document is enough, and arbitrary ones do no harm.
    #[test]
    fn beginnings_are_recognised(
        bytes in prop::collection::vec(any::<u8>(), 0..220),
        at in 0_usize..200,
        cut in 0_usize..220,
        is_plan: bool,
    ) {
        let held = roster(1, EVERYBODY);
        let known = Known {
            own: id(1),
            site: Credential::parse(&credential(SITE)).unwrap().public_key(),
            roster: Roster::from_trusted(&held).unwrap(),
            plan: None,
            unix: None,
        };
        let kind = if is_plan { Kind::Plan } else { Kind::Roster };
        let good = if is_plan { plan_2() } else { roster(2, EVERYBODY) };
        let _ = look(kind, &bytes, &known);
        let mut changed = good.clone();
        for (to, from) in changed[at.min(good.len())..].iter_mut().zip(&bytes) {
            *to = *from;
        }
        let _ = look(kind, &changed, &known);
        let start = look(kind, &good[..good.len().min(super::start::PREFIX)], &known);
        let Ok(super::start::Start::Whole { len, .. }) = start else { panic!("{start:?}") };
        prop_assert_eq!(len as usize, good.len());
        let _ = look(kind, &good[..cut.min(good.len())], &known);
    }
}
