//! What peers ask of a router: batches that are refused, topics, services.

use crate::world::{
    Core, Kind, Life, Plan, Site, Wire, address, node, payload, value, with_capsule, world,
};
use capmesh_coap::Code;
use capmesh_coap::endpoint::{Config as CoapConfig, Event, Output, Reliability, Via};
use capmesh_coap::message::MessageWriter;
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::Plain;
use capmesh_coap::test_util::{Dice, Faults, Machine, World};
use capmesh_node::router::{AddError, Ask, AskError, Config, Origin};
use capmesh_wire::cbor::{Writer, decode};
use capmesh_wire::clock::Timestamp;
use capmesh_wire::message::{Ack, Batch, BatchWriter, Stream};
use capmesh_wire::plan::Delivery;
use capmesh_wire::{
    Epoch, ErrorCode, InstanceId, Instant, List, Payload, Problem, Seq, content_format,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SOURCE: u32 = 1;
const SINK: u32 = 2;

/// A machine that says whatever a test wants it to say.
struct Client {
    core: Box<Core>,
    machine: u8,
}

/// A response: code, Content-Format, Max-Age, payload.
type Answer = (Code, Option<u32>, Option<u32>, Vec<u8>);

impl Client {
    fn new(machine: u8) -> Self {
        let config = CoapConfig { nstart: 16, ..CoapConfig::default() };
        // Each has tokens and message ids of its own.
        static MADE: AtomicU64 = AtomicU64::new(0);
        let mut dice = Dice::new(MADE.fetch_add(1, Ordering::Relaxed));
        Self { core: Box::new(Core::new(config, Plain, dice.seed())), machine }
    }

    /// Asks, without waiting for an answer.
    fn ask(&mut self, now: Instant, method: Code, path: &str, body: &[u8], confirmable: bool) {
        let reliability =
            if confirmable { Reliability::Confirmable } else { Reliability::NonConfirmable };
        let asked = self.core.request(
            now,
            address(9),
            reliability,
            method,
            |writer: &mut MessageWriter<'_>| {
                for segment in path.split('/') {
                    writer.option(OptionNumber::URI_PATH, segment.as_bytes())?;
                }
                if !body.is_empty() {
                    let format = content_format::BATCH;
                    writer.option_uint(OptionNumber::CONTENT_FORMAT, format.into())?;
                    writer.payload(body)?;
                }
                Ok(())
            },
        );
        asked.unwrap();
    }

    /// Carries datagrams to and fro until `until`; gives the responses.
    fn talk(&mut self, site: &mut Site, mut now: Instant, until: Instant) -> Vec<Answer> {
        let mut answers = Vec::new();
        let mut buf = [0; 1280];
        while now <= until {
            while let Some(Output::Transmit { len, .. }) = self.core.poll(now, &mut buf) {
                Machine::handle(site, now, address(self.machine), Via::Unicast, &buf[..len]);
            }
            while let Some((_, len)) = Machine::poll(site, now, &mut buf) {
                let mut scratch = [0; 1280];
                let event =
                    self.core.handle(now, address(9), Via::Unicast, &buf[..len], &mut scratch);
                if let Some(Event::Response { message, .. }) = event {
                    let number = |option| message.option_uint(option);
                    let format = number(OptionNumber::CONTENT_FORMAT);
                    let max_age = number(OptionNumber::MAX_AGE);
                    answers.push((message.code(), format, max_age, message.payload().to_vec()));
                }
            }
            now += Duration::from_millis(50);
        }
        answers
    }

    fn post(&mut self, site: &mut Site, now: Instant, to: u32, batch: &[u8]) -> Vec<Answer> {
        self.ask(now, Code::POST, &format!("m/{to}"), batch, true);
        self.talk(site, now, now + Duration::from_secs(1))
    }
}

/// A batch of the source's stream.
fn batch(epoch: u32, first: u64, values: &[u64]) -> Vec<u8> {
    let tag = with_capsule(|capsule| capsule.schema(0).unwrap().id().tag());
    let mut buf = [0; 512];
    let mut writer = Writer::new(&mut buf);
    let head = Batch {
        stream: Stream { instance: InstanceId(SOURCE), output: 0 },
        epoch: Epoch(epoch),
        first: Seq(first),
        schema: tag,
        start: Timestamp { micros: 0, uncertainty: None },
        messages: List::EMPTY,
    };
    let mut batch = BatchWriter::new(&head, &mut writer).unwrap();
    for number in values {
        batch.push(1, payload(*number, &mut [0; 16])).unwrap();
    }
    writer.written().to_vec()
}

/// A machine 9 with a sink whose producer is on machine 1.
fn sink(wire: Wire, config: &Config) -> Site {
    let plan = Plan::new(&[(SOURCE, 1), (SINK, 9)], &[wire]);
    let kinds: BTreeMap<u32, Kind> = [(SINK, Kind::Sink)].into();
    let mut site = Site::new(9, config.clone(), Life::EASY, 1, Dice::new(1));
    site.restart(Instant::ZERO, &plan, &kinds);
    site
}

fn problem(answers: &[Answer]) -> Problem<'_> {
    let [(code, Some(60), _, payload)] = answers else { panic!("{answers:?}") };
    let problem: Problem<'_> = decode(payload).unwrap();
    assert_eq!(problem.code.coap_code(), code.0);
    problem
}

fn ack(answers: &[Answer]) -> Ack {
    let [(Code::CHANGED, Some(65_103), None, payload)] = answers else { panic!("{answers:?}") };
    decode(payload).unwrap()
}

#[test]
fn batches_are_taken_in_order_and_acknowledged_when_committed() {
    let mut site = sink(Wire::every(SOURCE, SINK), &Config::default());
    let mut client = Client::new(1);
    let now = Instant::from_secs(1);
    let next = |answers: &[Answer]| ack(answers).next;
    assert_eq!(next(&client.post(&mut site, now, SINK, &batch(1, 0, &[10, 11]))), Seq(2));
    assert_eq!(site.flash.records.len(), 1, "nothing is acknowledged without a commit");
    // Again; with something before it; with a gap.
    assert_eq!(next(&client.post(&mut site, now, SINK, &batch(1, 0, &[10, 11]))), Seq(2));
    assert_eq!(next(&client.post(&mut site, now, SINK, &batch(1, 1, &[11, 12]))), Seq(3));
    assert_eq!(next(&client.post(&mut site, now, SINK, &batch(1, 9, &[19]))), Seq(3));
    // There is nothing before 9.
    assert_eq!(next(&client.post(&mut site, now, SINK, &batch(1, 9, &[]))), Seq(9));
    assert_eq!(next(&client.post(&mut site, now, SINK, &batch(1, 9, &[19]))), Seq(10));
    // One that says so late.
    assert_eq!(next(&client.post(&mut site, now, SINK, &batch(1, 5, &[]))), Seq(10));
    let had: Vec<u64> = site.running[&SINK].memory.had.iter().map(|(_, v)| *v).collect();
    assert_eq!(had, [10, 11, 12, 19]);
    let (stats, counters) = (site.router.stats(), site.router.counters(InstanceId(SINK)).unwrap());
    assert_eq!((stats.repeated, stats.gaps, stats.refused), (3, 1, 0));
    assert_eq!((counters.handled, counters.dropped, counters.inbox), (4, 6, 0));
}

#[test]
fn who_may_not_send_is_refused() {
    let now = Instant::from_secs(1);
    let good = batch(1, 0, &[1]);
    let code = |site: &mut Site, machine, to, batch: &[u8]| {
        problem(&Client::new(machine).post(site, now, to, batch)).code
    };
    let mut site = sink(Wire::every(SOURCE, SINK), &Config::default());
    assert_eq!(code(&mut site, 2, SINK, &good), ErrorCode::Forbidden);
    assert_eq!(code(&mut site, 1, 77, &good), ErrorCode::Busy);
    assert_eq!(code(&mut site, 1, SINK, &good[1..]), ErrorCode::Malformed);
    let mut other = good.clone();
    // The schema's tag: behind the head, the stream (3 bytes), epoch, number and its own head.
    other[7] ^= 1;
    assert_eq!(code(&mut site, 1, SINK, &other), ErrorCode::SchemaMismatch);
    assert_eq!(site.running[&SINK].memory.had, []);
    assert_eq!((site.router.stats().forbidden, site.router.stats().refused), (1, 1));

    // A newer epoch is taken, and the older one is refused from then on.
    let mut client = Client::new(1);
    assert_eq!(ack(&client.post(&mut site, now, SINK, &batch(2, 0, &[1]))).epoch, Epoch(2));
    assert_eq!(code(&mut site, 1, SINK, &batch(1, 1, &[2])), ErrorCode::StaleEpoch);

    // A confirmable batch on a `latest` wire, and the other way round.
    let mut latest = sink(Wire::latest(SOURCE, SINK), &Config::default());
    assert_eq!(code(&mut latest, 1, SINK, &good), ErrorCode::Forbidden);
    client.ask(now, Code::POST, &format!("m/{SINK}"), &batch(2, 1, &[2]), false);
    assert_eq!(client.talk(&mut site, now, now + Duration::from_secs(1)), []);
    assert_eq!(site.running[&SINK].memory.had.len(), 1);
}

#[test]
fn a_message_that_does_not_fit_is_counted_and_stops_nothing() {
    let mut site = sink(Wire::every(SOURCE, SINK), &Config::default());
    let mut bytes = batch(1, 0, &[1, 2, 3]);
    // The second message's number becomes a `true`.
    let at = bytes.len() - 5;
    assert_eq!(bytes[at], 2);
    bytes[at] = 0xf5;
    let answers = Client::new(1).post(&mut site, Instant::from_secs(1), SINK, &bytes);
    assert_eq!(ack(&answers).next, Seq(3));
    assert_eq!(site.running[&SINK].memory.had, [(0, 1), (0, 3)]);
    assert_eq!(site.router.stats().refused, 1);
}

#[test]
fn a_moving_instance_says_where_to() {
    let mut site = sink(Wire::every(SOURCE, SINK), &Config::default());
    let mut client = Client::new(1);
    let now = Instant::from_secs(1);
    site.quiesce(now, SINK, 5).unwrap();
    let answers = client.post(&mut site, now, SINK, &batch(1, 0, &[1]));
    assert_eq!(answers[0].2, Some(1), "Max-Age in seconds");
    let moving = problem(&answers);
    assert_eq!((moving.code, moving.moved_to), (ErrorCode::Moving, Some(node(5))));
    assert_eq!(moving.retry_ms, Some(20), "soon it is elsewhere, and nobody is to wait for longer");
    site.release(now, SINK, 5);
    let released = client.post(&mut site, now, SINK, &batch(1, 0, &[1]));
    assert_eq!(problem(&released).moved_to, Some(node(5)));
    // Only those whom it concerns are told.
    let other = Client::new(2).post(&mut site, now, SINK, &batch(1, 0, &[1]));
    assert_eq!(problem(&other).code, ErrorCode::Forbidden);
    let later = now + Duration::from_secs(700);
    client.talk(&mut site, later, later);
    let forgotten = client.post(&mut site, later, SINK, &batch(1, 0, &[1]));
    assert_eq!(problem(&forgotten).code, ErrorCode::Busy);
}

#[test]
fn whoever_seems_to_have_moved_here_is_told_to_ask_again_soon() {
    let mut site = sink(Wire::every(SOURCE, SINK), &Config::default());
    let now = Instant::from_secs(1);
    ack(&Client::new(1).post(&mut site, now, SINK, &batch(1, 0, &[1])));
    let mut moved = Client::new(2);
    let answers = moved.post(&mut site, now, SINK, &batch(2, 1, &[2]));
    let ahead = problem(&answers);
    assert_eq!((ahead.code, ahead.retry_ms), (ErrorCode::Busy, Some(20)));
    let answers = moved.post(&mut site, now, SINK, &batch(1, 1, &[2]));
    assert_eq!(problem(&answers).code, ErrorCode::Forbidden);
    assert_eq!(site.running[&SINK].memory.had, [(0, 1)]);
}

#[test]
fn what_no_commit_covers_is_not_acknowledged_when_it_comes_again() {
    let mut site = sink(Wire::every(SOURCE, SINK), &Config::default());
    site.life.handler = Duration::from_secs(1_000);
    let mut client = Client::new(1);
    let now = Instant::from_secs(1);
    for _ in 0..3 {
        assert_eq!(client.post(&mut site, now, SINK, &batch(1, 0, &[10, 11])), []);
    }
    assert_eq!(site.router.counters(InstanceId(SINK)).unwrap().inbox, 1);
    assert_eq!(site.router.stats().repeated, 4);
}

#[test]
fn what_was_acknowledged_with_a_move_that_was_undone_is_in_later_commits() {
    let mut site = sink(Wire::every(SOURCE, SINK), &Config::default());
    let plan = Plan::new(&[(SOURCE, 1), (SINK, 9)], &[Wire::every(SOURCE, SINK)]);
    let mut client = Client::new(1);
    let now = Instant::from_secs(1);
    // One handler takes so long that two messages wait behind it.
    site.life.handler = Duration::from_secs(100);
    assert_eq!(client.post(&mut site, now, SINK, &batch(1, 0, &[10, 11, 12])), []);
    assert_eq!(site.router.counters(InstanceId(SINK)).unwrap().inbox, 2);
    let later = now + Duration::from_secs(100);
    site.quiesce(later, SINK, 5).unwrap();
    let answers = client.talk(&mut site, later, later);
    assert_eq!(ack(&answers).next, Seq(3), "the state that is to move has them");
    site.resume(SINK);
    // The next one is handled and committed, and the last one waits on.
    client.talk(&mut site, later, later);
    let last = later + Duration::from_secs(100);
    site.life.handler = Duration::from_secs(1);
    client.talk(&mut site, last, last);
    let had = |site: &Site| site.running[&SINK].memory.had.clone();
    assert_eq!(had(&site), [(0, 10), (0, 11), (0, 12)]);
    let (flash, dice) = site.crash();
    let mut site = Site::new(9, Config::default(), Life::EASY, 2, dice);
    site.flash = flash;
    site.restart(last, &plan, &[(SINK, Kind::Sink)].into());
    let handled = had(&site).len();
    assert!(handled < 3, "the last commit is from before the last message");
    client.talk(&mut site, last, last + Duration::from_secs(1));
    assert_eq!(had(&site), [(0, 10), (0, 11), (0, 12)]);
    assert_eq!(ack(&client.post(&mut site, last, SINK, &batch(1, 0, &[10, 11, 12]))).next, Seq(3));
}

#[test]
fn full_tables_say_when_to_try_again() {
    // The instance is busy for a long time, so that nothing is handled.
    let config = Config { held: 2, inbox_messages: 3, ..Config::default() };
    let mut site = sink(Wire::every(SOURCE, SINK), &config);
    site.life.handler = Duration::from_secs(1_000);
    let mut client = Client::new(1);
    let now = Instant::from_secs(1);
    assert_eq!(client.post(&mut site, now, SINK, &batch(1, 0, &[1])), []);
    assert_eq!(client.post(&mut site, now, SINK, &batch(1, 1, &[2])), []);
    let third = client.post(&mut site, now, SINK, &batch(1, 2, &[3]));
    assert_eq!(problem(&third).code, ErrorCode::Full);
    let fourth = client.post(&mut site, now, SINK, &batch(1, 3, &[4]));
    assert_eq!(problem(&fourth).code, ErrorCode::InboxFull);
    assert!(fourth[0].2.is_some());
    // After a while those that wait are told what is covered. The one handler that has begun is not.
    let answers = client.talk(&mut site, now, now + config.ack_patience);
    assert_eq!(answers.len(), 2);
    assert_eq!(ack(&answers[..1]).next, Seq(0));
    assert_eq!(ack(&answers[..1]).room, 0);
}

#[test]
fn there_are_no_more_instances_than_may_be() {
    let config = Config { instances: 3, released: 1, ..Config::default() };
    let hosts: Vec<(u32, u8)> = (1..=5).map(|instance| (instance, 9)).collect();
    let plan = Plan::new(&hosts, &[]);
    let mut site = Site::new(9, config, Life::EASY, 1, Dice::new(1));
    let add = |site: &mut Site, instance| {
        plan.with_row(instance, |row| {
            with_capsule(|capsule| site.router.add(row, capsule, Origin::Fresh))
        })
    };
    for instance in 1..=3 {
        add(&mut site, instance).unwrap();
    }
    assert_eq!(add(&mut site, 3), Err(AddError::Exists));
    assert_eq!(add(&mut site, 4), Err(AddError::Full));
    // Of those that went elsewhere the last one is remembered.
    let now = Instant::from_secs(1);
    site.router.release(now, InstanceId(1), node(2));
    assert_eq!(add(&mut site, 4), Err(AddError::Full));
    site.router.release(now, InstanceId(2), node(2));
    add(&mut site, 4).unwrap();
    assert_eq!(site.router.counters(InstanceId(1)), None);
    // One that comes back takes its own place.
    add(&mut site, 2).unwrap();
    assert_eq!(add(&mut site, 5), Err(AddError::Full));
    site.router.remove(InstanceId(3));
    add(&mut site, 5).unwrap();
}

#[test]
fn rows_that_do_not_fit_the_capsule_are_refused() {
    let mut site = Site::new(9, Config::default(), Life::EASY, 1, Dice::new(1));
    let mut add = |wire: Wire| {
        let plan = Plan::new(&[(SOURCE, 1), (SINK, 9)], &[wire]);
        plan.with_row(SINK, |row| {
            with_capsule(|capsule| site.router.add(row, capsule, Origin::Fresh))
        })
    };
    assert_eq!(add(Wire { input: 2, ..Wire::every(SOURCE, SINK) }), Err(AddError::Row));
    let unknown = Delivery::from_code(9);
    assert_eq!(add(Wire { delivery: unknown, ..Wire::every(SOURCE, SINK) }), Err(AddError::Row));
    assert_eq!(add(Wire::every(SOURCE, SINK)), Ok(()));
}

#[test]
fn a_topic_shows_its_newest_message_and_can_be_observed() {
    let plan = Plan::new(&[(SOURCE, 9)], &[]);
    let until = Instant::from_secs(3);
    let every = Duration::from_millis(10);
    let kinds: BTreeMap<u32, Kind> = [(SOURCE, Kind::Source { every, until })].into();
    let mut site = Site::new(9, Config::default(), Life::EASY, 1, Dice::new(1));
    site.restart(Instant::ZERO, &plan, &kinds);
    let mut client = Client::new(1);
    let now = Instant::from_secs(1);
    let observe = client.core.request(
        now,
        address(9),
        Reliability::Confirmable,
        Code::GET,
        |writer: &mut MessageWriter<'_>| {
            writer.option_uint(OptionNumber::OBSERVE, 0)?;
            writer.path("t/test/c1/out")?;
            Ok(())
        },
    );
    observe.unwrap();
    let answers = client.talk(&mut site, now, Instant::from_secs(4));
    // Twenty a second at most, though there are a hundred messages.
    assert!((30..=45).contains(&answers.len()), "{} notifications", answers.len());
    let values = answers.iter().map(|(_, _, _, bytes)| {
        let batch: Batch<'_> = decode(bytes).unwrap();
        batch.numbered().next().map(|message| value(message.payload))
    });
    let mut values: Vec<Option<u64>> = values.collect();
    assert_eq!(values.remove(0), None, "there was no message yet");
    assert!(values.is_sorted());
    assert_eq!(values.pop(), Some(site.running[&SOURCE].memory.published.last().copied()));
    assert!(site.changed.iter().all(|path| path == "t/test/c1/out"));

    for (path, code) in [
        ("t/test/c1/out", Code::CONTENT),
        ("t/test/c1/other", Code::NOT_FOUND),
        ("t/test/c2/out", Code::NOT_FOUND),
        ("t/test/c1/out/more", Code::NOT_FOUND),
        ("t", Code::NOT_FOUND),
    ] {
        client.ask(Instant::from_secs(5), Code::GET, path, &[], true);
        let answers = client.talk(&mut site, Instant::from_secs(5), Instant::from_secs(6));
        assert_eq!(answers[0].0, code, "{path}");
    }
}

#[test]
fn services_answer_whoever_asks() {
    let plan = Plan::new(&[(SINK, 9)], &[]);
    let mut site = Site::new(9, Config::default(), Life::EASY, 1, Dice::new(1));
    site.restart(Instant::ZERO, &plan, &[(SINK, Kind::Sink)].into());
    let mut client = Client::new(1);
    let mut now = Instant::from_secs(1);
    let mut ask = |site: &mut Site, path: &str, body: &[u8]| {
        now += Duration::from_secs(2);
        client.ask(now, Code::POST, path, body, true);
        client.talk(site, now, now + Duration::from_secs(1)).remove(0)
    };
    let mut buf = [0; 16];
    let body = payload(21, &mut buf).as_bytes().to_vec();
    for path in ["q/2/double", "q/test/c2/double"] {
        let (code, format, _, answer) = ask(&mut site, path, &body);
        assert_eq!((code, format), (Code::CONTENT, Some(60)));
        assert_eq!(value(Payload::new(&answer).unwrap()), 42);
    }
    assert_eq!(ask(&mut site, "q/2/triple", &body).0, Code::NOT_FOUND);
    assert_eq!(ask(&mut site, "q/3/double", &body).0, Code::NOT_FOUND);
    assert_eq!(ask(&mut site, "q/test/c3/double", &body).0, Code::NOT_FOUND);
    assert_eq!(ask(&mut site, "q/2/double", b"\x81\xf5").0, Code::BAD_REQUEST);
    assert_eq!(ask(&mut site, "q/2/double", b"nothing").0, Code::BAD_REQUEST);
    site.quiesce(now, SINK, 3).unwrap();
}

/// Two machines, on each an instance that answers, and one on the first that asks.
fn asking(config: &Config) -> (World<Site>, Plan) {
    let hosts = [(1, 1), (2, 2), (3, 1)];
    let mut plan = Plan::new(&hosts, &[]);
    plan.peers = vec![(1, 2), (3, 1)];
    let kinds = hosts.iter().map(|(instance, _)| (*instance, Kind::Sink)).collect();
    (world(1, Faults::NONE, 2, &plan, &kinds, config, Life::EASY), plan)
}

#[test]
fn capsules_ask_capsules_here_and_there() {
    let (mut world, _) = asking(&Config::default());
    let mut buf = [0; 16];
    let payload = payload(4, &mut buf);
    let site = world.machine(address(1));
    for (asker, number) in [(1, 7), (3, 8)] {
        let ask = Ask { number, peer: 0, service: "double", payload: payload.as_bytes() };
        site.router.ask(Instant::ZERO, InstanceId(asker), ask).unwrap();
    }
    let missing = Ask { number: 9, peer: 0, service: "half", payload: &[] };
    site.router.ask(Instant::ZERO, InstanceId(1), missing).unwrap();
    site.router.ask(Instant::ZERO, InstanceId(3), Ask { number: 10, ..missing }).unwrap();
    let stranger = Ask { peer: 1, ..missing };
    assert_eq!(site.router.ask(Instant::ZERO, InstanceId(1), stranger), Err(AskError::Unknown));
    world.run_to_rest(Instant::from_secs(1_000));
    let mut replies = world.machines[&address(1)].replies.clone();
    replies.sort_unstable();
    let not_found = Code::NOT_FOUND.0;
    let content = Code::CONTENT.0;
    let expected =
        [(7, content, Some(8)), (8, content, Some(8)), (9, not_found, None), (10, not_found, None)];
    assert_eq!(replies, expected);
}

#[test]
fn who_is_not_answered_is_told_so() {
    let config = Config { asks: 2, ..Config::default() };
    let (mut world, _) = asking(&config);
    let down = world.machines.remove(&address(2)).unwrap();
    let ask = Ask { number: 1, peer: 0, service: "double", payload: &[] };
    let router = &mut world.machine(address(1)).router;
    router.ask(Instant::ZERO, InstanceId(1), ask).unwrap();
    router.ask(Instant::ZERO, InstanceId(1), Ask { number: 2, ..ask }).unwrap();
    let third = router.ask(Instant::ZERO, InstanceId(1), Ask { number: 3, ..ask });
    assert_eq!(third, Err(AskError::Full));
    let long = router.ask(Instant::ZERO, InstanceId(1), Ask { payload: &[0; 513], ..ask });
    assert_eq!(long, Err(AskError::TooLong));
    world.run_to_rest(Instant::from_secs(1_000));
    assert_eq!(world.machines[&address(1)].replies, [(1, 0, None), (2, 0, None)]);
    drop(down);
}
