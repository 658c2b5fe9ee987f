//! A running capsule.

use crate::admit::{Admitted, Refusal};
use crate::host::{self, Host};
use crate::{Effects, Runtime, bounds};
use alloc::string::ToString;
use alloc::vec::Vec;
use capmesh_capsule_abi::MEMORY;
use capmesh_node::host::{Busy, Event, Limits, Progress, Surroundings, Trap};
use wasmi::{
    Error, Extern, Func, Instance as WasmInstance, Memory, ResumableCall, Store, TrapCode, Val,
};

impl<'a> Call<'a> {
    fn of(event: &Event<'a>) -> Self {
        let int = |value: u32| Some(Val::I32(value.cast_signed()));
        let byte = |value: u8| int(u32::from(value));
        let (handler, arguments, payload, can_respond) = match *event {
            Event::Start => ("start", [None, None], None, false),
            Event::Message { input, record } => {
                ("message", [int(input), None], Some(record), false)
            }
            Event::Timer { timer } => ("timer", [int(timer), None], None, false),
            Event::Digital { source, value } => {
                ("event", [int(source), Some(Val::F64(value.into()))], None, false)
            }
            Event::Request { resource, method, payload } => {
                ("request", [int(resource), byte(method)], Some(payload), true)
            }
            Event::Reply { number, status, payload } => {
                ("reply", [int(number), byte(status)], Some(payload), false)
            }
            Event::Run { arguments } => ("run", [None, None], Some(arguments), true),
        };
        Call { handler, arguments, payload, can_respond }
    }
}

/// How an event is put to a handler: its export name, its arguments before the length, the payload
/// if it has one, and whether it can be answered.
struct Call<'a> {
    handler: &'static str,
    arguments: [Option<Val>; 2],
    payload: Option<&'a [u8]>,
    can_respond: bool,
}

/// Which trap an error of the interpreter's is.
fn trap_of(error: &Error) -> Trap {
    match error.as_trap_code() {
        Some(TrapCode::UnreachableCodeReached) => Trap::Unreachable,
        Some(TrapCode::MemoryOutOfBounds) => Trap::OutOfBounds,
        Some(
            TrapCode::IntegerDivisionByZero
            | TrapCode::IntegerOverflow
            | TrapCode::BadConversionToInteger,
        ) => Trap::Arithmetic,
        Some(
            TrapCode::TableOutOfBounds | TrapCode::IndirectCallToNull | TrapCode::BadSignature,
        ) => Trap::IndirectCall,
        Some(TrapCode::StackOverflow) => Trap::StackOverflow,
        Some(TrapCode::OutOfFuel) => Trap::FuelBudget,
        Some(TrapCode::GrowthOperationLimited | TrapCode::OutOfSystemMemory) => Trap::MemoryLimit,
        None => Trap::Internal,
    }
}

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
    /// The most fuel that it may ask for at once.
    longest: u64,
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
        let imports = admitted.module.imports().map(|import| {
            let function = host::import(&mut store, import.name());
            // Admission and the table of imports go by the same contract.
            function.map(Extern::from).ok_or_else(|| Refusal::Import {
                module: import.module().into(),
                name: import.name().into(),
                known: true,
            })
        });
        let imports = imports.collect::<Result<Vec<Extern>, _>>()?;
        let wasm = WasmInstance::new(&mut store, &admitted.module, &imports).map_err(setup)?;
        let memory = wasm.get_memory(&store, MEMORY).ok_or(Refusal::NoMemory)?;
        Ok(Instance {
            store,
            wasm,
            memory,
            page_log2: admitted.page_log2,
            state: State::Quiescent,
            max_event: usize::try_from(limits.event).unwrap_or(usize::MAX),
            handler_fuel: limits.handler_fuel,
            longest: longest(limits),
            fuel_left: 0,
            fuel_used: 0,
        })
    }
}

/// The most fuel that code may ask for at once: admission sees to it that a stretch of code does with
/// that, but for one that holds loops which the interpreter finds out never to run.
fn longest(limits: &Limits) -> u64 {
    let memory = u64::from(limits.memory / BYTES_PER_FUEL);
    u64::from(bounds::STRETCH.most).max(memory) + 1
}

/// How many bytes wasmi fills or copies for a unit of fuel.
const BYTES_PER_FUEL: u32 = 64;

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
        let call = Call::of(event);
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
    /// bounded by that fuel, or by what a stretch of code or filling the whole memory takes at once:
    /// [`STRETCH`](bounds::STRETCH), or a unit for each 64 bytes of memory.
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
            Ok(ResumableCall::OutOfFuel(call))
                if call.required_fuel() <= self.fuel_left.min(self.longest) =>
            {
                self.state = State::Suspended(call);
                Progress::Suspended
            }
            Ok(ResumableCall::OutOfFuel(_)) => self.die(Trap::FuelBudget),
            Ok(ResumableCall::HostTrap(trap)) => self.die(trap_of(trap.host_error())),
            Err(error) => self.die(trap_of(&error)),
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
