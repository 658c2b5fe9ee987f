//! The load generator: nodes on one thread, and the report.

use crate::broker::{self, Broker};
use crate::machine::processor_time;
use crate::node::Node;
use crate::site::{self, Failed};
use crate::subscriber::{self, Received};
use capmesh_interop::peers::scratch;
use capmesh_interop::process::Process;
use capmesh_wire::Instant;
use capmesh_wire::limits;
use capmesh_wire::schema::Schema;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{self, Duration};

/// How long anything but the measurement may take. Only a fault takes that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the rest may take, once nothing more is made.
const DRAIN: Duration = Duration::from_secs(30);

/// Handshakes at a time.
const SHAKING: usize = 32;

/// What is measured.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Load {
    /// How many nodes there are
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// How long to measure, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many messages all nodes make in a second on `every` wires; as many as are taken if absent
    #[arg(long)]
    rate: Option<u32>,
    /// How many messages all nodes send in a second on `latest` wires
    #[arg(long, default_value_t = 2_000)]
    latest: u32,
    /// How many messages of an `every` wire go in one batch at most
    #[arg(long, default_value_t = limits::BATCH)]
    batch: usize,
    /// Write the figures to this file too, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Measures and reports.
pub(crate) fn run(load: &Load) -> Result<(), Failed> {
    if cfg!(debug_assertions) {
        eprintln!("capmesh-bench-gateway: this is a debug build; its figures say nothing");
    }
    let directory = scratch("bench-gateway");
    let broker = broker::start(&directory)?;
    let start = time::Instant::now();
    let received = subscriber::start(broker.port, start)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", "--nodes", &load.nodes.to_string()]);
    command.args(["--broker", &broker.port.to_string(), "--state"]).arg(directory.join("state"));
    let gateway = Process::start("gateway", &mut command).map_err(|error| error.to_string())?;
    let line = gateway.wait_for("serving at ", PATIENCE).map_err(|error| error.to_string())?;
    let address = line.rsplit(' ').next().unwrap_or_default().trim().parse()?;
    let before = resident(gateway.id())?;
    let report = site::with_schema(|schema| {
        let mut players = Players::new(load, address, start)?;
        players.shake_hands(schema)?;
        let with_sessions = resident(gateway.id())?;
        let report = players.measure(&gateway, &broker, &received, schema)?;
        let memory = [before, with_sessions, resident(gateway.id())?];
        Ok::<_, Failed>((report, memory))
    })?;
    drop((gateway, broker));
    let (report, memory) = report?;
    // What the database and the rest of the run leave behind is of no use to anybody.
    let _ = std::fs::remove_dir_all(directory);
    report.print(load, memory)
}

/// Bytes of memory that a process has.
fn resident(process: u32) -> Result<u64, Failed> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes << 10)
}

struct Players {
    load: Load,
    nodes: Vec<Node>,
    epoll: rustix::fd::OwnedFd,
    start: time::Instant,
    /// When to look at which node: each is there once at most.
    due: BTreeSet<(Instant, usize)>,
    /// When which node makes messages: all in turn.
    next_every: (Instant, usize),
    next_latest: (Instant, usize),
}

impl Players {
    fn new(load: &Load, gateway: SocketAddr, start: time::Instant) -> Result<Self, Failed> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let now = since(start);
        let mut nodes = Vec::new();
        for (at, number) in (1..=load.nodes).enumerate() {
            let node = Node::new(now, number, gateway)?;
            let data = epoll::EventData::new_u64(at as u64);
            epoll::add(&epoll, &node.socket, data, epoll::EventFlags::IN)?;
            nodes.push(node);
        }
        let due = BTreeSet::new();
        let load = load.clone();
        Ok(Self { load, nodes, epoll, start, due, next_every: (now, 0), next_latest: (now, 0) })
    }

    /// Has every node send one message, and with it make its session.
    fn shake_hands(&mut self, schema: &Schema<'_>) -> Result<(), Failed> {
        let begun = time::Instant::now();
        let mut waiting: Vec<usize> = (0..self.nodes.len()).rev().collect();
        let mut shaking = BTreeSet::new();
        while !waiting.is_empty() || !shaking.is_empty() {
            while shaking.len() < SHAKING
                && let Some(at) = waiting.pop()
            {
                let now = since(self.start);
                if let Some(node) = self.nodes.get_mut(at) {
                    node.make(now, 1);
                }
                shaking.insert(at);
                self.attend(now, at, schema)?;
            }
            self.turn(schema, since(self.start) + Duration::from_millis(5))?;
            shaking.retain(|at| self.nodes.get(*at).is_some_and(|node| !node.is_idle()));
            if begun.elapsed() > PATIENCE {
                return Err(format!("{} nodes have no session", shaking.len()).into());
            }
        }
        println!(
            "{} nodes have a session and a first message through after {:.1} s",
            self.nodes.len(),
            begun.elapsed().as_secs_f64()
        );
        Ok(())
    }

    fn measure(
        &mut self,
        gateway: &Process,
        broker: &Broker,
        received: &Arc<Received>,
        schema: &Schema<'_>,
    ) -> Result<Report, Failed> {
        // A second to come to speed.
        self.play(since(self.start) + Duration::from_secs(1), schema)?;
        received.ages.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let counts =
            || (received.every.load(Ordering::Relaxed), received.latest.load(Ordering::Relaxed));
        let processes = [gateway.id(), broker.process.id(), std::process::id()];
        let times = || processes.map(processor_time);
        let (before, at, used) = (counts(), time::Instant::now(), times());
        self.play(since(self.start) + Duration::from_secs(self.load.seconds), schema)?;
        let (after, wall, more) = (counts(), at.elapsed(), times());
        let mut ages =
            std::mem::take(&mut *received.ages.lock().unwrap_or_else(PoisonError::into_inner));
        ages.sort_unstable();
        let mut shares = [0.0; 3];
        for (share, (before, after)) in shares.iter_mut().zip(used.into_iter().zip(more)) {
            *share = after?.saturating_sub(before?).as_secs_f64() / wall.as_secs_f64();
        }
        self.drain(received, schema)?;
        let sum = |of: fn(&Node) -> u64| self.nodes.iter().map(of).sum();
        Ok(Report {
            every: after.0 - before.0,
            latest: after.1 - before.1,
            wall,
            ages,
            shares,
            sent: sum(Node::acked),
            arrived: received.every.load(Ordering::Relaxed),
            repeated: received.repeated.load(Ordering::Relaxed),
            missing: received.missing.load(Ordering::Relaxed),
            latest_sent: sum(Node::latest),
            latest_arrived: received.latest.load(Ordering::Relaxed),
            held_off: sum(|node| node.held_off),
            failed: sum(|node| node.failed),
            paused: sum(|node| node.paused),
        })
    }

    /// Makes messages and carries them until `end`.
    fn play(&mut self, end: Instant, schema: &Schema<'_>) -> Result<(), Failed> {
        let now = since(self.start);
        (self.next_every.0, self.next_latest.0) = (now, now);
        if self.load.rate.is_none() {
            for at in 0..self.nodes.len() {
                self.attend(now, at, schema)?;
            }
        }
        while since(self.start) < end {
            let next = self.make(schema)?;
            self.turn(schema, next.min(end))?;
        }
        Ok(())
    }

    /// Makes the messages that are due, and says when the next one is.
    fn make(&mut self, schema: &Schema<'_>) -> Result<Instant, Failed> {
        let now = since(self.start);
        let (count, batch) = (self.nodes.len(), self.load.batch);
        if let Some(rate) = self.load.rate {
            let batches = f64::from(rate) / f64::from(u32::try_from(batch)?);
            let pace = Duration::from_secs_f64(1.0 / batches);
            while self.next_every.0 <= now {
                let at = self.next_every.1;
                self.next_every = (self.next_every.0 + pace, (at + 1) % count);
                if let Some(node) = self.nodes.get_mut(at) {
                    node.make(now, batch);
                }
                self.attend(now, at, schema)?;
            }
        } else {
            self.next_every.0 = Instant::MAX;
        }
        let pace = Duration::from_secs_f64(1.0 / f64::from(self.load.latest.max(1)));
        while self.load.latest > 0 && self.next_latest.0 <= now {
            let at = self.next_latest.1;
            self.next_latest = (self.next_latest.0 + pace, (at + 1) % count);
            if let Some(node) = self.nodes.get_mut(at) {
                node.send_latest(now, schema);
            }
            self.attend(now, at, schema)?;
        }
        let latest = if self.load.latest > 0 { self.next_latest.0 } else { Instant::MAX };
        Ok(self.next_every.0.min(latest))
    }

    /// Takes what has come to any node, and attends to those that are due; waits until `until` if there is
    /// nothing.
    fn turn(&mut self, schema: &Schema<'_>, until: Instant) -> Result<(), Failed> {
        let due = self.due.first().map_or(until, |(due, _)| until.min(*due));
        let wait = due.saturating_since(since(self.start));
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        let mut events = Vec::with_capacity(256);
        epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout))?;
        for event in events {
            let at = usize::try_from(event.data.u64())?;
            let now = since(self.start);
            let Some(node) = self.nodes.get_mut(at) else { continue };
            node.receive(now)?;
            self.attend(now, at, schema)?;
        }
        let now = since(self.start);
        while let Some((due, at)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, at));
            self.attend(now, at, schema)?;
        }
        Ok(())
    }

    fn attend(&mut self, now: Instant, at: usize, schema: &Schema<'_>) -> Result<(), Failed> {
        let Some(node) = self.nodes.get_mut(at) else { return Ok(()) };
        let fills = self.load.rate.is_none() && self.next_every.0 == Instant::MAX;
        if fills {
            node.fill(now, 2 * self.load.batch);
        }
        node.send_every(now, self.load.batch, schema);
        node.transmit(now)?;
        let due = node.poll_timeout().map(|due| due.max(now + Duration::from_millis(1)));
        if let Some(before) = std::mem::replace(&mut node.due, due) {
            self.due.remove(&(before, at));
        }
        self.due.extend(due.map(|due| (due, at)));
        Ok(())
    }

    /// Waits until everything that was made has arrived.
    fn drain(&mut self, received: &Received, schema: &Schema<'_>) -> Result<(), Failed> {
        // Nothing more is made.
        self.next_every.0 = Instant::ZERO;
        let begun = time::Instant::now();
        loop {
            self.turn(schema, since(self.start) + Duration::from_millis(20))?;
            let is_sent = self.nodes.iter().all(Node::is_idle);
            let sent: u64 = self.nodes.iter().map(Node::acked).sum();
            if is_sent && received.every.load(Ordering::Relaxed) >= sent {
                return Ok(());
            }
            if begun.elapsed() > DRAIN {
                let arrived = received.every.load(Ordering::Relaxed);
                let busy = self.nodes.iter().filter(|node| !node.is_idle()).count();
                return Err(format!(
                    "of {sent} acknowledged messages {arrived} arrived; {busy} nodes have more"
                )
                .into());
            }
        }
    }
}

fn since(start: time::Instant) -> Instant {
    Instant::from_micros(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX))
}

struct Report {
    every: u64,
    latest: u64,
    wall: Duration,
    /// In order.
    ages: Vec<u32>,
    /// Processor time of gateway, broker and this process, in cores.
    shares: [f64; 3],
    sent: u64,
    arrived: u64,
    repeated: u64,
    missing: u64,
    latest_sent: u64,
    latest_arrived: u64,
    held_off: u64,
    failed: u64,
    paused: u64,
}

impl Report {
    /// How old one of so many messages was at most, in milliseconds.
    fn age(&self, per_mille: usize) -> f64 {
        let at = (self.ages.len() * per_mille / 1_000).min(self.ages.len().saturating_sub(1));
        self.ages.get(at).map_or(0.0, |micros| f64::from(*micros) / 1e3)
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    fn print(&self, load: &Load, [before, sessions, after]: [u64; 3]) -> Result<(), Failed> {
        let per_second = |count: u64| count as f64 / self.wall.as_secs_f64();
        let per_node = |bytes: u64| bytes.saturating_sub(before) / u64::from(load.nodes.max(1));
        let [gateway, broker, own] = self.shares;
        println!(
            "{:.0} messages/s to MQTT ({:.0} every, {:.0} latest; goal 30000) for {:.1} s",
            per_second(self.every + self.latest),
            per_second(self.every),
            per_second(self.latest),
            self.wall.as_secs_f64()
        );
        println!(
            "from node to subscriber: p50 {:.1} ms, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, most {:.1}",
            self.age(500),
            self.age(900),
            self.age(990),
            self.age(999),
            self.age(1_000)
        );
        println!(
            "cores used: gateway {gateway:.2}, mosquitto {broker:.2}, nodes and subscriber {own:.2}"
        );
        println!(
            "every: {} acknowledged, {} arrived, {} twice, {} missing; latest: {} sent, {} arrived",
            self.sent,
            self.arrived,
            self.repeated,
            self.missing,
            self.latest_sent,
            self.latest_arrived
        );
        println!(
            "batches held off {}, failed {}; messages not made because their outbox was full {}",
            self.held_off, self.failed, self.paused
        );
        println!(
            "the process grew by {} bytes for each node with its session, by {} with the run (goal 8192; \
             {} MB without nodes, its tables for sessions among them)",
            per_node(sessions),
            per_node(after),
            before >> 20
        );
        if let Some(file) = &load.json {
            let figures = json!({
                "nodes": load.nodes,
                "messages_per_second": per_second(self.every + self.latest),
                "every_per_second": per_second(self.every),
                "latest_per_second": per_second(self.latest),
                "latency_ms": {
                    "p50": self.age(500), "p90": self.age(900), "p99": self.age(990),
                    "p99.9": self.age(999), "max": self.age(1_000),
                },
                "cores": { "gateway": gateway, "mosquitto": broker, "generator": own },
                "bytes_per_node": { "session": per_node(sessions), "after": per_node(after) },
            });
            std::fs::write(file, format!("{figures:#}\n"))?;
        }
        if self.repeated + self.missing > 0 {
            return Err("messages of `every` wires were lost or doubled".into());
        }
        Ok(())
    }
}
