//! Announcements among a few nodes, carried by hand.

use super::{Config, Discovery, Event, Mine, NEIGHBOURS};
use capmesh_coap::endpoint::{Config as CoapConfig, Event as CoapEvent, Output, Via};
use capmesh_coap::security::Plain;
use capmesh_coap::{Code, Endpoint};
use capmesh_wire::cbor::encode;
use capmesh_wire::discovery::Announce;
use capmesh_wire::{DigestPrefix, Instant, List, NodeId, Revision, Role, VERSION};
use core::net::SocketAddr;
use core::time::Duration;
use std::vec::Vec;

type Core = Endpoint<Plain, 256, 4, 1040, 4, 1, 16, 512>;

const GROUP: ([u16; 8], u16) = ([0xff02, 0, 0, 0, 0, 0, 0, 0xfd], 5683);

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, host.into()], 5683))
}

fn node(host: u8) -> NodeId {
    NodeId::from_bytes([host; 8])
}

/// A node with nothing but its announcements.
struct Station {
    core: Core,
    discovery: Discovery,
    mine: Mine,
    host: u8,
    events: Vec<Event>,
    sent: Vec<Instant>,
}

impl Station {
    fn new(host: u8, roster: u32) -> Self {
        Self {
            core: Core::new(CoapConfig::default(), Plain, [host; 16]),
            discovery: Discovery::new(Config::default(), node(host), Role::Node, host.into()),
            mine: Mine { roster: Some(Revision(roster)), ..Mine::default() },
            host,
            events: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// What it sends at `now`.
    fn turn(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut buf = [0; 256];
        let mut sent = None;
        loop {
            let (mine, group) = (self.mine, SocketAddr::from(GROUP));
            let event = self.discovery.poll(now, &mine, &mut self.core, group);
            self.events.extend(event);
            match self.core.poll(now, &mut buf) {
                Some(Output::Transmit { to, len }) => {
                    assert_eq!(to, group);
                    self.sent.push(now);
                    sent = Some(buf.get(..len).unwrap().to_vec());
                }
                Some(Output::Outcome(_)) => {}
                None if event.is_none() => return sent,
                None => {}
            }
        }
    }

    fn hear(&mut self, now: Instant, from: u8, datagram: &[u8]) {
        let mut scratch = [0; 256];
        let event = self.core.handle(now, address(from), Via::Multicast, datagram, &mut scratch);
        let Some(CoapEvent::Request { responder, message, peer, .. }) = event else {
            panic!("{event:?}")
        };
        assert_eq!(message.code(), Code::POST);
        let mine = self.mine;
        self.discovery.heard(now, peer, &mine, message.payload());
        self.core.ignore(now, responder);
    }
}

/// Lets stations on one link talk until `until`.
fn run(stations: &mut [Station], from: Instant, until: Instant) {
    let mut now = from;
    while now < until {
        for at in 0..stations.len() {
            let (host, sent) = (stations[at].host, stations[at].turn(now));
            for other in stations.iter_mut().filter(|other| other.host != host) {
                if let Some(datagram) = &sent {
                    other.hear(now, host, datagram);
                }
            }
        }
        let next = stations.iter().filter_map(|station| {
            [station.discovery.poll_timeout(), station.core.poll_timeout()]
                .into_iter()
                .flatten()
                .min()
        });
        now = next.min().unwrap().max(now);
    }
}

fn announce(of: u8, mine: &Mine) -> Vec<u8> {
    let announce = Announce {
        wire: VERSION,
        node: node(of),
        role: Role::Node,
        roster: mine.roster,
        plan: mine.plan,
        holds: mine.holds,
        addresses: List::EMPTY,
    };
    let mut buf = [0; 64];
    let len = encode(&announce, &mut buf).unwrap();
    buf[..len].to_vec()
}

#[test]
fn all_find_all_and_then_hardly_speak() {
    let mut stations: Vec<Station> = (1..=8).map(|host| Station::new(host, 3)).collect();
    let start = Instant::from_secs(1);
    run(&mut stations, start, Instant::from_secs(6));
    for station in &stations {
        let found = station.discovery.neighbours();
        assert_eq!(found.len(), 7, "{} after 5 s", station.host);
        assert!(found.iter().all(|neighbour| neighbour.roster == Some(Revision(3))));
        let new = |event: &&Event| matches!(event, Event::Neighbour { .. });
        assert_eq!(station.events.iter().filter(new).count(), 7);
    }
    run(&mut stations, Instant::from_secs(6), Instant::from_secs(3_600));
    // Eleven intervals in an hour, and half of them silent because four others spoke.
    let sent: usize = stations.iter().map(|station| station.sent.len()).sum();
    assert!((40..90).contains(&sent), "{sent} announcements");
}

#[test]
fn a_newer_roster_is_noticed_by_those_with_an_older_one_soon() {
    let mut stations: Vec<Station> = (1..=4).map(|host| Station::new(host, 3)).collect();
    run(&mut stations, Instant::from_secs(1), Instant::from_secs(3_000));
    for station in &mut stations {
        station.events.clear();
    }
    let now = Instant::from_secs(3_000);
    stations[0].mine.roster = Some(Revision(4));
    stations[0].discovery.changed(now);
    run(&mut stations, now, now + Duration::from_secs(4));
    let newer = Event::Roster { node: node(1), revision: Revision(4) };
    assert!(stations[1..].iter().all(|station| station.events.contains(&newer)));
    assert!(stations[0].events.iter().all(|event| *event == Event::Behind));

    // One that comes with an old roster makes the others speak, and hears of it.
    let later = Instant::from_secs(6_000);
    for station in &mut stations {
        station.mine.roster = Some(Revision(4));
    }
    run(&mut stations, now + Duration::from_secs(4), later);
    stations.push(Station::new(9, 1));
    run(&mut stations, later, later + Duration::from_secs(6));
    let events = &stations[4].events;
    assert!(events.iter().any(|event| matches!(event, Event::Roster { revision, .. }
        if *revision == Revision(4))));
}

#[test]
fn plans_and_holdings_are_noticed() {
    let mut station = Station::new(1, 3);
    let now = Instant::from_secs(1);
    let from = address(2);
    let held = Mine {
        roster: Some(Revision(3)),
        plan: Some(Revision(7)),
        holds: Some(DigestPrefix([1; 8])),
    };
    let heard = |station: &mut Station, said: &Mine| {
        let mine = station.mine;
        station.discovery.heard(now, from, &mine, &announce(2, said));
        station.turn(now);
        core::mem::take(&mut station.events)
    };
    let found = Event::Neighbour { node: node(2), role: Role::Node, address: from };
    let plan = Event::Plan { node: node(2), revision: Revision(7) };
    let holds = Event::Holds { node: node(2) };
    assert_eq!(heard(&mut station, &held), [found, plan, holds]);
    station.mine.plan = Some(Revision(7));
    assert_eq!(heard(&mut station, &held), []);
    let other = Mine { holds: Some(DigestPrefix([2; 8])), ..held };
    assert_eq!(heard(&mut station, &other), [holds]);
    // Of itself, and nonsense.
    let mine = station.mine;
    station.discovery.heard(now, from, &mine, &announce(1, &held));
    station.discovery.heard(now, from, &mine, b"\xa0");
    assert_eq!(station.discovery.neighbours().len(), 1);
}

#[test]
fn strangers_cause_no_more_than_they_may() {
    let mut station = Station::new(1, 3);
    run(core::slice::from_mut(&mut station), Instant::from_secs(1), Instant::from_secs(3_000));
    station.sent.clear();
    let mut now = Instant::from_secs(3_000);
    // For ten minutes, 50 announcements a second of ever new nodes with ever newer rosters.
    for number in 0..30_000_u32 {
        now += Duration::from_millis(20);
        let [.., a, b, c] = number.to_be_bytes();
        let said = Mine { roster: Some(Revision(number + 4)), ..Mine::default() };
        let mine = station.mine;
        let mut bytes = announce(2, &said);
        let at = bytes.windows(8).position(|window| window == [2; 8]).unwrap();
        bytes[at..at + 3].copy_from_slice(&[a, b, c]);
        station.discovery.heard(now, address(b), &mine, &bytes);
        station.turn(now);
    }
    assert_eq!(station.discovery.neighbours().len(), NEIGHBOURS);
    // 16 and one a second.
    assert!((600..=617).contains(&station.events.len()), "{} events", station.events.len());
    // 4 and one each half minute begin anew, after which there are four announcements in it.
    assert!((60..=96).contains(&station.sent.len()), "{} announcements", station.sent.len());
}
