//! What lies between the parties: datagrams, time, and who is charged for what.

use alloc::{collections::VecDeque, vec, vec::Vec};
use capmesh_coap::{Code, endpoint::Via};
use capmesh_node::{Input, Output};
use capmesh_session::edhoc::Identity;
use capmesh_wire::{
    BlobRef, Epoch, InstanceId, Instant, NodeId, cbor,
    control::{Command, Reply, Restore, Target},
    cose::SigningKey,
    paths,
};
use core::{cell::UnsafeCell, mem::MaybeUninit, net::SocketAddr, time::Duration};
use footprint::{Cost, fail, measure, must, report_cost};
use node_footprint::{charge, report_part, restart_peak};

use crate::{
    gateway::{Ask, BLOCK, Gateway},
    machine::{Core, FLASH, Machine, scalar},
};

/// Who is charged for the gateway and for the world itself.
const OTHERS: usize = 2;

struct Memory(UnsafeCell<MaybeUninit<[[u8; FLASH]; 2]>>);

// SAFETY: there is one thread; the memory is given away once.
unsafe impl Sync for Memory {}

#[unsafe(link_section = ".nodes")]
static MEMORY: Memory = Memory(UnsafeCell::new(MaybeUninit::uninit()));

struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

pub struct World<'l> {
    now: Instant,
    machines: Vec<Machine<'l>>,
    gateway: Gateway,
    on_the_way: VecDeque<Datagram>,
    /// What the nodes' calls cost in this step.
    spent: Cost,
    longest: u32,
}

/// Where a party is: the nodes are 0 and 1.
pub fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n as u8 + 1], 5683))
}

/// A node's id.
pub fn id(n: usize) -> NodeId {
    must(SigningKey::from_bytes(&scalar(n as u8 + 1)), b"key").id()
}

impl<'l> World<'l> {
    pub fn new() -> Self {
        // SAFETY: this is the one place that takes it, and it is filled before it is read.
        let [first, second] = unsafe {
            MEMORY.0.get().cast::<u8>().write_bytes(0xff, 2 * FLASH);
            (*MEMORY.0.get()).assume_init_mut()
        };
        charge(OTHERS);
        Self {
            now: Instant::from_secs(1),
            machines: vec![Machine::new(1, first), Machine::new(2, second)],
            gateway: Gateway::new(),
            on_the_way: VecDeque::new(),
            spent: Cost::default(),
            longest: 0,
        }
    }

    /// Does a step and reports what it cost the nodes together: instructions, the deepest stack, the
    /// longest call, and the highest that a node's heap was.
    pub fn step(&mut self, name: &[u8], work: impl FnOnce(&mut Self)) {
        self.spent = Cost::default();
        self.longest = 0;
        restart_peak();
        work(self);
        report_cost(name, self.spent);
        report_part(name, b".longest_call", self.longest as usize);
        let peak = node_footprint::party(0).peak.max(node_footprint::party(1).peak);
        report_part(name, b".heap_peak", peak);
    }

    /// The identity that a node's endpoint is to have.
    pub fn identity(&self, n: usize) -> Identity {
        must(self.machines.get(n), b"machine").identity()
    }

    /// Starts the nodes at their endpoints.
    pub fn boot(&mut self, links: [&'l mut Core; 2]) {
        let now = self.now;
        for (n, link) in links.into_iter().enumerate() {
            self.charged(n, |machine| machine.boot(now, link, n as u64 + 1));
        }
    }

    /// Has a node do something, on its account.
    fn charged<T>(&mut self, n: usize, work: impl FnOnce(&mut Machine<'l>) -> T) -> T {
        let machine = must(self.machines.get_mut(n), b"machine");
        charge(n);
        let (result, cost) = measure(|| work(machine));
        charge(OTHERS);
        self.spent.instructions = self.spent.instructions.saturating_add(cost.instructions);
        self.spent.stack = self.spent.stack.max(cost.stack);
        self.longest = self.longest.max(cost.instructions);
        result
    }

    /// Lets a node do one thing; says whether it did.
    fn turn(&mut self, n: usize, buf: &mut [u8]) -> bool {
        let now = self.now;
        let done = self.charged(n, |machine| {
            let node = machine.node.as_mut()?;
            match node.poll(now, machine.flash.bytes(), buf) {
                None => node.poll_timeout().is_some_and(|at| at <= now).then_some(Done::Nothing),
                Some(Output::Transmit { to, bytes }) => Some(Done::Sent(to, bytes.len())),
                Some(Output::Program { at, bytes }) => {
                    machine.flash.program(at, bytes);
                    Some(Done::Flash)
                }
                Some(Output::Erase { at }) => {
                    machine.flash.erase(at);
                    Some(Done::Flash)
                }
                Some(Output::Actuate { value, .. }) => {
                    machine.actuated = value;
                    Some(Done::Nothing)
                }
                Some(Output::Reboot) => fail(b"reboot"),
            }
        });
        match done {
            None => return false,
            Some(Done::Nothing) => {}
            Some(Done::Flash) => self.charged(n, |machine| {
                if let Some(node) = &mut machine.node {
                    node.handle(now, machine.flash.bytes(), Input::Flashed(Ok(())));
                }
            }),
            Some(Done::Sent(to, len)) => {
                let bytes = buf.get(..len).unwrap_or_default().to_vec();
                self.on_the_way.push_back(Datagram { from: address(n), to, bytes });
            }
        }
        true
    }

    /// Lets everybody do what is to be done now.
    fn flush(&mut self) {
        let mut buf = vec![0; 2048];
        loop {
            let mut busy = false;
            for n in [0, 1] {
                while self.turn(n, &mut buf) {
                    busy = true;
                }
            }
            while let Some((to, len)) = self.gateway.poll(self.now, &mut buf) {
                let bytes = buf.get(..len).unwrap_or_default().to_vec();
                self.on_the_way.push_back(Datagram { from: address(GATEWAY), to, bytes });
            }
            while let Some(datagram) = self.on_the_way.pop_front() {
                busy = true;
                self.deliver(&datagram);
            }
            if !busy {
                return;
            }
        }
    }

    fn deliver(&mut self, Datagram { from, to, bytes }: &Datagram) {
        let now = self.now;
        match [0, 1].into_iter().find(|n| address(*n) == *to) {
            None => self.gateway.handle(now, *from, bytes),
            Some(n) => self.charged(n, |machine| {
                if let Some(node) = &mut machine.node {
                    let input = Input::Datagram { from: *from, via: Via::Unicast, bytes };
                    node.handle(now, machine.flash.bytes(), input);
                }
            }),
        }
    }

    /// Goes on until it is so; a minute is more than anything takes.
    pub fn run_until(&mut self, mut is_done: impl FnMut(&Self) -> bool) {
        let last = self.now + Duration::from_secs(60);
        loop {
            self.flush();
            if is_done(self) {
                return;
            }
            let nodes = self.machines.iter().filter_map(|machine| machine.node.as_ref());
            let next = nodes.filter_map(|node| node.poll_timeout());
            let next = next.chain(self.gateway.poll_timeout()).min();
            self.now = must(next.filter(|at| *at <= last), b"it does not happen").max(self.now);
        }
    }

    /// What a node's actuator was set to last.
    pub fn sum(&self, n: usize) -> f64 {
        self.machines.get(n).map_or(0.0, |machine| machine.actuated)
    }

    fn ask(&mut self, n: usize, ask: &Ask<'_>) -> Vec<u8> {
        self.gateway.ask(self.now, n, ask);
        self.run_until(|world| world.gateway.answer.is_some());
        match self.gateway.answer.take() {
            Some((code, payload)) if code.is_success() => payload,
            _ => {
                footprint::write(ask.path.as_bytes());
                footprint::write(b": ");
                fail(b"refused")
            }
        }
    }

    pub fn get(&mut self, n: usize, path: &str) {
        self.ask(n, &Ask { code: Code::GET, path, body: &[], block: None });
    }

    pub fn put(&mut self, n: usize, path: &str, body: &[u8]) {
        self.ask(n, &Ask { code: Code::PUT, path, body, block: None });
    }

    /// Brings node 0 a capsule.
    pub fn upload(&mut self, bundle: &[u8]) {
        let count = bundle.len().div_ceil(BLOCK);
        for (number, body) in bundle.chunks(BLOCK).enumerate() {
            let block = Some((number as u32, number + 1 < count));
            self.ask(0, &Ask { code: Code::PUT, path: paths::CAPSULES, body, block });
        }
    }

    pub fn command(&mut self, n: usize, body: &[u8]) -> Vec<u8> {
        let ask = Ask { code: Code::POST, path: paths::CONTROL, body, block: None };
        let reply = self.ask(n, &ask);
        // What is begun takes a few messages and some flash.
        let pause = self.now + Duration::from_millis(200);
        self.run_until(|world| world.now >= pause);
        reply
    }

    /// Has the sink come to rest; returns its snapshot.
    pub fn quiesce(&mut self, n: usize, body: &[u8]) -> BlobRef {
        match cbor::decode::<Reply<'_>>(&self.command(n, body)) {
            Ok(Reply::Snapshot(snapshot)) => snapshot,
            _ => fail(b"no snapshot"),
        }
    }

    /// Has a node fetch the sink's snapshot from node 1.
    pub fn restore(&mut self, n: usize, snapshot: BlobRef) {
        report_part(b"snapshot", b".bytes", snapshot.size as usize);
        let target = Target { instance: InstanceId(2), epoch: Epoch(2) };
        let restore = Command::Restore(Restore { target, snapshot, from: id(1) });
        let mut body = [0; 256];
        let len = must(cbor::encode(&restore, &mut body).ok(), b"command");
        self.command(n, body.get(..len).unwrap_or_default());
    }
}

enum Done {
    Nothing,
    Flash,
    Sent(SocketAddr, usize),
}

/// The gateway's place among the addresses.
const GATEWAY: usize = 200;
