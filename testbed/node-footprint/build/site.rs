//! The site: who belongs to it, and what its gateway says.
//!
//! Node 1 holds both capsules and runs the source; node 2 runs the sink, which then moves to node 1.

use std::{error::Error, net::SocketAddr};

use capmesh_wire::{
    Credential, Digest, Epoch, InstanceId, List, Name, NodeId, Revision, Role, cbor,
    control::{Command, Quiesce, Release, Start, Target},
    cose::SigningKey,
    format,
    plan::{Address, Assignment, Delivery, Failover, Inbound, Outbound, Overflowing, Plan, Route},
    roster::{EntriesWriter, Entry},
};

use super::capsules;

type Failed = Box<dyn Error>;

/// Numbers that keys are made of; the image makes the same.
const SITE: u8 = 200;
const GATEWAY: u8 = 201;
const PUBLISHER: u8 = 202;

/// The instances.
const SOURCE: u32 = 1;
const SINK: u32 = 2;

fn key(n: u8) -> Result<SigningKey, Failed> {
    let mut scalar = [n; 32];
    scalar[0] = 1;
    Ok(SigningKey::from_bytes(&scalar).ok_or("key")?)
}

fn node(n: u8) -> Result<NodeId, Failed> {
    Ok(key(n)?.id())
}

fn credential(name: &str, n: u8) -> Result<Vec<u8>, Failed> {
    let mut buf = [0; 256];
    let len = Credential::encode(Name::new(name)?, &key(n)?.public_key(), &mut buf);
    Ok(buf[..len.map_err(|_| "credential")?].to_vec())
}

/// Everything, each with the name of its file.
pub(crate) fn files() -> Result<Vec<(&'static str, Vec<u8>)>, Failed> {
    let publisher = key(PUBLISHER)?;
    let (source, sink) = (capsules::source(&publisher)?, capsules::sink(&publisher)?);
    let rows = |on, epoch| -> Result<[Row; 2], Failed> {
        Ok([
            Row { instance: SOURCE, epoch: 1, capsule: source.digest(), wire: wire(on, SINK)? },
            Row { instance: SINK, epoch, capsule: sink.digest(), wire: wire(1, SOURCE)? },
        ])
    };
    let (before, after) = (rows(2, 1)?, rows(1, 2)?);
    let moving = Target { instance: InstanceId(SINK), epoch: Epoch(1) };
    let moved = Target { instance: InstanceId(SINK), epoch: Epoch(2) };
    let to = node(1)?;
    Ok(vec![
        ("site", credential("site", SITE)?),
        ("gateway", credential("gateway", GATEWAY)?),
        ("roster", roster()?),
        ("source.bundle", source.bundle()?),
        ("sink.bundle", sink.bundle()?),
        ("plan1.first", plan(1, 1, &before[..1])?),
        ("plan1.second", plan(1, 2, &before[1..])?),
        ("plan2.first", plan(2, 1, &after)?),
        ("plan2.second", plan(2, 2, &[])?),
        ("prepare", command(&Command::Prepare(start(moved, &after[1])?))?),
        ("quiesce", command(&Command::Quiesce(Quiesce { target: moving, to }))?),
        ("start", command(&Command::Start(start(moved, &after[1])?))?),
        ("release", command(&Command::Release(Release { target: moving, to }))?),
    ])
}

fn roster() -> Result<Vec<u8>, Failed> {
    let mut members = Vec::new();
    for (role, name, n) in [
        (Role::Node, "n1", 1),
        (Role::Node, "n2", 2),
        (Role::Gateway, "gateway", GATEWAY),
        (Role::Publisher, "publisher", PUBLISHER),
    ] {
        members.push((role, credential(name, n)?, node(n)?));
    }
    members.sort_by_key(|(_, _, id)| *id);
    let mut buf = vec![0; 4096];
    let mut entries = EntriesWriter::new(&mut buf);
    for (role, bytes, _) in &members {
        let credential = Credential::parse(bytes).map_err(|_| "credential")?;
        entries
            .push(&Entry { role: *role, expires: 4_000_000_000, credential })
            .map_err(|_| "entry")?;
    }
    let head = entries.head(Name::new("site")?, Revision(1), 1_700_000_000);
    let mut out = vec![0; 4096];
    let len = entries.sign(&head, &key(SITE)?, &mut out).map_err(|_| "roster")?;
    out.truncate(len);
    Ok(out)
}

/// Where the other end of an instance's one wire is.
struct Wire {
    node: NodeId,
    instance: InstanceId,
}

fn wire(n: u8, instance: u32) -> Result<Wire, Failed> {
    Ok(Wire { node: node(n)?, instance: InstanceId(instance) })
}

/// A row of the plan.
struct Row {
    instance: u32,
    epoch: u32,
    capsule: Digest,
    wire: Wire,
}

impl Row {
    fn inbound(&self) -> Vec<Inbound> {
        let Wire { node, instance } = self.wire;
        let wire = Inbound { input: 0, node, instance, output: 0, delivery: Delivery::Every };
        if self.instance == SINK { vec![wire] } else { Vec::new() }
    }

    fn outbound(&self) -> Vec<Outbound> {
        let Wire { node, instance } = self.wire;
        let wire = Outbound {
            output: 0,
            node,
            instance,
            input: 0,
            delivery: Delivery::Every,
            overflow: Overflowing::PauseProducer,
        };
        if self.instance == SOURCE { vec![wire] } else { Vec::new() }
    }

    fn assignment<'a>(
        &self,
        inbound: &'a [Inbound],
        outbound: &'a [Outbound],
    ) -> Result<Assignment<'a>, Failed> {
        let name = if self.instance == SINK { "sink" } else { "source" };
        Ok(Assignment {
            instance: InstanceId(self.instance),
            epoch: Epoch(self.epoch),
            capsule: self.capsule,
            pipeline: Name::new("sum")?,
            name: Name::new(name)?,
            replica: 0,
            lease_ms: None,
            failover: Failover::None,
            checkpoint_ms: None,
            rollback: false,
            config: None,
            inbound: List::new(inbound)?,
            outbound: List::new(outbound)?,
            peers: List::EMPTY,
        })
    }
}

fn start(target: Target, row: &Row) -> Result<Start<'static>, Failed> {
    // A few words that live as long as this program, which is short.
    let (inbound, outbound) = (row.inbound().leak(), row.outbound().leak());
    let assignment = Some(row.assignment(inbound, outbound)?);
    Ok(Start { target, assignment, sources: List::EMPTY })
}

fn plan(revision: u32, n: u8, rows: &[Row]) -> Result<Vec<u8>, Failed> {
    let wires: Vec<_> = rows.iter().map(|row| (row.inbound(), row.outbound())).collect();
    let mut assignments = Vec::new();
    for (row, (inbound, outbound)) in rows.iter().zip(&wires) {
        assignments.push(row.assignment(inbound, outbound)?);
    }
    let addresses = [1, 2].map(|n| [Address(SocketAddr::from(([10, 0, 0, n], 5683)))]);
    let mut routes = Vec::new();
    for (n, addresses) in (1..).zip(&addresses) {
        routes.push(Route { node: node(n)?, addresses: List::new(addresses)?, relay: None });
    }
    let plan = Plan {
        format: format::PLAN,
        site: Name::new("site")?,
        revision: Revision(revision),
        node: node(n)?,
        routes: List::new(&routes)?,
        assignments: List::new(&assignments)?,
    };
    let (mut scratch, mut signed) = (vec![0; 4096], vec![0; 4096]);
    let len = plan.sign(&key(GATEWAY)?, &mut scratch, &mut signed).map_err(|_| "plan")?;
    signed.truncate(len);
    Ok(signed)
}

fn command(command: &Command<'_>) -> Result<Vec<u8>, Failed> {
    let mut body = vec![0; 2048];
    let len = cbor::encode(command, &mut body).map_err(|_| "command")?;
    body.truncate(len);
    Ok(body)
}
