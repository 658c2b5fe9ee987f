//! The engines, each as something that runs a program so many times.

use std::{
    error::Error,
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
};

use capmesh_runtime::{Effect, Event, Limits, Progress, Runtime, Surroundings};
use kernels::{Kernel, Scratch};

type Failed = Box<dyn Error>;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Engine {
    Runtime,
    Unmetered,
    Wasm3,
    Pulley,
    Cranelift,
    Native,
}

/// A program on an engine.
pub(crate) enum Program {
    Runtime(Box<capmesh_runtime::Instance>),
    Unmetered(Box<wasmi::Store<f64>>, wasmi::TypedFunc<u32, ()>),
    Wasm3(wasm3::Runtime),
    Wasmtime(Box<wasmtime::Store<f64>>, wasmtime::TypedFunc<u32, ()>),
    Native(Kernel, Box<Scratch>, u32),
}

/// What wasm3's program has shown: its closures must be `'static`.
static SHOWN: AtomicU64 = AtomicU64::new(0);

impl Engine {
    pub(crate) const ALL: [Self; 6] =
        [Self::Runtime, Self::Unmetered, Self::Wasm3, Self::Pulley, Self::Cranelift, Self::Native];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Runtime => "capsule runtime",
            Self::Unmetered => "wasmi, unmetered",
            Self::Wasm3 => "wasm3",
            Self::Pulley => "Pulley",
            Self::Cranelift => "Cranelift",
            Self::Native => "native",
        }
    }

    /// Makes the program ready to run.
    pub(crate) fn load(self, name: &str, module: &[u8]) -> Result<Program, Failed> {
        match self {
            Self::Runtime => runtime(module),
            Self::Unmetered => unmetered(module),
            Self::Wasm3 => wasm3_program(module),
            Self::Pulley => {
                let mut config = wasmtime::Config::new();
                config.target("pulley64")?;
                wasmtime_program(&config, module)
            }
            Self::Cranelift => wasmtime_program(&wasmtime::Config::new(), module),
            Self::Native => {
                let kernel = kernels::ALL.iter().find(|(own, _)| *own == name);
                let &(_, kernel) = kernel.ok_or_else(|| format!("there is no {name}"))?;
                Ok(Program::Native(kernel, Box::default(), 0))
            }
        }
    }
}

/// On the host, where memory does not matter, modules have pages of 64 KiB: not every engine knows
/// smaller ones.
const LIMITS: Limits = Limits {
    memory: 1 << 20,
    table_elements: 1024,
    module: 1 << 20,
    outbox_bytes: 64,
    outbox_entries: 1,
    event: 0,
    handler_fuel: u64::MAX,
    timers: 0,
};

fn runtime(module: &[u8]) -> Result<Program, Failed> {
    let runtime = Runtime::new();
    let admitted = runtime.admit(module, &LIMITS).map_err(|refusal| refusal.to_string())?;
    let surroundings = Surroundings { actuators: 1, ..Surroundings::default() };
    let instance = runtime.instantiate(&admitted, &LIMITS, surroundings, 0);
    Ok(Program::Runtime(Box::new(instance.map_err(|refusal| refusal.to_string())?)))
}

fn unmetered(module: &[u8]) -> Result<Program, Failed> {
    let engine = wasmi::Engine::default();
    // SAFETY: the runtime, which comes first, has validated the module.
    let module = unsafe { wasmi::Module::new_unchecked(&engine, module)? };
    let mut linker = wasmi::Linker::new(&engine);
    linker.func_wrap("capmesh1", "actuate", show_wasmi)?;
    let mut store = wasmi::Store::new(&engine, 0.0);
    let instance = linker.instantiate_and_start(&mut store, &module)?;
    let timer = instance.get_typed_func(&store, "timer")?;
    Ok(Program::Unmetered(Box::new(store), timer))
}

fn show_wasmi(mut caller: wasmi::Caller<'_, f64>, _: i32, value: f64) -> i32 {
    *caller.data_mut() = value;
    0
}

fn wasm3_program(module: &[u8]) -> Result<Program, Failed> {
    let failed = |error: wasm3::error::Error| format!("wasm3: {error}");
    let environment = wasm3::Environment::new().map_err(failed)?;
    let runtime = environment.create_runtime(64 * 1024).map_err(failed)?;
    let mut loaded = runtime.parse_and_load_module(module.to_vec()).map_err(failed)?;
    let show = |_: wasm3::CallContext<'_>, (_, value): (i32, f64)| {
        SHOWN.store(value.to_bits(), Ordering::Relaxed);
        Ok(0_i32)
    };
    loaded.link_closure("capmesh1", "actuate", show).map_err(failed)?;
    Ok(Program::Wasm3(runtime))
}

fn wasmtime_program(config: &wasmtime::Config, module: &[u8]) -> Result<Program, Failed> {
    let engine = wasmtime::Engine::new(config)?;
    let module = wasmtime::Module::new(&engine, module)?;
    let mut linker = wasmtime::Linker::new(&engine);
    let show = |mut caller: wasmtime::Caller<'_, f64>, _: i32, value: f64| -> i32 {
        *caller.data_mut() = value;
        0
    };
    linker.func_wrap("capmesh1", "actuate", show)?;
    let mut store = wasmtime::Store::new(&engine, 0.0);
    let instance = linker.instantiate(&mut store, &module)?;
    let timer = instance.get_typed_func(&mut store, "timer")?;
    Ok(Program::Wasmtime(Box::new(store), timer))
}

impl Program {
    /// Runs the program so many times; returns its checksum.
    pub(crate) fn run(&mut self, rounds: u32) -> Result<f64, Failed> {
        Ok(match self {
            Self::Runtime(instance) => {
                let event = Event::Timer { timer: rounds };
                let begun = instance.begin(&event, 0, None).map_err(|busy| busy.to_string())?;
                if !begun || instance.run(u64::MAX) != Progress::Idle {
                    return Err("the handler failed".into());
                }
                match instance.effects().next() {
                    Some(Effect::Actuate { value, .. }) => value,
                    _ => return Err("no checksum was shown".into()),
                }
            }
            Self::Unmetered(store, timer) => {
                timer.call(&mut **store, rounds)?;
                *store.data()
            }
            Self::Wasm3(runtime) => {
                let failed = |error: wasm3::error::Error| format!("wasm3: {error}");
                let timer = runtime.find_function::<u32, ()>("timer").map_err(failed)?;
                timer.call(rounds).map_err(failed)?;
                f64::from_bits(SHOWN.load(Ordering::Relaxed))
            }
            Self::Wasmtime(store, timer) => {
                timer.call(&mut **store, rounds)?;
                *store.data()
            }
            Self::Native(kernel, scratch, sum) => {
                *sum = kernels::repeat(black_box(*kernel), scratch, rounds, *sum);
                f64::from(*sum)
            }
        })
    }

    /// Wasm operations in a round, by the runtime's fuel, of which an operation takes one.
    pub(crate) fn operations(&mut self, rounds: u32) -> Result<f64, Failed> {
        let used = |program: &Self| match program {
            Self::Runtime(instance) => Ok(instance.fuel_used()),
            _ => Err("only the runtime counts"),
        };
        let before = used(self)?;
        self.run(rounds)?;
        Ok((used(self)? - before) as f64 / f64::from(rounds))
    }
}
