//! Commands: what gateways and operators tell a node to do.

use super::life::drifted;
use super::reach::{others_of, peer_of};
use super::{Node, PENDING};
use crate::host::CapsuleHost;
use crate::instances::row::Phase;
use crate::instances::{Lease, Slot};
use crate::migrate::Restoring;
use crate::problem::{self, Reason};
use alloc::vec::Vec;
use capmesh_coap::block::BlockSize;
use capmesh_coap::endpoint::Responder;
use capmesh_coap::option::OptionNumber;
use capmesh_coap::{Code, MessageWriter};
use capmesh_session::{Link, Peer, Roles};
use capmesh_wire::control::{
    Command, Moment, Nothing, Quiesce, Release, Renew, Reply, Restore, Start, Target,
};
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::plan::Assignment;
use capmesh_wire::{Digest, ErrorCode, Instant, NodeId, Role, cbor, content_format};
use core::time::Duration;

/// Who may command.
pub(super) const COMMANDERS: Roles = Roles::only(Role::Gateway).or(Role::Operator);

/// Room for a reply: its result is a payload.
const REPLY: usize = capmesh_wire::limits::PAYLOAD + 64;

/// What to say at once; `None` if the answer comes later, from whoever was given the responder.
type Said<'a> = Result<Option<Reply<'a>>, Reason>;

impl<E: Link, H: CapsuleHost> Node<E, H> {
    /// Does what a command says, and answers it now or later.
    #[inline(never)]
    pub(super) fn command(
        &mut self,
        now: Instant,
        flash: &[u8],
        peer: Peer,
        responder: Responder,
        body: &[u8],
    ) {
        let command = cbor::decode::<Command<'_>>(body);
        let adopts = matches!(command, Ok(Command::Adopt(_)));
        if let Some(code) = peer.require(COMMANDERS).err().filter(|_| !adopts) {
            self.forbid(now, peer);
            self.deny(now, responder, code);
            return;
        }
        if let Some(member) = peer.member() {
            self.note(flash, member.id, Vec::new());
        }
        let said = match command {
            Err(error) => Err(Reason::new(ErrorCode::Malformed).because(error)),
            Ok(command) => self.obey(now, flash, peer, responder, &command),
        };
        match said {
            Ok(Some(reply)) => self.reply(now, Some(responder), &reply),
            Ok(None) => {}
            Err(reason) => self.refuse(now, Some(responder), &reason),
        }
        self.changed.status = true;
    }

    fn obey(
        &mut self,
        now: Instant,
        flash: &[u8],
        peer: Peer,
        waiting: Responder,
        command: &Command<'_>,
    ) -> Said<'static> {
        if let Command::Adopt(adopt) = command {
            self.site.adopt(&self.store, peer, adopt)?;
            let before = self.adopting.replace(waiting);
            self.refuse(now, before, &Reason::retry(ErrorCode::Busy, 1_000));
            return Ok(None);
        }
        if self.pending.len() >= PENDING {
            return Err(Reason::retry(ErrorCode::Full, 1_000));
        }
        match command {
            Command::Install(install) => {
                let (capsule, sources) = (install.capsule, install.sources.iter());
                Ok(Some(done_if(self.want(now, flash, &capsule, sources)?)))
            }
            Command::Remove(remove) => {
                if self.instances.uses(&remove.capsule) {
                    return Err(Reason::new(ErrorCode::WrongState).because("an instance uses it"));
                }
                self.install.remove(&remove.capsule)?;
                Ok(Some(Reply::Done(Nothing {})))
            }
            Command::Prepare(start) => self.start(now, flash, start, Phase::Prepared, waiting),
            Command::Start(start) => self.start(now, flash, start, Phase::Run, waiting),
            Command::Stop(target) => self.stop(now, flash, target, waiting),
            Command::Quiesce(quiesce) => self.quiesce(now, quiesce, waiting),
            Command::Checkpoint(target) => self.checkpoint(target, waiting),
            Command::Restore(restore) => self.restore(now, flash, restore, waiting),
            Command::Resume(target) => self.resume(now, flash, target, waiting),
            Command::Release(release) => self.release(now, flash, release, waiting),
            Command::Renew(renew) => self.renew(now, flash, renew),
            Command::Run(run) => {
                self.run_once(now, flash, run, waiting)?;
                Ok(None)
            }
            Command::Reboot(_) => {
                self.reboot = Some(now + Duration::from_millis(500));
                Ok(Some(Reply::Accepted(Nothing {})))
            }
            Command::Adopt(_) | Command::Unknown(_) => Err(Reason::new(ErrorCode::Unsupported)),
        }
    }

    /// Has a capsule fetched, unless it is here. Says whether it is.
    pub(super) fn want(
        &mut self,
        now: Instant,
        flash: &[u8],
        capsule: &Digest,
        sources: impl Iterator<Item = NodeId> + Clone,
    ) -> Result<bool, Reason> {
        if self.install.held(flash, &self.store, capsule).is_some() {
            return Ok(true);
        }
        self.reach(now, flash, sources.clone());
        let peers = sources.filter_map(|id| peer_of(&self.reached, id));
        // Rows name the gateway where it is wired to, and it has no capsules.
        let has_capsules =
            |peer: &Peer| peer.member().is_none_or(|member| member.role != Role::Gateway);
        let peers: Vec<_> = peers.filter(has_capsules).collect();
        self.install.want(now, capsule, &peers)?;
        Ok(false)
    }

    /// The instance that a command means.
    fn target(&mut self, target: &Target) -> Result<&mut Slot<H::Instance>, Reason> {
        let slot = self.instances.get_mut(target.instance);
        let slot = slot.ok_or(Reason::new(ErrorCode::UnknownInstance))?;
        if target.epoch < slot.epoch {
            return Err(Reason::new(ErrorCode::StaleEpoch));
        }
        if target.epoch > slot.epoch {
            return Err(Reason::new(ErrorCode::WrongState).because("no such epoch here yet"));
        }
        Ok(slot)
    }

    fn start(
        &mut self,
        now: Instant,
        flash: &[u8],
        start: &Start<'_>,
        phase: Phase,
        waiting: Responder,
    ) -> Said<'static> {
        let target = start.target;
        let known = self.instances.get(target.instance);
        let known = known.map(|slot| (slot.epoch, slot.phase, slot.state));
        match known {
            Some((epoch, ..)) if epoch > target.epoch => {
                return Err(Reason::new(ErrorCode::StaleEpoch));
            }
            Some((epoch, was, state)) if epoch == target.epoch => match (was, phase) {
                (Phase::Run, Phase::Run) => {
                    let ended = matches!(state, InstanceState::Failed | InstanceState::Stopped);
                    return Ok(Some(self.start_again(now, flash, &target, ended)));
                }
                (Phase::Prepared | Phase::Restored, Phase::Prepared) => {
                    return Ok(Some(done_if(state != InstanceState::Fetching)));
                }
                (Phase::Released | Phase::Quiesced, _) | (Phase::Run, _) => {
                    return Err(Reason::new(ErrorCode::WrongState));
                }
                _ => {}
            },
            _ if !self.instances.has_room() => return Err(Reason::new(ErrorCode::Full)),
            _ => {}
        }
        let plan = self.site.plan(flash, &self.store);
        let planned = plan.as_ref().and_then(|plan| plan.assignment(target.instance));
        let planned = planned.filter(|row| row.epoch == target.epoch);
        let kept = self.store.get(flash, crate::flash::kinds::ROW, target.instance.0);
        let kept = kept.and_then(crate::instances::row::Row::parse);
        let kept = kept.filter(|row| row.epoch == target.epoch).and_then(|row| row.assignment());
        let from_plan = start.assignment.is_none() && planned.is_some();
        let row = start.assignment.or(planned).or(kept);
        let row =
            row.ok_or(Reason::new(ErrorCode::UnknownInstance).because("it has no assignment"))?;
        check_row(&row, &target)?;
        self.reach(now, flash, others_of(&row));
        self.want(now, flash, &row.capsule, start.sources.iter())?;
        self.begin(now, flash, &row, phase, from_plan, Some(waiting))?;
        Ok(None)
    }

    /// A start that was heard before: an instance that has ended since is tried again.
    fn start_again(
        &mut self,
        now: Instant,
        flash: &[u8],
        target: &Target,
        has_ended: bool,
    ) -> Reply<'static> {
        if let Some(slot) = self.instances.get_mut(target.instance).filter(|_| has_ended) {
            slot.faults = crate::instances::Faults::default();
            slot.reason = None;
            slot.state = InstanceState::Fetching;
        }
        self.settle(now, flash, target.instance, true);
        let runs = self.instances.get(target.instance).is_some_and(|s| s.running.is_some());
        done_if(runs)
    }

    fn stop(
        &mut self,
        now: Instant,
        flash: &[u8],
        target: &Target,
        waiting: Responder,
    ) -> Said<'static> {
        let slot = self.instances.get(target.instance);
        let slot = slot.ok_or(Reason::new(ErrorCode::UnknownInstance))?;
        if target.epoch < slot.epoch {
            return Err(Reason::new(ErrorCode::StaleEpoch));
        }
        if slot.phase == Phase::Stopped && slot.epoch == target.epoch {
            return Ok(Some(Reply::Done(Nothing {})));
        }
        let (id, epoch) = (target.instance, target.epoch);
        self.set_phase(flash, id, epoch, Phase::Stopped, None, Some(waiting))?;
        self.end(now, id);
        Ok(None)
    }

    fn quiesce(&mut self, now: Instant, quiesce: &Quiesce, waiting: Responder) -> Said<'static> {
        let slot = self.target(&quiesce.target)?;
        match slot.state {
            InstanceState::Running => {}
            InstanceState::Quiescent if slot.moved_to == Some(quiesce.to) => {
                let offer = slot.offer.as_ref().ok_or(Reason::new(ErrorCode::Internal))?;
                return Ok(Some(Reply::Snapshot(offer.blob)));
            }
            InstanceState::Quiescing if slot.moved_to == Some(quiesce.to) => {
                // The one who asked first has gone, or asks again.
                let before = slot.commit.wanted.replace(waiting);
                self.refuse(now, before, &Reason::retry(ErrorCode::Busy, 1_000));
                return Ok(None);
            }
            _ => return Err(Reason::new(ErrorCode::WrongState)),
        }
        if slot.running.as_ref().is_none_or(|running| running.is_fresh) {
            return Err(Reason::retry(ErrorCode::Busy, 500));
        }
        // The router hears of it with the last message that two inputs share.
        slot.state = InstanceState::Quiescing;
        slot.moved_to = Some(quiesce.to);
        let before = slot.commit.wanted.replace(waiting);
        self.refuse(now, before, &Reason::new(ErrorCode::Moving));
        Ok(None)
    }

    fn checkpoint(&mut self, target: &Target, waiting: Responder) -> Said<'static> {
        let slot = self.target(target)?;
        if slot.state != InstanceState::Running || slot.commit.wanted.is_some() {
            return Err(Reason::new(ErrorCode::WrongState));
        }
        slot.commit.wanted = Some(waiting);
        slot.offer = None;
        Ok(None)
    }

    fn restore(
        &mut self,
        now: Instant,
        flash: &[u8],
        restore: &Restore,
        waiting: Responder,
    ) -> Said<'static> {
        let slot = self.target(&restore.target)?;
        match slot.phase {
            Phase::Restored => return Ok(Some(Reply::Done(Nothing {}))),
            Phase::Prepared if slot.state == InstanceState::Prepared => {}
            Phase::Prepared => return Err(Reason::retry(ErrorCode::Busy, 1_000)),
            _ => return Err(Reason::new(ErrorCode::WrongState)),
        }
        let id = restore.target.instance;
        if let Some(same) = self.restoring.iter_mut().find(|r| r.order == *restore) {
            let before = same.waiting.replace(waiting);
            self.refuse(now, before, &Reason::retry(ErrorCode::Busy, 1_000));
            return Ok(None);
        }
        self.restoring.retain(|restoring| restoring.order.target.instance != id);
        if self.restoring.len() >= super::RESTORING {
            return Err(Reason::retry(ErrorCode::Full, 1_000));
        }
        self.reach(now, flash, core::iter::once(restore.from));
        let peer = self.link.peer(restore.from).ok_or(Reason::new(ErrorCode::Unreachable))?;
        let block = BlockSize::at_most(self.link.mtu().saturating_sub(128));
        let block = block.unwrap_or(BlockSize::MIN);
        let [.., a, b, c, d] = self.next_seed().to_be_bytes();
        let seed = u32::from_be_bytes([a, b, c, d]);
        let limit = self.config.snapshot;
        let mut restoring = Restoring::new(now, restore, peer, block, limit, seed)?;
        restoring.waiting = Some(waiting);
        self.restoring.push(restoring);
        Ok(None)
    }

    fn resume(
        &mut self,
        now: Instant,
        flash: &[u8],
        target: &Target,
        waiting: Responder,
    ) -> Said<'static> {
        let slot = self.target(target)?;
        let id = target.instance;
        match slot.state {
            InstanceState::Running if slot.phase == Phase::Run => {
                return Ok(Some(Reply::Done(Nothing {})));
            }
            InstanceState::Quiescing if slot.commit.writing.is_none() => {
                slot.state = InstanceState::Running;
                slot.moved_to = None;
                let before = slot.commit.wanted.take();
                self.router.run(id);
                self.refuse(now, before, &Reason::new(ErrorCode::WrongState));
                return Ok(Some(Reply::Done(Nothing {})));
            }
            InstanceState::Quiescing => return Err(Reason::retry(ErrorCode::Busy, 500)),
            InstanceState::Quiescent => {}
            _ => return Err(Reason::new(ErrorCode::WrongState)),
        }
        self.set_phase(flash, id, target.epoch, Phase::Run, None, Some(waiting))?;
        Ok(None)
    }

    fn release(
        &mut self,
        now: Instant,
        flash: &[u8],
        release: &Release,
        waiting: Responder,
    ) -> Said<'static> {
        let slot = self.target(&release.target)?;
        match slot.phase {
            Phase::Released => return Ok(Some(Reply::Done(Nothing {}))),
            Phase::Quiesced => {}
            _ => return Err(Reason::new(ErrorCode::WrongState)),
        }
        let id = release.target.instance;
        let (epoch, to) = (release.target.epoch, Some(release.to));
        self.set_phase(flash, id, epoch, Phase::Released, to, Some(waiting))?;
        self.end(now, id);
        Ok(None)
    }

    /// Gives an instance its lease, from the moment on that the gateway has last heard of: what it has
    /// said before it lost this node gives none when it comes late.
    fn renew(&mut self, now: Instant, flash: &[u8], renew: &Renew) -> Said<'static> {
        let moment = self.moment(now);
        let length = drifted(Duration::from_millis(u64::from(renew.lease_ms)));
        let since = match renew.since {
            None => now,
            Some(since) if since.boots == moment.boots => {
                (self.born + Duration::from_millis(since.uptime_ms)).min(now)
            }
            Some(_) => {
                let reason = Reason::retry(ErrorCode::WrongState, 500);
                return Err(reason.because("it has started since"));
            }
        };
        let slot = self.target(&renew.target)?;
        let known = slot.lease.and_then(|lease| lease.until);
        let until = known.map_or(since + length, |known| known.max(since + length));
        slot.lease = Some(Lease { until: Some(until) });
        let has_run_out = slot.reason == Some(ErrorCode::LeaseExpired);
        if until > now && slot.phase == Phase::Run {
            self.start_again(now, flash, &renew.target, has_run_out);
        }
        Ok(Some(Reply::Renewed(moment)))
    }

    /// Now, by this node's clock.
    fn moment(&self, now: Instant) -> Moment {
        let uptime_ms = now.saturating_since(self.born).as_millis();
        Moment { boots: self.site.boots(), uptime_ms: uptime_ms.try_into().unwrap_or(u64::MAX) }
    }

    /// Answers a command that waited for its instance's phase to be durable.
    pub(super) fn answer_phase(
        &mut self,
        now: Instant,
        id: capmesh_wire::InstanceId,
        waiting: Option<Responder>,
    ) {
        let Some(slot) = self.instances.get(id) else { return };
        let reply = match (slot.state, slot.reason) {
            (InstanceState::Failed | InstanceState::BackingOff, Some(why)) => {
                self.refuse(now, waiting, &Reason::new(why));
                return;
            }
            (state, _) => done_if(state != InstanceState::Fetching),
        };
        self.reply(now, waiting, &reply);
    }

    /// Answers a command.
    pub(super) fn reply(&mut self, now: Instant, to: Option<Responder>, reply: &Reply<'_>) {
        let Some(to) = to else { return };
        let mut buf = [0; REPLY];
        let Ok(len) = cbor::encode(reply, &mut buf) else { return };
        let payload = buf.get(..len).unwrap_or_default();
        let format = u32::from(content_format::CONTROL);
        let mut build = |writer: &mut MessageWriter<'_>| {
            writer.option_uint(OptionNumber::CONTENT_FORMAT, format)?;
            writer.payload(payload)?;
            Ok(())
        };
        if self.link.respond(now, to, Code::CHANGED, &mut build).is_err() {
            self.link.ignore(now, to);
        }
    }

    /// Answers somebody who may not command: 4.01 or 4.03.
    fn deny(&mut self, now: Instant, to: Responder, code: Code) {
        if code == Code::FORBIDDEN {
            self.refuse(now, Some(to), &Reason::new(ErrorCode::Forbidden));
        } else if self.link.respond(now, to, code, &mut |_| Ok(())).is_err() {
            self.link.ignore(now, to);
        }
    }

    /// Answers a command that was not obeyed.
    pub(super) fn refuse(&mut self, now: Instant, to: Option<Responder>, reason: &Reason) {
        if let Some(to) = to {
            problem::refuse_later(now, &mut self.link, to, None, &reason.problem());
        }
    }
}

const fn done_if(is_done: bool) -> Reply<'static> {
    if is_done { Reply::Done(Nothing {}) } else { Reply::Accepted(Nothing {}) }
}

fn check_row(row: &Assignment<'_>, target: &Target) -> Result<(), Reason> {
    if row.instance == target.instance && row.epoch == target.epoch {
        Ok(())
    } else {
        Err(Reason::new(ErrorCode::Malformed).because("the assignment is another instance's"))
    }
}
