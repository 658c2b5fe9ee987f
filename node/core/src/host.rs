//! What runs capsules, as the node sees it.
//!
//! A node core knows no interpreter: it asks a [`CapsuleHost`], which admits modules and makes
//! instances of them, and tells each [`HostInstance`] what to handle. `capmesh-runtime` is the host
//! that interprets WebAssembly.
//!
//! # Words
//! - *handler*: what a capsule exports for one kind of [`Event`]. It runs to its end in *slices* of
//!   fuel, and nothing else of its instance runs meanwhile.
//! - *effect*: what a handler asks for. Effects count once the handler has ended well.
//! - *record*: a payload as a capsule sees it, laid out as a C compiler does
//!   (`capmesh_wire::schema`).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

/// Admits capsules and makes instances of them.
pub trait CapsuleHost {
    /// A module that passed admission, ready to be instantiated.
    type Admitted;
    /// A running capsule.
    type Instance: HostInstance;
    /// Why a module was refused, in words.
    type Refusal: fmt::Display;

    /// Admits `module` if it keeps the contract and the limits. The work grows with the module's
    /// length only.
    ///
    /// # Errors
    /// The first rule that the module breaks.
    fn admit(&self, module: &[u8], limits: &Limits) -> Result<Self::Admitted, Self::Refusal>;

    /// Makes an instance. Nothing of the capsule has run when this returns; a fresh instance is given
    /// [`Event::Start`] next, a restored one is not. `seed` starts its random numbers.
    ///
    /// # Errors
    /// If memory is short, or the module cannot be set up.
    fn instantiate(
        &self,
        admitted: &Self::Admitted,
        limits: &Limits,
        surroundings: Surroundings,
        seed: u64,
    ) -> Result<Self::Instance, Self::Refusal>;
}

/// A capsule that runs: its memory, what its last handler asked for, and at most one handler in
/// progress.
pub trait HostInstance {
    /// Begins to handle `event`, at `time` and with `uncertainty` (both in microseconds; `None` if it
    /// is not known). [`HostInstance::run`] does the work. Returns whether the capsule has a handler
    /// for it; if not, there is nothing to run. What the last handler asked for is gone.
    ///
    /// # Errors
    /// If a handler is in progress or the instance is dead.
    fn begin(
        &mut self,
        event: &Event<'_>,
        time: u64,
        uncertainty: Option<u64>,
    ) -> Result<bool, Busy>;

    /// Runs the handler in progress for about `fuel`. The work is bounded by that fuel, or by a small
    /// least amount of the host's.
    fn run(&mut self, fuel: u64) -> Progress;

    /// What the last handler asked for, in order. Complete when [`HostInstance::run`] says
    /// [`Progress::Idle`]; after a trap there are log lines only.
    fn effects(&self) -> impl Iterator<Item = Effect<'_>>;

    /// Gives a sensor's last sample. A sensor that the manifest does not name is ignored.
    ///
    /// # Errors
    /// While a handler is in progress: what it reads must not change.
    fn set_sample(&mut self, sensor: u32, record: &[u8]) -> Result<(), Busy>;

    /// Whether no handler is running or suspended and none has trapped.
    fn is_quiescent(&self) -> bool;

    /// Fuel used by all handlers of this instance so far.
    fn fuel_used(&self) -> u64;

    /// Appends the state to `out`, which may grow to `limit` bytes. `module` is the module that the
    /// instance was made from. The work grows with the size of linear memory.
    ///
    /// # Errors
    /// See [`SnapshotError`]; `out` is then to be thrown away.
    fn snapshot(&self, module: &[u8], out: &mut Vec<u8>, limit: usize)
    -> Result<(), SnapshotError>;

    /// Puts the state of a snapshot into this instance, which must be fresh: [`Event::Start`] not
    /// handled, and none to be given.
    ///
    /// # Errors
    /// See [`RestoreError`].
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError>;
}

/// Something that a capsule handles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// A fresh instance starts.
    Start,
    /// A message on an input.
    Message {
        /// The input's number in the manifest.
        input: u32,
        /// The record.
        record: &'a [u8],
    },
    /// A timer ran out.
    Timer {
        /// The timer's number.
        timer: u32,
    },
    /// A digital input changed.
    Digital {
        /// The source's number in the manifest.
        source: u32,
        /// Its value.
        value: f64,
    },
    /// Somebody asks one of the capsule's resources.
    Request {
        /// The resource's number in the manifest.
        resource: u32,
        /// The CoAP method: 1 GET, 2 POST, 3 PUT, 4 DELETE.
        method: u8,
        /// The payload.
        payload: &'a [u8],
    },
    /// The answer to a request of the capsule's.
    Reply {
        /// The number that the request was given.
        number: u32,
        /// The CoAP response code, or 0 if no answer came.
        status: u8,
        /// The payload.
        payload: &'a [u8],
    },
    /// Run a one-shot capsule.
    Run {
        /// Its arguments.
        arguments: &'a [u8],
    },
}

/// One thing that a handler asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect<'a> {
    /// Publish a record on an output.
    Publish {
        /// The output's number in the manifest.
        output: u32,
        /// The record.
        record: &'a [u8],
    },
    /// Ask a resource of another capsule.
    Request {
        /// The peer's number in the manifest.
        peer: u32,
        /// The resource's number in the peer's manifest.
        resource: u32,
        /// What the `reply` event will carry.
        number: u32,
        /// The record sent along.
        record: &'a [u8],
    },
    /// The answer to the request being handled, or the result of a one-shot capsule.
    Respond {
        /// A CoAP response code, as the capsule gave it.
        status: u32,
        /// The record or bytes returned.
        record: &'a [u8],
    },
    /// Set a timer.
    SetTimer {
        /// The timer's number.
        timer: u32,
        /// Time from now, in microseconds.
        micros: u64,
    },
    /// Forget a timer.
    CancelTimer {
        /// The timer's number.
        timer: u32,
    },
    /// Set an actuator.
    Actuate {
        /// The actuator's number in the manifest.
        actuator: u32,
        /// The value.
        value: f64,
    },
    /// A line for the log: the capsule's bytes, which need not be valid UTF-8.
    Log {
        /// 0 error, 1 warning, 2 info, 3 debug.
        level: u32,
        /// The line.
        text: &'a [u8],
    },
}

/// How far a slice came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No handler is in progress; its effects, if there was one, can be taken.
    Idle,
    /// The fuel of this slice is used up and the handler goes on in the next one.
    Suspended,
    /// The handler ended badly. Its effects are void but for the log, and the instance is dead.
    Trapped(Trap),
}

/// Why a handler ended badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trap {
    /// It executed `unreachable`: a panic, in most languages.
    Unreachable,
    /// It read or wrote outside its memory, by itself or in an imported function.
    OutOfBounds,
    /// It divided by zero or overflowed a conversion.
    Arithmetic,
    /// It called through a table entry that is missing or has another type.
    IndirectCall,
    /// Its calls nested too deep.
    StackOverflow,
    /// It used up the fuel of one handler, or asked for more at once than a slice may have.
    FuelBudget,
    /// It asked for more memory than its limit, or the node had none left.
    MemoryLimit,
    /// The interpreter failed; this is a fault of the node's.
    Internal,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "executed `unreachable` (a panic)",
            Self::OutOfBounds => "accessed memory out of bounds",
            Self::Arithmetic => "divided by zero or converted a number out of range",
            Self::IndirectCall => "called a function pointer that is null or of another type",
            Self::StackOverflow => "nested its calls too deep",
            Self::FuelBudget => "used up the fuel of one handler",
            Self::MemoryLimit => "asked for more memory than its limit",
            Self::Internal => "the interpreter failed",
        })
    }
}

impl core::error::Error for Trap {}

/// A handler was begun or state was touched while another handler is in progress, or after a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the instance is running a handler or has trapped")
    }
}

impl core::error::Error for Busy {}

/// What one instance may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory, also the most that `memory.grow` can reach.
    pub memory: u32,
    /// Elements of all tables.
    pub table_elements: u32,
    /// Bytes of a module.
    pub module: u32,
    /// Bytes of records, requests and log lines that one handler may leave in its outbox.
    pub outbox_bytes: u32,
    /// Entries that one handler may leave in its outbox.
    pub outbox_entries: u16,
    /// Bytes of an event's payload.
    pub event: u32,
    /// Fuel of one handler, over all its slices.
    pub handler_fuel: u64,
    /// Timers with numbers below this one may be set.
    pub timers: u16,
}

impl Default for Limits {
    /// Enough for the usual sensing capsule on a microcontroller.
    fn default() -> Self {
        Self {
            memory: 16 * 1024,
            table_elements: 64,
            module: 64 * 1024,
            outbox_bytes: 1024,
            outbox_entries: 16,
            event: 512,
            handler_fuel: 10_000_000,
            timers: 8,
        }
    }
}

/// What surrounds an instance as its manifest and its assignment say: the numbers that it may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The least and the most bytes of a record of each output.
    pub outputs: Vec<(u32, u32)>,
    /// How many peers it may send requests to.
    pub peers: u32,
    /// How many actuators it may set.
    pub actuators: u32,
    /// The configuration values, in the manifest's order; `None` is a key that is not configured.
    pub config: Vec<Option<Box<[u8]>>>,
    /// How many sensors it reads.
    pub sensors: u32,
}

/// Why there is no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// A handler is in progress, or has trapped.
    NotQuiescent,
    /// The bytes given are not the instance's module.
    Module,
    /// The snapshot is longer than the caller allows.
    TooLarge,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotQuiescent => "the instance is running a handler or has trapped",
            Self::Module => "the bytes are not those of the instance's module",
            Self::TooLarge => "the snapshot is longer than allowed",
        })
    }
}

impl core::error::Error for SnapshotError {}

/// Why a snapshot was not restored. The instance is as it was if the snapshot ends early or has
/// another version or other globals; a snapshot that goes wrong later leaves it unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// A handler is in progress, or has trapped.
    NotQuiescent,
    /// The snapshot is of a version that this node does not know.
    Version,
    /// It ends early or is otherwise not a snapshot.
    Malformed,
    /// It has other globals, or more memory, than an instance of this module can have.
    OtherModule,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotQuiescent => "the instance is running a handler or has trapped",
            Self::Version => "the snapshot's version is not known here",
            Self::Malformed => "the snapshot ends early or is not one",
            Self::OtherModule => "the snapshot belongs to another module",
        })
    }
}

impl core::error::Error for RestoreError {}
