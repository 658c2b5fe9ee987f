//! What the contract promises a capsule, on a whole node.

use crate::world::capsules::{self, End, Packed, RowOf};
use crate::world::site::{last, start};
use crate::world::{World, node_id};
use capmesh_coap::Code;
use capmesh_node::Input;
use capmesh_wire::control::{Command, Reply, Run, RunResult};
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::manifest::{Capsule, Peer, Port, Service};
use capmesh_wire::plan::{Delivery, PeerBinding};
use capmesh_wire::schema::{Field, FieldType};
use capmesh_wire::{Bytes, ErrorCode, InstanceId, List, Name, Payload, Unit, paths};
use std::time::Duration;

const IMPORTS: &str = r#"
    (import "capmesh1" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "capmesh1" "publish" (func $publish (param i32 i32 i32) (result i32)))
    (import "capmesh1" "request" (func $request (param i32 i32 i32 i32) (result i32)))
    (import "capmesh1" "respond" (func $respond (param i32 i32 i32) (result i32)))
    (import "capmesh1" "set_timer" (func $set_timer (param i32 i64) (result i32)))
    (import "capmesh1" "sensor" (func $sensor (param i32 i32 i32) (result i32)))
    (import "capmesh1" "actuate" (func $actuate (param i32 f64) (result i32)))
    (import "capmesh1" "config" (func $config (param i32 i32 i32) (result i32)))
    (memory (export "memory") 256 256 (pagesize 1))"#;

fn name(name: &str) -> Name<'_> {
    Name::new(name).expect("a name")
}

/// Runs one capsule on one node.
fn alone(capsule: &Packed, config: Option<Payload<'static>>) -> World {
    let mut world = World::new(1, 1, &capsules::config());
    world.machine(1).preload(1, capsule);
    world.boot_all();
    let mut row = RowOf::new(1, 1, capsule, None, None, Delivery::Latest);
    row.config = config;
    world.retry(1, &start(&row));
    world.wait(1, 1, InstanceState::Running);
    world
}

#[test]
fn sensors_are_read_and_digital_inputs_heard() {
    let text = format!(
        r#"(module {IMPORTS}
    (func (export "start") (drop (call $set_timer (i32.const 0) (i64.const 10000))))
    (func (export "timer") (param i32)
        (drop (call $set_timer (i32.const 0) (i64.const 10000)))
        (if (i32.eq (call $sensor (i32.const 0) (i32.const 0) (i32.const 8)) (i32.const 8))
            (then (drop (call $actuate (i32.const 0) (f64.convert_i64_u (i64.load (i32.const 0))))))))
    (func (export "event") (param $source i32) (param $value f64)
        (drop (call $actuate (i32.const 1) (local.get $value)))))"#
    );
    let sensing = |capsule: Capsule<'static>| {
        let port = vec![Port { name: name("meter"), schema: 0 }].leak();
        let button = vec![name("button")].leak();
        Capsule {
            sensors: List::new(port).expect("one"),
            sources: List::new(button).expect("one"),
            ..capsule
        }
    };
    let capsule = capsules::pack_with("sensing", &text, &[], &[], &["count", "hash"], sensing);
    let mut world = alone(&capsule, None);
    world.run_for(Duration::from_millis(100));
    assert!(world.machine(1).actuations.is_empty(), "there is no sample yet");
    world.input(1, Input::Sample { sensor: 0, record: &21_u64.to_le_bytes() });
    world.input(1, Input::Sample { sensor: 7, record: &1_u64.to_le_bytes() });
    world.input(1, Input::Digital { source: 0, value: 0.5 });
    world.input(1, Input::Digital { source: 9, value: 0.7 });
    world.run_for(Duration::from_millis(100));
    assert_eq!((last(&mut world, 1, 0), last(&mut world, 1, 1)), (21.0, 0.5));
    world.input(1, Input::Sample { sensor: 0, record: &22_u64.to_le_bytes() });
    world.run_for(Duration::from_millis(100));
    assert_eq!((last(&mut world, 1, 0), last(&mut world, 1, 1)), (22.0, 0.5));
}

#[test]
fn a_capsule_whose_sensor_is_not_here_is_told_so() {
    let text = format!(r#"(module {IMPORTS} (func (export "timer") (param i32)))"#);
    let wants = |capsule: Capsule<'static>| {
        let port = vec![Port { name: name("thermometer"), schema: 0 }].leak();
        Capsule { sensors: List::new(port).expect("one"), ..capsule }
    };
    let capsule = capsules::pack_with("wanting", &text, &[], &[], &[], wants);
    let mut world = World::new(1, 1, &capsules::config());
    world.machine(1).preload(1, &capsule);
    world.boot_all();
    let row = RowOf::new(1, 1, &capsule, None, None, Delivery::Latest);
    assert_eq!(world.command(1, &start(&row)).problem(), Some(ErrorCode::NoSensor));
}

#[test]
fn configuration_reaches_the_capsule_and_has_to_be_there() {
    let text = format!(
        r#"(module {IMPORTS}
    (func (export "start")
        (drop (call $config (i32.const 0) (i32.const 0) (i32.const 8)))
        (drop (call $actuate (i32.const 0) (f64.load (i32.const 0))))
        (drop (call $actuate (i32.const 1)
            (f64.convert_i32_s (call $config (i32.const 1) (i32.const 0) (i32.const 8))))))
    (func (export "timer") (param i32)))"#
    );
    let configured = |capsule: Capsule<'static>| {
        let field =
            |field, ty, optional| Field { name: name(field), ty, unit: Unit::None, optional };
        let fields =
            vec![field("limit", FieldType::F32, false), field("title", FieldType::Text(8), true)];
        Capsule { config: List::new(fields.leak()).expect("few"), ..capsule }
    };
    let capsule =
        capsules::pack_with("configured", &text, &[], &[], &["count", "hash"], configured);
    // [2.5, "abc"]
    let payload = Payload::new(b"\x82\xf9\x41\x00\x63abc").expect("an array");
    let mut world = alone(&capsule, Some(payload));
    assert_eq!((last(&mut world, 1, 0), last(&mut world, 1, 1)), (2.5, 3.0));
    let mut row = RowOf::new(2, 1, &capsule, None, None, Delivery::Latest);
    assert_eq!(world.command(1, &start(&row)).problem(), Some(ErrorCode::SchemaMismatch));
    // ["abc", null]
    row.epoch = 2;
    row.config = Some(Payload::new(b"\x82\x63abc\xf6").expect("an array"));
    assert_eq!(world.command(1, &start(&row)).problem(), Some(ErrorCode::SchemaMismatch));
}

#[test]
fn one_capsule_asks_another_on_another_node() {
    let service = Service { name: name("double"), request: Some(0), response: Some(0) };
    let services: &'static [Service<'static>] = vec![service].leak();
    let serving = move |capsule: Capsule<'static>| Capsule {
        services: List::new(services).expect("one"),
        ..capsule
    };
    let asking = move |capsule: Capsule<'static>| {
        let services = List::new(services).expect("one");
        let peers = vec![Peer { name: name("helper"), services }].leak();
        Capsule { peers: List::new(peers).expect("one"), ..capsule }
    };
    let server = format!(
        r#"(module {IMPORTS}
    (func (export "request") (param i32 i32 i32)
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 8)))
        (i64.store (i32.const 0) (i64.mul (i64.load (i32.const 0)) (i64.const 2)))
        (drop (call $respond (i32.const 69) (i32.const 0) (i32.const 8)))))"#
    );
    let client = format!(
        r#"(module {IMPORTS}
    (func (export "start") (drop (call $set_timer (i32.const 0) (i64.const 1000000))))
    (func (export "timer") (param i32)
        (i64.store (i32.const 0) (i64.const 21))
        (drop (call $request (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 8))))
    (func (export "reply") (param $number i32) (param $status i32) (param $len i32)
        (drop (call $read (i32.const 0) (i32.const 8) (i32.const 8)))
        (drop (call $actuate (i32.const 0) (f64.convert_i64_u (i64.load (i32.const 8)))))
        (drop (call $actuate (i32.const 1) (f64.convert_i32_u (local.get $status))))))"#
    );
    let server = capsules::pack_with("server", &server, &[], &[], &[], serving);
    let client = capsules::pack_with("client", &client, &[], &[], &["count", "hash"], asking);
    for host in [1, 2] {
        let mut world = World::new(1, 2, &capsules::config());
        world.machine(1).preload(1, &client);
        world.machine(host).preload(2, &server);
        world.boot_all();
        world.introduce_each_other();
        world.retry(host, &start(&RowOf::new(2, 1, &server, None, None, Delivery::Latest)));
        let mut row = RowOf::new(1, 1, &client, None, None, Delivery::Latest);
        let instance = InstanceId(2);
        row.peers = vec![PeerBinding { peer: 0, node: node_id(host), instance }];
        world.retry(1, &start(&row));
        world.run_for(Duration::from_secs(10));
        let seen = (last(&mut world, 1, 0), last(&mut world, 1, 1));
        assert_eq!(seen, (42.0, f64::from(Code::CONTENT.0)), "asked on node {host}");
        // Anybody on the roster may ask it, too.
        let answer = world.ask(host, Code::POST, "q/2/double", 60, b"\x81\x05");
        assert_eq!((answer.code, answer.payload), (Code::CONTENT, b"\x81\x0a".to_vec()));
    }
}

#[test]
fn a_one_shot_capsule_gives_its_result() {
    let text = format!(
        r#"(module {IMPORTS}
    (func (export "run") (param $len i32)
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 64)))
        (if (i32.eqz (local.get $len)) (then (unreachable)))
        (i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1)))
        (drop (call $respond (i32.const 69) (i32.const 0) (local.get $len)))))"#
    );
    let capsule = capsules::pack("once", &text, &[], &[], &[]);
    let mut world = World::new(1, 1, &capsules::config());
    world.machine(1).preload(1, &capsule);
    world.boot_all();
    let run = |arguments| {
        let arguments = Bytes::new(arguments).expect("short");
        Command::Run(Run { capsule: capsule.digest(), arguments })
    };
    let answer = world.command(1, &run(b"abc"));
    let Reply::Result(RunResult { status: 69, result, fuel }) = answer.reply() else {
        unreachable!("{answer:?}")
    };
    assert_eq!(result.as_slice(), b"bbc");
    assert!(fuel > 0);
    assert_eq!(world.command(1, &run(b"")).problem(), Some(ErrorCode::Trapped));
    assert_eq!(world.status(1, u32::MAX), None);
    // And again.
    assert!(world.command(1, &run(b"xyz")).is_success());
}

#[test]
fn a_gateway_that_falls_over_again_and_again_can_always_observe() {
    let mut world = World::new(1, 1, &capsules::config());
    world.boot_all();
    // A node has places for eight observers.
    for round in 0..5 {
        for path in [paths::STATUS, paths::INVENTORY, paths::LOG] {
            assert!(world.begin_to_observe(1, path), "{round}: {path}");
        }
        world.restart_gateway();
        world.run_for(Duration::from_secs(40));
    }
    for path in [paths::STATUS, paths::INVENTORY, paths::LOG].iter().cycle().take(8) {
        world.begin_to_observe(1, path);
    }
    // All eight are taken by those who have just registered.
    assert!(!world.begin_to_observe(1, paths::STATUS));
    world.restart_gateway();
    // Nothing changes at the node; it finds out that nobody is there.
    world.run_for(Duration::from_secs(300 + 100 + 60));
    for path in [paths::STATUS, paths::INVENTORY, paths::LOG].iter().cycle().take(8) {
        assert!(world.begin_to_observe(1, path));
    }
}

#[test]
fn topics_are_observed_and_resources_listed() {
    let source = capsules::source(50, 100_000);
    let mut world = alone(&source, None);
    let topic = "t/test/one/out";
    let seen = world.observe(1, topic, Duration::from_secs(8));
    assert!(seen.len() > 10, "{} notifications", seen.len());
    let listed = world.ask(1, Code::GET, ".well-known/core", 0, &[]);
    let listed = String::from_utf8(listed.payload).expect("text");
    for path in [paths::STATUS, paths::INVENTORY, paths::LOG, paths::CONTROL, topic] {
        assert!(listed.contains(&format!("</{path}>")), "{path} is not in {listed}");
    }
    let _ = End(1, 1);
}
