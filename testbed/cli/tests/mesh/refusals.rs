//! Whoever and whatever does not belong here is refused, and people see what, who and why: in what the
//! command answers, in the log, at the node, at the broker.

use crate::broker::has_mosquitto;
use crate::controller::{At, Client};
use crate::machine::capsule;
use crate::process::PATIENCE;
use crate::town::{READER, RECOVERY, Town};
use capmesh::operator::Operator;
use capmesh::site::{OPERATOR, PUBLISHER, Site};
use capmesh_capsule::seal::Sealed;
use capmesh_client::api::RefusedView;
use capmesh_coap::Code;
use capmesh_keyfile::Key;
use capmesh_session::edhoc::{Credential, Identity};
use capmesh_wire::cbor::{self, List};
use capmesh_wire::control::{Command, Install};
use capmesh_wire::{CapsuleRef, ErrorCode, Manifest, Problem, content_format, limits, paths};
use std::time::Instant;

struct Refused {
    town: Town,
    site: Site,
    node: At,
    /// One more node: a node takes a minute to forget an upload of which it did not want the rest.
    other: At,
}

/// The same capsule with another sequence number, signed by `key`.
fn signed(of: &Sealed, sequence: u64, key: &Key) -> Sealed {
    let manifest = Manifest { sequence, ..of.manifest().unwrap() };
    let mut buf = [0; limits::MANIFEST];
    let len = manifest.sign(&key.signing(), &mut buf).unwrap();
    capmesh_capsule::seal::join(buf[..len].to_vec(), of.module()).unwrap()
}

impl Refused {
    fn start(test: &str) -> Self {
        let town = Town::start(test, &["alone", "other"], "capmesh/home/+/+/log");
        // The gateway writes the roster down for others once it has adopted somebody.
        let place = town.place.site();
        let has_node = || {
            Site::open(&place)
                .ok()
                .filter(|site| site.members().iter().any(|member| member.name == "other"))
        };
        town.wait(PATIENCE, "the roster is written", |_| has_node().is_some());
        let site = has_node().unwrap();
        let at =
            |name: &str, address| At { id: town.ask(town.client.node(name)).unwrap().id, address };
        let [node, other] =
            [at("alone", town.nodes[0].address()), at("other", town.nodes[1].address())];
        Self { town, site, node, other }
    }

    fn as_member(&self, name: &str) -> Operator {
        Operator::new(self.site.identity(name).unwrap(), self.site.roster().to_vec())
    }

    /// Pushes a capsule; how that is refused.
    fn push(&self, name: &str, file: &[u8]) -> String {
        let path = self.town.place.join(name);
        std::fs::write(&path, file).unwrap();
        self.town.push(&path).expect_err("it is refused")
    }

    /// Sends a capsule to the node as the site's operator; how that is refused.
    fn upload(operator: &mut Operator, node: At, bundle: &[u8]) -> ErrorCode {
        let body = Some((content_format::BUNDLE, bundle));
        let answer = Client::ask(operator, node, Code::PUT, paths::CAPSULES, body).unwrap();
        assert!(!answer.code.is_success() && !answer.body.is_empty(), "{answer:?}");
        cbor::decode::<Problem<'_>>(&answer.body).unwrap().code
    }

    /// What the node has refused.
    fn counted(&self) -> RefusedView {
        self.town.ask(self.town.client.node("alone")).unwrap().refused.unwrap()
    }

    /// Waits until `capmesh logs` has a line with all of these words, and the broker has had it.
    fn wait_said(&self, words: &[&str]) {
        let has = |line: &str| words.iter().all(|word| line.contains(word));
        let begun = Instant::now();
        loop {
            let lines = self.town.run(&["logs"]).unwrap();
            if lines.lines().any(has) {
                break;
            }
            assert!(begun.elapsed() < RECOVERY, "{words:?} are not in the log:\n{lines}");
        }
        self.town.wait(PATIENCE, &format!("the broker has {words:?}"), |town| {
            town.listener.heard(|all| all.iter().any(|message| has(&message.payload)))
        });
    }
}

#[test]
fn capsules_that_are_not_what_they_should_be_are_refused_and_shown() {
    if !has_mosquitto() {
        return;
    }
    let refused = Refused::start("capsules");
    let good = capsule(&refused.site, "moving-average");
    let publisher = refused.site.key(PUBLISHER).unwrap();
    let stranger = Key::generate();
    let mut operator = refused.as_member(OPERATOR);

    // Nobody has signed it: a module alone, or with what is no signature.
    let said = refused.push("bare.capsule", good.module());
    assert!(said.contains("bare.capsule"), "{said}");
    let mut unsigned = good.clone();
    // The signature is the last byte string: 64 bytes.
    let at = unsigned.envelope.windows(2).rposition(|head| head == [0x58, 64]).unwrap() + 2;
    unsigned.envelope[at..at + 64].rotate_left(1);
    let said = refused.push("unsigned.capsule", &unsigned.bundle());
    assert!(said.contains("signature is not that of"), "{said}");
    assert_eq!(
        Refused::upload(&mut operator, refused.other, &unsigned.bundle()),
        ErrorCode::BadSignature
    );
    refused.wait_said(&["other", "is refused", "signature"]);

    // Somebody has signed it whom the site does not trust.
    let foreign = good.resign(&stranger.signing()).unwrap();
    let said = refused.push("foreign.capsule", &foreign.bundle());
    let who = foreign.publisher().unwrap().to_string();
    assert!(said.contains(&who) && said.contains("not on the site's roster"), "{said}");
    assert_eq!(
        Refused::upload(&mut operator, refused.node, &foreign.bundle()),
        ErrorCode::Untrusted
    );
    refused.wait_said(&["alone", "is refused", &who]);

    // It is another module than was signed: the command sees it, the registry does, the node does.
    let mut tampered = good.bundle();
    *tampered.last_mut().unwrap() ^= 1;
    let said = refused.push("tampered.capsule", &tampered);
    assert!(said.contains("not what its digest says"), "{said}");
    let mut module = good.module().to_vec();
    *module.last_mut().unwrap() ^= 1;
    let registry = capmesh_registry::client::Client::new(&refused.town.registry_http).unwrap();
    let name = format!("{}:1", good.manifest().unwrap().name);
    let to = CapsuleRef::try_from(name.as_str()).unwrap();
    let pushed = refused.town.runtime.block_on(registry.push(&to, &good.envelope, &module));
    let said = pushed.unwrap_err().to_string();
    assert!(said.contains("and") && said.contains("is signed"), "{said}");
    assert_eq!(Refused::upload(&mut operator, refused.node, &tampered), ErrorCode::DigestMismatch);
    refused.wait_said(&["alone", "is refused", "digest"]);

    // It is older than what is here.
    let (newer, older) = (signed(&good, 9, &publisher), signed(&good, 8, &publisher));
    let path = refused.town.place.join("newer.capsule");
    std::fs::write(&path, newer.bundle()).unwrap();
    refused.town.push(&path).unwrap();
    let said = refused.push("older.capsule", &older.bundle());
    assert!(said.contains("sequence number 8 is lower than 9"), "{said}");
    let body = Some((content_format::BUNDLE, &newer.bundle()[..]));
    let taken = Client::ask(&mut operator, refused.node, Code::PUT, paths::CAPSULES, body).unwrap();
    assert!(taken.code.is_success(), "{taken:?}");
    assert_eq!(
        Refused::upload(&mut operator, refused.node, &older.bundle()),
        ErrorCode::RolledBack
    );
    refused.wait_said(&["alone", "is refused", "8", "9"]);
    refused.town.wait(PATIENCE, "the node has counted them", |_| refused.counted().unverified >= 2);
}

#[test]
fn whoever_is_nobody_or_may_not_is_refused_and_shown() {
    if !has_mosquitto() {
        return;
    }
    let refused = Refused::start("strangers");
    let good = capsule(&refused.site, "moving-average");

    // A member whose role does not allow it wants to install something.
    let mut reader = refused.as_member(READER);
    let install = Command::Install(Install { capsule: good.digest(), sources: List::EMPTY });
    let mut buf = [0; 256];
    let len = cbor::encode(&install, &mut buf).unwrap();
    let body = Some((content_format::CONTROL, &buf[..len]));
    let answer = Client::ask(&mut reader, refused.node, Code::POST, paths::CONTROL, body).unwrap();
    assert_eq!(answer.code, Code::FORBIDDEN);
    let who = refused.site.key(READER).unwrap().id().to_string();
    refused.wait_said(&["alone", &who, "a node may not command"]);
    let body = good.bundle();
    let body = Some((content_format::BUNDLE, &body[..]));
    let answer = Client::ask(&mut reader, refused.node, Code::PUT, paths::CAPSULES, body).unwrap();
    assert_eq!(answer.code, Code::FORBIDDEN);
    refused.town.wait(PATIENCE, "the node has counted both", |_| refused.counted().forbidden >= 2);

    // Somebody who is on no roster: no session comes about, with the node or the gateway.
    let key = Key::generate();
    let credential = key.credential("nobody").unwrap();
    let credential = Credential::parse(&credential).unwrap();
    let gateway = At {
        id: refused.site.key("gateway").unwrap().id(),
        address: refused.town.gateway_address(),
    };
    for (at, who) in [(refused.node, "alone"), (gateway, "gateway")] {
        let identity = Identity::new(&key.scalar(), credential.clone()).unwrap();
        let mut nobody = Operator::new(identity, refused.site.roster().to_vec());
        assert!(Client::ask(&mut nobody, at, Code::GET, paths::STATUS, None).is_err(), "{who}");
        refused.wait_said(&["127.0.0.1", "is refused: not of this site"]);
        let lines = refused.town.run(&["logs"]).unwrap();
        let said = |line: &str| line.contains(&format!("{who} warning: 127.0.0.1:"));
        assert!(lines.lines().any(said), "{who}: {lines}");
    }
    let shown = refused.town.run(&["node", "show", "alone"]).unwrap();
    let counts = shown.lines().find(|line| line.contains("refused")).unwrap();
    assert!(!counts.contains(" 0 of strangers") && counts.contains("2 that a role"), "{counts}");
}
