//! The contract between a capsule and the node that runs it.
//!
//! A capsule is a core WebAssembly module (no component model: it would not fit a microcontroller)
//! with one linear memory. It imports functions from the module name [`IMPORT_MODULE`], whose
//! trailing digit is the ABI version, and exports *handlers*, which the node calls one at a time.
//! [`IMPORTS`] and [`HANDLERS`] are the whole list: the node admits nothing else.
//!
//! # How a capsule runs
//! - A handler runs to completion before the next one starts. It may be cut into slices and take a
//!   while, but nothing of the capsule runs meanwhile, so its memory is its own.
//! - What a handler asks for (publishing, timers, requests, actuators) is appended to a bounded
//!   *outbox* and takes effect only when the handler returns. A handler that traps has no effect.
//! - Nothing that a handler reads changes while it runs: time stands still, sensors keep their
//!   value, random numbers come from a seeded generator. The same state and the same events give
//!   the same results on every node.
//! - Between handlers the whole state is linear memory, mutable globals and the generator's state.
//!   That is what a snapshot holds, and why tables may not change and `start` sections are refused.
//!
//! # Numbers instead of names
//! Inputs, outputs, sensors, actuators, configuration keys and peers are numbered by their place in
//! the capsule's manifest, from 0, so that no strings cross the boundary.
//!
//! # Records
//! A payload crosses the boundary as a *record*: the fields of its schema in order, little-endian,
//! each aligned to its size, as a C compiler would lay out the struct. The node translates between
//! records and the encoding on the network, so that a capsule needs no codec.
//!
//! # Pointers
//! Every pointer and length is checked by the node. One that leaves linear memory ends the handler
//! as a trap would.
//!
//! # What is deliberately absent
//! Sockets of any kind (a capsule talks to topics and to other capsules; who may talk to whom is the
//! plan's decision), radios such as BLE (their stacks live in the firmware), files, threads, WASI
//! (its smallest useful part is larger than this whole ABI), and a clock inside a handler.

#![no_std]

/// The module name that every import carries. The digit is the version of this contract: a change
/// that breaks capsules takes a new name, and a node may offer several.
pub const IMPORT_MODULE: &str = "capmesh1";

/// The version of this contract as a manifest states it.
pub const VERSION: u16 = 1;

/// The export name of the linear memory.
pub const MEMORY: &str = "memory";

/// What the packer names the exports of mutable globals, followed by the global's index: a snapshot
/// reaches globals only by name.
pub const GLOBAL_PREFIX: &str = "$g";

/// A WebAssembly value type that the contract uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// 32-bit integer; pointers and lengths are unsigned.
    I32,
    /// 64-bit integer.
    I64,
    /// 64-bit float.
    F64,
}

/// A function of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Its import or export name.
    pub name: &'static str,
    /// Types of its parameters.
    pub params: &'static [Type],
    /// Type of its result, if it has one.
    pub result: Option<Type>,
}

/// A function of the contract and what is said of it.
#[derive(Clone, Copy, Debug)]
pub struct Documented {
    /// The function.
    pub function: Function,
    /// What it does, with the names of its parameters, as shown to authors of capsules.
    pub doc: &'static str,
}

use Type::{F64, I32, I64};

/// What a capsule may import. Where a result is an `i32`, a negative one is an [`Errno`].
pub const IMPORTS: &[Function] = &functions(&DOCUMENTED_IMPORTS);

/// What a capsule may export for the node to call. Each is optional, but at least one of `message`,
/// `timer`, `request` or `run` must be there.
pub const HANDLERS: &[Function] = &functions(&DOCUMENTED_HANDLERS);

/// [`IMPORTS`] with what is said of them, for people and generators: a node has no flash for texts.
pub const DOCUMENTED_IMPORTS: [Documented; 13] = [
    documented(
        "read",
        &[I32, I32, I32],
        Some(I32),
        "read(offset, dst, len): copies up to len bytes of the event being handled, from offset on, to dst; returns how many",
    ),
    documented(
        "publish",
        &[I32, I32, I32],
        Some(I32),
        "publish(output, src, len): publishes the record at src on an output",
    ),
    documented(
        "request",
        &[I32, I32, I32, I32],
        Some(I32),
        "request(peer, resource, src, len): asks a resource of another capsule; returns the number that its `reply` will carry",
    ),
    documented(
        "respond",
        &[I32, I32, I32],
        Some(I32),
        "respond(status, src, len): answers the request being handled, or gives the result of `run`; the last call counts",
    ),
    documented(
        "set_timer",
        &[I32, I64],
        Some(I32),
        "set_timer(timer, micros): calls `timer` once after that time; replaces the timer of that number",
    ),
    documented("cancel_timer", &[I32], Some(I32), "cancel_timer(timer): forgets a timer"),
    documented(
        "sensor",
        &[I32, I32, I32],
        Some(I32),
        "sensor(sensor, dst, len): copies the record of a sensor's last sample to dst; returns its length",
    ),
    documented(
        "actuate",
        &[I32, F64],
        Some(I32),
        "actuate(actuator, value): sets an actuator when the handler ends",
    ),
    documented(
        "config",
        &[I32, I32, I32],
        Some(I32),
        "config(key, dst, len): copies a configuration value to dst (numbers as f64, texts as UTF-8); returns its length",
    ),
    documented(
        "time",
        &[],
        Some(I64),
        "time(): microseconds since 1970-01-01 UTC at which the handler started, as well as the node knows it",
    ),
    documented(
        "time_uncertainty",
        &[],
        Some(I64),
        "time_uncertainty(): half the width in microseconds of the interval that contains the true time; negative if it is unknown",
    ),
    documented(
        "random",
        &[],
        Some(I64),
        "random(): 64 random bits, repeatable from the instance's seed; not for keys",
    ),
    documented(
        "log",
        &[I32, I32, I32],
        None,
        "log(level, src, len): a line of UTF-8 text; levels 0 error, 1 warning, 2 info, 3 debug",
    ),
];

/// [`HANDLERS`] with what is said of them.
pub const DOCUMENTED_HANDLERS: [Documented; 8] = [
    documented(
        "start",
        &[],
        None,
        "start(): once for a fresh instance, before any other handler; not after a restore",
    ),
    documented(
        "message",
        &[I32, I32],
        None,
        "message(input, len): a message arrived on an input; its record is read with `read`",
    ),
    documented("timer", &[I32], None, "timer(timer): a timer ran out"),
    documented("event", &[I32, F64], None, "event(source, value): a digital input changed"),
    documented(
        "request",
        &[I32, I32, I32],
        None,
        "request(resource, method, len): another capsule or a CoAP client asks; methods are CoAP's codes (1 GET, 2 POST, 3 PUT, 4 DELETE)",
    ),
    documented(
        "reply",
        &[I32, I32, I32],
        None,
        "reply(request, status, len): the answer to `request`; status is a CoAP code, or 0 if none came",
    ),
    documented(
        "run",
        &[I32],
        None,
        "run(len): a one-shot capsule's whole work; arguments are read with `read`, the result is given with `respond`",
    ),
    documented(
        "state_version",
        &[],
        Some(I32),
        "state_version(): the version of the layout of the capsule's memory; an update takes over the state of the versions that its manifest names",
    ),
];

const fn documented(
    name: &'static str,
    params: &'static [Type],
    result: Option<Type>,
    doc: &'static str,
) -> Documented {
    Documented { function: Function { name, params, result }, doc }
}

#[expect(
    clippy::indexing_slicing,
    reason = "the compiler evaluates it: out of bounds would not build"
)]
const fn functions<const N: usize>(documented: &[Documented; N]) -> [Function; N] {
    let mut functions = [Function { name: "", params: &[], result: None }; N];
    let mut i = 0;
    while i < N {
        functions[i] = documented[i].function;
        i += 1;
    }
    functions
}

/// Why an imported function did nothing. The values are part of the contract and only append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Errno {
    /// The manifest has nothing of that number.
    Unknown = -1,
    /// The record does not fit the schema.
    Schema = -2,
    /// The outbox is full. Nothing was appended; what is in it goes out when the handler returns.
    Full = -3,
    /// There is no value: no sample yet, a key that is not configured.
    Empty = -4,
    /// The buffer is shorter than the value.
    TooShort = -5,
    /// Not possible in this handler (an answer where nothing was asked).
    NotNow = -6,
}

impl Errno {
    /// The value that the imported function returns.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }
}

/// The import of that name.
#[must_use]
pub fn import(name: &str) -> Option<&'static Function> {
    IMPORTS.iter().find(|function| function.name == name)
}

/// The handler of that name.
#[must_use]
pub fn handler(name: &str) -> Option<&'static Function> {
    HANDLERS.iter().find(|function| function.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_documented_by_their_own_signature() {
        for list in [&DOCUMENTED_IMPORTS[..], &DOCUMENTED_HANDLERS] {
            for (i, Documented { function, doc }) in list.iter().enumerate() {
                assert!(list[i + 1..].iter().all(|other| other.function.name != function.name));
                let signature = doc.split_once(')').unwrap().0;
                let (name, params) = signature.split_once('(').unwrap();
                assert_eq!(name, function.name);
                let named = params.split(", ").filter(|p| !p.is_empty()).count();
                assert_eq!(named, function.params.len(), "{}", function.name);
            }
        }
    }
}
