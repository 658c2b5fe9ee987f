//! One small and one full sample of every type that goes over the wire.
#![allow(dead_code, unused_imports, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "samples are legal, or their tests fail")]

pub(crate) use capmesh_wire::blob::BlobRef;
pub(crate) use capmesh_wire::clock::{Clock, TimeReply, TimeRequest, Timestamp};
pub(crate) use capmesh_wire::control::{
    Adopt, Command, Install, Moment, Nothing, Quiesce, Release, Remove, Renew, Reply, Restore, Run,
    RunResult, Start, Target,
};
pub(crate) use capmesh_wire::discovery::{Announce, Have, PieceRequest};
pub(crate) use capmesh_wire::inventory::{
    CapsuleState, CapsuleStatus, InstanceState, InstanceStatus, Inventory, Link, LinkKind, Refused,
    Sensor, Share, Status,
};
pub(crate) use capmesh_wire::log::{Level, LogLine};
pub(crate) use capmesh_wire::manifest::{
    Actuator, Capsule, Needs, Peer, Port, Service, StateLayout,
};
pub(crate) use capmesh_wire::message::{Ack, Batch, Message, Stream};
pub(crate) use capmesh_wire::plan::{
    Address, Assignment, Delivery, Failover, Inbound, Outbound, Overflowing, PeerBinding, Plan,
    Route,
};
pub(crate) use capmesh_wire::problem::Problem;
pub(crate) use capmesh_wire::registry::Resolved;
pub(crate) use capmesh_wire::roster::{Head, Role};
pub(crate) use capmesh_wire::schema::{Field, FieldType, Payload, Schema, SchemaTag, Unit};
pub(crate) use capmesh_wire::snapshot::{
    Header, InputCursor, OutputCursor, Section, SectionKind, Timer,
};
pub(crate) use capmesh_wire::{
    Bytes, CapsuleName, Claim, Digest, Epoch, ErrorCode, InstanceId, List, Name, NodeId, Revision,
    Seq, Tag, Text, format,
};
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Gives every sample to a macro, as `name: Type = expression;`.
macro_rules! for_each_sample {
    ($macro:ident) => {
        $macro! {
            blob_ref: BlobRef = blob();
            roster_head: Head<'static> = roster_head();
            schema: Schema<'static> = schema();
            capsule_small: Capsule<'static> = capsule_small();
            capsule_full: Capsule<'static> = capsule_full();
            payload: Payload<'static> = payload();
            timestamp: Timestamp = timestamp();
            timestamp_unsynchronised: Timestamp = Timestamp { micros: 12_000_345, uncertainty: None };
            time_request: TimeRequest = TimeRequest { sent: 12_000_345 };
            time_reply: TimeReply = time_reply();
            clock: Clock = clock();
            batch_one: Batch<'static> = batch(1);
            batch_full: Batch<'static> = batch(23);
            ack: Ack = ack();
            problem_small: Problem<'static> = Problem::new(ErrorCode::NoRam);
            problem_full: Problem<'static> = problem_full();
            plan_small: Plan<'static> = plan_small();
            plan_full: Plan<'static> = plan_full();
            inventory_small: Inventory<'static> = inventory_small();
            inventory_full: Inventory<'static> = inventory_full();
            status_small: Status<'static> = status_small();
            status_full: Status<'static> = status_full();
            capsule_status_small: CapsuleStatus<'static> = capsule_status_small();
            capsule_status_full: CapsuleStatus<'static> = capsule_status_full();
            announce_new: Announce<'static> = announce_new();
            announce: Announce<'static> = announce();
            piece_request: PieceRequest = PieceRequest { blob: digest("blob"), piece: 1_030 };
            have: Have<'static> = have();
            resolved: Resolved = Resolved { capsule: digest("manifest"), revision: Revision(3) };
            install: Command<'static> = Command::Install(install());
            remove: Command<'static> = Command::Remove(Remove { capsule: digest("manifest") });
            prepare: Command<'static> = Command::Prepare(start_planned());
            start: Command<'static> = Command::Start(start_by_hand());
            stop: Command<'static> = Command::Stop(target());
            quiesce: Command<'static> = Command::Quiesce(Quiesce { target: target(), to: node(2) });
            checkpoint: Command<'static> = Command::Checkpoint(target());
            restore: Command<'static> = Command::Restore(restore());
            resume: Command<'static> = Command::Resume(target());
            release: Command<'static> = Command::Release(Release { target: target(), to: node(2) });
            renew: Command<'static> =
                Command::Renew(Renew { target: target(), lease_ms: 60_000, since: None });
            renew_since: Command<'static> =
                Command::Renew(Renew { target: target(), lease_ms: 60_000, since: Some(moment()) });
            run: Command<'static> = Command::Run(run());
            adopt: Command<'static> = Command::Adopt(adopt());
            adopt_claimed: Command<'static> = Command::Adopt(Adopt {
                claim: Some(Claim::of_key(&[7; 32])),
                ..adopt()
            });
            reboot: Command<'static> = Command::Reboot(Nothing {});
            reply_done: Reply<'static> = Reply::Done(Nothing {});
            reply_accepted: Reply<'static> = Reply::Accepted(Nothing {});
            reply_snapshot: Reply<'static> = Reply::Snapshot(blob());
            reply_result: Reply<'static> = Reply::Result(run_result());
            reply_renewed: Reply<'static> = Reply::Renewed(moment());
            log_line: LogLine<'static> = log_line();
            snapshot_small: Header<'static> = snapshot_small();
            snapshot_full: Header<'static> = snapshot_full();
        }
    };
}
pub(crate) use for_each_sample;

pub(crate) fn name(text: &str) -> Name<'_> {
    Name::new(text).unwrap()
}

pub(crate) fn list<T, const MAX: usize>(items: Vec<T>) -> List<'static, T, MAX> {
    List::new(items.leak()).unwrap()
}

pub(crate) fn bytes<const MAX: usize>(bytes: &'static [u8]) -> Bytes<'static, MAX> {
    Bytes::new(bytes).unwrap()
}

pub(crate) fn digest(of: &str) -> Digest {
    Digest::of(of.as_bytes())
}

pub(crate) fn node(n: u8) -> NodeId {
    NodeId::from_bytes([n; 8])
}

pub(crate) fn v4(host: u8) -> Address {
    Address(SocketAddr::from((Ipv4Addr::new(192, 0, 2, host), 5683)))
}

pub(crate) fn v6(host: u16) -> Address {
    Address(SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host), 61_616)))
}

pub(crate) fn blob() -> BlobRef {
    BlobRef { digest: digest("blob"), size: 65_000, chunk_log2: 10, root: digest("root") }
}

pub(crate) fn roster_head() -> Head<'static> {
    Head {
        format: format::ROSTER,
        site: name("greenhouse"),
        version: Revision(70_000),
        issued: 1_790_000_000,
        count: 200,
        entries: digest("entries"),
    }
}

pub(crate) fn field(text: &'static str, ty: FieldType, unit: Unit) -> Field<'static> {
    Field { name: name(text), ty, unit, optional: false }
}

pub(crate) fn schema() -> Schema<'static> {
    use FieldType::{Bool, Bytes, F32, F64, I8, I16, I32, I64, Text, U8, U16, U32, U64};
    let fields = vec![
        field("on", Bool, Unit::None),
        field("level", U8, Unit::Percent),
        field("light", U16, Unit::Lux),
        field("pulses", U32, Unit::Count),
        field("energy", U64, Unit::WattHour),
        field("slope", I8, Unit::Degree),
        field("depth", I16, Unit::Millimetre),
        field("offset", I32, Unit::None),
        field("charge", I64, Unit::Coulomb),
        Field { optional: true, ..field("temperature", F32, Unit::Celsius) },
        field("latitude", F64, Unit::Latitude),
        Field { optional: true, ..field("place", Text(26), Unit::None) },
        field("raw", Bytes(8), Unit::None),
    ];
    Schema::new(name("everything"), 300, list(fields)).unwrap()
}

pub(crate) fn reading() -> Schema<'static> {
    Schema::new(name("reading"), 1, list(vec![field("value", FieldType::F32, Unit::Celsius)]))
        .unwrap()
}

/// A payload of [`schema`].
pub(crate) fn payload() -> Payload<'static> {
    Payload::new(&[
        0x8d, 0xf5, 0x18, 0x64, 0x19, 0x27, 0x10, 0x1a, 0x00, 0x01, 0x00, 0x00, 0x1b, 0, 0, 0, 1,
        0, 0, 0, 0, 0x38, 0x59, 0x39, 0x03, 0xe7, 0x00, 0x20, 0xf9, 0x4d, 0x60, 0xfb, 0x40, 0x47,
        0x18, 0xb3, 0x02, 0xf7, 0x2b, 0x45, 0xf6, 0x42, 0x01, 0x02,
    ])
    .unwrap()
}

pub(crate) fn needs() -> Needs {
    Needs {
        memory: 1_376,
        ram: 5_700,
        fuel_per_second: 200_000,
        fuel_per_handler: 100_000,
        outbox_bytes: 256,
        outbox_entries: 4,
        timers: 1,
        table_elements: 0,
    }
}

pub(crate) fn capsule_small() -> Capsule<'static> {
    Capsule::bare(Tag::new("1.0.0").unwrap(), 1, 10, digest("root"), needs())
}

pub(crate) fn capsule_full() -> Capsule<'static> {
    let service = |text, request, response| Service { name: name(text), request, response };
    let port = |text, schema| Port { name: name(text), schema };
    Capsule {
        schemas: list(vec![schema(), reading()]),
        inputs: list(vec![port("in", 0), port("threshold", 1)]),
        outputs: list(vec![port("summary", 1), port("alerts", 0)]),
        sensors: list(vec![port("air-quality", 1)]),
        actuators: list(vec![Actuator { name: name("valve"), unit: Unit::Percent }]),
        sources: list(vec![name("door"), name("window")]),
        peers: list(vec![Peer {
            name: name("store"),
            services: list(vec![service("put", Some(1), None), service("last", None, Some(1))]),
        }]),
        services: list(vec![service("state", None, Some(0))]),
        config: list(vec![Field {
            optional: true,
            ..field("limit", FieldType::F32, Unit::Celsius)
        }]),
        state: Some(StateLayout { version: 3, oldest: 2 }),
        ..capsule_small()
    }
}

pub(crate) fn timestamp() -> Timestamp {
    Timestamp { micros: 1_790_000_000_000_000, uncertainty: Some(1_500) }
}

pub(crate) fn time_reply() -> TimeReply {
    TimeReply {
        sent: 12_000_345,
        received: 1_790_000_000_000_000,
        replied: 1_790_000_000_000_250,
        uncertainty: 40,
    }
}

pub(crate) fn clock() -> Clock {
    Clock { offset: -1_000, uncertainty: 1_500, measured: 12_000_345, drift_ppm: 50 }
}

pub(crate) fn stream() -> Stream {
    Stream { instance: InstanceId(7), output: 1 }
}

pub(crate) fn batch(count: u32) -> Batch<'static> {
    let payload = Payload::new(&[0x81, 0xf9, 0x4d, 0x60]).unwrap();
    Batch {
        stream: stream(),
        epoch: Epoch(2),
        first: Seq(1_000),
        schema: SchemaTag(reading().id().tag().0),
        start: timestamp(),
        messages: list((0..count).map(|n| Message { after: n * 100, payload }).collect()),
    }
}

pub(crate) fn ack() -> Ack {
    Ack { stream: stream(), epoch: Epoch(2), next: Seq(1_023), room: 9 }
}

pub(crate) fn problem_full() -> Problem<'static> {
    Problem {
        code: ErrorCode::Moving,
        retry_ms: Some(250),
        moved_to: Some(node(2)),
        detail: Some(Text::cut("on its way to n04")),
    }
}

pub(crate) fn assignment_small() -> Assignment<'static> {
    Assignment {
        instance: InstanceId(7),
        epoch: Epoch(1),
        capsule: digest("manifest"),
        pipeline: name("city-air"),
        name: name("clean"),
        replica: 0,
        lease_ms: None,
        failover: Failover::None,
        checkpoint_ms: None,
        rollback: false,
        config: None,
        inbound: List::EMPTY,
        outbound: List::EMPTY,
        peers: List::EMPTY,
    }
}

pub(crate) fn assignment_full() -> Assignment<'static> {
    Assignment {
        instance: InstanceId(8),
        epoch: Epoch(300),
        name: name("stats"),
        replica: 2,
        lease_ms: Some(60_000),
        failover: Failover::Checkpoint,
        checkpoint_ms: Some(30_000),
        rollback: true,
        config: Some(Payload::new(&[0x82, 0x00, 0xf9, 0x5f, 0xd0]).unwrap()),
        inbound: list(vec![Inbound {
            input: 0,
            node: node(1),
            instance: InstanceId(7),
            output: 0,
            delivery: Delivery::Every,
        }]),
        outbound: list(vec![
            Outbound {
                output: 0,
                node: node(9),
                instance: InstanceId(1),
                input: 3,
                delivery: Delivery::Latest,
                overflow: Overflowing::DropOldest,
            },
            Outbound {
                output: 1,
                node: node(2),
                instance: InstanceId(9),
                input: 0,
                delivery: Delivery::Every,
                overflow: Overflowing::PauseProducer,
            },
        ]),
        peers: list(vec![PeerBinding { peer: 0, node: node(2), instance: InstanceId(9) }]),
        ..assignment_small()
    }
}

pub(crate) fn plan_small() -> Plan<'static> {
    Plan {
        format: format::PLAN,
        site: name("s1"),
        revision: Revision(1),
        node: node(1),
        routes: List::EMPTY,
        assignments: List::EMPTY,
    }
}

pub(crate) fn plan_full() -> Plan<'static> {
    Plan {
        revision: Revision(4_000),
        routes: list(vec![
            Route { node: node(9), addresses: list(vec![v4(1), v6(1)]), relay: None },
            Route { node: node(2), addresses: List::EMPTY, relay: Some(node(9)) },
        ]),
        assignments: list(vec![assignment_small(), assignment_full()]),
        ..plan_small()
    }
}

pub(crate) fn inventory_small() -> Inventory<'static> {
    Inventory {
        wire: capmesh_wire::VERSION,
        firmware: Text::cut("capmesh 0.1.0"),
        board: Text::cut("mps2-an385"),
        abis: List::EMPTY,
        flash: Share { total: 262_144, free: 200_000 },
        ram: Share { total: 65_536, free: 40_000 },
        fuel: Share { total: 2_000_000, free: 1_500_000 },
        instances: Share { total: 4, free: 3 },
        chunk_log2: 10,
        sensors: List::EMPTY,
        actuators: List::EMPTY,
        sources: List::EMPTY,
        links: List::EMPTY,
        capsules: List::EMPTY,
    }
}

pub(crate) fn inventory_full() -> Inventory<'static> {
    let link = |n, address, kind, quality, mtu| Link { node: node(n), address, kind, quality, mtu };
    Inventory {
        abis: list(vec![1, 2]),
        sensors: list(vec![Sensor { name: name("air-quality"), schema: reading().id().tag() }]),
        actuators: list(vec![Actuator { name: name("valve"), unit: Unit::Percent }]),
        sources: list(vec![name("door")]),
        links: list(vec![
            link(2, v6(2), LinkKind::Ieee802154, 230, 1_280),
            link(9, v4(1), LinkKind::Ethernet, 255, 1_500),
        ]),
        capsules: list(vec![digest("one").prefix(), digest("two").prefix()]),
        ..inventory_small()
    }
}

pub(crate) fn status_small() -> Status<'static> {
    Status {
        uptime_ms: 12_000,
        boots: 1,
        roster: Revision(3),
        plan: Revision(0),
        clock: None,
        instances: List::EMPTY,
        refused: Refused { unauthenticated: 0, forbidden: 0, messages: 0, unverified: 0 },
    }
}

pub(crate) fn status_full() -> Status<'static> {
    let running = InstanceStatus {
        instance: InstanceId(7),
        epoch: Epoch(2),
        state: InstanceState::Running,
        reason: None,
        restarts: 0,
        handled: 1_000_000,
        published: 5_000_000_000,
        dropped: 0,
        fuel_per_second: 150_000,
        inbox: 3,
        outbox: 0,
    };
    let failed = InstanceStatus {
        instance: InstanceId(8),
        state: InstanceState::Failed,
        reason: Some(ErrorCode::OutOfFuel),
        restarts: 5,
        ..running
    };
    Status {
        clock: Some(clock()),
        instances: list(vec![running, failed]),
        refused: Refused { unauthenticated: 70_000, forbidden: 1, messages: 2, unverified: 3 },
        ..status_small()
    }
}

pub(crate) fn announce_new() -> Announce<'static> {
    Announce {
        wire: capmesh_wire::VERSION,
        node: node(1),
        role: Role::Node,
        roster: None,
        plan: None,
        holds: None,
        addresses: List::EMPTY,
    }
}

pub(crate) fn announce() -> Announce<'static> {
    Announce {
        role: Role::Gateway,
        roster: Some(Revision(3)),
        plan: Some(Revision(4_000)),
        holds: Some(digest("holds").prefix()),
        addresses: list(vec![v4(1), v6(1)]),
        ..announce_new()
    }
}

pub(crate) fn have() -> Have<'static> {
    Have { blob: digest("blob"), first: 1_024, held: bytes(&[0xff, 0x01]) }
}

pub(crate) fn target() -> Target {
    Target { instance: InstanceId(7), epoch: Epoch(2) }
}

pub(crate) fn install() -> Install<'static> {
    Install { capsule: digest("manifest"), sources: list(vec![node(2), node(9)]) }
}

pub(crate) fn start_planned() -> Start<'static> {
    Start { target: target(), assignment: None, sources: List::EMPTY }
}

pub(crate) fn start_by_hand() -> Start<'static> {
    let instance = InstanceId::FIRST_LOCAL;
    Start {
        target: Target { instance, epoch: Epoch(0) },
        assignment: Some(Assignment { instance, epoch: Epoch(0), ..assignment_small() }),
        sources: list(vec![node(9)]),
    }
}

pub(crate) fn restore() -> Restore {
    Restore { target: target(), snapshot: blob(), from: node(1) }
}

pub(crate) fn run() -> Run<'static> {
    Run { capsule: digest("manifest"), arguments: bytes(&[1, 2, 3]) }
}

pub(crate) fn moment() -> Moment {
    Moment { boots: 3, uptime_ms: 86_400_000 }
}

pub(crate) fn run_result() -> RunResult<'static> {
    RunResult { status: 0x45, result: bytes(&[4, 5]), fuel: 123_456 }
}

pub(crate) fn log_line() -> LogLine<'static> {
    LogLine {
        number: 70_000,
        at: timestamp(),
        instance: Some(InstanceId(7)),
        level: Level::Warning,
        text: Text::cut("sensor is silent"),
    }
}

pub(crate) fn adopt() -> Adopt<'static> {
    Adopt { site: bytes(&[0xa2; 94]), roster: blob(), claim: None }
}

pub(crate) fn capsule_status_small() -> CapsuleStatus<'static> {
    CapsuleStatus {
        capsule: digest("manifest"),
        state: CapsuleState::Wanted,
        name: None,
        version: None,
        sequence: None,
        publisher: None,
        size: None,
        missing: None,
        reason: None,
    }
}

pub(crate) fn capsule_status_full() -> CapsuleStatus<'static> {
    CapsuleStatus {
        capsule: digest("manifest"),
        state: CapsuleState::Refused,
        name: Some(CapsuleName::new("city/clean").unwrap()),
        version: Some(Tag::new("1.2.0").unwrap()),
        sequence: Some(70_000),
        publisher: Some(node(9)),
        size: Some(65_000),
        missing: Some(12),
        reason: Some(ErrorCode::InvalidModule),
    }
}

pub(crate) fn snapshot_small() -> Header<'static> {
    Header {
        format: format::SNAPSHOT,
        instance: InstanceId(7),
        epoch: Epoch(2),
        capsule: digest("manifest"),
        layout: 1,
        taken: timestamp(),
        outputs: List::EMPTY,
        inputs: List::EMPTY,
        timers: List::EMPTY,
        sections: List::EMPTY,
    }
}

pub(crate) fn snapshot_full() -> Header<'static> {
    Header {
        outputs: list(vec![OutputCursor { output: 0, next: Seq(1_023) }]),
        inputs: list(vec![InputCursor { stream: stream(), epoch: Epoch(2), next: Seq(99) }]),
        timers: list(vec![Timer { number: 0, remaining: 500_000 }]),
        sections: list(vec![
            Section { kind: SectionKind::Runtime, len: 5 },
            Section { kind: SectionKind::Outbox, len: 2 },
        ]),
        ..snapshot_small()
    }
}
