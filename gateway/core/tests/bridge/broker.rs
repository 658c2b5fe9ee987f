//! What the broker's clients see and say.

use crate::world::{Mesh, Node, feed, gate, mesh, node, taps};
use capmesh_coap::test_util::{Dice, Faults};
use capmesh_gateway::Publication;
use capmesh_gateway::api::{
    Answer, LogLine, NodeState, NodeView, OnNode, Refusal, RefusalCode, Request, ShareView,
};
use capmesh_gateway::bridge::{Arrival, LOG, Notice, REQUEST_TIMEOUT, REQUESTS, Ticket};
use capmesh_wire::Instant;
use capmesh_wire::log::Level;
use capmesh_wire::plan::Delivery::{Every, Latest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

fn view(machine: u8, state: NodeState) -> NodeView {
    NodeView {
        name: format!("n{machine}"),
        id: node(machine),
        state,
        draining: false,
        labels: vec![],
        address: None,
        seen_at: None,
        seen_ms: None,
        firmware: "capmesh-node 0.1.0".to_owned(),
        board: "linux".to_owned(),
        uptime_ms: None,
        boots: Some(1),
        roster: None,
        plan: None,
        clock: None,
        flash: ShareView { total: 1_000, free: 400 },
        ram: ShareView { total: 2_000, free: 500 },
        fuel: ShareView::default(),
        places: ShareView::default(),
        sensors: vec![],
        actuators: vec![],
        sources: vec![],
        links: vec![],
        instances: vec![],
        refused: None,
    }
}

fn publications(world: &mut Mesh) -> Vec<Publication> {
    let later = world.now + Duration::from_secs(1);
    world.run_until(later);
    let notices = gate(world).notices.drain(..);
    notices
        .filter_map(|notice| match notice {
            Notice::Publish(publication) => Some(publication),
            _ => None,
        })
        .collect()
}

/// What a broker keeps of what is published.
fn retained(publications: &[Publication]) -> BTreeMap<&str, &[u8]> {
    let kept = publications.iter().filter(|publication| publication.retain);
    kept.map(|kept| (kept.topic.as_str(), kept.payload.as_slice())).collect()
}

fn world() -> Mesh {
    let mut world = mesh(1, Faults::NONE, vec![Node::new(2, Latest, 0, Dice::new(1))]);
    let now = world.now;
    gate(&mut world).set_wires(now, taps(&[2], Latest), feed(&[2], Every));
    gate(&mut world).bridge.set_node(now, &view(2, NodeState::Online));
    world
}

#[test]
fn everything_is_retained_and_again_when_the_broker_comes_back() {
    let mut world = world();
    let first = publications(&mut world);
    let kept = retained(&first);
    let device = "homeassistant/device/capmesh_s1_n2/config";
    let topics = [
        "capmesh/s1/gw/gw1/status",
        "capmesh/s1/node/n2/state",
        "capmesh/s1/node/n2/status",
        "capmesh/s1/topology",
        "homeassistant/device/capmesh_s1_gw_gw1/config",
        device,
    ];
    assert!(kept.keys().copied().eq(topics), "{:?}", kept.keys());
    assert_eq!(kept["capmesh/s1/gw/gw1/status"], b"online");
    assert_eq!(kept["capmesh/s1/node/n2/status"], b"online");
    let state: Value = serde_json::from_slice(kept["capmesh/s1/node/n2/state"]).unwrap();
    assert_eq!((&state["ram_free"], &state["state"]), (&json!(500), &json!("online")));
    let config: Value = serde_json::from_slice(kept[device]).unwrap();
    let sensor = &config["cmps"]["test--c_out_n"];
    assert_eq!(
        sensor,
        &json!({
            "p": "sensor", "uniq_id": "capmesh_s1_n2_test--c_out_n", "name": "c out n",
            "stat_t": "capmesh/s1/node/n2/test--c/out", "val_tpl": "{{ value_json['n'] }}",
            "stat_cla": "measurement",
        })
    );
    assert_eq!(config["avty"][1]["t"], "capmesh/s1/node/n2/status");
    assert_eq!(config["cmps"]["reboot"]["cmd_t"], "capmesh/s1/node/n2/cmd");
    assert!(first.iter().all(|publication| publication.qos == 1));

    // What is as it was is not published again, but to another broker it is.
    let now = world.now;
    gate(&mut world).bridge.set_node(now, &view(2, NodeState::Online));
    assert!(publications(&mut world).is_empty());
    gate(&mut world).bridge.mqtt_up(now, false);
    gate(&mut world).bridge.mqtt_up(now, true);
    assert_eq!(retained(&publications(&mut world)), kept);
    // Home Assistant wants its own.
    gate(&mut world).mqtt(now, "homeassistant/status", "online");
    let again = publications(&mut world);
    assert_eq!(again.len(), 2);
    assert_eq!(retained(&again)[device], kept[device]);
    assert_eq!(gate(&mut world).bridge.will().payload, b"offline");
    assert!(gate(&mut world).bridge.will().retain);
}

#[test]
fn a_node_that_is_lost_or_revoked_shows() {
    let mut world = world();
    publications(&mut world);
    let now = world.now;
    gate(&mut world).bridge.set_node(now, &view(2, NodeState::Offline));
    let lost = publications(&mut world);
    assert_eq!(retained(&lost)["capmesh/s1/node/n2/status"], b"offline");
    let gate_ = gate(&mut world);
    gate_.bridge.remove_node(now, "n2", &mut gate_.store);
    publications(&mut world);
    let emptied: Vec<_> = gate(&mut world)
        .disk
        .outbox
        .iter()
        .map(|publication| {
            assert!(publication.retain && publication.payload.is_empty());
            publication.topic.clone()
        })
        .collect();
    assert_eq!(
        emptied,
        [
            "capmesh/s1/node/n2/status",
            "capmesh/s1/node/n2/state",
            "homeassistant/device/capmesh_s1_n2/config",
        ]
    );
}

#[test]
fn a_value_that_comes_from_a_node_no_more_leaves_its_device() {
    let mut world = world();
    publications(&mut world);
    let now = world.now;
    gate(&mut world).set_wires(now, vec![], vec![]);
    let device = "homeassistant/device/capmesh_s1_n2/config";
    let component = |world: &mut Mesh| {
        let publications = publications(world);
        let config: Value = serde_json::from_slice(retained(&publications)[device]).unwrap();
        config["cmps"].get("test--c_out_n").cloned()
    };
    assert_eq!(component(&mut world), Some(json!({ "p": "sensor" })));
    let now = world.now;
    gate(&mut world).bridge.mqtt_up(now, true);
    assert_eq!(component(&mut world), None);
}

#[test]
fn what_is_subscribed_follows_the_wires() {
    let mut world = world();
    world.run_until(Instant::from_secs(1));
    let subscribed = |world: &mut Mesh| {
        let notices = gate(world).notices.drain(..);
        let mut filters = notices.filter_map(|notice| match notice {
            Notice::Subscribe(filters) => Some(filters),
            _ => None,
        });
        filters.next_back().unwrap()
    };
    let fixed = ["capmesh/s1/bridge/request/+", "capmesh/s1/node/+/cmd", "homeassistant/status"];
    let wired = ["capmesh/s1/node/n2/test--c/in/set", "city/threshold"];
    assert_eq!(subscribed(&mut world), [&fixed[..], &wired].concat());
    let now = world.now;
    gate(&mut world).set_wires(now, vec![], vec![]);
    world.run_until(Instant::from_secs(2));
    assert_eq!(subscribed(&mut world), fixed);
}

fn ask(world: &mut Mesh, arrival: &Arrival<'_>) -> Option<(Ticket, Request)> {
    let now = world.now;
    let wall = Some(1_700_000_000_000_000);
    let gate_ = gate(world);
    gate_.bridge.mqtt(now, wall, arrival, &mut gate_.store);
    world.flush();
    let at = gate(world).notices.iter().position(|n| matches!(n, Notice::Request(..)))?;
    match gate(world).notices.remove(at) {
        Notice::Request(ticket, request) => Some((ticket, request)),
        _ => None,
    }
}

fn answers(world: &mut Mesh) -> Vec<(Publication, Value)> {
    let published = publications(world);
    let answers = published.into_iter().filter(|publication| !publication.retain);
    answers
        .map(|answer| {
            let json = serde_json::from_slice(&answer.payload).unwrap();
            (answer, json)
        })
        .collect()
}

const DRAIN: &str = "capmesh/s1/bridge/request/drain";

#[test]
fn requests_are_answered_where_and_with_what_was_asked_for() {
    let mut world = world();
    let five = Arrival {
        topic: DRAIN,
        payload: br#"{"node":"n2"}"#,
        response_topic: Some("my/answers"),
        correlation: Some(&[1, 2]),
        retain: false,
    };
    let (ticket, request) = ask(&mut world, &five).unwrap();
    assert_eq!(request, Request::Drain(OnNode { node: "n2".to_owned() }));
    gate(&mut world).bridge.answered(ticket, &Ok(Answer::done("n2 is being drained")));
    let three = Arrival {
        topic: DRAIN,
        payload: br#"{"node":"n9","transaction":7}"#,
        ..Arrival::default()
    };
    let (ticket, _) = ask(&mut world, &three).unwrap();
    let refusal = Refusal::new(RefusalCode::UnknownNode, "the site has no node `n9`");
    gate(&mut world).bridge.answered(ticket, &Err(refusal));
    let answers = answers(&mut world);
    let [(first, ok), (second, refused)] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(
        (first.topic.as_str(), first.correlation.as_deref()),
        ("my/answers", Some(&[1, 2][..]))
    );
    assert_eq!(
        *ok,
        json!({
            "op": "drain", "status": "ok", "answer": {"done": {"message": "n2 is being drained"}},
        })
    );
    assert_eq!(second.topic, "capmesh/s1/bridge/response/drain");
    assert_eq!(
        *refused,
        json!({
            "op": "drain", "status": "refused", "transaction": 7,
            "refusal": {"code": "unknown-node", "message": "the site has no node `n9`"},
        })
    );
    assert!(first.expiry.is_some() && !first.retain);
}

#[test]
fn requests_that_are_none_are_refused_at_once() {
    let mut world = world();
    let cases: [(&str, &[u8], bool, &str); 7] = [
        (DRAIN, b"{", false, "malformed"),
        (DRAIN, b"{}", false, "malformed"),
        ("capmesh/s1/bridge/request/dance", b"", false, "malformed"),
        (DRAIN, br#"{"node":"n2"}"#, true, "expired"),
        (DRAIN, br#"{"node":"n2","expires":1699999999000}"#, false, "expired"),
        ("capmesh/s1/node/n2/cmd", br#"{"op":"revoke"}"#, false, "malformed"),
        ("capmesh/s1/node/n2/cmd", b"reboot", false, "malformed"),
    ];
    for (topic, payload, retain, code) in cases {
        let arrival = Arrival { topic, payload, retain, ..Arrival::default() };
        assert_eq!(ask(&mut world, &arrival), None);
        let answers = answers(&mut world);
        assert_eq!(answers[0].1["refusal"]["code"], code, "{topic}: {answers:?}");
    }
    let later = br#"{"node":"n2","expires":1700000001000}"#;
    assert!(
        ask(&mut world, &Arrival { topic: DRAIN, payload: later, ..Arrival::default() }).is_some()
    );
    let command = Arrival {
        topic: "capmesh/s1/node/n2/cmd",
        payload: br#"{"op":"reboot"}"#,
        ..Arrival::default()
    };
    let (_, request) = ask(&mut world, &command).unwrap();
    assert_eq!(request, Request::Reboot(OnNode { node: "n2".to_owned() }));
}

#[test]
fn only_so_many_requests_wait_and_none_for_ever() {
    let mut world = world();
    let arrival = Arrival { topic: DRAIN, payload: br#"{"node":"n2"}"#, ..Arrival::default() };
    let taken = (0..REQUESTS + 5).filter(|_| ask(&mut world, &arrival).is_some()).count();
    assert_eq!(taken, REQUESTS);
    let codes = |world: &mut Mesh| -> Vec<Value> {
        answers(world).iter().map(|(_, answer)| answer["refusal"]["code"].clone()).collect()
    };
    assert_eq!(codes(&mut world), ["busy"; 5]);
    let later = world.now + REQUEST_TIMEOUT;
    world.run_until(later);
    assert_eq!(codes(&mut world), ["timeout"; REQUESTS]);
    assert!(ask(&mut world, &arrival).is_some());
}

#[test]
fn lines_of_the_log_are_published_as_far_as_there_is_room() {
    let mut world = world();
    publications(&mut world);
    let line = |number| LogLine {
        at: None,
        node: Some("n2".to_owned()),
        number,
        instance: None,
        level: Level::Info,
        text: "up".to_owned(),
    };
    for number in 0..u32::try_from(LOG).unwrap() + 10 {
        gate(&mut world).bridge.log(&line(number));
    }
    let published = publications(&mut world);
    assert_eq!(published.len(), LOG);
    assert!(published.iter().all(|line| line.topic == "capmesh/s1/node/n2/log" && line.qos == 0));
}

#[test]
fn watchers_see_the_newest_values_ten_times_a_second() {
    let mut world = mesh(2, Faults::NONE, vec![Node::new(2, Latest, 100_000, Dice::new(1))]);
    gate(&mut world).set_wires(Instant::ZERO, taps(&[2], Latest), vec![]);
    world.run_until(Instant::from_secs(1));
    let shown = |world: &mut Mesh| -> Vec<u64> {
        let notices = gate(world).notices.drain(..);
        let values = notices.filter_map(|notice| match notice {
            Notice::Value(value) => Some(value.seq),
            _ => None,
        });
        values.collect()
    };
    assert!(shown(&mut world).is_empty());
    gate(&mut world).bridge.watch(true);
    world.run_until(Instant::from_secs(3));
    let values = shown(&mut world);
    assert!((15..=21).contains(&values.len()), "{}", values.len());
    assert!(values.is_sorted_by(|a, b| a < b));
}
