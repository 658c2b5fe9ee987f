//! What people ask of a mesh, by the command and over MQTT: granted, or refused with the reason.

use crate::broker::{Broker, has_mosquitto};
use crate::process::{PATIENCE, within};
use crate::town::{RECOVERY, Town, assert_once};
use capmesh_client::api::NodeState;
use serde_json::{Value, json};
use std::process::{Command, Stdio};

/// Asks over MQTT as a client of version 5 does; what is answered.
fn ask(broker: &Broker, op: &str, request: &Value) -> Value {
    let output = Command::new("mosquitto_rr")
        .args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-q", "1", "-W", "30"])
        .args(["-t", &format!("capmesh/home/bridge/request/{op}"), "-e", "capmesh/test/answer"])
        .args(["-m", &request.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{op}: {error}"))
}

fn is_empty(town: &Town, node: &str) -> bool {
    town.ask(town.client.node(node)).is_ok_and(|node| node.instances.is_empty())
}

#[test]
fn nodes_are_emptied_and_revoked_by_the_command_and_over_mqtt() {
    if !has_mosquitto() {
        return;
    }
    let town = Town::start("wishes", &["source", "left", "right"], crate::town::COUNTED);
    town.count();
    let (_, fill) = town.begin_move("fill", ["left", "right"]);
    town.wait(RECOVERY, "it is there", |town| town.place_of("fill").as_ref() == Some(&fill));

    // Emptied by the command: what was there goes on elsewhere, with its state.
    let said = town.run(&["node", "drain", &fill]).unwrap();
    assert!(said.contains(&fill), "{said}");
    assert!(is_empty(&town, &fill), "the command waits until it is");
    assert!(town.run(&["node", "ls"]).unwrap().contains("draining"));
    town.wait_rows(RECOVERY, 20);
    town.run(&["node", "undrain", &fill]).unwrap();

    // And over MQTT.
    let answer = ask(&town.broker, "drain", &json!({"node": "nobody"}));
    assert_eq!(
        (&answer["status"], &answer["refusal"]["code"]),
        (&json!("refused"), &json!("unknown-node"))
    );
    let (_, fill) = town.begin_move("fill", ["left", "right"]);
    town.wait(RECOVERY, "it is there", |town| town.place_of("fill").as_ref() == Some(&fill));
    let answer = ask(&town.broker, "drain", &json!({"node": fill}));
    assert_eq!(answer["status"], "ok", "{answer}");
    town.wait(RECOVERY, "it is empty", |town| is_empty(town, &fill));
    town.wait_rows(RECOVERY, 20);
    town.listener.heard(assert_once);
    assert_eq!(ask(&town.broker, "undrain", &json!({"node": fill}))["status"], "ok");

    // Revoked over MQTT and by the command: nobody talks to them any more, and the others go on.
    let revoked = if fill == "left" { "right" } else { "left" };
    let answer = ask(&town.broker, "revoke", &json!({"node": revoked}));
    assert_eq!(answer["status"], "ok", "{answer}");
    within(PATIENCE, "it is off the roster", || {
        let nodes = town.ask(town.client.nodes()).unwrap();
        nodes.iter().all(|node| node.name != revoked || node.state == NodeState::Revoked)
    });
    town.wait_rows(RECOVERY, 20);
    let refused = town.run(&["migrate", "count/fill", "--to", revoked]).unwrap_err();
    assert!(refused.contains(revoked), "{refused}");
    let said = town.run(&["node", "revoke", &fill]).unwrap();
    assert!(said.contains(&fill), "{said}");
    town.wait_rows(RECOVERY, 20);
}

#[test]
fn pipelines_that_cannot_be_are_refused_with_the_reason() {
    if !has_mosquitto() {
        return;
    }
    let town = Town::start("wishes-refused", &["source"], crate::town::COUNTED);
    let examples = crate::town::examples().join("capsules/dist");
    for name in ["air-parse", "air-range-filter", "cpu-load", "load-statistics"] {
        town.push(&examples.join(format!("{name}.capsule"))).unwrap();
    }
    let file = town.place.join("wish.toml");
    let deploy = |text: &str| {
        std::fs::write(&file, text).unwrap();
        town.run(&["deploy", file.to_str().unwrap()]).expect_err("it is refused")
    };
    let capsule = |name: &str, uses: &str, more: &str| {
        format!("[[capsule]]\nname = \"{name}\"\nuse = \"examples/{uses}:1.0.0\"\n{more}\n")
    };
    let head = "[pipeline]\nname = \"wish\"\n";

    // What it sends is not what the other one takes.
    let wire = "[[wire]]\nfrom = \"parse.climate\"\nto = \"window.load\"\n";
    let (parse, window) =
        (capsule("parse", "air-parse", ""), capsule("window", "load-statistics", ""));
    let said = deploy(&format!("{head}{parse}{window}{wire}"));
    for word in ["wish.toml:", "air-climate", "load"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    // A sensor that no node has: the capsule's own, and one that the pipeline asks for.
    let said = deploy(&format!("{head}{}", capsule("cpu", "cpu-load", "")));
    assert!(said.contains("cpu") && said.contains("sensor"), "{said}");
    let needs = "needs = { sensor = \"sonar\" }";
    let said = deploy(&format!("{head}{}", capsule("range", "air-range-filter", needs)));
    assert!(said.contains("sonar"), "{said}");
    // A capsule that nobody has pushed.
    let said = deploy(&format!("{head}{}", capsule("range", "air-range-filtre", "")));
    assert!(said.contains("air-range-filtre"), "{said}");
    // More than the node can hold: what it needs, and what there is.
    let said = deploy(&format!("{head}{}", capsule("range", "air-range-filter", "replicas = 60")));
    assert!(said.contains("wish/range") && said.contains("source"), "{said}");
    println!("{said}");
    assert!(town.run(&["--json", "ls"]).unwrap().is_empty(), "nothing runs");

    // A registry that is silent: it is said what is waited for, and in the end that it is not there.
    town.registry().signal("STOP");
    let said = deploy(&format!("{head}{}", capsule("range", "air-mean", "")));
    town.registry().signal("CONT");
    assert!(said.contains("the gateway asks the registry"), "{said}");
    assert!(said.contains("the registry does not answer"), "{said}");
}
