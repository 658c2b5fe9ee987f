//! One-shot capsules: arguments in, result out.

use super::Node;
use crate::host::{CapsuleHost, Event, HostInstance};
use crate::instances::profile::Profile;
use crate::instances::row::Phase;
use crate::instances::{Current, Running, Slot};
use crate::problem::Reason;
use alloc::boxed::Box;
use alloc::vec::Vec;
use capmesh_coap::endpoint::Responder;
use capmesh_session::Link;
use capmesh_wire::control::{Reply, Run, RunResult};
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::{Bytes, Epoch, ErrorCode, InstanceId, Instant};

/// One-shot capsules that run at once.
const ONCE: u32 = 2;

impl<E: Link, H: CapsuleHost> Node<E, H> {
    /// Begins to run a one-shot capsule that is held. Nothing of it is kept: a crash ends it.
    pub(super) fn run_once(
        &mut self,
        now: Instant,
        flash: &[u8],
        run: &Run<'_>,
        waiting: Responder,
    ) -> Result<(), Reason> {
        let free = (0..ONCE).map(|n| InstanceId(u32::MAX - n));
        let id = free.into_iter().find(|id| self.instances.get(*id).is_none());
        let id = id.ok_or(Reason::retry(ErrorCode::Full, 1_000))?;
        let unknown = Reason::new(ErrorCode::UnknownCapsule);
        let held = self.install.held(flash, &self.store, &run.capsule).ok_or(unknown)?;
        let manifest = held.manifest;
        let profile = Profile::new(&self.config, &manifest, manifest.module_size)?;
        self.check_budget(profile.ram, 0)?;
        let surroundings = profile.surroundings(&manifest.capsule, None)?;
        let mut instance = self.make(held.module, &profile, surroundings)?;
        let time = self.time(now);
        let event = Event::Run { arguments: run.arguments.as_slice() };
        match instance.begin(&event, time.micros, time.uncertainty.map(u64::from)) {
            Ok(true) => {}
            Ok(false) => {
                return Err(Reason::new(ErrorCode::Unsupported).because("it has no `run`"));
            }
            Err(_) => return Err(Reason::new(ErrorCode::Internal)),
        }
        let mut slot = Slot::new(id, Epoch(0), run.capsule, Phase::Run);
        slot.state = InstanceState::Running;
        slot.result = Some(waiting);
        let mut running = Running::new(now, instance, profile, self.log.allowance(now));
        (running.current, running.is_fresh) = (Some(Current::Run), false);
        slot.running = Some(Box::new(running));
        self.instances.push(slot);
        Ok(())
    }

    /// A one-shot capsule has ended well.
    pub(super) fn ran(
        &mut self,
        now: Instant,
        id: InstanceId,
        result: Option<(u8, Vec<u8>)>,
        fuel: u64,
    ) {
        let waiting = self.instances.get_mut(id).and_then(|slot| slot.result.take());
        self.instances.remove(id);
        let (status, bytes) = result.unwrap_or((NO_CONTENT, Vec::new()));
        match Bytes::new(&bytes) {
            Some(result) => {
                let reply = Reply::Result(RunResult { status, result, fuel });
                self.reply(now, waiting, &reply);
            }
            None => self.refuse(now, waiting, &Reason::new(ErrorCode::TooLarge)),
        }
    }
}

/// The CoAP code 2.04 (Changed), of a capsule that has nothing to say.
const NO_CONTENT: u8 = 2 << 5 | 4;
