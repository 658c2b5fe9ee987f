//! The JSON of every sort of request, refusal, answer and event. These texts are what programs of
//! other people were written against: they are added to and not changed.

use super::*;
use capmesh_wire::inventory::{CapsuleState, InstanceState, LinkKind};
use capmesh_wire::log::Level;
use capmesh_wire::plan::{Delivery, Overflowing};
use capmesh_wire::{Claim, Digest, ErrorCode, InstanceId, NodeId, Unit};
use core::fmt::Debug;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[track_caller]
fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: Value) {
    assert_eq!(serde_json::to_value(value).unwrap(), json);
    assert_eq!(serde_json::from_value::<T>(json).unwrap(), *value);
}

fn node(name: &str) -> OnNode {
    OnNode { node: name.to_owned() }
}

#[test]
fn requests_without_a_body() {
    for (request, op) in [
        (Request::Site, "site"),
        (Request::Nodes, "nodes"),
        (Request::Pipelines, "pipelines"),
        (Request::Plan, "plan"),
        (Request::Topics, "topics"),
        (Request::Capsules, "capsules"),
        (Request::Migrations, "migrations"),
    ] {
        golden(&request, json!({ "op": op }));
        assert_eq!(Request::parse_op(op, b""), Ok(request.clone()));
        assert!(request.is_query());
    }
    assert_eq!(Request::parse_op("instances", b" "), Ok(Request::Instances(Which::default())));
}

#[test]
fn requests_with_a_body() {
    let instance = InstanceRef::place("city-air", "stats", 1);
    let claim = Claim::of_key(&[7; 32]);
    for (request, json) in [
        (Request::Node(node("n03")), json!({"op": "node", "node": "n03"})),
        (Request::Drain(node("n03")), json!({"op": "drain", "node": "n03"})),
        (Request::Undrain(node("n03")), json!({"op": "undrain", "node": "n03"})),
        (Request::Revoke(node("n03")), json!({"op": "revoke", "node": "n03"})),
        (Request::Reboot(node("n03")), json!({"op": "reboot", "node": "n03"})),
        (
            Request::Restart(OnInstance { instance: InstanceRef::Number(InstanceId(17)) }),
            json!({"op": "restart", "instance": 17}),
        ),
        (
            Request::Migrate(Migrate { instance: instance.clone(), to: "n04".to_owned() }),
            json!({"op": "migrate", "instance": "city-air/stats/1", "to": "n04"}),
        ),
        (
            Request::Undeploy(OnPipeline { pipeline: "city-air".to_owned() }),
            json!({"op": "undeploy", "pipeline": "city-air"}),
        ),
        (
            Request::Deploy(Deploy { text: "[pipeline]".to_owned(), file: None, dry_run: true }),
            json!({"op": "deploy", "text": "[pipeline]", "dry_run": true}),
        ),
        (
            Request::Adopt(Adopt {
                claim,
                address: "127.0.0.1:5690".parse().unwrap(),
                name: "n03".to_owned(),
                labels: vec!["outdoor".to_owned()],
            }),
            json!({
                "op": "adopt", "claim": claim.to_string(), "address": "127.0.0.1:5690",
                "name": "n03", "labels": ["outdoor"],
            }),
        ),
        (
            Request::Rename(Rename { node: "n03".to_owned(), name: "roof".to_owned() }),
            json!({"op": "rename", "node": "n03", "name": "roof"}),
        ),
        (
            Request::Label(Label {
                node: "n03".to_owned(),
                add: vec!["outdoor".to_owned()],
                remove: vec![],
            }),
            json!({"op": "label", "node": "n03", "add": ["outdoor"]}),
        ),
        (
            Request::Remove(Remove { capsule: "city/stats:2".to_owned(), node: None }),
            json!({"op": "remove", "capsule": "city/stats:2"}),
        ),
        (
            Request::Log(LogQuery {
                level: Some(Level::Warning),
                instance: Some(instance),
                lines: Some(20),
                node: None,
            }),
            json!({"op": "log", "level": "warning", "instance": "city-air/stats/1", "lines": 20}),
        ),
    ] {
        golden(&request, json.clone());
        assert_eq!(Request::parse(json.to_string().as_bytes()), Ok(request));
    }
}

#[test]
fn what_is_no_request_is_refused_with_what_was_found() {
    for (json, found) in [
        ("", "EOF"),
        ("[]", "not what it should be"),
        (r#"{"op":"dance"}"#, "unknown variant `dance`"),
        (r#"{"op":"drain"}"#, "missing field `node`"),
        (r#"{"op":"drain","node":"n03","force":true}"#, "unknown field `force`"),
        (r#"{"op":"drain","node":"N03"}"#, "`node` is not a name"),
        (r#"{"op":"drain","node":""}"#, "is empty"),
        (r#"{"op":"migrate","instance":"a/b/c/d","to":"n"}"#, "pipeline/name/replica"),
        (r#"{"op":"migrate","instance":"a/b/256","to":"n"}"#, "0 to 255"),
        (r#"{"op":"adopt","claim":"x","address":"a","name":"n"}"#, "26 characters"),
        (r#"{"op":"remove","capsule":"city/stats"}"#, "a tag"),
        (r#"{"op":"log","lines":1001}"#, "more than 1000"),
        (r#"{"op":"log","level":"loud"}"#, "error, warning, info and debug"),
    ] {
        let refusal = Request::parse(json.as_bytes()).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Malformed, "{json}");
        assert!(refusal.to_string().contains(found), "{json}: {refusal}");
    }
}

#[test]
fn every_bound_of_a_request_holds() {
    let deploy = |text: usize, file: usize| {
        let file = Some("f".repeat(file));
        Request::Deploy(Deploy { text: "x".repeat(text), file, dry_run: false }).check()
    };
    assert_eq!(deploy(limits::PIPELINE_TEXT, limits::FILE), Ok(()));
    for refused in [deploy(limits::PIPELINE_TEXT + 1, 1), deploy(1, limits::FILE + 1)] {
        assert_eq!(refused.unwrap_err().status(), 413);
    }
    let label = |count| {
        let add = vec!["a".to_owned(); count];
        Request::Label(Label { node: "n".to_owned(), add, remove: vec![] }).check()
    };
    assert_eq!(label(limits::LABELS), Ok(()));
    assert_eq!(label(limits::LABELS + 1).unwrap_err().code, RefusalCode::Malformed);
    let long = vec![b' '; limits::REQUEST + 1];
    for refused in [Request::parse(&long), Request::parse_op("site", &long)] {
        assert_eq!(refused.unwrap_err().code, RefusalCode::TooLarge);
    }
}

#[test]
fn the_longest_pipeline_fits_a_request_however_it_is_escaped() {
    let text = "\"".repeat(limits::PIPELINE_TEXT);
    let request =
        Request::Deploy(Deploy { text, file: Some("\\".repeat(limits::FILE)), dry_run: true });
    let json = serde_json::to_vec(&request).unwrap();
    assert_eq!(Request::parse(&json), Ok(request));
}

#[test]
fn instances_have_three_names() {
    for text in ["17", "city-air/stats/1", "city-air/stats"] {
        assert_eq!(text.parse::<InstanceRef>().unwrap().to_string(), text);
    }
    golden(&InstanceRef::Number(InstanceId(17)), json!(17));
    golden(&InstanceRef::place("a", "b", 0), json!("a/b/0"));
    assert_eq!(serde_json::from_value::<InstanceRef>(json!("17")).unwrap().to_string(), "17");
    for (bad, error) in [
        ("", InvalidInstance::Form),
        ("stats", InvalidInstance::Form),
        ("4294967296", InvalidInstance::Form),
        ("a/b/c/d", InvalidInstance::Form),
        ("a/b/x", InvalidInstance::Replica),
    ] {
        assert_eq!(bad.parse::<InstanceRef>(), Err(error), "{bad}");
    }
    assert!(matches!("A/b".parse::<InstanceRef>(), Err(InvalidInstance::Name(_))));
}

#[test]
fn refusals() {
    golden(
        &Refusal::new(RefusalCode::UnknownNode, "the site has no node `n33`"),
        json!({"code": "unknown-node", "message": "the site has no node `n33`"}),
    );
    let mistake = Mistake {
        file: Some("city-air.toml".to_owned()),
        line: 7,
        column: 9,
        length: 14,
        code: "unknown-capsule".to_owned(),
        message: "no capsule of this pipeline is called `statz`".to_owned(),
        help: Some("name one of `clean`, `stats`".to_owned()),
        nearest: Some("stats".to_owned()),
    };
    assert_eq!(
        mistake.to_string(),
        "city-air.toml:7:9: no capsule of this pipeline is called `statz` (did you mean `stats`?)"
    );
    golden(
        &Refusal::invalid_pipeline(vec![mistake]).help("nothing was changed"),
        json!({
            "code": "invalid-pipeline", "message": "the pipeline has a mistake",
            "help": "nothing was changed",
            "mistakes": [{
                "file": "city-air.toml", "line": 7, "column": 9, "length": 14,
                "code": "unknown-capsule",
                "message": "no capsule of this pipeline is called `statz`",
                "help": "name one of `clean`, `stats`", "nearest": "stats",
            }],
        }),
    );
    golden(
        &Refusal::node_refused("n03", ErrorCode::NoRam).because("8 KB are free").retry_in(500),
        json!({
            "code": "node-refused", "message": format!("n03 refuses: {}", ErrorCode::NoRam),
            "causes": ["8 KB are free"], "node_said": "no-ram", "retry_ms": 500,
        }),
    );
}

#[test]
fn codes_of_refusals_are_their_json_and_have_a_status_of_an_error() {
    for code in RefusalCode::ALL {
        golden(code, json!(code.name()));
        assert!((400..600).contains(&code.status()), "{code:?}");
    }
    assert_eq!(serde_json::from_value::<RefusalCode>(json!("new")).unwrap(), RefusalCode::Unknown);
}

#[test]
fn a_refusal_lists_so_much_and_no_more() {
    let refusal = (0..100).fold(Refusal::new(RefusalCode::Unplaceable, "no"), |refusal, cause| {
        refusal.because(cause.to_string())
    });
    assert_eq!(refusal.causes.len(), limits::CAUSES);
    let mistake = Mistake {
        file: None,
        line: 1,
        column: 1,
        length: 1,
        code: "syntax".to_owned(),
        message: String::new(),
        help: None,
        nearest: None,
    };
    let refusal = Refusal::invalid_pipeline(vec![mistake; 100]);
    assert_eq!(refusal.mistakes.len(), limits::MISTAKES);
    assert_eq!(refusal.message, "the pipeline has 100 mistakes");
}

fn id() -> NodeId {
    NodeId::from_bytes([0, 0, 0, 0, 0, 0, 0, 1])
}

fn node_view() -> NodeView {
    NodeView {
        name: "n03".to_owned(),
        id: id(),
        state: NodeState::Online,
        draining: false,
        labels: vec!["outdoor".to_owned()],
        address: Some("127.0.0.1:5690".parse().unwrap()),
        seen_at: Some(1_700_000_000_000),
        seen_ms: Some(12),
        firmware: "capmesh-node 0.1.0".to_owned(),
        board: "linux".to_owned(),
        uptime_ms: Some(60_000),
        boots: Some(2),
        roster: Some(3),
        plan: Some(4),
        clock: Some(ClockView { uncertainty_us: 250 }),
        flash: ShareView { total: 1_000, free: 400 },
        ram: ShareView { total: 2_000, free: 500 },
        fuel: ShareView { total: 3_000, free: 600 },
        places: ShareView { total: 8, free: 7 },
        sensors: vec!["temperature".to_owned()],
        actuators: vec![],
        sources: vec![],
        links: vec![LinkView {
            to: "n04".to_owned(),
            address: "[fe80::1]:5690".parse().unwrap(),
            kind: LinkKind::Loopback,
            quality: 255,
            mtu: 1280,
        }],
        instances: vec!["city-air/stats/0".to_owned()],
        refused: Some(RefusedView { forbidden: 1, ..RefusedView::default() }),
    }
}

#[test]
fn nodes() {
    let json = json!({
        "name": "n03", "id": "aaaaaaaaaaaac", "state": "online", "draining": false,
        "labels": ["outdoor"], "address": "127.0.0.1:5690", "seen_at": 1_700_000_000_000_u64,
        "seen_ms": 12, "firmware": "capmesh-node 0.1.0", "board": "linux", "uptime_ms": 60_000,
        "boots": 2, "roster": 3, "plan": 4, "clock": {"uncertainty_us": 250},
        "flash": {"total": 1_000, "free": 400}, "ram": {"total": 2_000, "free": 500},
        "fuel": {"total": 3_000, "free": 600}, "places": {"total": 8, "free": 7},
        "sensors": ["temperature"],
        "links": [{
            "to": "n04", "address": "[fe80::1]:5690", "kind": "loopback", "quality": 255,
            "mtu": 1280,
        }],
        "instances": ["city-air/stats/0"],
        "refused": {"unauthenticated": 0, "forbidden": 1, "messages": 0, "unverified": 0},
    });
    golden(&Answer::Node(Box::new(node_view())), json!({ "node": json }));
    golden(&Answer::Nodes(vec![node_view()]), json!({ "nodes": [json] }));
    golden(&Event::Node(Box::new(node_view())), json!({ "node": json }));
}

fn instance_view() -> InstanceView {
    InstanceView {
        instance: 17,
        path: "city-air/stats/0".to_owned(),
        pipeline: "city-air".to_owned(),
        name: "stats".to_owned(),
        replica: 0,
        capsule: "city/stats".to_owned(),
        digest: Digest::of(b""),
        node: "n03".to_owned(),
        epoch: 2,
        state: Some(InstanceState::BackingOff),
        lost: false,
        reason: Some(ErrorCode::Trapped),
        why: vec!["nearest to `clean`".to_owned()],
        lease_ms: Some(60_000),
        counters: Counters { handled: 5, ..Counters::default() },
    }
}

#[test]
fn instances_and_capsules() {
    let digest = Digest::of(b"").to_string();
    golden(
        &Answer::Instance(Box::new(instance_view())),
        json!({"instance": {
            "instance": 17, "path": "city-air/stats/0", "pipeline": "city-air", "name": "stats",
            "replica": 0, "capsule": "city/stats", "digest": digest, "node": "n03", "epoch": 2,
            "state": "backing-off", "reason": "trapped", "why": ["nearest to `clean`"],
            "lease_ms": 60_000,
            "counters": {
                "restarts": 0, "handled": 5, "published": 0, "dropped": 0, "fuel_per_second": 0,
                "inbox": 0, "outbox": 0,
            },
        }}),
    );
    golden(
        &Answer::Capsules(vec![CapsuleView {
            digest: Digest::of(b""),
            name: "city/stats".to_owned(),
            version: "2".to_owned(),
            sequence: 9,
            publisher: Some(id()),
            size: 4_096,
            ram: 70_000,
            fuel_per_second: 1_000,
            instances: 1,
            nodes: vec![Holder { node: "n03".to_owned(), state: CapsuleState::Held }],
        }]),
        json!({"capsules": [{
            "digest": digest, "name": "city/stats", "version": "2", "sequence": 9,
            "publisher": "aaaaaaaaaaaac", "size": 4_096, "ram": 70_000, "fuel_per_second": 1_000,
            "instances": 1, "nodes": [{"node": "n03", "state": "held"}],
        }]}),
    );
}

#[test]
fn codes_of_newer_nodes_are_kept_as_unknown() {
    let mut json = serde_json::to_value(instance_view()).unwrap();
    json["state"] = json!("levitating");
    json["reason"] = json!("gravity");
    json["more"] = json!(1);
    let view: InstanceView = serde_json::from_value(json).unwrap();
    assert_eq!(view.state.unwrap().name(), "unknown");
    assert_eq!(view.reason.unwrap().name(), "unknown");
}

fn plan_view() -> PlanView {
    PlanView {
        revision: 4,
        rows: vec![PlanRow {
            instance: None,
            path: "city-air/stats/0".to_owned(),
            capsule: "city/stats:2".to_owned(),
            node: "n03".to_owned(),
            change: Change::Moves,
            from: Some("n01".to_owned()),
            why: vec!["n01 is being drained".to_owned()],
        }],
        cost: 120,
        optimal: true,
    }
}

#[test]
fn pipelines_and_plans() {
    let plan = json!({
        "revision": 4, "cost": 120, "optimal": true,
        "rows": [{
            "path": "city-air/stats/0", "capsule": "city/stats:2", "node": "n03",
            "change": "moves", "from": "n01", "why": ["n01 is being drained"],
        }],
    });
    golden(&Answer::Plan(plan_view()), json!({ "plan": plan }));
    let pipeline = PipelineView {
        name: "city-air".to_owned(),
        state: PipelineState::Degraded,
        deployed_at: Some(1),
        instances: vec!["city-air/stats/0".to_owned()],
        running: 0,
        wires: vec![WireView {
            from: "clean.readings".to_owned(),
            to: "stats.in".to_owned(),
            delivery: Delivery::Every,
            overflow: Overflowing::PauseProducer,
        }],
        publishes: vec!["stats.summary".to_owned()],
        subscribes: vec![("city/threshold".to_owned(), "alert.threshold".to_owned())],
        problems: vec!["`stats` has trapped".to_owned()],
        text: None,
    };
    golden(
        &Answer::Deployed(Box::new(Deployed { dry_run: true, pipeline, plan: plan_view() })),
        json!({"deployed": {
            "dry_run": true,
            "pipeline": {
                "name": "city-air", "state": "degraded", "deployed_at": 1,
                "instances": ["city-air/stats/0"], "running": 0,
                "wires": [{
                    "from": "clean.readings", "to": "stats.in", "delivery": "every",
                    "overflow": "pause-producer",
                }],
                "publishes": ["stats.summary"],
                "subscribes": [["city/threshold", "alert.threshold"]],
                "problems": ["`stats` has trapped"],
            },
            "plan": plan,
        }}),
    );
}

#[test]
fn migrations() {
    golden(
        &Event::Migration(Box::new(MigrationView {
            instance: 17,
            path: "city-air/stats/0".to_owned(),
            from: "n01".to_owned(),
            to: "n03".to_owned(),
            epoch: 3,
            state: MigrationState::Committed,
            cause: "asked for".to_owned(),
            began_at: None,
            steps: vec![
                StepView { step: "prepare".to_owned(), after_us: 0, took_us: Some(900) },
                StepView { step: "quiesce".to_owned(), after_us: 900, took_us: None },
            ],
            snapshot_bytes: Some(8_192),
            blackout_us: None,
            problem: None,
        })),
        json!({"migration": {
            "instance": 17, "path": "city-air/stats/0", "from": "n01", "to": "n03", "epoch": 3,
            "state": "committed", "cause": "asked for",
            "steps": [
                {"step": "prepare", "after_us": 0, "took_us": 900},
                {"step": "quiesce", "after_us": 900},
            ],
            "snapshot_bytes": 8_192,
        }}),
    );
}

#[test]
fn topics_values_and_lines() {
    let value = ValueView {
        topic: "city-air/stats/summary".to_owned(),
        instance: 17,
        epoch: 2,
        seq: u64::MAX,
        sampled_us: Some(1_700_000_000_000_000),
        value: serde_json::from_value(json!({"mean": 21.5})).unwrap(),
    };
    let value_json = json!({
        "topic": "city-air/stats/summary", "instance": 17, "epoch": 2, "seq": u64::MAX,
        "sampled_us": 1_700_000_000_000_000_u64, "value": {"mean": 21.5},
    });
    golden(&Event::Value(value.clone()), json!({ "value": value_json }));
    let topic = TopicView {
        topic: "city-air/stats/summary".to_owned(),
        mqtt: "capmesh/s1/node/n03/city-air--stats/summary".to_owned(),
        direction: Direction::Publish,
        delivery: Delivery::Latest,
        instance: 17,
        node: "n03".to_owned(),
        schema: PortView {
            name: "summary".to_owned(),
            version: 1,
            fields: vec![FieldView {
                name: "mean".to_owned(),
                ty: "f32".to_owned(),
                unit: Unit::Celsius,
                optional: false,
            }],
        },
        messages: 7,
        lost: 0,
        last: Some(value),
    };
    golden(
        &Answer::Topics(vec![topic]),
        json!({"topics": [{
            "topic": "city-air/stats/summary",
            "mqtt": "capmesh/s1/node/n03/city-air--stats/summary",
            "direction": "publish", "delivery": "latest", "instance": 17, "node": "n03",
            "schema": {
                "name": "summary", "version": 1,
                "fields": [{"name": "mean", "type": "f32", "unit": "Cel", "optional": false}],
            },
            "messages": 7, "lost": 0, "last": value_json,
        }]}),
    );
    let line = LogLine {
        at: Some(5),
        node: Some("n03".to_owned()),
        number: 1,
        instance: None,
        level: Level::Info,
        text: "up".to_owned(),
    };
    golden(
        &Event::Log(line),
        json!({"log": {"at": 5, "node": "n03", "number": 1, "level": "info", "text": "up"}}),
    );
}

#[test]
fn the_site() {
    golden(
        &Answer::Site(Box::new(SiteView {
            site: "s1".to_owned(),
            gateway: "gw1".to_owned(),
            gateway_id: id(),
            version: "0.1.0".to_owned(),
            uptime_ms: 1,
            now_at: None,
            has_site_key: true,
            roster: 3,
            plan: 4,
            nodes: 6,
            online: 5,
            pipelines: 1,
            instances: 5,
            running: 4,
            mqtt: MqttView { connected: true, most: 9, ..MqttView::default() },
            registry: RegistryView { known: 1, answers: true, ..RegistryView::default() },
        })),
        json!({"site": {
            "site": "s1", "gateway": "gw1", "gateway_id": "aaaaaaaaaaaac", "version": "0.1.0",
            "uptime_ms": 1, "has_site_key": true, "roster": 3, "plan": 4, "nodes": 6, "online": 5,
            "pipelines": 1, "instances": 5, "running": 4,
            "mqtt": {
                "connected": true, "waiting": 0, "most": 9, "published": 0, "superseded": 0,
                "lost": 0, "held_off": 0, "taken": 0, "refused": 0,
            },
            "registry": {"known": 1, "answers": true},
        }}),
    );
    golden(&Answer::done("n03 is drained"), json!({"done": {"message": "n03 is drained"}}));
    golden(&Event::Gone(Gone::Instance(17)), json!({"gone": {"instance": 17}}));
}

#[test]
fn an_events_name_is_its_key() {
    for event in [
        Event::Node(Box::new(node_view())),
        Event::Instance(Box::new(instance_view())),
        Event::Plan(plan_view()),
        Event::Mqtt(MqttView::default()),
        Event::Gone(Gone::Node("n03".to_owned())),
    ] {
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json.as_object().unwrap().keys().next().unwrap(), event.name());
    }
}
