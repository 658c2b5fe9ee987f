//! Moving an instance, and bringing one back elsewhere whose node is lost.
//!
//! ```text
//! Prepare -> Quiesce -> Restore -> Commit -> Start -> Release -> over
//!    |          |          |         |
//!    +----------+----------+---------|-> Undo -> over      before the commit
//!                                    +-> always forward    after it
//! ```
//!
//! Durable is: that it has begun (so that its epoch is never given out again), that it is undone (before
//! anything is told to go on), and that it is committed (in the transaction that changes the owner). After
//! a restart what has begun is begun again from the start, which nodes answer as before; what is undone is
//! undone to the end; what is committed goes forward.
//!
//! A recovery is the same without a source: the state is a checkpoint that the gateway holds.

use crate::io::Token;
use crate::store::{Key, Store, Table};
use capmesh_wire::inventory::InstanceState;
use capmesh_wire::{BlobRef, Epoch, ErrorCode, InstanceId, Instant, NodeId};
use core::time::Duration;

/// Migrations at one time.
pub(crate) const MIGRATIONS: usize = 64;

/// How long the target may take to fetch and prepare the capsule: the instance runs all the while.
pub(crate) const PREPARING: Duration = Duration::from_secs(300);

/// How long the instance may be quiescent before it is undone.
pub(crate) const QUIET: Duration = Duration::from_secs(20);

/// How often what was not answered is said again.
pub(crate) const AGAIN: Duration = Duration::from_millis(500);

/// How far a migration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The target fetches the capsule and reserves a place.
    Prepare,
    /// The source finishes its handler and gives its state.
    Quiesce,
    /// The target takes the state.
    Restore(BlobRef),
    /// The change of owner becomes durable.
    Commit,
    /// The target starts.
    Start,
    /// The source forgets.
    Release,
    /// The source goes on, the target forgets: which of them have said so.
    Undo { source: bool, target: bool },
    /// It is over.
    Over,
}

impl Step {
    /// What it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Quiesce => "quiesce",
            Self::Restore(_) => "restore",
            Self::Commit => "commit",
            Self::Start => "start",
            Self::Release => "release",
            Self::Undo { .. } => "resume",
            Self::Over => "over",
        }
    }
}

/// What is durable of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Begun = 0,
    Committed = 1,
    Undone = 2,
}

/// A migration.
#[derive(Clone, Debug)]
pub(crate) struct Migration {
    pub(crate) instance: InstanceId,
    /// The source; `None` if the state is the gateway's checkpoint.
    pub(crate) from: Option<NodeId>,
    pub(crate) to: NodeId,
    pub(crate) old: Epoch,
    pub(crate) new: Epoch,
    pub(crate) step: Step,
    /// The commit that has to be durable before the step is taken.
    pub(crate) token: Token,
    /// Whether a command is on its way, to the source and to the target.
    pub(crate) asked: [bool; 2],
    /// When to say it again.
    pub(crate) again_at: Instant,
    /// When it is undone, if it has not come so far.
    pub(crate) until: Instant,
    /// Who or what wants it.
    pub(crate) cause: String,
    /// Why it is undone.
    pub(crate) problem: Option<String>,
    /// Whether it is undone because the target refuses the capsule, and that is remembered: another node
    /// can be tried at once.
    pub(crate) is_refused: bool,
    /// When it began, and when each step did.
    pub(crate) began: Instant,
    pub(crate) steps: Vec<(&'static str, Instant)>,
    /// The state that goes over; the gateway offers it if it comes from nobody.
    pub(crate) snapshot: Option<BlobRef>,
    pub(crate) quiet: Option<(Instant, Option<Instant>)>,
}

/// The places of `asked`.
pub(crate) const SOURCE: usize = 0;
pub(crate) const TARGET: usize = 1;

impl Migration {
    /// Begins, durably.
    pub(crate) fn begin(
        now: Instant,
        store: &mut Store,
        (instance, old, new): (InstanceId, Epoch, Epoch),
        (from, to): (Option<NodeId>, NodeId),
        cause: String,
    ) -> Self {
        let mut migration = Self {
            instance,
            from,
            to,
            old,
            new,
            step: Step::Prepare,
            token: Token::default(),
            asked: [false; 2],
            again_at: now,
            until: now + PREPARING,
            cause,
            problem: None,
            is_refused: false,
            began: now,
            steps: vec![("prepare", now)],
            snapshot: None,
            quiet: None,
        };
        migration.keep(store, Kept::Begun);
        migration
    }

    /// Goes on after a restart with what was kept. `None` if that is not what [`Migration::keep`] wrote.
    pub(crate) fn resume(now: Instant, key: &[u8], value: &[u8]) -> Option<Self> {
        let (instance, new) = key.split_first_chunk::<4>()?;
        let new = Epoch(u32::from_be_bytes(new.try_into().ok()?));
        let (old, rest) = value.split_first_chunk::<4>()?;
        let (kept, rest) = rest.split_first()?;
        let (from, rest) = rest.split_first_chunk::<8>()?;
        let (to, cause) = rest.split_first_chunk::<8>()?;
        let instance = InstanceId(u32::from_be_bytes(*instance));
        let from = Some(NodeId::from_bytes(*from)).filter(|from| from.as_bytes() != &[0; 8]);
        let mut store = Store::new();
        let ids = (instance, Epoch(u32::from_be_bytes(*old)), new);
        let cause = String::from_utf8_lossy(cause).into_owned();
        let ends = (from, NodeId::from_bytes(*to));
        let mut migration = Self::begin(now, &mut store, ids, ends, cause);
        migration.token = Token::default();
        match kept {
            1 => migration.enter(now, Step::Start),
            2 => migration.enter(now, Step::Undo { source: from.is_none(), target: false }),
            _ => {}
        }
        Some(migration)
    }

    fn key(&self) -> Key {
        let mut key = self.instance.0.to_be_bytes().to_vec();
        key.extend(self.new.0.to_be_bytes());
        Key::new(Table::Migrations, key)
    }

    /// Makes it durable how far it is; what follows waits for that.
    pub(crate) fn keep(&mut self, store: &mut Store, kept: Kept) {
        let mut value = self.old.0.to_be_bytes().to_vec();
        value.push(kept as u8);
        let from = self.from.map_or([0; 8], |from| *from.as_bytes());
        value.extend(from);
        value.extend(self.to.as_bytes());
        value.extend(self.cause.as_bytes());
        self.token = store.put(self.key(), value);
    }

    /// Forgets it.
    pub(crate) fn forget(&mut self, store: &mut Store) {
        store.delete(self.key());
        self.step = Step::Over;
    }

    /// Takes the next step.
    pub(crate) fn enter(&mut self, now: Instant, step: Step) {
        if let Step::Restore(blob) = step {
            self.snapshot = Some(blob);
        }
        match step {
            Step::Quiesce => {
                self.quiet = Some((now, None));
                self.until = now + QUIET;
            }
            Step::Release | Step::Over => {
                if let Some((_, end @ None)) = &mut self.quiet {
                    *end = Some(now);
                }
            }
            _ => {}
        }
        self.step = step;
        // What was said in the step before is answered to nobody.
        self.asked = [false; 2];
        self.again_at = now;
        if self.steps.len() < 16 {
            self.steps.push((step.name(), now));
        }
    }

    /// Whether the target does not own the instance yet.
    pub(crate) const fn is_before_commit(&self) -> bool {
        matches!(self.step, Step::Prepare | Step::Quiesce | Step::Restore(_))
    }

    /// Whether the instance cannot begin another migration yet: all that is left to do afterwards is to
    /// have the source forget.
    pub(crate) const fn is_in_the_way(&self) -> bool {
        !matches!(self.step, Step::Release | Step::Over)
    }

    /// Undoes it, durably, before anybody is told.
    pub(crate) fn undo(&mut self, now: Instant, store: &mut Store, problem: String) {
        if !self.is_before_commit() {
            return;
        }
        self.problem = Some(problem);
        self.enter(now, Step::Undo { source: self.from.is_none(), target: false });
        self.keep(store, Kept::Undone);
    }

    /// Whether a refusal will not go away by asking again.
    pub(crate) const fn is_final(code: ErrorCode) -> bool {
        !matches!(
            code,
            ErrorCode::Busy
                | ErrorCode::Full
                | ErrorCode::Timeout
                | ErrorCode::Moving
                | ErrorCode::Unreachable
                | ErrorCode::Internal
                | ErrorCode::Forbidden
                | ErrorCode::Unknown(_)
        )
    }

    /// What the status of the target, or that of the source, says about the step that waits for it.
    pub(crate) fn target_says(&self, state: InstanceState) -> Option<Result<(), ()>> {
        match (self.step, state) {
            (Step::Prepare, InstanceState::Prepared | InstanceState::Restored) => Some(Ok(())),
            (Step::Prepare, InstanceState::Failed) => Some(Err(())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId::from_bytes([n; 8])
    }

    fn begun(store: &mut Store) -> Migration {
        let ids = (InstanceId(7), Epoch(2), Epoch(5));
        Migration::begin(Instant::ZERO, store, ids, (Some(node(1)), node(2)), "asked for".into())
    }

    fn kept(store: &mut Store) -> (Vec<u8>, Vec<u8>) {
        let commit = store.poll(Instant::ZERO).unwrap();
        store.committed(Instant::ZERO, commit.token, Ok(()));
        let change = commit.changes.last().unwrap();
        (change.key.bytes.clone(), change.value.clone().unwrap())
    }

    fn resumed(store: &mut Store) -> Migration {
        let (key, value) = kept(store);
        Migration::resume(Instant::ZERO, &key, &value).unwrap()
    }

    #[test]
    fn after_a_restart_it_is_begun_again_undone_or_finished() {
        let mut store = Store::new();
        let mut migration = begun(&mut store);
        let again = resumed(&mut store);
        assert_eq!((again.from, again.to), (Some(node(1)), node(2)));
        assert_eq!((again.instance, again.old, again.new), (InstanceId(7), Epoch(2), Epoch(5)));
        assert_eq!((again.step, again.cause.as_str()), (Step::Prepare, "asked for"));
        migration.undo(Instant::ZERO, &mut store, "it is enough".into());
        let undone = Step::Undo { source: false, target: false };
        assert_eq!(resumed(&mut store).step, undone);
        let mut migration = begun(&mut store);
        migration.keep(&mut store, Kept::Committed);
        let committed = resumed(&mut store);
        assert_eq!(committed.step, Step::Start);
        assert!(Migration::resume(Instant::ZERO, &[1, 2], &[]).is_none());
    }

    #[test]
    fn who_was_asked_in_one_step_can_be_asked_in_the_next() {
        let mut store = Store::new();
        let mut migration = begun(&mut store);
        migration.asked = [true; 2];
        migration.undo(Instant::ZERO, &mut store, "the instance ends".into());
        assert_eq!(migration.asked, [false; 2]);
    }

    #[test]
    fn after_the_commit_nothing_is_undone() {
        let mut store = Store::new();
        let mut migration = begun(&mut store);
        migration.enter(Instant::ZERO, Step::Start);
        migration.undo(Instant::ZERO, &mut store, "too late".into());
        assert_eq!(migration.step, Step::Start);
    }
}
