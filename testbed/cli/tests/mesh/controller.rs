//! What a gateway does, by hand: signs plans, commands nodes, feeds a stream.

use capmesh::operator::{Operator, Request, Response};
use capmesh::site::Site;
use capmesh_coap::Code;
use capmesh_keyfile::Key;
use capmesh_wire::cbor::{self, List, Writer};
use capmesh_wire::clock::Timestamp;
use capmesh_wire::control::{Command, Reply};
use capmesh_wire::inventory::{InstanceState, InstanceStatus, Status};
use capmesh_wire::message::{Ack, Batch, BatchWriter, Stream};
use capmesh_wire::plan::{
    Address, Assignment, Delivery, Failover, Inbound, Outbound, Overflowing, Plan, Route,
};
use capmesh_wire::schema::{Payload, PayloadWriter, Schema, Value};
use capmesh_wire::{
    BlobRef, Digest, Epoch, InstanceId, Name, NodeId, Problem, Revision, Seq, content_format,
    format, limits, paths,
};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long anything may take. Only a fault takes that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The member that signs plans.
pub(crate) const GATE: &str = "gate";

pub(crate) struct Controller {
    /// Commands, and looks.
    client: Box<dyn Client>,
    /// The gateway's own: feeds.
    gate: Operator,
    /// The gateway's: signs plans.
    key: Key,
    pub(crate) id: NodeId,
    site: String,
    revision: u32,
}

/// Whoever carries requests to nodes.
pub(crate) trait Client {
    /// Asks once, and says why there is no answer.
    fn ask(
        &mut self,
        node: At,
        code: Code,
        path: &str,
        body: Option<(u16, &[u8])>,
    ) -> Result<Response, String>;

    /// Lets time pass.
    fn pause(&mut self, time: Duration);
}

impl Client for Operator {
    fn ask(
        &mut self,
        node: At,
        code: Code,
        path: &str,
        body: Option<(u16, &[u8])>,
    ) -> Result<Response, String> {
        let mut request = Request::new(code, path);
        if let Some((format, body)) = body {
            request = request.body(format, body);
        }
        let peer = self.member(node.id, node.address).map_err(|error| format!("{error:#}"))?;
        Self::ask(self, peer, &request).map_err(|error| format!("{error:#}"))
    }

    fn pause(&mut self, time: Duration) {
        self.serve_for(time).unwrap();
    }
}

/// A node and where it is.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) id: NodeId,
    pub(crate) address: SocketAddr,
}

/// A row of a plan.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) instance: u32,
    pub(crate) epoch: u32,
    pub(crate) capsule: Digest,
    pub(crate) pipeline: &'static str,
    pub(crate) name: &'static str,
    pub(crate) config: Option<Vec<u8>>,
    pub(crate) inbound: Vec<Inbound>,
    pub(crate) outbound: Vec<Outbound>,
}

impl Row {
    pub(crate) fn assignment(&self) -> Assignment<'_> {
        Assignment {
            instance: InstanceId(self.instance),
            epoch: Epoch(self.epoch),
            capsule: self.capsule,
            pipeline: Name::new(self.pipeline).unwrap(),
            name: Name::new(self.name).unwrap(),
            replica: 0,
            lease_ms: None,
            failover: Failover::Checkpoint,
            checkpoint_ms: Some(200),
            rollback: false,
            config: self.config.as_deref().map(|bytes| Payload::new(bytes).unwrap()),
            inbound: List::new(&self.inbound).unwrap(),
            outbound: List::new(&self.outbound).unwrap(),
            peers: List::EMPTY,
        }
    }
}

/// A wire's end, at the consumer.
pub(crate) fn from(node: NodeId, instance: u32, delivery: Delivery) -> Inbound {
    Inbound { input: 0, node, instance: InstanceId(instance), output: 0, delivery }
}

/// A wire's beginning, at the producer.
pub(crate) fn to(node: NodeId, instance: u32, delivery: Delivery) -> Outbound {
    let overflow = Overflowing::PauseProducer;
    Outbound { output: 0, node, instance: InstanceId(instance), input: 0, delivery, overflow }
}

impl Controller {
    /// Commands nodes through `client`, or as the gateway itself if there is none.
    pub(crate) fn new(site: &Site, client: Option<Box<dyn Client>>) -> Self {
        let gate = || Operator::new(site.identity(GATE).unwrap(), site.roster().to_vec());
        let key = site.key(GATE).unwrap();
        Self {
            client: client.unwrap_or_else(|| Box::new(gate())),
            gate: gate(),
            id: key.id(),
            key,
            site: site.name().unwrap(),
            revision: 0,
        }
    }

    /// Asks until there is an answer: nodes are killed and started under it.
    fn ask(&mut self, node: At, code: Code, path: &str, body: Option<(u16, &[u8])>) -> Response {
        insist(self.client.as_mut(), node, code, path, body)
    }

    pub(crate) fn get(&mut self, node: At, path: &str) -> Response {
        self.ask(node, Code::GET, path, None)
    }

    /// Sends a capsule.
    pub(crate) fn put_capsule(&mut self, node: At, bundle: &[u8]) {
        let body = Some((content_format::BUNDLE, bundle));
        granted(self.ask(node, Code::PUT, paths::CAPSULES, body));
    }

    /// Gives a node its rows.
    pub(crate) fn put_plan(&mut self, node: At, others: &[At], rows: &[Row]) {
        self.revision += 1;
        let addresses: Vec<_> = others.iter().map(|at| [Address(at.address)]).collect();
        let routes: Vec<_> = others
            .iter()
            .zip(&addresses)
            .map(|(at, address)| Route {
                node: at.id,
                addresses: List::new(address).unwrap(),
                relay: None,
            })
            .collect();
        let assignments: Vec<_> = rows.iter().map(Row::assignment).collect();
        let site = self.site.clone();
        let plan = Plan {
            format: format::PLAN,
            site: Name::new(&site).unwrap(),
            revision: Revision(self.revision),
            node: node.id,
            routes: List::new(&routes).unwrap(),
            assignments: List::new(&assignments).unwrap(),
        };
        let (mut scratch, mut signed) = (vec![0; 8192], vec![0; 8192]);
        let len = plan.sign(&self.key.signing(), &mut scratch, &mut signed).unwrap();
        let body = Some((content_format::PLAN, &signed[..len]));
        granted(self.ask(node, Code::PUT, paths::PLAN, body));
    }

    /// Sends a command until it is taken, and returns the snapshot if it gave one.
    pub(crate) fn command(&mut self, node: At, command: &Command<'_>) -> Option<BlobRef> {
        let mut buf = vec![0; 4096];
        let len = cbor::encode(command, &mut buf).unwrap();
        let body = Some((content_format::CONTROL, &buf[..len]));
        let begun = Instant::now();
        loop {
            let response = self.ask(node, Code::POST, paths::CONTROL, body);
            if response.code == Code::SERVICE_UNAVAILABLE && begun.elapsed() < PATIENCE {
                self.wait(&response);
                continue;
            }
            let reply = granted(response);
            return match cbor::decode::<Reply<'_>>(&reply).unwrap() {
                Reply::Snapshot(blob) => Some(blob),
                _ => None,
            };
        }
    }

    /// Waits for as long as a refusal says, a second at most.
    fn wait(&mut self, refusal: &Response) {
        let millis = cbor::decode::<Problem<'_>>(&refusal.body).ok().and_then(|p| p.retry_ms);
        let millis = millis.unwrap_or(100).clamp(10, 1000);
        self.client.pause(Duration::from_millis(u64::from(millis)));
    }

    /// The row of an instance in a node's status.
    pub(crate) fn status(&mut self, node: At, instance: u32) -> Option<InstanceStatus> {
        let body = granted(self.get(node, paths::STATUS));
        let status: Status<'_> = cbor::decode(&body).unwrap();
        status.instances.iter().find(|row| row.instance == InstanceId(instance))
    }

    /// Waits until an instance is in a state.
    pub(crate) fn await_state(&mut self, node: At, instance: u32, state: InstanceState) {
        let begun = Instant::now();
        loop {
            let status = self.status(node, instance);
            if status.is_some_and(|status| status.state == state) {
                return;
            }
            let failed = status.is_some_and(|status| status.state == InstanceState::Failed);
            assert!(!failed && begun.elapsed() < PATIENCE, "{instance} on {}: {status:?}", node.id);
            self.client.pause(Duration::from_millis(50));
        }
    }

    /// Waits until the last message of a topic is as `is_awaited` wants it, and returns its payload.
    pub(crate) fn await_topic(
        &mut self,
        node: At,
        topic: &str,
        is_awaited: impl Fn(Seq, &[u8]) -> bool,
    ) -> Vec<u8> {
        let (path, begun) = (format!("{}/{topic}", paths::TOPICS), Instant::now());
        loop {
            let response = self.get(node, &path);
            if response.code == Code::CONTENT
                && let Ok(batch) = cbor::decode::<Batch<'_>>(&response.body)
                && let Some(message) = batch.numbered().last()
                && is_awaited(message.seq, message.payload.as_bytes())
            {
                return message.payload.as_bytes().to_vec();
            }
            assert!(begun.elapsed() < PATIENCE, "{topic}: {response:?}");
            self.client.pause(Duration::from_millis(50));
        }
    }

    /// Publishes `values`, the first of which has the number `first`, to an instance over an `every`
    /// wire: each is sent until it is acknowledged.
    pub(crate) fn feed(
        &mut self,
        node: At,
        instance: u32,
        source: u32,
        schema: &Schema<'_>,
        first: u64,
        values: &[f32],
    ) {
        let path = format!("{}/{instance}", paths::INBOX);
        let (mut next, begun) = (first, Instant::now());
        let end = first + values.len() as u64;
        while next < end {
            let rest = &values[usize::try_from(next - first).unwrap()..];
            let body = batch(source, schema, next, &rest[..rest.len().min(limits::BATCH)]);
            let body = Some((content_format::BATCH, &body[..]));
            let response = insist(&mut self.gate, node, Code::POST, &path, body);
            if response.code.is_success() {
                let ack: Ack = cbor::decode(&response.body).unwrap();
                assert!(ack.next.0 >= next && ack.next.0 <= end, "{ack:?} for {next}");
                next = ack.next.0;
            } else {
                assert!(begun.elapsed() < PATIENCE, "{response:?}");
                self.wait(&response);
            }
        }
    }
}

/// Asks until there is an answer.
fn insist(
    client: &mut dyn Client,
    node: At,
    code: Code,
    path: &str,
    body: Option<(u16, &[u8])>,
) -> Response {
    let begun = Instant::now();
    loop {
        match client.ask(node, code, path, body) {
            Ok(response) => return response,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
    }
}

fn granted(response: Response) -> Vec<u8> {
    if !response.code.is_success() {
        let problem = cbor::decode::<Problem<'_>>(&response.body);
        panic!("{}: {problem:?}", response.code);
    }
    response.body
}

fn batch(source: u32, schema: &Schema<'_>, first: u64, values: &[f32]) -> Vec<u8> {
    let head = Batch {
        stream: Stream { instance: InstanceId(source), output: 0 },
        epoch: Epoch(1),
        first: Seq(first),
        schema: schema.id().tag(),
        start: Timestamp { micros: 1_700_000_000_000_000 + first, uncertainty: None },
        messages: List::EMPTY,
    };
    let mut buf = [0; 1024];
    let mut writer = Writer::new(&mut buf);
    let mut batch = BatchWriter::new(&head, &mut writer).unwrap();
    for &value in values {
        let mut buf = [0; 16];
        let mut writer = Writer::new(&mut buf);
        let mut payload = PayloadWriter::new(schema.fields(), &mut writer).unwrap();
        payload.value(Value::Float(f64::from(value))).unwrap();
        batch.push(1, payload.finish().unwrap()).unwrap();
    }
    writer.written().to_vec()
}
