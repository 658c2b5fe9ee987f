//! What others may try, and what is kept within bounds.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test helpers")]

mod common;

use capmesh_coap::Code;
use capmesh_coap::endpoint::Reliability;
use capmesh_coap::option::OptionNumber;
use capmesh_coap::test_util::{Datagram, Dice, Faults, World};
use capmesh_session::edhoc::{ConnectionId, EphemeralKey, Initiator};
use capmesh_session::{Config, IntroduceError, Member, Peer, Roles};
use capmesh_wire::{Instant, Role};
use common::*;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// A message_1 in a CoAP request, of somebody who is on no roster.
fn stranger(rng: &mut Dice, id: u16) -> Vec<u8> {
    let mut message_1 = [0; 64];
    let c_i = ConnectionId::new(&[5]).unwrap();
    let (_, len) = Initiator::start(EphemeralKey::generate(rng), c_i, &mut message_1).unwrap();
    let [high, low] = id.to_be_bytes();
    let mut datagram = vec![0x42, 0x02, high, low, high, low];
    datagram.extend(b"\xbb.well-known\x05edhoc\x11\x41\xff\xf5");
    datagram.extend(&message_1[..len]);
    datagram
}

fn spoofed(n: u32) -> SocketAddr {
    let [_, a, b, c] = n.to_be_bytes();
    SocketAddr::from(([99, a, b, c], 4000))
}

/// A world in which node 1 has a session with node 0.
fn pair(config: Config) -> (World<Node>, SharedRoster) {
    let (mut world, roster) = world(4, config, 5, Faults::NONE);
    assert!(world.machine(address(1)).ask(Instant::ZERO, 0, 1));
    settle(&mut world);
    assert_eq!(world.machine(address(1)).answered, [1]);
    (world, roster)
}

#[test]
fn a_flood_of_handshakes_ends_no_session_and_costs_what_it_may() {
    let (mut world, _) = pair(Config::default());
    let mut rng = Dice::new(9);
    let before = world.machine(address(0)).core.sessions().stats().answered;
    let start = world.now;
    // 50 each second from as many addresses, for 20 seconds.
    for n in 0..1000_u32 {
        let bytes = stranger(&mut rng, u16::try_from(n).unwrap());
        world.send(&Datagram { from: spoofed(n), to: address(0), bytes });
        world.run_until(start + Duration::from_millis(20 * u64::from(n)));
        assert!(world.machine(address(0)).core.sessions().half_open() <= H);
        if n % 100 == 50 {
            let now = world.now;
            assert!(world.machine(address(1)).ask(now, 0, n));
        }
        if n == 500 {
            // An honest newcomer has to prove its address first, and gets in.
            let now = world.now;
            assert!(world.machine(address(2)).ask(now, 0, 7777));
        }
    }
    world.run_until(start + Duration::from_secs(30));
    assert_eq!(world.machine(address(1)).answered.len(), 1 + 10);
    assert_eq!(world.machine(address(2)).answered, [7777]);
    let stats = *world.machine(address(0)).core.sessions().stats();
    assert!(stats.answered - before <= 4 + 2 * 20, "{stats:?}");
    assert!(stats.put_off > 900, "{stats:?}");
    assert_eq!(stats.evicted, 0);
}

#[test]
fn a_flood_from_one_address_keeps_nobody_else_out() {
    let (mut world, _) = pair(Config::default());
    let mut rng = Dice::new(9);
    let start = world.now;
    for n in 0..100_u16 {
        // Without Echo these get no further once there are two of them.
        let bytes = stranger(&mut rng, n);
        world.send(&Datagram { from: spoofed(1), to: address(0), bytes });
        world.run_until(start + Duration::from_millis(700 * u64::from(n)));
        assert!(world.machine(address(0)).core.sessions().half_open() <= H);
    }
    let now = world.now;
    assert!(world.machine(address(2)).ask(now, 0, 7));
    assert!(world.machine(address(3)).ask(now, 0, 8));
    world.run_until(now + Duration::from_secs(20));
    assert_eq!(world.machine(address(2)).answered, [7]);
    assert_eq!(world.machine(address(3)).answered, [8]);
}

/// Whatever a stranger sends, mutations of real traffic among it: nothing grows, nothing is taken for
/// a member's, no address gets more than three times what came from it.
#[test]
fn strangers_get_less_than_three_times_what_they_send() {
    let (mut world, _) = pair(Config::default());
    let mut dice = Dice::new(11);
    let traffic: Vec<_> = world.sent.iter().map(|(_, datagram)| datagram.bytes.clone()).collect();
    let mut rng = Dice::new(12);
    let (mut sent, mut received) = (BTreeMap::new(), BTreeMap::new());
    world.sent.clear();
    for n in 0..4000_u32 {
        let mut bytes = match dice.within(0..6) {
            0 => stranger(&mut rng, u16::try_from(n).unwrap()),
            _ => traffic[usize::try_from(dice.within(0..4)).unwrap()].clone(),
        };
        for _ in 0..dice.within(0..4) {
            let at = usize::try_from(dice.roll()).unwrap() % bytes.len();
            bytes[at] = dice.roll().to_be_bytes()[0];
        }
        if dice.percent(10) {
            bytes.truncate(usize::try_from(dice.roll()).unwrap() % bytes.len());
        }
        let from = spoofed(n);
        *sent.entry(from).or_insert(0) += bytes.len();
        let now = world.now;
        capmesh_coap::test_util::Machine::handle(
            world.machine(address(0)),
            now,
            from,
            capmesh_coap::endpoint::Via::Unicast,
            &bytes,
        );
        world.now += Duration::from_millis(300);
        world.flush();
    }
    for (_, datagram) in &world.sent {
        *received.entry(datagram.to).or_insert(0) += datagram.bytes.len();
    }
    let mut answered = 0;
    for (address, bytes) in received {
        if let Some(sent) = sent.get(&address) {
            answered += 1;
            // What the application itself answers to an anonymous request is the endpoint's affair.
            assert!(bytes <= (3 * sent).max(136), "{address} sent {sent} and got {bytes}");
        }
    }
    assert!(answered > 1000, "{answered}");
    let node = world.machine(address(0));
    let members = node.taken.iter().filter(|taken| taken.peer.member().is_some());
    assert_eq!(members.count(), 1);
    assert_eq!(node.core.sessions().established().count(), 1);
}

#[test]
fn a_forged_401_starts_few_handshakes_and_ends_no_session() {
    let config = Config::default();
    let (mut world, _) = pair(config);
    let begun = world.machine(address(1)).core.sessions().stats().begun;
    for round in 0..20 {
        let now = world.now;
        assert!(world.machine(address(1)).ask(now, 0, 100 + round));
        world.flush();
        // The request is on its way; an attacker who sees it is faster with an answer.
        let request = world.sent.last().unwrap().1.bytes.clone();
        let token = usize::from(request[0] & 0xf);
        let mut forged = vec![0x60 | request[0] & 0xf, 0x81, request[2], request[3]];
        forged.extend(&request[4..4 + token]);
        capmesh_coap::test_util::Machine::handle(
            world.machine(address(1)),
            now,
            address(0),
            capmesh_coap::endpoint::Via::Unicast,
            &forged,
        );
        world.run_until(now + Duration::from_secs(1));
    }
    settle(&mut world);
    let node = world.machine(address(1));
    let stats = *node.core.sessions().stats();
    assert!(stats.begun - begun <= 3, "{stats:?}");
    assert!(stats.restarts_ignored >= 15, "{stats:?}");
    assert_eq!(node.answered.len(), 21);
}

#[test]
fn a_session_survives_when_the_handshake_that_a_forgery_provokes_fails() {
    let (mut world, _) = pair(Config::default());
    let now = world.now;
    assert!(world.machine(address(1)).ask(now, 0, 50));
    world.flush();
    let request = world.sent.last().unwrap().1.bytes.clone();
    let token = usize::from(request[0] & 0xf);
    let mut forged = vec![0x60 | request[0] & 0xf, 0x81, request[2], request[3]];
    forged.extend(&request[4..4 + token]);
    capmesh_coap::test_util::Machine::handle(
        world.machine(address(1)),
        now,
        address(0),
        capmesh_coap::endpoint::Via::Unicast,
        &forged,
    );
    // Nothing gets through for as long as the handshake is tried.
    world.faults.loss = 100;
    world.run_until(now + Duration::from_secs(100));
    world.faults.loss = 0;
    assert_eq!(world.machine(address(1)).core.sessions().stats().failed, 1);
    let now = world.now;
    assert!(world.machine(address(1)).ask(now, 0, 51));
    settle(&mut world);
    assert!(world.machine(address(1)).answered.contains(&51));
    assert_eq!(world.machine(address(0)).core.sessions().stats().completed, 1);
}

#[test]
fn replayed_traffic_does_nothing() {
    let (mut world, _) = pair(Config::default());
    let recorded: Vec<_> = world.sent.iter().map(|(_, datagram)| datagram.clone()).collect();
    // Past every memory for duplicates.
    let later = world.now + Duration::from_secs(400);
    world.run_until(later);
    for datagram in &recorded {
        world.send(datagram);
        world.send(&Datagram { from: spoofed(3), ..datagram.clone() });
    }
    settle(&mut world);
    assert_eq!(world.machine(address(0)).taken.len(), 1);
    assert_eq!(world.machine(address(1)).answered, [1]);
    for n in 0..2 {
        assert_eq!(world.machine(address(n)).core.sessions().stats().completed, 1);
    }
    // And the peer is still taken to be where it is.
    let now = world.now;
    assert!(world.machine(address(0)).ask(now, 1, 60));
    settle(&mut world);
    assert_eq!(world.machine(address(0)).answered, [60]);
}

#[test]
fn both_may_begin_at_once_and_agree_on_one_session() {
    for delay in [1, 3, 30] {
        let faults = Faults {
            loss: 0,
            duplication: 0,
            delay: Duration::from_millis(1)..Duration::from_millis(delay),
        };
        for seed in 0..12 {
            let (mut world, _) = world(2, Config::default(), seed, faults.clone());
            assert!(world.machine(address(0)).ask(Instant::ZERO, 1, 1));
            assert!(world.machine(address(1)).ask(Instant::ZERO, 0, 2));
            settle(&mut world);
            assert_eq!(world.machine(address(0)).answered, [1]);
            assert_eq!(world.machine(address(1)).answered, [2]);
            // All that was kept for what was in flight is gone by now; no handshake follows.
            let begun = [0, 1].map(|n| world.machine(address(n)).core.sessions().stats().begun);
            let sent = world.sent.len();
            let now = world.now;
            assert!(world.machine(address(0)).ask(now, 1, 3));
            assert!(world.machine(address(1)).ask(now, 0, 4));
            settle(&mut world);
            assert_eq!(world.machine(address(0)).answered, [1, 3]);
            assert_eq!(world.machine(address(1)).answered, [2, 4]);
            assert_eq!(world.sent.len(), sent + 4, "delay {delay}, seed {seed}");
            let after = [0, 1].map(|n| world.machine(address(n)).core.sessions().stats().begun);
            assert_eq!(begun, after);
        }
    }
}

#[test]
fn a_newcomer_replaces_the_peer_that_was_silent_longest_but_no_pinned_one() {
    let roster = SharedRoster::of(4);
    let config = Config::default();
    let mut world = World::new(1, Faults::NONE);
    // Node 0 has room for two peers; the type is another one, so it lives in a world of its own kind.
    let gateway = Node::<2, 2>::new(Instant::ZERO, 0, &roster, config, 1);
    world.machines.insert(address(0), Either::Small(gateway));
    for n in 1..4 {
        let mut node = Node::new(Instant::ZERO, n, &roster, config, 1);
        node.introduce(Instant::ZERO, 0);
        world.machines.insert(address(n), Either::Usual(node));
    }
    for n in 1..3 {
        let now = world.now;
        assert!(world.machine(address(n)).usual().ask(now, 0, u32::from(n)));
        world.run_to_rest(now + Duration::from_secs(1200));
    }
    let sessions = |world: &mut World<Either>| {
        let node = world.machine(address(0)).small();
        (1..4).map(|n| node.core.sessions().is_established(id(n))).collect::<Vec<_>>()
    };
    assert_eq!(sessions(&mut world), [true, true, false]);
    // Node 1 was silent longest, but it is pinned.
    assert!(world.machine(address(0)).small().core.sessions_mut().pin(id(1), true));
    let now = world.now;
    assert!(world.machine(address(3)).usual().ask(now, 0, 3));
    world.run_to_rest(now + Duration::from_secs(1200));
    assert_eq!(sessions(&mut world), [true, false, true]);
    // With all of them pinned there is no room: the handshake is refused.
    assert!(world.machine(address(0)).small().core.sessions_mut().pin(id(3), true));
    let now = world.now;
    assert!(world.machine(address(2)).usual().ask(now, 0, 4));
    world.run_to_rest(now + Duration::from_secs(1200));
    assert_eq!(sessions(&mut world), [true, false, true]);
    assert_eq!(world.machine(address(2)).usual().failed.len(), 1);
    let now = world.now;
    let introduced =
        world.machine(address(0)).small().core.sessions_mut().introduce(now, id(2), address(2));
    assert_eq!(introduced, Err(IntroduceError::Full));
    // Who was replaced comes back in once there is room again.
    assert!(world.machine(address(0)).small().core.sessions_mut().pin(id(3), false));
    let now = world.now;
    assert!(world.machine(address(2)).usual().ask(now, 0, 5));
    world.run_to_rest(now + Duration::from_secs(1200));
    assert_eq!(world.machine(address(2)).usual().answered, [2, 5]);
}

#[test]
fn a_revoked_member_is_out_at_once() {
    let (mut world, roster) = pair(Config::default());
    roster.without(1);
    let now = world.now;
    world.machine(address(0)).core.sessions_mut().revalidate(now);
    assert!(!world.machine(address(0)).core.sessions().is_established(id(1)));
    assert!(world.machine(address(1)).ask(now, 0, 9));
    settle(&mut world);
    assert_eq!(world.machine(address(0)).taken.len(), 1);
    assert_eq!(world.machine(address(1)).failed.len(), 1);
    let gone = world.machine(address(0)).core.sessions_mut().introduce(now, id(1), address(1));
    assert_eq!(gone, Err(IntroduceError::Unknown));
}

#[test]
fn a_member_past_its_time_is_out_once_the_time_is_known() {
    let (mut world, _) = pair(Config::default());
    let now = world.now;
    let sessions = world.machine(address(0)).core.sessions_mut();
    sessions.set_unix_time(now, 1_999_999_999);
    assert!(world.machine(address(1)).ask(now, 0, 9));
    world.run_until(now + Duration::from_millis(500));
    assert_eq!(world.machine(address(1)).answered, [1, 9]);
    world.run_until(now + Duration::from_secs(2));
    let now = world.now;
    assert!(world.machine(address(1)).ask(now, 0, 10));
    settle(&mut world);
    assert_eq!(world.machine(address(1)).failed.len(), 1);
    assert_eq!(world.machine(address(0)).taken.len(), 2);
    let stats = *world.machine(address(0)).core.sessions().stats();
    assert_eq!(stats.expired, 1);
    // This side no longer asks the member either.
    let now = world.now;
    assert!(!world.machine(address(0)).ask(now, 1, 11));
}

#[test]
fn roles_decide_what_a_member_may_ask_for() {
    let (mut world, roster) = pair(Config::default());
    let peer = world.machine(address(0)).taken[0].peer;
    assert_eq!(peer.require(Roles::only(Role::Gateway)), Err(Code::FORBIDDEN));
    assert_eq!(peer.require(Roles::ANY), Ok(Member { id: id(1), role: Role::Node }));
    let gateway_or_node = Roles::only(Role::Gateway).or(Role::Node);
    assert!(peer.require(gateway_or_node).is_ok());
    assert_eq!(Peer::Anonymous(address(1)).require(Roles::ANY), Err(Code::UNAUTHORIZED));
    // A role that the roster changes counts from the next request on.
    roster.0.borrow_mut().iter_mut().for_each(|entry| entry.role = Role::Operator);
    let now = world.now;
    world.machine(address(0)).core.sessions_mut().revalidate(now);
    assert!(world.machine(address(1)).ask(now, 0, 9));
    settle(&mut world);
    let member = world.machine(address(0)).taken[1].peer.member().unwrap();
    assert_eq!(member.role, Role::Operator);
    // A publisher signs, and has no sessions.
    roster.0.borrow_mut().iter_mut().for_each(|entry| entry.role = Role::Publisher);
    let now = world.now;
    world.machine(address(0)).core.sessions_mut().revalidate(now);
    assert_eq!(world.machine(address(0)).core.sessions().established().count(), 0);
    assert!(world.machine(address(1)).ask(now, 0, 10));
    settle(&mut world);
    assert_eq!(world.machine(address(1)).failed.len(), 1);
    assert_eq!(world.machine(address(0)).taken.len(), 2);
}

#[test]
fn nobody_has_a_session_with_itself() {
    let (mut world, _) = pair(Config::default());
    let now = world.now;
    let own = world.machine(address(0)).core.sessions_mut().introduce(now, id(0), address(0));
    assert_eq!(own, Err(IntroduceError::NotAuthorised));
}

#[test]
fn the_anonymous_are_heard_only_where_that_is_wanted() {
    for anonymous in [true, false] {
        let config = Config { anonymous, ..Config::default() };
        let (mut world, _) = world(2, config, 1, Faults::NONE);
        let asked = world.machine(address(1)).core.request(
            Instant::ZERO,
            Peer::Anonymous(address(0)),
            Reliability::Confirmable,
            Code::POST,
            |message| message.payload(&7_u32.to_be_bytes()).map(drop),
        );
        world.machine(address(1)).asked.insert(asked.unwrap(), 7);
        settle(&mut world);
        let node = world.machine(address(1));
        if anonymous {
            assert_eq!(node.answered, [7]);
            let peer = world.machine(address(0)).taken[0].peer;
            assert_eq!(peer, Peer::Anonymous(address(1)));
        } else {
            assert_eq!(node.refused, [(7, Code::UNAUTHORIZED)]);
        }
    }
}

/// The EDHOC resource answers what is not EDHOC as a resource does.
#[test]
fn the_edhoc_resource_minds_methods_options_and_formats() {
    type Options<'a> = &'a [(OptionNumber, &'a [u8])];
    let cases: [(Code, Options<'_>, &[u8], Code); 7] = [
        (Code::GET, &[], &[], Code::METHOD_NOT_ALLOWED),
        (Code::POST, &[(OptionNumber::IF_MATCH, &[1])], &[0xf5], Code::BAD_OPTION),
        (Code::POST, &[(OptionNumber::EDHOC, &[])], &[0xf5], Code::BAD_OPTION),
        (Code::POST, &[(OptionNumber::CONTENT_FORMAT, &[60])], &[0xf5], Code(0x8f)),
        (Code::POST, &[(OptionNumber::CONTENT_FORMAT, &[65])], &[0xf5], Code::BAD_REQUEST),
        (Code::POST, &[], &[], Code::BAD_REQUEST),
        (Code::POST, &[], &[0x05, 0x48, 1, 2, 3, 4, 5, 6, 7, 8], Code::UNAUTHORIZED),
    ];
    for (n, (code, options, payload, expected)) in cases.into_iter().enumerate() {
        let (mut world, _) = world(2, Config::default(), 1, Faults::NONE);
        let asked = world.machine(address(1)).core.request(
            Instant::ZERO,
            Peer::Anonymous(address(0)),
            Reliability::Confirmable,
            code,
            |message| {
                message.path(".well-known/edhoc")?;
                for (number, value) in options {
                    message.option(*number, value)?;
                }
                message.payload(payload).map(drop)
            },
        );
        world.machine(address(1)).asked.insert(asked.unwrap(), 7);
        settle(&mut world);
        assert_eq!(world.machine(address(1)).refused, [(7, expected)], "case {n}");
    }
}
