//! A running capsule.

use crate::admit::{Admitted, Refusal};
use crate::host::{Host, Surroundings};
use crate::{Effects, Limits, Runtime};
use alloc::string::ToString;
use capmesh_capsule_abi::MEMORY;
use core::fmt;
use wasmi::{Error, Func, Instance as WasmInstance, Memory, ResumableCall, Store, TrapCode, Val};

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

impl<'a> Event<'a> {
    /// The handler's export name, its arguments before the length, the payload if it has one, and
    /// whether the event can be answered.
    fn call(&self) -> Call<'a> {
        let int = |value: u32| Some(Val::I32(value.cast_signed()));
        let byte = |value: u8| int(u32::from(value));
        let (handler, arguments, payload, can_respond) = match *self {
            Self::Start => ("start", [None, None], None, false),
            Self::Message { input, record } => ("message", [int(input), None], Some(record), false),
            Self::Timer { timer } => ("timer", [int(timer), None], None, false),
            Self::Digital { source, value } => {
                ("event", [int(source), Some(Val::F64(value.into()))], None, false)
            }
            Self::Request { resource, method, payload } => {
                ("request", [int(resource), byte(method)], Some(payload), true)
            }
            Self::Reply { number, status, payload } => {
                ("reply", [int(number), byte(status)], Some(payload), false)
            }
            Self::Run { arguments } => ("run", [None, None], Some(arguments), true),
        };
        Call { handler, arguments, payload, can_respond }
    }
}

struct Call<'a> {
    handler: &'static str,
    arguments: [Option<Val>; 2],
    payload: Option<&'a [u8]>,
    can_respond: bool,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// It used up the fuel of one handler.
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

impl From<&Error> for Trap {
    fn from(error: &Error) -> Self {
        match error.as_trap_code() {
            Some(TrapCode::UnreachableCodeReached) => Self::Unreachable,
            Some(TrapCode::MemoryOutOfBounds) => Self::OutOfBounds,
            Some(
                TrapCode::IntegerDivisionByZero
                | TrapCode::IntegerOverflow
                | TrapCode::BadConversionToInteger,
            ) => Self::Arithmetic,
            Some(
                TrapCode::TableOutOfBounds | TrapCode::IndirectCallToNull | TrapCode::BadSignature,
            ) => Self::IndirectCall,
            Some(TrapCode::StackOverflow) => Self::StackOverflow,
            Some(TrapCode::OutOfFuel) => Self::FuelBudget,
            Some(TrapCode::GrowthOperationLimited | TrapCode::OutOfSystemMemory) => {
                Self::MemoryLimit
            }
            None => Self::Internal,
        }
    }
}

/// A handler was begun or state was touched while another handler is in progress, or after a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the instance is running a handler or has trapped")
    }
}

impl core::error::Error for Busy {}

/// What the instance is doing.
#[derive(Debug)]
enum State {
    Quiescent,
    /// A handler is about to be called.
    Begun(Func, [Val; 3], u8),
    Suspended(wasmi::ResumableCallOutOfFuel),
    Dead(Trap),
}

/// A capsule that runs: its memory, its outbox, and at most one handler in progress.
#[derive(Debug)]
pub struct Instance {
    pub(crate) store: Store<Host>,
    pub(crate) wasm: WasmInstance,
    pub(crate) memory: Memory,
    pub(crate) page_log2: u32,
    state: State,
    max_event: usize,
    handler_fuel: u64,
    /// Fuel that the handler in progress may still use.
    fuel_left: u64,
    /// Fuel used by all handlers so far.
    fuel_used: u64,
}

impl Runtime {
    /// Makes an instance. Nothing of the capsule has run when this returns; a fresh instance is
    /// given [`Event::Start`] next, a restored one is not. `seed` starts its random numbers.
    ///
    /// # Errors
    /// If memory is short or the module's segments do not fit its memory.
    pub fn instantiate(
        &self,
        admitted: &Admitted,
        limits: &Limits,
        surroundings: Surroundings,
        seed: u64,
    ) -> Result<Instance, Refusal> {
        let setup = |error: Error| Refusal::Setup(error.to_string());
        let mut store = Store::new(&self.engine, Host::new(limits, surroundings, seed));
        store.limiter(|host| &mut host.limiter);
        let wasm =
            self.linker.instantiate_and_start(&mut store, &admitted.module).map_err(setup)?;
        let memory = wasm.get_memory(&store, MEMORY).ok_or(Refusal::NoMemory)?;
        Ok(Instance {
            store,
            wasm,
            memory,
            page_log2: admitted.page_log2,
            state: State::Quiescent,
            max_event: usize::try_from(limits.event).unwrap_or(usize::MAX),
            handler_fuel: limits.handler_fuel,
            fuel_left: 0,
            fuel_used: 0,
        })
    }
}

impl Instance {
    /// The least fuel that makes sense for a slice: a single block of a handler may need it.
    pub const MIN_SLICE: u64 = 1_000;

    /// Whether no handler is running or suspended and none has trapped.
    #[must_use]
    pub const fn is_quiescent(&self) -> bool {
        matches!(self.state, State::Quiescent)
    }

    /// Fuel used by all handlers of this instance so far.
    #[must_use]
    pub const fn fuel_used(&self) -> u64 {
        self.fuel_used
    }

    /// Bytes of linear memory now.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    /// Gives a sensor's last sample. A sensor that the manifest does not name is ignored.
    ///
    /// # Errors
    /// While a handler is in progress: what it reads must not change.
    pub fn set_sample(&mut self, sensor: u32, record: &[u8]) -> Result<(), Busy> {
        if !self.is_quiescent() {
            return Err(Busy);
        }
        let index = usize::try_from(sensor).map_err(|_| Busy)?;
        if let Some(sample) = self.store.data_mut().samples.get_mut(index) {
            sample.clear();
            sample.extend_from_slice(record);
        }
        Ok(())
    }

    /// Begins to handle `event`, at `time` and with `uncertainty` (both in microseconds; `None` if
    /// it is not known). [`Instance::run`] does the work. Returns whether the capsule has a handler
    /// for it; if not, there is nothing to run. What the last handler asked for is gone.
    ///
    /// # Errors
    /// If a handler is in progress or the instance is dead.
    pub fn begin(
        &mut self,
        event: &Event<'_>,
        time: u64,
        uncertainty: Option<u64>,
    ) -> Result<bool, Busy> {
        if !self.is_quiescent() {
            return Err(Busy);
        }
        let call = event.call();
        let host = self.store.data_mut();
        host.outbox.clear();
        host.event.clear();
        let payload = call.payload.unwrap_or_default();
        host.event.extend_from_slice(payload.get(..self.max_event).unwrap_or(payload));
        host.can_respond = call.can_respond;
        host.time = i64::try_from(time).unwrap_or(i64::MAX);
        host.time_uncertainty = uncertainty.and_then(|u| i64::try_from(u).ok()).unwrap_or(-1);
        let length = host.event.len();
        let Some(func) = self.wasm.get_func(&self.store, call.handler) else { return Ok(false) };
        let length = call.payload.map(|_| Val::I32(i32::try_from(length).unwrap_or(i32::MAX)));
        let mut arguments = [const { Val::I32(0) }; 3];
        let mut count = 0;
        let given = call.arguments.into_iter().chain([length]).flatten();
        for (slot, argument) in arguments.iter_mut().zip(given) {
            *slot = argument;
            count += 1;
        }
        self.fuel_left = self.handler_fuel;
        self.state = State::Begun(func, arguments, count);
        Ok(true)
    }

    /// Runs the handler in progress for about `fuel`, at least [`Instance::MIN_SLICE`]. The work is
    /// bounded by that fuel.
    pub fn run(&mut self, fuel: u64) -> Progress {
        let mut slice = fuel.max(Self::MIN_SLICE);
        if let State::Suspended(call) = &self.state {
            slice = slice.max(call.required_fuel());
        }
        let granted = slice.min(self.fuel_left);
        let result = match core::mem::replace(&mut self.state, State::Quiescent) {
            State::Quiescent => return Progress::Idle,
            State::Dead(trap) => {
                self.state = State::Dead(trap);
                return Progress::Trapped(trap);
            }
            State::Begun(func, arguments, count) => {
                let arguments = arguments.get(..usize::from(count)).unwrap_or_default();
                self.refuel(granted)
                    .and_then(|()| func.call_resumable(&mut self.store, arguments, &mut []))
            }
            State::Suspended(call) => {
                if call.required_fuel() > self.fuel_left {
                    return self.die(Trap::FuelBudget);
                }
                self.refuel(granted).and_then(|()| call.resume(&mut self.store, &mut []))
            }
        };
        let used = granted.saturating_sub(self.store.get_fuel().unwrap_or(0));
        self.fuel_used = self.fuel_used.saturating_add(used);
        self.fuel_left = self.fuel_left.saturating_sub(used);
        match result {
            Ok(ResumableCall::Finished) => Progress::Idle,
            Ok(ResumableCall::OutOfFuel(call)) if call.required_fuel() <= self.fuel_left => {
                self.state = State::Suspended(call);
                Progress::Suspended
            }
            Ok(ResumableCall::OutOfFuel(_)) => self.die(Trap::FuelBudget),
            Ok(ResumableCall::HostTrap(trap)) => self.die(Trap::from(trap.host_error())),
            Err(error) => self.die(Trap::from(&error)),
        }
    }

    /// What the last handler asked for, in order. Complete when [`Instance::run`] says
    /// [`Progress::Idle`]; after a trap there are log lines only.
    #[must_use]
    pub fn effects(&self) -> Effects<'_> {
        self.store.data().outbox.effects()
    }

    fn refuel(&mut self, fuel: u64) -> Result<(), Error> {
        self.store.set_fuel(fuel)
    }

    fn die(&mut self, trap: Trap) -> Progress {
        self.store.data_mut().outbox.keep_log();
        self.state = State::Dead(trap);
        Progress::Trapped(trap)
    }
}
