//! Two endpoints over a bad link: every exchange ends exactly once, every request is taken at most
//! once, and everything comes to rest.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

use capmesh_coap::endpoint::{
    Config, Event, ExchangeId, ObservationId, Outcome, Output, Reliability, Responder, Via,
};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::Plain;
use capmesh_coap::test_util::{Dice, Faults, Machine, World};
use capmesh_coap::{Code, Endpoint};
use capmesh_wire::Instant;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

type Core = Endpoint<Plain, 64, 8, 544, 8, 1, 256, 16_384>;

/// How a server treats a request; the request says which.
#[derive(Clone, Copy, Debug)]
enum Treatment {
    AtOnce,
    /// After some milliseconds.
    Later(u16),
    Never,
}

/// An endpoint with an application that asks, answers and keeps account of it.
struct Node {
    core: Core,
    /// Requests to answer, and when.
    due: BTreeMap<(Instant, Responder), u32>,
    /// Payloads of the requests that were taken.
    taken: BTreeSet<u32>,
    /// The payloads of the requests that were made and are not over.
    asked: BTreeMap<ExchangeId, u32>,
    answered: usize,
    failed: usize,
}

impl Node {
    fn new(config: Config, seed: [u8; 16]) -> Self {
        Self {
            core: Core::new(config, Plain, seed),
            due: BTreeMap::new(),
            taken: BTreeSet::new(),
            asked: BTreeMap::new(),
            answered: 0,
            failed: 0,
        }
    }

    fn ask(&mut self, now: Instant, to: SocketAddr, what: u32, how: Treatment) -> bool {
        let (code, delay) = match how {
            Treatment::AtOnce => (Code::GET, 0),
            Treatment::Later(millis) => (Code::POST, millis),
            Treatment::Never => (Code::DELETE, 0),
        };
        let exchange = self.core.request(now, to, Reliability::Confirmable, code, |writer| {
            writer.payload(&what.to_be_bytes())?;
            writer.payload(&delay.to_be_bytes())?;
            Ok(())
        });
        let Ok(exchange) = exchange else { return false };
        assert_eq!(self.asked.insert(exchange, what), None);
        true
    }

    fn answer_due(&mut self, now: Instant) {
        while let Some((&(at, responder), &what)) = self.due.first_key_value() {
            if at > now {
                break;
            }
            self.due.remove(&(at, responder));
            // It may have timed out; then the other side hears of it in its own time.
            let _ = self.core.respond(now, responder, Code::CONTENT, |writer| {
                writer.payload(&what.to_be_bytes()).map(drop)
            });
        }
    }
}

impl Machine for Node {
    fn handle(&mut self, now: Instant, from: SocketAddr, via: Via, datagram: &[u8]) {
        let mut scratch = [0; 256];
        match self.core.handle(now, from, via, datagram, &mut scratch) {
            Some(Event::Request { responder, message, .. }) => {
                let what = u32::from_be_bytes(message.payload()[..4].try_into().unwrap());
                let delay = u16::from_be_bytes(message.payload()[4..].try_into().unwrap());
                assert!(self.taken.insert(what), "request {what} was taken twice");
                if message.code() != Code::DELETE {
                    let at = now + Duration::from_millis(u64::from(delay));
                    self.due.insert((at, responder), what);
                }
            }
            Some(Event::Response { exchange, message, last, .. }) => {
                assert!(last);
                let what = self.asked.remove(&exchange).expect("an answer to what was not asked");
                assert_eq!(message.payload(), what.to_be_bytes());
                self.answered += 1;
            }
            None => {}
        }
    }

    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<(SocketAddr, usize)> {
        self.answer_due(now);
        loop {
            match self.core.poll(now, buf)? {
                Output::Transmit { to, len } => return Some((to, len)),
                Output::Outcome(Outcome::Failed { exchange, .. }) => {
                    self.asked.remove(&exchange).expect("a failure of what was not asked");
                    self.failed += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let due = self.due.keys().next().map(|(at, _)| *at);
        self.core.poll_timeout().into_iter().chain(due).min()
    }
}

fn address(n: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 5683 + n))
}

#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    loss: u8,
    duplication: u8,
    delay_millis: u64,
    nstart: u8,
    /// Who asks, when, and how it is to be treated.
    requests: Vec<(bool, u64, Treatment)>,
    /// Who reboots, and when.
    reboots: Vec<(bool, u64)>,
}

fn treatment() -> impl Strategy<Value = Treatment> {
    prop_oneof![
        3 => Just(Treatment::AtOnce),
        3 => (0..20_000_u16).prop_map(Treatment::Later),
        1 => Just(Treatment::Never),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        any::<u64>(),
        0..=40_u8,
        0..=30_u8,
        1..8_000_u64,
        1..=8_u8,
        prop::collection::vec((any::<bool>(), 0..60_000_u64, treatment()), 1..30),
        prop::collection::vec((any::<bool>(), 0..120_000_u64), 0..3),
    )
        .prop_map(|(seed, loss, duplication, delay_millis, nstart, requests, reboots)| Plan {
            seed,
            loss,
            duplication,
            delay_millis,
            nstart,
            requests,
            reboots,
        })
}

/// What happens in a plan, in order.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(bool, u32, Treatment),
    Reboot(bool),
}

/// Runs a plan and returns how many requests were answered and failed.
fn run(plan: &Plan) -> (usize, usize) {
    let mut dice = Dice::new(plan.seed);
    let delay = Duration::from_millis(plan.delay_millis);
    let faults = Faults {
        loss: plan.loss,
        duplication: plan.duplication,
        delay: Duration::from_millis(1)..delay.max(Duration::from_millis(2)),
    };
    let config = Config { nstart: plan.nstart, ..Config::default() };
    let mut world = World::new(plan.seed, faults);
    for n in 0..2 {
        world.machines.insert(address(n), Node::new(config, dice.seed()));
    }
    let mut steps: Vec<(u64, Step)> = Vec::new();
    for (what, (who, at, how)) in (0..).zip(&plan.requests) {
        steps.push((*at, Step::Ask(*who, what, *how)));
    }
    steps.extend(plan.reboots.iter().map(|(who, at)| (*at, Step::Reboot(*who))));
    steps.sort_by_key(|(at, _)| *at);

    let (mut accepted, mut forgotten, mut answered, mut failed) = (0, 0, 0, 0);
    for (at, step) in steps {
        world.run_until(Instant::from_millis(at));
        let now = world.now;
        match step {
            Step::Ask(who, what, how) => {
                let to = address(u16::from(!who));
                accepted +=
                    usize::from(world.machine(address(u16::from(who))).ask(now, to, what, how));
            }
            Step::Reboot(who) => {
                let fresh = Node::new(config, dice.seed());
                let old = world.machines.insert(address(u16::from(who)), fresh).unwrap();
                forgotten += old.asked.len();
                answered += old.answered;
                failed += old.failed;
            }
        }
    }
    world.run_to_rest(world.now + Duration::from_secs(3600));
    for node in world.machines.values() {
        assert!(node.asked.is_empty(), "exchanges without an end: {:?}", node.asked);
        answered += node.answered;
        failed += node.failed;
    }
    assert_eq!(answered + failed + forgotten, accepted);
    (answered, failed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_exchange_ends_exactly_once(plan in plan()) {
        run(&plan);
    }
}

#[test]
fn a_good_link_answers_everything() {
    let requests =
        (0..20).map(|n| (n % 2 == 0, n * 1000, Treatment::Later(700))).collect::<Vec<_>>();
    let plan = Plan {
        seed: 1,
        loss: 0,
        duplication: 0,
        delay_millis: 50,
        nstart: 1,
        requests,
        reboots: Vec::new(),
    };
    assert_eq!(run(&plan), (20, 0));
}

#[test]
fn thirty_percent_of_loss_costs_patience_but_few_exchanges() {
    let requests =
        (0..200).map(|n| (n % 2 == 0, n * 30_000, Treatment::AtOnce)).collect::<Vec<_>>();
    let plan = Plan {
        seed: 30,
        loss: 30,
        duplication: 10,
        delay_millis: 1000,
        nstart: 8,
        requests,
        reboots: Vec::new(),
    };
    let (answered, failed) = run(&plan);
    assert!(answered >= 190, "{answered} answered, {failed} failed");
}

/// An observer and what it observes.
struct Watch {
    core: Endpoint<Plain, 256, 8, 2080, 8, 4, 128, 8192>,
    observation: Option<ObservationId>,
    exchange: Option<ExchangeId>,
    newest: Option<u32>,
    state: u32,
}

impl Watch {
    fn new(seed: [u8; 16]) -> Self {
        let core = Endpoint::new(Config::default(), Plain, seed);
        Self { core, observation: None, exchange: None, newest: None, state: 0 }
    }

    fn change(&mut self, now: Instant, reliability: Reliability) {
        self.state += 1;
        let state = self.state;
        if let Some(observation) = self.observation {
            let sent = self.core.notify(now, observation, reliability, Code::CONTENT, |writer| {
                writer.payload(&state.to_be_bytes()).map(drop)
            });
            sent.unwrap();
        }
    }
}

impl Machine for Watch {
    fn handle(&mut self, now: Instant, from: SocketAddr, via: Via, datagram: &[u8]) {
        let mut scratch = [0; 256];
        match self.core.handle(now, from, via, datagram, &mut scratch) {
            Some(Event::Request { responder, .. }) => {
                self.observation = Some(self.core.accept_observation(now, responder).unwrap());
                let state = self.state;
                self.core
                    .respond(now, responder, Code::CONTENT, |writer| {
                        writer.payload(&state.to_be_bytes()).map(drop)
                    })
                    .unwrap();
            }
            Some(Event::Response { exchange, message, last, .. }) => {
                assert_eq!(Some(exchange), self.exchange);
                assert!(!last);
                let state = u32::from_be_bytes(message.payload().try_into().unwrap());
                assert!(self.newest.is_none_or(|newest| newest < state), "it went back");
                self.newest = Some(state);
            }
            None => {}
        }
    }

    fn poll(&mut self, now: Instant, buf: &mut [u8]) -> Option<(SocketAddr, usize)> {
        loop {
            match self.core.poll(now, buf)? {
                Output::Transmit { to, len } => return Some((to, len)),
                Output::Outcome(Outcome::Failed { .. }) => self.exchange = None,
                Output::Outcome(Outcome::ObservationEnded { observation, .. }) => {
                    assert_eq!(self.observation.take(), Some(observation));
                }
                other @ Output::Outcome(_) => panic!("{other:?}"),
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever gets lost on the way, the observer ends up with the newest state, never goes back,
    /// and an observation that ends is noticed.
    #[test]
    fn observers_end_up_with_the_newest_state(
        seed in any::<u64>(),
        loss in 0..=40_u8,
        delay in 2..5_000_u64,
        changes in prop::collection::vec((0..10_000_u64, any::<bool>()), 1..40),
    ) {
        let mut dice = Dice::new(seed);
        let delay = Duration::from_millis(1)..Duration::from_millis(delay);
        let mut world = World::new(seed, Faults { loss, duplication: 20, delay });
        let (client, server) = (address(0), address(1));
        for at in [client, server] {
            world.machines.insert(at, Watch::new(dice.seed()));
        }
        let exchange = world.machine(client).core.request(
            Instant::ZERO,
            server,
            Reliability::Confirmable,
            Code::GET,
            |writer| writer.option_uint(OptionNumber::OBSERVE, 0).map(drop),
        );
        world.machine(client).exchange = Some(exchange.unwrap());
        for (pause, confirmable) in changes {
            world.run_until(world.now + Duration::from_millis(pause));
            let kind = [Reliability::NonConfirmable, Reliability::Confirmable][usize::from(confirmable)];
            let now = world.now;
            world.machine(server).change(now, kind);
        }
        world.run_until(world.now + Duration::from_secs(60));
        let now = world.now;
        world.machine(server).change(now, Reliability::Confirmable);
        world.run_to_rest(now + Duration::from_secs(3600));
        let state = world.machine(server).state;
        let observed = world.machine(server).observation.is_some();
        let client = world.machine(client);
        if client.exchange.is_some() && observed {
            prop_assert_eq!(client.newest, Some(state));
        }
    }
}
