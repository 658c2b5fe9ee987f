//! Two nodes, and what happens between them.

mod common;

use capmesh_coap::endpoint::{Failure, Reliability};
use capmesh_coap::security::SealError;
use capmesh_coap::test_util::{Datagram, Faults};
use capmesh_session::edhoc::{ErrorMessage, Transfer};
use capmesh_session::{Config, HandshakeError, Member, Peer, Workflow};
use capmesh_wire::{Instant, Role};
use common::*;
use std::time::Duration;

#[test]
fn a_first_request_takes_two_round_trips() {
    let (mut world, _) = world(2, Config::default(), 1, Faults::NONE);
    assert!(world.machine(address(1)).ask(Instant::ZERO, 0, 7));
    settle(&mut world);
    assert_eq!(world.machine(address(1)).answered, [7]);
    let taken = &world.machine(address(0)).taken;
    let member = Member { id: id(1), role: Role::Node };
    assert_eq!(taken, &[Taken { peer: Peer::Member(member), what: 7 }]);
    let sizes: Vec<_> = world.sent.iter().map(|(_, datagram)| datagram.bytes.len()).collect();
    assert_eq!(sizes.len(), 4, "{sizes:?}");

    // The session serves requests in both directions, without another handshake.
    let now = world.now;
    assert!(world.machine(address(0)).ask(now, 1, 8));
    assert!(world.machine(address(1)).ask(now, 0, 9));
    settle(&mut world);
    assert_eq!(world.sent.len(), 8);
    assert_eq!(world.machine(address(0)).answered, [8]);
    assert_eq!(world.machine(address(1)).answered, [7, 9]);
    assert_eq!(world.machine(address(0)).core.sessions().stats().completed, 1);
}

#[test]
fn message_3_can_go_by_itself() {
    let config = Config { workflow: Workflow::Separate, ..Config::default() };
    let (mut world, _) = world(2, config, 1, Faults::NONE);
    assert!(world.machine(address(1)).ask(Instant::ZERO, 0, 7));
    settle(&mut world);
    assert_eq!(world.machine(address(1)).answered, [7]);
    assert_eq!(world.sent.len(), 6);
}

#[test]
fn message_3_goes_by_itself_before_a_request_that_leaves_no_room() {
    let (mut world, _) = world(2, Config::default(), 1, Faults::NONE);
    let long = MTU - 60;
    let node = world.machine(address(1));
    assert!(node.ask_as(Instant::ZERO, 0, 7, Reliability::Confirmable, long));
    settle(&mut world);
    assert_eq!(world.machine(address(1)).answered, [7]);
    assert_eq!(world.sent.len(), 6);
}

#[test]
fn credentials_by_value_are_looked_up_too() {
    let config = Config { transfer: Transfer::ByValue, ..Config::default() };
    let (mut world, _) = world(2, config, 1, Faults::NONE);
    assert!(world.machine(address(1)).ask(Instant::ZERO, 0, 7));
    settle(&mut world);
    assert_eq!(world.machine(address(1)).answered, [7]);
}

#[test]
fn a_session_can_be_made_before_it_is_needed() {
    let (mut world, _) = world(2, Config::default(), 1, Faults::NONE);
    let now = world.now;
    assert!(world.machine(address(1)).core.sessions_mut().connect(now, id(0)));
    assert!(!world.machine(address(1)).core.sessions_mut().connect(now, id(5)));
    settle(&mut world);
    assert!(world.machine(address(1)).core.sessions().is_established(id(0)));
    assert!(world.machine(address(0)).core.sessions().is_established(id(1)));
    let sent = world.sent.len();
    let now = world.now;
    assert!(world.machine(address(0)).ask(now, 1, 7));
    settle(&mut world);
    assert_eq!(world.sent.len(), sent + 2);
}

#[test]
fn requests_made_meanwhile_wait_and_one_carries_message_3() {
    let (mut world, _) = world(2, Config::default(), 1, Faults::NONE);
    for what in 0..6 {
        assert!(world.machine(address(1)).ask(Instant::ZERO, 0, what));
    }
    settle(&mut world);
    let mut answered = world.machine(address(1)).answered.clone();
    answered.sort_unstable();
    assert_eq!(answered, [0, 1, 2, 3, 4, 5]);
    assert_eq!(world.sent.len(), 2 + 6 * 2);
    assert_eq!(world.machine(address(0)).core.sessions().stats().answered, 1);
}

#[test]
fn a_full_endpoint_keeps_room_for_the_handshake() {
    let (mut world, _) = world(2, Config::default(), 1, Faults::NONE);
    let accepted = (0..50).filter(|what| world.machine(address(1)).ask(Instant::ZERO, 0, *what));
    assert_eq!(accepted.count(), 11);
    settle(&mut world);
    assert_eq!(world.machine(address(1)).answered.len(), 11);
}

/// Each datagram of a handshake is lost once, or comes twice.
#[test]
fn any_one_datagram_may_be_lost_or_doubled() {
    for workflow in [Workflow::Combined, Workflow::Separate] {
        for lost in 0..6 {
            for copies in [0, 2] {
                let config = Config { workflow, ..Config::default() };
                let (mut world, _) = world(2, config, 1, Faults::NONE);
                assert!(world.machine(address(1)).ask(Instant::ZERO, 0, 7));
                loop {
                    let it_is = world.sent.len() == lost;
                    world.faults.loss = if it_is && copies == 0 { 100 } else { 0 };
                    world.faults.duplication = if it_is && copies == 2 { 100 } else { 0 };
                    if !world.step() {
                        break;
                    }
                }
                let asker = world.machine(address(1));
                assert_eq!(asker.answered, [7], "{workflow:?}, datagram {lost}, {copies} copies");
                assert_eq!(world.machine(address(0)).taken.len(), 1);
            }
        }
    }
}

#[test]
fn who_is_not_on_the_roster_is_told_so() {
    let (mut world, roster) = world(2, Config::default(), 1, Faults::NONE);
    assert!(world.machine(address(1)).ask(Instant::ZERO, 0, 7));
    assert!(world.machine(address(1)).ask(Instant::ZERO, 0, 8));
    roster.without(1);
    settle(&mut world);
    let failure = Failure::Security(SealError::HandshakeFailed);
    let node = world.machine(address(1));
    assert_eq!(node.failed, [(7, failure), (8, failure)]);
    let reason = HandshakeError::Error(ErrorMessage::UnknownCredential);
    assert_eq!(node.core.sessions().last_failure(id(0)), Some(reason));
    assert_eq!(world.machine(address(0)).core.sessions().half_open(), 0);
    assert!(world.machine(address(0)).taken.is_empty());
    // A later request tries again, and fails again.
    let now = world.now;
    assert!(world.machine(address(1)).ask(now, 0, 9));
    settle(&mut world);
    assert_eq!(world.machine(address(1)).failed.len(), 3);
}

#[test]
fn a_responder_who_is_not_on_the_roster_is_refused_and_told() {
    let (mut world, roster) = world(2, Config::default(), 1, Faults::NONE);
    assert!(world.machine(address(1)).ask(Instant::ZERO, 0, 7));
    roster.without(0);
    settle(&mut world);
    assert_eq!(world.machine(address(1)).failed.len(), 1);
    assert!(world.machine(address(0)).taken.is_empty());
    // The error message has ended the responder's half.
    assert_eq!(world.machine(address(0)).core.sessions().half_open(), 0);
}

#[test]
fn another_member_at_the_address_is_not_taken_for_the_one_meant() {
    let (mut world, _) = world(3, Config::default(), 1, Faults::NONE);
    let node = world.machine(address(1));
    assert!(node.core.sessions_mut().relocate(id(0), address(2)));
    assert!(node.ask(Instant::ZERO, 0, 7));
    settle(&mut world);
    let node = world.machine(address(1));
    assert_eq!(node.core.sessions().last_failure(id(0)), Some(HandshakeError::WrongPeer));
    assert_eq!(node.failed.len(), 1);
    assert!(world.machine(address(2)).taken.is_empty());
}

#[test]
fn a_handshake_goes_on_where_the_peer_has_moved_to() {
    let (mut world, _) = world(2, Config::default(), 1, Faults::NONE);
    let node = world.machine(address(1));
    assert!(node.core.sessions_mut().relocate(id(0), address(7)));
    assert!(node.ask(Instant::ZERO, 0, 7));
    world.run_until(Instant::from_secs(10));
    assert!(world.machine(address(0)).taken.is_empty());
    assert!(world.machine(address(1)).core.sessions_mut().relocate(id(0), address(0)));
    world.run_until(Instant::from_secs(11));
    assert_eq!(world.machine(address(0)).taken.len(), 1);
    assert!(world.machine(address(1)).failed.is_empty());
}

#[test]
fn nobody_there_fails_the_requests_in_the_end() {
    let (mut world, _) = world(2, Config::default(), 1, Faults::NONE);
    world.machines.remove(&address(0));
    assert!(world.machine(address(1)).ask(Instant::ZERO, 0, 7));
    world.run_until(Instant::from_secs(100));
    assert_eq!(world.machine(address(1)).failed.len(), 1);
    settle(&mut world);
    assert_eq!(world.machine(address(1)).failed.len(), 1);
}

#[test]
fn a_peer_without_edhoc_fails_the_requests() {
    let (mut world, _) = world(2, Config::default(), 1, Faults::NONE);
    assert!(world.machine(address(1)).ask(Instant::ZERO, 0, 7));
    // Message_1 is answered by 4.04.
    world.flush();
    let request = world.sent[0].1.bytes.clone();
    world.machines.remove(&address(0));
    let token = usize::from(request[0] & 0xf);
    let mut answer = vec![0x60 | request[0] & 0xf, 0x84, request[2], request[3]];
    answer.extend(&request[4..4 + token]);
    world.send(&Datagram { from: address(0), to: address(1), bytes: answer });
    settle(&mut world);
    let node = world.machine(address(1));
    assert_eq!(node.failed.len(), 1);
    let reason = HandshakeError::Code(capmesh_coap::Code::NOT_FOUND);
    assert_eq!(node.core.sessions().last_failure(id(0)), Some(reason));
}

#[test]
fn after_a_reboot_of_the_responder_the_request_is_sealed_anew() {
    let (mut world, roster) = world(2, Config::default(), 1, Faults::NONE);
    assert!(world.machine(address(1)).ask(Instant::ZERO, 0, 7));
    settle(&mut world);
    reboot(&mut world, 0, 2, &roster, Config::default());
    let now = world.now;
    assert!(world.machine(address(1)).ask(now, 0, 8));
    settle(&mut world);
    assert_eq!(world.machine(address(1)).answered, [7, 8]);
    assert_eq!(world.machine(address(0)).taken.len(), 1);
    // Request and 4.01, message_1 and message_2, request and response.
    assert_eq!(world.sent.len(), 4 + 6);
}

#[test]
fn after_a_reboot_of_the_initiator_the_old_session_gives_way() {
    let (mut world, roster) = world(2, Config::default(), 1, Faults::NONE);
    assert!(world.machine(address(1)).ask(Instant::ZERO, 0, 7));
    settle(&mut world);
    reboot(&mut world, 1, 2, &roster, Config::default());
    let now = world.now;
    assert!(world.machine(address(1)).ask(now, 0, 8));
    settle(&mut world);
    assert_eq!(world.machine(address(1)).answered, [8]);
    let now = world.now;
    assert!(world.machine(address(0)).ask(now, 1, 9));
    settle(&mut world);
    assert_eq!(world.machine(address(0)).answered, [9]);
    assert_eq!(world.machine(address(0)).core.sessions().established().count(), 1);
}

#[test]
fn however_often_a_peer_reboots_a_request_to_it_goes_on_in_the_session_that_it_makes() {
    let (mut world, roster) = world(2, Config::default(), 1, Faults::NONE);
    assert!(world.machine(address(1)).ask(Instant::ZERO, 0, 0));
    settle(&mut world);
    for round in 1..=6 {
        // A request is on its way while the other one falls over, which then has something to ask itself.
        reboot(&mut world, 0, 2, &roster, Config::default());
        let now = world.now;
        assert!(world.machine(address(0)).ask(now, 1, 100 + round));
        assert!(world.machine(address(1)).ask(now, 0, round));
        world.run_until(now + Duration::from_secs(6));
        let answered = world.machine(address(1)).answered.len();
        assert_eq!(answered, 1 + usize::try_from(round).unwrap(), "round {round}");
    }
}

#[test]
fn a_session_follows_its_peer_to_another_address() {
    let (mut world, _) = world(2, Config::default(), 1, Faults::NONE);
    assert!(world.machine(address(1)).ask(Instant::ZERO, 0, 7));
    settle(&mut world);
    let moved = world.machines.remove(&address(1)).unwrap();
    world.machines.insert(address(9), moved);
    let now = world.now;
    assert!(world.machine(address(9)).ask(now, 0, 8));
    settle(&mut world);
    assert_eq!(world.machine(address(9)).answered, [7, 8]);
    let now = world.now;
    assert!(world.machine(address(0)).ask(now, 1, 9));
    settle(&mut world);
    assert_eq!(world.machine(address(0)).answered, [9]);
    assert_eq!(world.machine(address(0)).core.sessions().stats().completed, 1);
}

#[test]
fn keys_are_replaced_after_their_lifetime_without_a_pause() {
    let config = Config { lifetime: Duration::from_secs(60), ..Config::default() };
    let (mut world, _) = world(2, config, 1, Faults::NONE);
    for what in 0..100 {
        world.run_until(Instant::from_secs(u64::from(what)));
        let now = world.now;
        assert!(world.machine(address(1)).ask(now, 0, what));
    }
    settle(&mut world);
    assert_eq!(world.machine(address(1)).answered.len(), 100);
    assert_eq!(world.machine(address(0)).taken.len(), 100);
    assert_eq!(world.machine(address(1)).core.sessions().stats().completed, 2);
}

#[test]
fn keys_are_replaced_before_they_are_used_up_under_load() {
    let key_use = capmesh_oscore::KeyUse { messages: 400, forgeries: 10 };
    let config = Config { key_use, ..Config::default() };
    let faults = Faults {
        loss: 0,
        duplication: 0,
        delay: Duration::from_millis(5)..Duration::from_millis(50),
    };
    let (mut world, _) = world(2, config, 3, faults);
    let mut asked = 0_u32;
    for round in 0..200_u64 {
        world.run_until(Instant::from_millis(round * 50));
        let now = world.now;
        for n in 0..2 {
            for _ in 0..2 {
                asked += u32::from(world.machine(address(n)).ask(now, 1 - n, asked));
            }
        }
    }
    settle(&mut world);
    let (mut answered, mut failed) = (0, vec![]);
    for n in 0..2 {
        answered += world.machine(address(n)).answered.len();
        failed.extend(world.machine(address(n)).failed.clone());
    }
    assert_eq!(failed, []);
    assert_eq!(u32::try_from(answered), Ok(asked));
    assert!(asked > 700, "{asked}");
    assert!(world.machine(address(0)).core.sessions().stats().completed > 2);
}
