//! Migrations on their way.

use super::attend::command;
use super::{Gateway, Purpose};
use crate::api;
use crate::asks::{Answer, Request};
use crate::migrate::{AGAIN, Kept, MIGRATIONS, Migration, SOURCE, Step, TARGET};
use crate::nodes::Presence;
use capmesh_wire::cbor::{self, List};
use capmesh_wire::control::{Command, Quiesce, Release, Reply, Restore, Start, Target};
use capmesh_wire::log::Level;
use capmesh_wire::{BlobRef, Epoch, ErrorCode, InstanceId, Instant, NodeId};
use core::time::Duration;

/// How often it is looked whether the ends of a migration are ready.
const LOOK: Duration = Duration::from_millis(20);

/// How long an instance rests whose migration was undone, the first time; it doubles.
const REST: Duration = Duration::from_secs(5);

impl Gateway {
    /// Begins to move an instance. `from` is absent if it goes on from the gateway's checkpoint.
    pub(super) fn begin_move(
        &mut self,
        now: Instant,
        id: InstanceId,
        from: Option<NodeId>,
        to: NodeId,
        cause: String,
    ) {
        let Some(mut row) = self.rows.get(id).cloned() else { return };
        if self.migrations.len() >= MIGRATIONS {
            self.decide_at(now + Duration::from_secs(1));
            return;
        }
        let (old, new) = (row.epoch, row.fence.next());
        row.fence = new;
        self.put_row(row);
        let ids = (id, old, new);
        let migration = Migration::begin(now, &mut self.store, ids, (from, to), cause);
        self.migrations.push(migration);
        self.plan_again();
        self.show(now, self.migrations.len() - 1);
    }

    /// Undoes the migration of an instance if it is not committed.
    pub(super) fn undo_of(&mut self, now: Instant, id: InstanceId, problem: &str) {
        let store = &mut self.store;
        let of = self.migrations.iter_mut().filter(|m| m.instance == id);
        of.for_each(|m| m.undo(now, store, problem.to_owned()));
    }

    pub(super) fn moves_timeout(&self) -> Option<Instant> {
        let each = self.migrations.iter().map(|m| {
            let waits = !self.store.is_durable(m.token) || m.asked.iter().all(|asked| *asked);
            let next = if waits || m.asked.contains(&true) && !is_undoing(m) {
                Instant::from_micros(u64::MAX)
            } else {
                m.again_at
            };
            if m.is_before_commit() { next.min(m.until) } else { next }
        });
        each.min().filter(|at| *at < Instant::from_micros(u64::MAX))
    }

    /// A node's status has changed: those that wait for it look again.
    pub(super) fn moves_look(&mut self, now: Instant, id: NodeId) {
        for migration in &mut self.migrations {
            if migration.to == id || migration.from == Some(id) {
                migration.again_at = migration.again_at.min(now);
            }
        }
    }

    /// Goes on with every migration as far as it can.
    pub(super) fn advance_moves(&mut self, now: Instant) {
        let mut at = 0;
        while at < self.migrations.len() {
            self.watch_over(now, at);
            let durable = self.migrations.get(at).is_some_and(|m| self.store.is_durable(m.token));
            if durable {
                self.advance_move(now, at);
            }
            if self.migrations.get(at).is_some_and(|m| m.step == Step::Over) {
                self.finish_move(now, at);
            } else {
                at += 1;
            }
        }
    }

    /// Undoes a migration that cannot come to its end.
    fn watch_over(&mut self, now: Instant, at: usize) {
        let Some(migration) = self.migrations.get(at).filter(|m| m.is_before_commit()) else {
            return;
        };
        let presence = |id: NodeId| self.nodes.get(id).map_or(Presence::Lost, |n| n.presence);
        let (to, id) = (migration.to, migration.instance);
        let problem = match migration.from {
            _ if presence(to) == Presence::Lost => format!("{} is lost", self.nodes.name(to)),
            Some(from) if presence(from) == Presence::Lost => {
                format!("{} is lost", self.nodes.name(from))
            }
            None if self.rows.get(id).is_some_and(|row| presence(row.node) == Presence::Up) => {
                "its node is back".to_owned()
            }
            _ if migration.until <= now => "it takes too long".to_owned(),
            _ => return,
        };
        self.undo_move(now, at, problem);
    }

    fn undo_move(&mut self, now: Instant, at: usize, problem: String) {
        if let Some(migration) = self.migrations.get_mut(at) {
            migration.undo(now, &mut self.store, problem);
        }
        self.show(now, at);
    }

    /// One step, or a part of one. The work is at most two commands.
    fn advance_move(&mut self, now: Instant, at: usize) {
        let Some(migration) = self.migrations.get(at) else { return };
        let is_due = migration.again_at <= now;
        match migration.step {
            Step::Commit => {
                // It is durable: the target owns the instance.
                self.enter(now, at, Step::Start);
                self.advance_move(now, at);
            }
            Step::Prepare => self.prepare(now, at, is_due),
            Step::Quiesce => {
                if let Some(from) = migration.from.filter(|_| is_due) {
                    let target = Target { instance: migration.instance, epoch: migration.old };
                    let request = command(&Command::Quiesce(Quiesce { target, to: migration.to }));
                    self.say(now, at, SOURCE, from, request);
                }
            }
            Step::Restore(snapshot) if is_due => {
                let target = Target { instance: migration.instance, epoch: migration.new };
                let from = migration.from.unwrap_or(self.id);
                let request = command(&Command::Restore(Restore { target, snapshot, from }));
                self.say(now, at, TARGET, migration.to, request);
            }
            // When it is back it is told by its row; until then the instance may have to go on elsewhere.
            Step::Start if self.is_gone(migration.to) => self.enter(now, at, Step::Release),
            Step::Start if is_due => {
                let (to, instance) = (migration.to, migration.instance);
                let request = self.start_command(at, false);
                match request {
                    Some(_) => self.say(now, at, TARGET, to, request),
                    // It belongs to somebody else by now, or has ended.
                    None => {
                        let gone = self.rows.get(instance).is_none_or(|row| row.node != to);
                        if gone {
                            self.enter(now, at, Step::Release);
                        }
                    }
                }
            }
            Step::Release => match migration.from {
                Some(from)
                    if self.nodes.get(from).is_some_and(|n| n.presence != Presence::Lost) =>
                {
                    if is_due {
                        let target = Target { instance: migration.instance, epoch: migration.old };
                        let release = Release { target, to: migration.to };
                        self.say(now, at, SOURCE, from, command(&Command::Release(release)));
                    }
                }
                _ => self.enter(now, at, Step::Over),
            },
            Step::Undo { .. } => self.undo_further(now, at, is_due),
            Step::Restore(_) | Step::Start | Step::Over => {}
        }
    }

    fn prepare(&mut self, now: Instant, at: usize, is_due: bool) {
        let Some(migration) = self.migrations.get(at) else { return };
        let (instance, to, new) = (migration.instance, migration.to, migration.new);
        let status = self.nodes.get(to).and_then(|node| node.instance(instance));
        let status = status.filter(|status| status.epoch == new);
        match status.and_then(|status| migration.target_says(status.state)) {
            Some(Ok(())) => self.prepared(now, at),
            Some(Err(())) => {
                let reason = status.and_then(|status| status.reason);
                self.note_refusal(at, reason);
                let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                let name = self.nodes.name(to);
                self.undo_move(now, at, format!("{name} cannot take it{reason}"));
            }
            None if is_due => {
                let request = self.start_command(at, true);
                self.say(now, at, TARGET, to, request);
            }
            None => {}
        }
    }

    /// The target is prepared.
    fn prepared(&mut self, now: Instant, at: usize) {
        let Some(migration) = self.migrations.get(at) else { return };
        if let Some(from) = migration.from {
            // While the instance runs nowhere nobody is to wait for what can be said before: the two
            // have to know each other.
            if !self.is_up_to_date(from) || !self.is_up_to_date(migration.to) {
                if let Some(migration) = self.migrations.get_mut(at) {
                    migration.again_at = now + LOOK;
                }
                return;
            }
            self.enter(now, at, Step::Quiesce);
            self.advance_move(now, at);
            return;
        }
        let state = self.checkpoints.get(migration.instance).map(|kept| kept.state.clone());
        match state.and_then(|state| self.offers.add(&state, false)) {
            Some(blob) => self.enter(now, at, Step::Restore(blob)),
            None => self.undo_move(now, at, "its checkpoint is no longer here".to_owned()),
        }
    }

    /// Whether a node has the newest roster and its newest plan.
    fn is_up_to_date(&self, id: NodeId) -> bool {
        let has = self.nodes.get(id).and_then(|node| node.revisions());
        let wanted = self.roster_told.zip(self.planned.revision_of(id));
        let (Some((roster, plan)), Some((newest, own))) = (has, wanted) else { return false };
        roster >= newest && plan >= own
    }

    /// `Prepare`, or `Start` once the target is the owner.
    fn start_command(&self, at: usize, prepare: bool) -> Option<Request> {
        let migration = self.migrations.get(at)?;
        let (to, new) = (migration.to, migration.new);
        let mut row = self.rows.bound(migration.instance, self.id)?;
        if !prepare && (row.node != to || row.epoch != new) {
            return None;
        }
        row.epoch = new;
        let sources = self.sources(&row.capsule, to);
        let start = Start {
            target: Target { instance: migration.instance, epoch: new },
            assignment: Some(row.assignment()?),
            sources: List::new(&sources).ok()?,
        };
        command(&if prepare { Command::Prepare(start) } else { Command::Start(start) })
    }

    fn undo_further(&mut self, now: Instant, at: usize, is_due: bool) {
        let Some(migration) = self.migrations.get_mut(at) else { return };
        let (instance, old, new) = (migration.instance, migration.old, migration.new);
        let (from, to) = (migration.from, migration.to);
        let Step::Undo { source, target } = &mut migration.step else { return };
        // Who is not of the site any more, or has lost the instance to another epoch, is not asked.
        let superseded = self.rows.get(instance).is_none_or(|row| row.epoch != old);
        // Who is lost is told when it is back, by what it says of itself.
        let gone = |id| self.nodes.get(id).is_none_or(|node| node.presence == Presence::Lost);
        *source |= superseded || from.is_none_or(gone);
        *target |= gone(to);
        let (source, target) = (*source, *target);
        if source && target {
            self.enter(now, at, Step::Over);
            return;
        }
        if !is_due {
            return;
        }
        migration.again_at = now + AGAIN;
        if let Some(from) = from.filter(|_| !source) {
            let resume = Command::Resume(Target { instance, epoch: old });
            self.say(now, at, SOURCE, from, command(&resume));
        }
        if !target {
            let stop = Command::Stop(Target { instance, epoch: new });
            self.say(now, at, TARGET, to, command(&stop));
        }
    }

    fn is_gone(&self, id: NodeId) -> bool {
        self.nodes.get(id).is_none_or(|node| node.presence == Presence::Lost)
    }

    fn enter(&mut self, now: Instant, at: usize, step: Step) {
        if let Some(migration) = self.migrations.get_mut(at) {
            migration.enter(now, step);
        }
        self.show(now, at);
    }

    /// Says something to one end of a migration, unless it is being said.
    fn say(&mut self, now: Instant, at: usize, end: usize, to: NodeId, request: Option<Request>) {
        let is_told = self.roster_told.is_some();
        let peer = if is_told { self.nodes.peer(now, &mut *self.link, to) } else { None };
        let Some(migration) = self.migrations.get_mut(at) else { return };
        // Also while it waits for an answer, or all that is said would be put together at each event.
        migration.again_at = now + AGAIN;
        if migration.asked.get(end).copied().unwrap_or(true) {
            return;
        }
        let (Some(peer), Some(request)) = (peer, request) else { return };
        let purpose = Purpose::Step(migration.instance, migration.new, end, migration.step.name());
        if self.asks.send(now, &mut *self.link, peer, request, purpose).is_ok()
            && let Some(asked) = migration.asked.get_mut(end)
        {
            *asked = true;
        }
    }

    /// One end of a migration has answered.
    pub(super) fn step_answered(
        &mut self,
        now: Instant,
        id: InstanceId,
        epoch: Epoch,
        (end, step): (usize, &str),
        answer: &Answer,
    ) {
        let found = self.migrations.iter().position(|m| m.instance == id && m.new == epoch);
        let Some(at) = found else { return };
        let Some(migration) = self.migrations.get_mut(at) else { return };
        // An answer to a step that is over says nothing: what was said in it was said to the end.
        if migration.step.name() != step {
            return;
        }
        let was_asked = migration.asked.get_mut(end).is_some_and(core::mem::take);
        if !was_asked {
            return;
        }
        migration.again_at = now + AGAIN;
        if !answer.is_success() {
            self.step_refused(now, at, end, answer);
            return;
        }
        let reply = cbor::decode::<Reply<'_>>(&answer.body).ok();
        match (migration.step, reply) {
            (Step::Quiesce, Some(Reply::Snapshot(blob))) if end == SOURCE => {
                self.quiescent(now, at, blob);
            }
            (Step::Restore(_), Some(Reply::Done(_))) if end == TARGET => self.commit(now, at),
            (Step::Start, Some(_)) if end == TARGET => {
                self.enter(now, at, Step::Release);
                self.advance_move(now, at);
            }
            (Step::Release, Some(_)) if end == SOURCE => self.enter(now, at, Step::Over),
            (Step::Undo { .. }, Some(_)) => self.undone(now, at, end),
            // The target's status says when it is prepared.
            _ => {}
        }
    }

    fn quiescent(&mut self, now: Instant, at: usize, blob: BlobRef) {
        self.enter(now, at, Step::Restore(blob));
        self.advance_move(now, at);
    }

    /// The point of no return: the target owns the instance from this commit on.
    fn commit(&mut self, now: Instant, at: usize) {
        let Some(migration) = self.migrations.get(at) else { return };
        let (id, to, new) = (migration.instance, migration.to, migration.new);
        let Some(mut row) = self.rows.get(id).cloned() else { return };
        if row.epoch != migration.old {
            self.undo_move(now, at, "the instance has changed".to_owned());
            return;
        }
        (row.node, row.epoch) = (to, new);
        self.put_row(row);
        self.enter(now, at, Step::Commit);
        if let Some(migration) = self.migrations.get_mut(at) {
            migration.keep(&mut self.store, Kept::Committed);
        }
        self.calm.remove(&id);
    }

    /// The target of a migration has said why it does not take the instance.
    fn note_refusal(&mut self, at: usize, why: Option<ErrorCode>) {
        let Some((migration, why)) = self.migrations.get_mut(at).zip(why) else { return };
        let capsule = self.rows.get(migration.instance).map(|row| row.capsule);
        let node = self.nodes.get_mut(migration.to);
        migration.is_refused =
            node.zip(capsule).is_some_and(|(node, capsule)| node.note_refusal(capsule, why));
    }

    fn undone(&mut self, now: Instant, at: usize, end: usize) {
        let Some(migration) = self.migrations.get_mut(at) else { return };
        if let Step::Undo { source, target } = &mut migration.step {
            if end == SOURCE {
                *source = true;
            } else {
                *target = true;
            }
        }
        self.undo_further(now, at, false);
    }

    fn step_refused(&mut self, now: Instant, at: usize, end: usize, answer: &Answer) {
        let (code, retry) = answer.problem();
        let Some(migration) = self.migrations.get_mut(at) else { return };
        if let Some(retry) = retry {
            migration.again_at = now + Duration::from_millis(u64::from(retry)).min(AGAIN * 4);
            return;
        }
        let is_final = Migration::is_final(code);
        match migration.step {
            Step::Prepare | Step::Quiesce | Step::Restore(_) if is_final => {
                let who = if end == SOURCE { migration.from } else { Some(migration.to) };
                let who = who.map_or_else(String::new, |id| self.nodes.name(id));
                if end == TARGET {
                    self.note_refusal(at, Some(code));
                }
                self.undo_move(now, at, format!("{who} refuses: {code}"));
            }
            // There is nothing to release or to undo there (any more).
            Step::Release if is_final => self.enter(now, at, Step::Over),
            Step::Undo { .. } if is_final => self.undone(now, at, end),
            Step::Start if code == ErrorCode::StaleEpoch => self.enter(now, at, Step::Release),
            _ => {}
        }
    }

    /// A migration is over: it is forgotten, and remembered for people.
    fn finish_move(&mut self, now: Instant, at: usize) {
        let view = self.migration_view(now, at);
        let mut migration = self.migrations.remove(at);
        migration.forget(&mut self.store);
        if let (None, Some(blob)) = (migration.from, migration.snapshot) {
            self.offers.remove(&blob.digest);
        }
        if (migration.problem.is_some() || is_undone(&migration)) && !migration.is_refused {
            let times = self.calm.get(&migration.instance).map_or(0, |(_, times)| *times);
            let rest = REST * (1 << times.min(6));
            self.calm.insert(migration.instance, (now + rest, times.saturating_add(1)));
        }
        if let Some(view) = view {
            self.note_move(now, &view);
            self.event(api::Event::Migration(Box::new(view.clone())));
            self.over.push_front(view);
            self.over.truncate(super::OVER);
        }
        self.plan_again();
        self.decide_at(now);
        let (from, to) = (migration.from, migration.to);
        from.into_iter().chain([to]).for_each(|id| self.nodes.touch(now, id));
    }

    fn note_move(&mut self, now: Instant, view: &api::MigrationView) {
        let api::MigrationView { path, from, to, cause, .. } = view;
        match &view.problem {
            Some(problem) => {
                let text = format!("{path} stays on {from} and does not move to {to}: {problem}");
                self.note(now, Level::Warning, text);
            }
            None => self.note(now, Level::Info, format!("{path} is on {to} now: {cause}")),
        }
    }

    /// Shows a migration as it is now.
    fn show(&mut self, now: Instant, at: usize) {
        if let Some(view) = self.migration_view(now, at) {
            self.event(api::Event::Migration(Box::new(view)));
        }
    }
}

const fn is_undoing(migration: &Migration) -> bool {
    matches!(migration.step, Step::Undo { .. })
}

fn is_undone(migration: &Migration) -> bool {
    migration.steps.iter().any(|(step, _)| *step == "resume")
}
