//! A capsule on its way from a publisher to a registry, by a tag to a gateway, and to a node's process.

use crate::controller::{At, Client, Controller, GATE, Row};
use crate::machine::{Machine, Place, capsule};
use capmesh::operator::{Operator, Request, Response};
use capmesh::site::Site;
use capmesh_capsule_abi::VERSION;
use capmesh_coap::Code;
use capmesh_registry::{Config, Handle, start};
use capmesh_registry_store::Basic;
use capmesh_wire::cbor::{self, List};
use capmesh_wire::control::{Command, Install};
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::registry::Resolved;
use capmesh_wire::roster::Delta;
use capmesh_wire::{CapsuleRef, Digest, ErrorCode, Problem, Role, Roster, content_format, paths};
use std::sync::Arc;
use tokio::runtime::Runtime;

pub(crate) const REGISTRY: &str = "registry";

pub(crate) fn registry(runtime: &Runtime, place: &Place, site: &Site) -> Handle {
    let checker = Arc::new(Basic { abis: vec![VERSION] });
    let key = site.key("site").unwrap().public();
    let identity = site.identity(REGISTRY).unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let config = Config {
        state: Some(place.join(REGISTRY)),
        listen: any,
        http: any,
        ..Config::new(identity, key, site.roster().to_vec(), checker)
    };
    runtime.block_on(start(config)).unwrap()
}

/// Asks the registry, as a member of the site.
fn ask(from: &mut Operator, registry: At, request: &Request<'_>) -> Response {
    let peer = from.member(registry.id, registry.address).unwrap();
    from.ask(peer, request).unwrap()
}

fn refused(response: &Response) -> ErrorCode {
    assert!(!response.code.is_success(), "{response:?}");
    cbor::decode::<Problem<'_>>(&response.body).unwrap().code
}

#[test]
fn a_node_runs_what_was_pushed() {
    let place = Place::new("registry");
    let mut site = Site::create(&place.site(), "bench").unwrap();
    site.make_member(GATE, Role::Gateway).unwrap();
    site.make_member(REGISTRY, Role::Registry).unwrap();
    let runtime = Runtime::new().unwrap();
    let registry = registry(&runtime, &place, &site);
    let at = At { id: registry.id(), address: registry.mesh() };

    let sealed = capsule(&site, "unit-conversion");
    let name = sealed.manifest().unwrap().name.to_string();
    let text = format!("{name}:1");
    let reference = CapsuleRef::try_from(text.as_str()).unwrap();
    let client = capmesh_registry::client::Client::new(&registry.http().to_string()).unwrap();
    let push = client.push(&reference, &sealed.envelope, sealed.module());
    assert_eq!(runtime.block_on(push).unwrap(), sealed.digest());

    let mut gate = Operator::new(site.identity(GATE).unwrap(), site.roster().to_vec());
    let digest = resolve(&mut gate, at, &text);
    assert_eq!(digest, sealed.digest());

    let machine = Machine::start(&place, "one");
    let node = machine.adopt(&place);
    let site = Site::open(&place.site()).unwrap();
    bring_roster(&mut gate, at, &site, &registry.roster());
    assert_eq!(registry.roster(), site.roster(), "the node is on it");

    // The node is told where the registry is, and nobody else has the capsule.
    let mut controller = Controller::new(&site, None);
    controller.put_plan(node, &[at], &[]);
    let sources = [at.id];
    let install = Install { capsule: digest, sources: List::new(&sources).unwrap() };
    controller.command(node, &Command::Install(install));
    let row = Row {
        instance: 1,
        epoch: 1,
        capsule: digest,
        pipeline: "bench",
        name: "convert",
        config: None,
        inbound: Vec::new(),
        outbound: Vec::new(),
    };
    controller.put_plan(node, &[at], &[row]);
    controller.await_state(node, 1, InstanceState::Running);
    runtime.block_on(registry.stop());
}

/// Resolves a tag that is there, and some that are not.
fn resolve(gate: &mut Operator, at: At, text: &str) -> Digest {
    let query = |text: &str| format!("t={text}");
    let good = query(text);
    let answer = ask(gate, at, &Request::new(Code::GET, paths::TAGS).query(&good));
    assert_eq!(answer.code, Code::CONTENT);
    let resolved: Resolved = cbor::decode(&answer.body).unwrap();
    assert_eq!(resolved.revision.0, 1);
    for (text, code) in
        [("city/none:1", ErrorCode::UnknownCapsule), ("no tag", ErrorCode::Malformed)]
    {
        let query = query(text);
        let answer = ask(gate, at, &Request::new(Code::GET, paths::TAGS).query(&query));
        assert_eq!(refused(&answer), code, "{text}");
    }
    resolved.capsule
}

/// Brings the registry the site's newest roster as what has changed, after some that it does not take.
fn bring_roster(gate: &mut Operator, at: At, site: &Site, held: &[u8]) {
    let [old, new] = [held, site.roster()].map(|bytes| Roster::from_trusted(bytes).unwrap());
    let mut buf = vec![0; 4_096];
    let len = Delta::between(&old, &new, &mut buf).unwrap();
    let mut forged = site.roster().to_vec();
    // A byte of the signature.
    let place = forged.windows(2).position(|at| at == [0x58, 64]).unwrap() + 2;
    forged[place] ^= 1;
    let body = |body| Request::new(Code::PUT, paths::ROSTER).body(content_format::ROSTER, body);
    let answer = ask(gate, at, &body(&forged));
    assert_eq!(refused(&answer), ErrorCode::BadSignature);
    assert_eq!(refused(&ask(gate, at, &body(b"no roster"))), ErrorCode::Malformed);
    assert_eq!(ask(gate, at, &body(&buf[..len])).code, Code::CHANGED);
    assert_eq!(refused(&ask(gate, at, &body(held))), ErrorCode::StaleRevision);
    gate.set_roster(site.roster().to_vec());
    let answer = ask(gate, at, &Request::new(Code::GET, paths::ROSTER));
    assert_eq!(answer.body, site.roster());
}

#[test]
fn who_is_not_on_the_roster_gets_nothing() {
    let place = Place::new("registry-strangers");
    let mut site = Site::create(&place.site(), "bench").unwrap();
    site.make_member(GATE, Role::Gateway).unwrap();
    site.make_member(REGISTRY, Role::Registry).unwrap();
    let runtime = Runtime::new().unwrap();
    let registry = registry(&runtime, &place, &site);
    let at = At { id: registry.id(), address: registry.mesh() };

    // A member of the site's whom the registry does not know yet: no session comes about.
    let mut later = Site::open(&place.site()).unwrap();
    later.make_member("late", Role::Operator).unwrap();
    let mut late = Operator::new(later.identity("late").unwrap(), later.roster().to_vec());
    assert!(Client::ask(&mut late, at, Code::GET, paths::ROSTER, None).is_err());
    runtime.block_on(registry.set_roster(later.roster().to_vec()));
    let mut late = Operator::new(later.identity("late").unwrap(), later.roster().to_vec());
    let answer = ask(&mut late, at, &Request::new(Code::GET, paths::ROSTER));
    assert_eq!(answer.body, later.roster());
}
