//! A capsule that uses everything, as its author and as its tests see it.
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;
use capmesh_sdk::testing::{Answer, Effect, Harness};
use capmesh_sdk::{Capsule, Record, random, time_uncertainty};

capmesh_sdk::describe!("tests/everything/capsule.toml");

#[derive(Debug)]
struct Everything {
    last: f32,
    ticks: u32,
    replies: Vec<(u32, &'static str, u8, bool)>,
}

#[capsule("tests/everything/capsule.toml")]
impl Everything {
    const fn new() -> Self {
        Self { last: 0.0, ticks: 0, replies: Vec::new() }
    }

    #[start]
    fn start(&mut self) -> Result<(), Errno> {
        timers::TICK.after(Duration::from_millis(1500))
    }

    #[on(in, second_in)]
    fn reading(&mut self, reading: Reading) -> Result<(), Errno> {
        self.last = reading.value;
        let limit = config::LIMIT.get();
        if f64::from(reading.value) > limit {
            let (count, label) = (config::COUNT.get(), config::LABEL.get());
            log!(warning, "{reading.value} > {limit:.1} {{{}}} {label} {count}", config::ON.get());
        }
        outputs::OUT.publish(&Reading { value: reading.value * 2.0 })
    }

    #[on("mixed")]
    fn mixed(&mut self, mixed: Mixed) -> Result<(), Errno> {
        outputs::MIXED.publish(&mixed)
    }

    #[timer(tick)]
    fn tick(&mut self) -> Result<(), Errno> {
        self.ticks += 1;
        timers::TICK.after(Duration::from_secs(1))?;
        timers::TOCK.after(Duration::from_millis(500))?;
        actuators::LAMP.set(f64::from(self.ticks))
    }

    #[timer(tock)]
    fn tock(&mut self) {
        if self.ticks == 3 {
            timers::TICK.cancel().expect("there is room");
        }
    }

    #[event(button)]
    fn pressed(&mut self, value: f64) -> Result<(), Errno> {
        if value > 0.0 {
            let sample = sensors::AIR.read()?;
            peers::store::PUT.ask(&sample)?;
            peers::store::GET.ask(&())?;
        }
        peers::clock::NOW.ask(&()).map(drop)
    }

    #[request(last)]
    fn last(&mut self, request: Request<Reading>) -> Result<Reading, Status> {
        match (request.method, request.body) {
            (Method::Get, None) => Ok(Reading { value: self.last }),
            (Method::Put, Some(reading)) => {
                self.last = reading.value;
                Ok(reading)
            }
            _ => Err(Status::METHOD_NOT_ALLOWED),
        }
    }

    #[request(reset)]
    fn reset(&mut self, _: Request<()>) -> Result<(), Status> {
        self.last = 0.0;
        log!(debug, "{}", config::NEEDED.get());
        Ok(())
    }

    #[reply(store.put)]
    fn stored(&mut self, reply: Reply<Mixed>) {
        self.note("put", reply.id, reply.status, reply.body.is_some());
    }

    #[reply(store.get)]
    fn got(&mut self, reply: Reply<Reading>) {
        self.note("get", reply.id, reply.status, reply.body.is_some());
    }

    #[run]
    fn run(&mut self, arguments: Bytes<16>) -> Result<Text<20>, Status> {
        let text = core::str::from_utf8(arguments.as_slice()).map_err(|_| Status::BAD_REQUEST)?;
        Ok(Text::cut(&text.to_uppercase()))
    }

    fn note(&mut self, what: &'static str, id: RequestId, status: Status, has_body: bool) {
        self.replies.push((id.number(), what, status.code(), has_body));
    }
}

fn start() -> Harness<Everything> {
    Harness::start()
}

fn mixed() -> Mixed {
    Mixed {
        on: true,
        level: Some(0x1234),
        energy: -2,
        label: Text::cut("né"),
        raw: None,
        r#type: 0.5,
    }
}

#[test]
fn messages_come_to_their_handlers_and_their_values_leave() {
    let mut node = start();
    for (input, value) in [(inputs::IN, 4.0), (inputs::SECOND_IN, -5.0)] {
        let effects = node.send(input, &Reading { value });
        assert_eq!(effects.published(outputs::OUT), [Reading { value: value * 2.0 }]);
        assert_eq!(node.capsule().last, value);
    }
    let effects = node.send(inputs::MIXED, &mixed());
    assert_eq!(effects.published(outputs::MIXED), [mixed()]);
}

/// What a C compiler lays out, written down by hand.
#[test]
fn records_are_laid_out_as_the_contract_says() {
    let mut expected = [0; 40];
    expected[0] = 1; // on
    expected[1] = 1; // level is there
    expected[2..4].copy_from_slice(&[0x34, 0x12]);
    expected[8..16].copy_from_slice(&(-2_i64).to_le_bytes());
    expected[16..20].copy_from_slice(b"\x03n\xc3\xa9");
    expected[32..40].copy_from_slice(&0.5_f64.to_le_bytes());
    assert_eq!(mixed().to_record(), expected);
    assert_eq!(Mixed::from_record(&expected), mixed());
    let with_raw = Mixed { raw: Bytes::new(&[7, 8]), level: None, ..mixed() };
    let record = with_raw.to_record();
    assert_eq!((record[1], &record[2..4]), (0, &[0, 0][..]));
    assert_eq!(record[22..27], [1, 2, 7, 8, 0]);
    assert_eq!(Mixed::from_record(&record), with_raw);
}

#[test]
fn lines_are_formatted_without_fmt() {
    let mut node = start();
    let effects = node.send(inputs::IN, &Reading { value: 4.25 });
    assert_eq!(effects.logs(), ["4.250 > -1.5 {true} café -7"]);
    let (mut node, _) = Harness::<Everything>::builder()
        .config(config::LIMIT, 3.0)
        .config(config::COUNT, i16::MIN)
        .config(config::LABEL, Text::new("µ").unwrap())
        .config(config::ON, false)
        .start();
    let effects = node.send(inputs::IN, &Reading { value: 1e8 });
    assert_eq!(effects.logs(), ["100000000.000 > 3.0 {false} µ -32768"]);
    assert!(node.send(inputs::IN, &Reading { value: 2.0 }).logs().is_empty());
}

#[test]
fn timers_run_out_in_order_as_time_passes() {
    let mut node = start();
    let begin = node.now();
    assert_eq!(node.timer(timers::TICK), Some(begin + Duration::from_millis(1500)));
    assert!(node.advance(Duration::from_millis(1499)).is_empty());
    let effects = node.advance(Duration::from_millis(1));
    assert_eq!(effects.actuated(actuators::LAMP), Some(1.0));
    node.advance(Duration::from_secs(60));
    assert_eq!(node.capsule().ticks, 3, "the other timer has cancelled it");
    assert_eq!(node.timer(timers::TICK), None);
    assert_eq!(node.now() - begin, Duration::from_millis(61_500));
}

#[test]
fn requests_are_answered() {
    let builder = Harness::<Everything>::builder().config(config::NEEDED, u32::MAX);
    let (mut node, _) = builder.start();
    let reading = Reading { value: 8.0 };
    let (answer, _) = node.ask(services::LAST, Method::Put, Some(&reading));
    assert_eq!(answer, Some(Answer { status: Status::CHANGED, body: Some(reading) }));
    let (answer, _) = node.ask(services::LAST, Method::Get, None);
    assert_eq!(answer, Some(Answer { status: Status::CONTENT, body: Some(reading) }));
    let (answer, _) = node.ask(services::LAST, Method::Delete, None);
    assert_eq!(answer, Some(Answer { status: Status::METHOD_NOT_ALLOWED, body: None }));
    let (answer, effects) = node.ask(services::RESET, Method::Post, None);
    assert_eq!(effects.logs(), ["4294967295"], "which has no default");
    assert_eq!(answer.map(|answer| answer.status), Some(Status::CHANGED));
    assert_eq!(node.capsule().last, 0.0);
}

#[test]
fn replies_come_to_the_handler_of_what_was_asked() {
    let mut node = start();
    let effects = node.event(sources::BUTTON, 1.0);
    assert_eq!(effects.logs(), ["no value"], "the sensor has none yet");
    node.sample(sensors::AIR, &Reading { value: 3.0 });
    let effects = node.event(sources::BUTTON, 1.0);
    let put = effects.asked(peers::store::PUT);
    assert_eq!(put[0].1, Some(Reading { value: 3.0 }));
    let get = effects.asked(peers::store::GET)[0].0;
    let now = effects.asked(peers::clock::NOW)[0].0;
    node.reply(get, Status::CONTENT, Some(&Reading { value: 1.0 }));
    node.reply::<()>(put[0].0, Status::NONE, None);
    node.reply::<()>(now, Status::CONTENT, None);
    node.reply(get, Status::CONTENT, Some(&Reading { value: 1.0 }));
    let expected = [(get.number(), "get", 69, true), (put[0].0.number(), "put", 0, false)];
    assert_eq!(node.capsule().replies, expected, "each once, and nobody asks for the clock's");
}

#[test]
fn the_oldest_of_too_many_requests_is_forgotten() {
    let mut node = start();
    let first = node.event(sources::BUTTON, 0.0).asked(peers::clock::NOW)[0].0;
    node.sample(sensors::AIR, &Reading { value: 3.0 });
    let put = node.event(sources::BUTTON, 1.0).asked(peers::store::PUT)[0].0;
    for _ in 0..6 {
        node.event(sources::BUTTON, 0.0);
    }
    node.reply::<Mixed>(put, Status::CHANGED, None);
    assert_eq!(node.capsule().replies.len(), 0, "six more have pushed it out: {first:?}");
}

#[test]
fn a_one_shot_run_gives_its_result() {
    let mut node = start();
    let (result, _) = node.run(&Text::<16>::new("straße").unwrap());
    assert_eq!(result, Some((Status::CONTENT, b"STRASSE".to_vec())));
    let (result, _) = node.run(&Bytes::<16>::new(&[0xff]).unwrap());
    assert_eq!(result, Some((Status::BAD_REQUEST, Vec::new())));
    let (result, _) = node.run(&Bytes::<17>::new(&[b'a'; 17]).unwrap());
    assert_eq!(result, Some((Status::TOO_LARGE, Vec::new())));
}

#[test]
fn a_full_outbox_is_an_error_and_ends_in_the_log_if_there_is_room() {
    let (mut node, _) = Harness::<Everything>::builder().outbox(200, 1).start();
    let effects = node.send(inputs::IN, &Reading { value: -9.0 });
    assert_eq!(effects.published(outputs::OUT).len(), 1);
    node.advance(Duration::from_secs(2));
    assert_eq!(node.capsule().ticks, 1);
    assert_eq!(node.timer(timers::TOCK), None, "there was room for one entry only");
    let (mut node, effects) = Harness::<Everything>::builder().outbox(12, 0).start();
    assert!(effects.is_empty());
    assert!(node.send(inputs::IN, &Reading { value: 1.0 }).is_empty());
}

#[test]
fn chance_and_time_are_the_node_s() {
    #[derive(Debug)]
    struct Probe(Vec<(u64, Time, Option<Duration>)>);
    impl Capsule for Probe {
        const FRESH: Self = Self(Vec::new());
        const STATE_VERSION: Option<u16> = None;
        fn start(&mut self) {
            self.0.push((random(), now(), time_uncertainty()));
        }
    }
    let probe = |seed| {
        let time = Time::from_micros(5_000_000);
        let builder = Harness::<Probe>::builder().seed(seed);
        builder.time(time, Some(Duration::from_millis(2))).start().0.capsule().0[0]
    };
    // The first number of SplitMix64 from seed 0, of its reference implementation.
    assert_eq!(probe(0).0, 0xe220_a839_7b1d_cdaf);
    assert_ne!(probe(1).0, probe(2).0);
    assert_eq!(probe(0).1.as_micros(), 5_000_000);
    assert_eq!(probe(0).2, Some(Duration::from_millis(2)));
}

#[test]
fn what_a_capsule_says_of_its_state_is_known() {
    assert_eq!(Everything::STATE_VERSION, Some(3));
    let mut node = start();
    let effects = node.send(inputs::IN, &Reading { value: -4.0 });
    let record = (-8.0_f32).to_le_bytes().to_vec();
    assert_eq!(effects.as_slice(), [Effect::Publish { output: 0, record }]);
}

#[test]
fn lines_that_are_too_long_are_cut_between_characters() {
    use capmesh_sdk::log::{Level, Line, line};
    #[derive(Debug)]
    struct Talker;
    impl Capsule for Talker {
        const FRESH: Self = Self;
        const STATE_VERSION: Option<u16> = None;
        fn start(&mut self) {
            let add = |line: &mut Line<'_>| {
                line.text(&"é".repeat(70));
                line.text("more");
            };
            line(Level::Info, add);
        }
        fn run(&mut self, _: u32) {
            let show = |line: &mut Line<'_>| {
                for (value, decimals) in
                    [(0.005, 2), (-0.001, 2), (1.0, 0), (123.456, 9), (-1.5, 1)]
                {
                    line.decimal(value, decimals);
                    line.text(" ");
                }
                for value in [f64::NAN, 1e10, -1e300] {
                    line.decimal(value, 3);
                    line.text(" ");
                }
                line.whole(true, u64::MAX);
            };
            line(Level::Info, show);
        }
    }
    let (mut node, effects) = Harness::<Talker>::builder().start();
    assert_eq!(effects.logs(), ["é".repeat(64)]);
    let (_, effects) = node.run(&());
    let expected = "0.01 0.00 1 123.456000000 -1.5 nan huge -huge -18446744073709551615";
    assert_eq!(effects.logs(), [expected]);
}
