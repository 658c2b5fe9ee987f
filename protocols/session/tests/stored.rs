//! Sessions that outlive restarts.

mod common;

use capmesh_coap::test_util::{Faults, World};
use capmesh_coap::{Message, option::OptionNumber};
use capmesh_oscore::CoseHeader;
use capmesh_session::Config;
use common::*;
use std::collections::BTreeSet;
use std::time::Duration;

fn config() -> Config {
    Config { reserve: 4, ..Config::default() }
}

/// A new node in the place of one, with what was in its flash.
fn power_cut(world: &mut World<Node>, n: u16, roster: &SharedRoster) {
    let flash = world.machine(address(n)).flash.clone();
    reboot(world, n, 2, roster, config());
    let now = world.now;
    let node = world.machine(address(n));
    for record in flash.values() {
        node.core.sessions_mut().restore(now, record).expect("it was a session");
    }
    node.flash = flash;
}

#[test]
fn no_restart_costs_a_handshake_and_no_number_is_used_twice() {
    let (mut world, roster) = world(2, config(), 1, Faults::NONE);
    for round in 0..24 {
        for n in 0..2 {
            let now = world.now;
            assert!(world.machine(address(n)).ask(now, 1 - n, 2 * round + u32::from(n)));
            settle(&mut world);
            assert_eq!(world.machine(address(n)).asked.len(), 0);
            assert_eq!(world.machine(address(n)).failed, []);
        }
        match round % 4 {
            0 => power_cut(&mut world, 0, &roster),
            1 => power_cut(&mut world, 1, &roster),
            2 => {
                power_cut(&mut world, 0, &roster);
                power_cut(&mut world, 1, &roster);
            }
            _ => {}
        }
    }
    let mut used = BTreeSet::new();
    let mut handshakes = 0;
    for (_, datagram) in &world.sent {
        let message = Message::parse(&datagram.bytes).expect("a message");
        match CoseHeader::of(&message) {
            Ok(Some(header)) => {
                if let Some(number) = header.partial_iv {
                    assert!(used.insert((datagram.from, number)), "{number} was used twice");
                }
            }
            _ => {
                let path = message.option(OptionNumber::URI_PATH);
                handshakes += u32::from(path == Some(b".well-known"));
            }
        }
    }
    assert_eq!(handshakes, 1);
    assert!(used.len() > 60, "{}", used.len());
}

#[test]
fn nothing_is_sent_before_its_number_is_stored() {
    let (mut world, _) = world(2, config(), 1, Faults::NONE);
    world.machine(address(1)).stores = false;
    let now = world.now;
    assert!(world.machine(address(1)).ask(now, 0, 1));
    world.run_until(now + Duration::from_secs(2));
    // Messages 1 and 2; the request that would carry message_3 has no number yet.
    assert_eq!(world.sent.len(), 2);
    let record = world.machine(address(1)).core.sessions().record();
    assert_eq!(record.map(|record| record.bound), Some(4));
    world.machine(address(1)).stores = true;
    settle(&mut world);
    assert_eq!(world.machine(address(1)).answered, [1]);
}
