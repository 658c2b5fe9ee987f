//! The migration matrix: whoever falls over before or after whichever step of a migration, and whoever
//! does not hear whom meanwhile, there is one owner, and nothing is lost or doubled on `every` wires.
//!
//! In each [`Cell`] a pipeline of three capsules runs on three nodes of four, and a number passes from the
//! first to the last of them every 20 ms. The one in the middle is moved; when the move comes to the cell's
//! step, or right after that step's work, two parties are parted for [`PARTED`], and one is crashed and
//! comes back after a second. Then everything has to come through, in order and once.

use crate::event::Event;
use crate::net::Way;
use crate::scenario::{
    await_step, deploy, free_node, host, instance, instances, migrate, number, push_sum, sum_apart,
};
use crate::{GATEWAY, Host, World, capsules};
use capmesh_gateway::api::{Answer, MigrationState, Request};
use capmesh_node::flash::nor::Tear;
use capmesh_node::trace::Trace;
use capmesh_wire::inventory::InstanceState;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

/// How long two parties do not hear each other: longer than a node has to be silent to count as lost.
pub const PARTED: Duration = Duration::from_secs(8);

/// How long after a step has begun its work has been done: a request, a write, an answer.
const WORK: Duration = Duration::from_micros(3_500);

/// How long a party that was crashed stays down.
const DOWN: Duration = Duration::from_secs(1);

/// Numbers that pass.
const COUNT: u32 = 150;

/// The steps of a migration, by the names that the gateway's API gives them.
pub const STEPS: [&str; 6] = ["prepare", "quiesce", "restore", "commit", "start", "release"];

/// Somebody who takes part in a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The node that the instance leaves.
    Source,
    /// The node that it goes to.
    Target,
    /// The gateway.
    Gateway,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
            Self::Gateway => "gateway",
        })
    }
}

/// Two parties that do not hear each other.
pub type Pair = (Party, Party);

/// The pairs that are parted, or none.
pub const PAIRS: [Option<Pair>; 4] = [
    None,
    Some((Party::Source, Party::Target)),
    Some((Party::Gateway, Party::Source)),
    Some((Party::Gateway, Party::Target)),
];

/// What goes wrong in one migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The step of [`STEPS`].
    pub step: &'static str,
    /// Whether it happens once the step's work is done, rather than before anything of it is.
    pub after: bool,
    /// Who is crashed.
    pub victim: Option<Party>,
    /// Who does not hear whom.
    pub parted: Option<Pair>,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = if self.after { "after" } else { "before" };
        write!(f, "{when} {}", self.step)?;
        if let Some(victim) = self.victim {
            write!(f, ", {victim} crashes")?;
        }
        if let Some((a, b)) = self.parted {
            write!(f, ", {a} and {b} parted")?;
        }
        Ok(())
    }
}

/// What came of a cell in which everything held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the instance has moved; otherwise it goes on where it was.
    pub moved: bool,
    /// The longest that no number came through.
    pub pause: Duration,
}

/// All cells: each step, before and after, each party and nobody, each pair and none; without the cells in
/// which nothing goes wrong.
pub fn cells() -> impl Iterator<Item = Cell> {
    let victims = [None, Some(Party::Source), Some(Party::Target), Some(Party::Gateway)];
    let steps = STEPS.into_iter().flat_map(|step| [(step, false), (step, true)]);
    let all = steps.flat_map(move |(step, after)| {
        victims.into_iter().flat_map(move |victim| {
            PAIRS.into_iter().map(move |parted| Cell { step, after, victim, parted })
        })
    });
    all.filter(|cell| cell.victim.is_some() || cell.parted.is_some())
}

/// Runs one cell.
///
/// # Errors
/// What did not hold, in words.
pub fn run(cell: Cell, seed: u64) -> Result<Outcome, String> {
    let mut world = begin(seed);
    let before = instance(&mut world, "adder");
    let to = free_node(&mut world);
    let (source, target) = (number(&before.node), number(&to));
    world.history = Some(Vec::new());
    world.insist(&migrate("adder", &to));
    if !await_step(&mut world, cell.step) {
        return Err(format!("the move does not come to {}", cell.step));
    }
    if cell.after {
        world.run_for(WORK);
    }
    let number = |party| match party {
        Party::Source => source,
        Party::Target => target,
        Party::Gateway => GATEWAY,
    };
    if let Some((a, b)) = cell.parted {
        world.part(number(a), number(b), Way::Both);
    }
    match cell.victim.map(|victim| (victim, number(victim))) {
        Some((Party::Gateway, _)) => world.kill_gateway(),
        Some((_, n)) => {
            world.crash(n, Tear::Bits(seed));
            world.run_for(DOWN);
            world.boot(n);
        }
        None => {}
    }
    if cell.parted.is_some() {
        world.run_for(PARTED);
        world.heal();
    }
    await_calm(&mut world)?;
    let pause = await_all(&mut world)?;
    check_owners(&world, before.instance)?;
    let owner = host(&mut world, "adder");
    if owner != source && owner != target {
        return Err(format!("node {owner} owns it in the end"));
    }
    Ok(Outcome { moved: owner == target, pause })
}

/// A world in which the pipeline runs.
fn begin(seed: u64) -> World {
    let mut world = World::settled(seed, 4, &capsules::config());
    push_sum(&mut world, COUNT);
    deploy(&mut world, &sum_apart());
    world.run_until(60, |world| world.last(0) > 0.0);
    world
}

/// Runs until no migration is under way and every instance runs.
fn await_calm(world: &mut World) -> Result<(), String> {
    let is_over = |state| matches!(state, MigrationState::Done | MigrationState::Undone);
    for _ in 0..120 {
        world.run_for(Duration::from_millis(500));
        let migrations = world.ask(&Request::Migrations);
        let Some(Ok(Answer::Migrations(all))) = migrations else { continue };
        let is_calm = all.iter().all(|migration| is_over(migration.state));
        if is_calm && instances(world).iter().all(|i| i.state == Some(InstanceState::Running)) {
            return Ok(());
        }
    }
    Err(format!("it does not end: {:#?}", world.gate.migrations))
}

/// Runs until every number has come through, once and in order. Returns the longest pause.
fn await_all(world: &mut World) -> Result<Duration, String> {
    let (count, hash) = capsules::expected(COUNT);
    let until = world.now + Duration::from_secs(600);
    while world.last(0) < count && world.step(until) {}
    world.run_for(Duration::from_secs(2));
    let came = (world.last(0), world.last(1));
    if came != (count, hash) {
        return Err(format!(
            "{} of {count} came; their order and values: {}",
            came.0,
            came.1 == hash
        ));
    }
    let mut times: Vec<_> = world
        .machines
        .iter()
        .flat_map(|machine| &machine.actuations)
        .filter(|(_, actuator, _)| *actuator == 0)
        .map(|(at, ..)| *at)
        .collect();
    times.sort();
    let pauses = times.windows(2).map(|pair| pair[1].saturating_since(pair[0]));
    Ok(pauses.max().unwrap_or_default())
}

/// That handlers of an instance ran on one node in each epoch, and in none that was over.
fn check_owners(world: &World, instance: u32) -> Result<(), String> {
    let mut owners: BTreeMap<u32, Host> = BTreeMap::new();
    for (at, event) in world.history.iter().flatten() {
        let Event::Node { host, trace: Trace::Begins { instance: of, epoch, .. } } = event else {
            continue;
        };
        if of.0 != instance {
            continue;
        }
        let owner = *owners.entry(epoch.0).or_insert(*host);
        let newest = owners.keys().next_back().copied().unwrap_or_default();
        if owner != *host || epoch.0 != newest {
            return Err(format!(
                "at {at:?} node {host} runs it in epoch {epoch}, beside {owners:?}"
            ));
        }
    }
    Ok(())
}

/// The whole matrix as a table in Markdown, and what did not hold.
pub fn table(seed: u64, mut progress: impl FnMut(Cell)) -> (String, Vec<String>) {
    let mut text = String::from(
        "| when | who crashes | nobody parted | source-target | gateway-source | gateway-target |\n\
         |---|---|---|---|---|---|\n",
    );
    let mut failures = Vec::new();
    let all: Vec<Cell> = cells().collect();
    let mut row = None;
    for cell in all {
        progress(cell);
        if row != Some((cell.step, cell.after, cell.victim)) {
            row = Some((cell.step, cell.after, cell.victim));
            let when = if cell.after { "after" } else { "before" };
            let victim = cell.victim.map_or_else(|| "nobody".to_owned(), |v| v.to_string());
            let _ = write!(text, "| {when} {} | {victim} |", cell.step);
            if cell.victim.is_none() {
                text.push_str(" - |");
            }
        }
        match run(cell, seed) {
            Ok(outcome) => {
                let what = if outcome.moved { "moved" } else { "stayed" };
                let _ = write!(text, " {what}, {} ms |", outcome.pause.as_millis());
            }
            Err(failure) => {
                text.push_str(" **broken** |");
                failures.push(format!("{cell}: {failure}"));
            }
        }
        if cell.parted == PAIRS[PAIRS.len() - 1] {
            text.push('\n');
        }
    }
    (text, failures)
}
