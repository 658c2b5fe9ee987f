//! What runs capsules on simulated nodes: the interpreter for real modules, and scripts for volume.

mod faulty;
mod scripted;
#[cfg(test)]
mod tests;

pub(crate) use faulty::Faulty;
pub use faulty::HostFault;
pub use scripted::Script;
use scripted::Scripted;

use capmesh_node::host::{
    Busy, CapsuleHost, Effect, Event, HostInstance, Limits, Progress, RestoreError, SnapshotError,
    Surroundings,
};
use capmesh_runtime::{Effects, Runtime};

/// Runs a capsule by what its module says: WebAssembly, or a [`Script`].
#[derive(Debug, Default)]
pub struct SimHost {
    runtime: Runtime,
}

impl SimHost {
    /// A host.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// A module that may run.
#[derive(Debug)]
pub enum Admitted {
    /// By the interpreter.
    Module(capmesh_runtime::Admitted),
    /// As a state machine.
    Script(Script),
}

/// A capsule that runs.
#[derive(Debug)]
pub enum Instance {
    /// On the interpreter.
    Module(Box<capmesh_runtime::Instance>),
    /// As a state machine.
    Script(Box<Scripted>),
}

impl CapsuleHost for SimHost {
    type Admitted = Admitted;
    type Instance = Instance;
    type Refusal = String;

    fn admit(&self, module: &[u8], limits: &Limits) -> Result<Admitted, String> {
        if !Script::is_one(module) {
            let admitted = self.runtime.admit(module, limits);
            return admitted.map(Admitted::Module).map_err(|refusal| refusal.to_string());
        }
        if module.len() as u64 > u64::from(limits.module) {
            return Err("the module is too long".to_owned());
        }
        Script::parse(module).map(Admitted::Script).ok_or_else(|| "not a script".to_owned())
    }

    fn instantiate(
        &self,
        admitted: &Admitted,
        limits: &Limits,
        surroundings: Surroundings,
        seed: u64,
    ) -> Result<Instance, String> {
        match admitted {
            Admitted::Module(admitted) => {
                let instance = self.runtime.instantiate(admitted, limits, surroundings, seed);
                let instance = instance.map_err(|refusal| refusal.to_string())?;
                Ok(Instance::Module(Box::new(instance)))
            }
            Admitted::Script(script) => {
                let actuators = surroundings.actuators;
                let script = Scripted::new(*script, limits, actuators);
                Ok(Instance::Script(Box::new(script)))
            }
        }
    }
}

impl HostInstance for Instance {
    fn begin(
        &mut self,
        event: &Event<'_>,
        time: u64,
        uncertainty: Option<u64>,
    ) -> Result<bool, Busy> {
        match self {
            Self::Module(instance) => instance.begin(event, time, uncertainty),
            Self::Script(script) => script.begin(event),
        }
    }

    fn run(&mut self, fuel: u64) -> Progress {
        match self {
            Self::Module(instance) => instance.run(fuel),
            Self::Script(script) => script.run(fuel),
        }
    }

    fn effects(&self) -> impl Iterator<Item = Effect<'_>> {
        match self {
            Self::Module(instance) => Asked::Module(instance.effects()),
            Self::Script(script) => Asked::Script(script.effects()),
        }
    }

    fn set_sample(&mut self, sensor: u32, record: &[u8]) -> Result<(), Busy> {
        match self {
            Self::Module(instance) => instance.set_sample(sensor, record),
            Self::Script(script) => script.set_sample(),
        }
    }

    fn is_quiescent(&self) -> bool {
        match self {
            Self::Module(instance) => instance.is_quiescent(),
            Self::Script(script) => script.is_quiescent(),
        }
    }

    fn fuel_used(&self) -> u64 {
        match self {
            Self::Module(instance) => instance.fuel_used(),
            Self::Script(script) => script.fuel_used(),
        }
    }

    fn snapshot(
        &self,
        module: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), SnapshotError> {
        match self {
            Self::Module(instance) => instance.snapshot(module, out, limit),
            Self::Script(script) => script.snapshot(module, out, limit),
        }
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        match self {
            Self::Module(instance) => instance.restore(snapshot),
            Self::Script(script) => script.restore(snapshot),
        }
    }
}

/// What a handler has asked for.
enum Asked<'a, S> {
    Module(Effects<'a>),
    Script(S),
}

impl<'a, S: Iterator<Item = Effect<'a>>> Iterator for Asked<'a, S> {
    type Item = Effect<'a>;

    fn next(&mut self) -> Option<Effect<'a>> {
        match self {
            Self::Module(effects) => effects.next(),
            Self::Script(effects) => effects.next(),
        }
    }
}
