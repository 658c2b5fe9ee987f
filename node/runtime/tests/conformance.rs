//! The contract's conformance suite: one capsule, written in each language, must do the same.
//!
//! The capsules are in `protocols/capsule-abi/conformance`, with what their packed modules were made
//! from. What they are to do is written down here by hand, step by step; every effect of every step is
//! compared. A new language joins by adding its module to [`MODULES`].

use capmesh_capsule_abi::Errno;
use capmesh_runtime::{Effect, Event, Instance, Limits, Progress, Runtime, Surroundings, Trap};

const MODULES: [(&str, &[u8]); 3] = [
    ("Rust", include_bytes!("../../../protocols/capsule-abi/conformance/dist/rust.wasm")),
    ("C", include_bytes!("../../../protocols/capsule-abi/conformance/dist/c.wasm")),
    (
        "AssemblyScript",
        include_bytes!("../../../protocols/capsule-abi/conformance/dist/assemblyscript.wasm"),
    ),
];

/// Numbers of the description.
const MIXED: u32 = 0;
const COMMAND: u32 = 1;
const OUTCOME: u32 = 1;

/// Lengths of the records of `mixed` and of the other two.
const MIXED_LEN: usize = 56;
const RECORD: usize = 24;

fn surroundings() -> Surroundings {
    let fixed = |len: usize| u32::try_from(len).map(|len| (len, len)).expect("it is short");
    Surroundings {
        outputs: vec![fixed(MIXED_LEN), fixed(RECORD)],
        peers: 1,
        actuators: 2,
        config: vec![None, Some((*b"abc").into()), Some(0.0_f64.to_le_bytes().into())],
        sensors: 1,
    }
}

fn limits() -> Limits {
    Limits { timers: 2, ..Limits::default() }
}

/// An instance of a module, and what to do with it.
struct Subject {
    language: &'static str,
    module: &'static [u8],
    instance: Instance,
    /// Fuel of each slice.
    slice: u64,
}

impl Subject {
    fn new(language: &'static str, module: &'static [u8]) -> Self {
        let runtime = Runtime::new();
        let admitted = runtime.admit(module, &limits());
        let admitted = admitted.map_err(|refusal| format!("{language}: {refusal}"));
        let admitted = admitted.expect("it keeps the contract");
        let instance = runtime.instantiate(&admitted, &limits(), surroundings(), 42);
        Self { language, module, instance: instance.expect("it fits"), slice: u64::MAX }
    }

    fn run(&mut self, event: &Event<'_>) -> Progress {
        let begun = self.instance.begin(event, 1_700_000_000_000_000, Some(250));
        assert!(begun.expect("quiescent"), "{}: no handler for {event:?}", self.language);
        loop {
            match self.instance.run(self.slice) {
                Progress::Suspended => {}
                end => return end,
            }
        }
    }

    /// What a handler asks for, in words.
    fn effects(&mut self, event: &Event<'_>) -> Vec<Seen> {
        assert_eq!(self.run(event), Progress::Idle, "{}: {event:?}", self.language);
        self.instance.effects().map(|effect| Seen::from(&effect)).collect()
    }

    fn command(&mut self, op: u8, a: i32, b: i64, c: f64) -> Vec<Seen> {
        self.effects(&Event::Message { input: COMMAND, record: &command(op, a, b, c) })
    }
}

/// An effect that can be kept.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Outcome(i32, i64, f64),
    Other(String),
}

impl From<&Effect<'_>> for Seen {
    fn from(effect: &Effect<'_>) -> Self {
        match effect {
            Effect::Publish { output: OUTCOME, record } => {
                let (code, rest) = record.split_first_chunk().expect("24 bytes");
                let (_padding, rest) = rest.split_first_chunk::<4>().expect("24 bytes");
                let (number, rest) = rest.split_first_chunk().expect("24 bytes");
                let value = f64::from_le_bytes(rest.try_into().expect("24 bytes"));
                Self::Outcome(i32::from_le_bytes(*code), i64::from_le_bytes(*number), value)
            }
            other => Self::Other(format!("{other:?}")),
        }
    }
}

fn other(effect: &Effect<'_>) -> Seen {
    Seen::Other(format!("{effect:?}"))
}

fn command(op: u8, a: i32, b: i64, c: f64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[0] = op;
    record[4..8].copy_from_slice(&a.to_le_bytes());
    record[8..16].copy_from_slice(&b.to_le_bytes());
    record[16..24].copy_from_slice(&c.to_le_bytes());
    record
}

/// The record of `outcome`.
fn outcome(code: i32, number: i64, value: f64) -> [u8; RECORD] {
    let mut record = command(0, 0, number, value);
    record[..4].copy_from_slice(&code.to_le_bytes());
    record
}

/// The record of `mixed` as the contract lays it out, with or without what is optional.
fn mixed(whole: bool, count: u32) -> [u8; MIXED_LEN] {
    let mut record = [0; MIXED_LEN];
    record[0] = 1; // on
    record[4] = 0x80; // tiny: -128
    record[8..16].copy_from_slice(&i64::MIN.to_le_bytes()); // energy
    record[16..22].copy_from_slice(b"\x05n\xc3\xa9xy"); // label
    record[28..32].copy_from_slice(&1.5_f32.to_le_bytes()); // small
    record[48..52].copy_from_slice(&count.to_le_bytes());
    record[52] = 0xff; // last
    if whole {
        record[1] = 1;
        record[2..4].copy_from_slice(&0xbeef_u16.to_le_bytes()); // level
        record[22] = 1;
        record[23..26].copy_from_slice(&[2, 7, 8]); // raw
        record[32] = 1;
        record[40..48].copy_from_slice(&(-2.25_f64).to_le_bytes()); // large
    }
    record
}

/// The first number that SplitMix64 gives from seed 42, of its reference implementation.
const RANDOM: u64 = 0xbdd7_3226_2feb_6e95;

/// What is done to an instance and what comes of it, in order.
fn steps() -> Vec<(Call, Vec<Seen>)> {
    use Call::{Ask, Command, Digital, Mixed, Reply, Run, Start, Timer};
    use Seen::Outcome;
    let put = outcome(-9, 1 << 40, 0.25);
    let asked =
        |resource, number, record| other(&Effect::Request { peer: 0, resource, number, record });
    let answered = |status, record| other(&Effect::Respond { status, record });
    let log = |level, text| other(&Effect::Log { level, text });
    let flood: Vec<Seen> = (0..16).map(|number| Outcome(0, number, 0.0)).collect();
    vec![
        (
            Start,
            vec![
                log(2, b"start"),
                other(&Effect::SetTimer { timer: 0, micros: 1_000_000 }),
                Outcome(-100, 0, 0.0),
            ],
        ),
        (Mixed(true, 6), vec![other(&Effect::Publish { output: MIXED, record: &mixed(true, 7) })]),
        (
            Mixed(false, u32::MAX),
            vec![other(&Effect::Publish { output: MIXED, record: &mixed(false, 0) })],
        ),
        (Command(0, 0, 0, 0.0), vec![Outcome(0, 1_700_000_000_000_000, 250.0)]),
        (Command(1, 0, 0, 0.0), vec![Outcome(0, RANDOM.cast_signed(), 0.0)]),
        (
            Command(2, 0, 2_500_000, 0.0),
            vec![
                other(&Effect::SetTimer { timer: 1, micros: 2_500_000 }),
                Outcome(0, 2_500_000, 0.0),
            ],
        ),
        (Command(3, 0, 0, 0.0), vec![other(&Effect::CancelTimer { timer: 1 }), Outcome(0, 0, 0.0)]),
        (Command(4, 0, 0, 0.0), vec![Outcome(Errno::Empty.code(), 0, 0.0)]),
        (Call::Sample, vec![]),
        (Command(4, 0, 0, 0.0), vec![Outcome(11, -12, 13.5)]),
        (Command(5, 0, 0, 0.75), vec![other(&Effect::Actuate { actuator: 0, value: 0.75 })]),
        (Command(5, 1, 0, -1e300), vec![other(&Effect::Actuate { actuator: 1, value: -1e300 })]),
        // The label is "abc", the switch is off, and the ratio is left to its default.
        (Command(6, 0, 0, 0.0), vec![Outcome(0, 3_000 + i64::from(b'a'), 0.5)]),
        (Command(7, -9, 1 << 40, 0.25), vec![asked(0, 0, &put), Outcome(0, 0, 0.0)]),
        (Command(8, 0, 0, 0.0), vec![asked(1, 1, &[]), Outcome(1, 0, 0.0)]),
        (Reply(1, 69, true), vec![Outcome(4_069, 1, 13.5)]),
        (Reply(0, 0, false), vec![Outcome(3_000, 0, -1.0)]),
        (Reply(99, 69, true), vec![]),
        (Command(9, 0, 0, 0.0), flood),
        (Command(10, 0, 0, 0.0), vec![Outcome(Errno::Full.code(), 16, 0.0)]),
        (Command(11, 0, 0, 0.0), vec![log(0, b"conformance")]),
        (Command(11, 3, 0, 0.0), vec![log(3, b"conformance")]),
        (Timer(0), vec![Outcome(1_000, 17, 0.0)]),
        (Timer(1), vec![Outcome(1_001, 17, 0.0)]),
        (Digital(f64::MIN_POSITIVE), vec![Outcome(2_000, 0, f64::MIN_POSITIVE)]),
        (Ask(0, 1, None), vec![answered(69, &outcome(1, 17, 0.0))]),
        (Ask(0, 3, Some((5, 6, 7.0))), vec![answered(68, &outcome(5, 6, 7.0))]),
        (Ask(0, 4, None), vec![answered(133, &[])]),
        (Ask(1, 2, None), vec![answered(68, &[])]),
        (Run(b"capsule"), vec![answered(69, b"eluspac")]),
        (Run(b""), vec![answered(69, b"")]),
        (Run(b"more than sixteen"), vec![answered(141, b"")]),
        (Command(13, 0, 0, 0.0), vec![Outcome(0, 18, 0.0)]),
    ]
}

/// Something that a node does to an instance.
#[derive(Clone, Copy, Debug)]
enum Call {
    Start,
    Mixed(bool, u32),
    Command(u8, i32, i64, f64),
    /// The sensor has a sample from now on.
    Sample,
    Timer(u32),
    Digital(f64),
    Ask(u32, u8, Option<(i32, i64, f64)>),
    Reply(u32, u8, bool),
    Run(&'static [u8]),
}

impl Subject {
    fn call(&mut self, call: Call) -> Vec<Seen> {
        match call {
            Call::Start => self.effects(&Event::Start),
            Call::Mixed(whole, count) => {
                self.effects(&Event::Message { input: MIXED, record: &mixed(whole, count) })
            }
            Call::Command(op, a, b, c) => self.command(op, a, b, c),
            Call::Sample => {
                self.sample();
                Vec::new()
            }
            Call::Timer(timer) => self.effects(&Event::Timer { timer }),
            Call::Digital(value) => self.effects(&Event::Digital { source: 0, value }),
            Call::Ask(resource, method, body) => {
                let body = body.map(|(a, b, c)| command(0, a, b, c));
                let payload = body.as_ref().map_or(&[][..], |body| body);
                self.effects(&Event::Request { resource, method, payload })
            }
            Call::Reply(number, status, has_body) => {
                let body = outcome(1, 2, 13.5);
                let payload = if has_body { &body[..] } else { &[] };
                self.effects(&Event::Reply { number, status, payload })
            }
            Call::Run(arguments) => self.effects(&Event::Run { arguments }),
        }
    }

    fn sample(&mut self) {
        self.instance.set_sample(0, &outcome(11, -12, 13.5)).expect("quiescent");
    }

    /// Goes on in another instance, as after a move; the node gives it the sensors' samples again.
    fn move_on(&mut self) -> usize {
        let mut snapshot = Vec::new();
        self.instance.snapshot(self.module, &mut snapshot, 4_096).expect("quiescent");
        let mut fresh = Self::new(self.language, self.module).instance;
        fresh.restore(&snapshot).expect("it is its own");
        self.instance = fresh;
        snapshot.len()
    }
}

#[test]
fn every_language_does_the_same() {
    for (language, module) in MODULES {
        let mut subject = Subject::new(language, module);
        for (number, (call, expected)) in steps().into_iter().enumerate() {
            let found = subject.call(call);
            assert_eq!(found, expected, "{language}, step {number}: {call:?}");
        }
    }
}

#[test]
fn a_handler_cut_into_slices_does_the_same() {
    for (language, module) in MODULES {
        let mut subject = Subject::new(language, module);
        subject.slice = Instance::MIN_SLICE;
        for (call, expected) in steps() {
            assert_eq!(subject.call(call), expected, "{language}: {call:?}");
        }
    }
}

#[test]
fn moved_between_any_two_handlers_it_does_the_same() {
    for (language, module) in MODULES {
        let mut subject = Subject::new(language, module);
        let (mut largest, mut has_sample) = (0, false);
        for (call, expected) in steps() {
            assert_eq!(subject.call(call), expected, "{language}: {call:?}");
            largest = largest.max(subject.move_on());
            has_sample |= matches!(call, Call::Sample);
            if has_sample {
                subject.sample();
            }
        }
        println!("{language}: {} bytes, snapshots of at most {largest}", module.len());
        assert!(largest <= 400, "{language}: a snapshot of {largest} bytes");
    }
}

#[test]
fn a_panic_ends_the_handler_without_effects() {
    for (language, module) in MODULES {
        let mut subject = Subject::new(language, module);
        subject.call(Call::Start);
        let event = Event::Message { input: COMMAND, record: &command(12, 0, 0, 0.0) };
        assert_eq!(subject.run(&event), Progress::Trapped(Trap::Unreachable), "{language}");
        assert_eq!(subject.instance.effects().count(), 0, "{language}");
    }
}

#[test]
fn what_each_says_of_itself_is_the_same() {
    for (language, module) in MODULES {
        let admitted = Runtime::new().admit(module, &limits());
        let admitted = admitted.unwrap_or_else(|refusal| panic!("{language}: {refusal}"));
        for handler in capmesh_capsule_abi::HANDLERS {
            assert!(admitted.handles(handler.name), "{language}: {}", handler.name);
        }
    }
}

/// Modules that compilers and hands have made and that break a rule, each with the reason that its
/// author is told.
#[test]
fn modules_that_break_a_rule_are_refused_with_the_reason() {
    macro_rules! refused {
        ($file:literal) => {
            include_bytes!(concat!(
                "../../../protocols/capsule-abi/conformance/refused/",
                $file,
                ".wasm"
            ))
            .as_slice()
        };
    }
    let text = include_str!("../../../protocols/capsule-abi/conformance/refused/passive.wat");
    let passive = wat::parse_str(text).expect("valid text");
    let cases: [(&[u8], &str); 8] = [
        (
            refused!("unpacked"),
            "the mutable global 0 is not exported as `$g0`; pack the module first",
        ),
        (
            refused!("foreign_import"),
            "the import `env.puts` is not part of the contract `capmesh1`",
        ),
        (
            refused!("wrong_import"),
            "the import `capmesh1.publish` has another type than the contract gives it",
        ),
        (
            refused!("wrong_handler"),
            "the export `message` has another type than the contract gives it",
        ),
        (refused!("aborts"), "the import `env.abort` is not part of the contract `capmesh1`"),
        (refused!("starts"), "the module is not valid: a start function; export `start` instead"),
        (
            refused!("idle"),
            "the module exports none of `message`, `timer`, `event`, `request` and `run`: it would never do anything",
        ),
        (
            &passive,
            "the module has a passive data or element segment; snapshots cannot hold its state",
        ),
    ];
    // Compilers ask for one or two pages of 64 KiB.
    let limits = Limits { memory: 1 << 17, ..Limits::default() };
    for (module, reason) in cases {
        match Runtime::new().admit(module, &limits) {
            Ok(_) => panic!("admitted, and not refused because {reason}"),
            Err(refusal) => assert_eq!(refusal.to_string(), reason),
        }
    }
}
