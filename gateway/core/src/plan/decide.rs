//! Who is to run what.

use super::problem::{self, Known, Names};
use super::weave::{Egress, Ingress, bridges, weave};
use super::{BridgeName, Ends, InstanceName, Reason, Refusal, Site};
use crate::catalog::Resolved;
use crate::rows::{Row, Rows};
use capmesh_placement::{Instance, Parts, Plan, Problem, Unplaceable, Weights, place};
use capmesh_wire::plan::Failover;
use capmesh_wire::{Digest, Epoch, InstanceId, NodeId};
use core::cell::RefCell;
use core::hash::{Hash as _, Hasher};
use std::collections::{BTreeMap, BTreeSet};

/// How many capsules that fit no node are left out one after the other; with more, nothing is decided.
pub const TRIES: usize = 64;

/// What runs, and the gateway's own ends: what a decision starts from.
#[derive(Clone, Copy, Debug)]
pub struct Current<'a> {
    /// The rows, with their owners.
    pub rows: &'a Rows,
    /// The ends of bridges.
    pub ends: &'a Ends,
    /// The number of the next instance. It never goes back.
    pub next: InstanceId,
}

/// The questions of one decision that are remembered for the next one.
const REMEMBERED: usize = 4;

/// What placement has said for the last decision, by the digest of what it was asked: most often the next one
/// asks the same.
#[derive(Debug, Default)]
pub struct Memory {
    answers: Vec<(Digest, Result<Plan, Unplaceable>)>,
}

/// The digest of what placement is asked.
fn digest(problem: &Problem, weights: &Weights) -> Digest {
    struct Fed(capmesh_wire::digest::Hasher);
    impl Hasher for Fed {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        fn finish(&self) -> u64 {
            0
        }
    }
    let mut fed = Fed(capmesh_wire::digest::Hasher::new());
    (problem, weights).hash(&mut fed);
    fed.0.finish()
}

/// What should be.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The rows as they should be. Their `node` is where they should run; those that run elsewhere have
    /// the epoch that they have there. Nodes in wires are not filled in.
    pub rows: Rows,
    /// The ends of bridges as they should be.
    pub ends: Ends,
    /// The number of the next instance: to be durable before a row that was made with one below it.
    pub next: InstanceId,
    /// Why each instance that was placed is where it is.
    pub reasons: BTreeMap<InstanceId, Reason>,
    /// What has no place, or cannot be understood.
    pub refusals: Vec<Refusal>,
    /// What the placement costs.
    pub cost: Parts,
    /// Whether it is proven that nothing costs less.
    pub optimal: bool,
    /// Streams that end at the gateway and go to MQTT.
    pub egress: Vec<Egress>,
    /// Streams that begin at the gateway, from MQTT.
    pub ingress: Vec<Ingress>,
}

impl Decision {
    /// The refusals that are about a pipeline.
    pub fn refusals_of<'d>(&'d self, pipeline: &'d str) -> impl Iterator<Item = &'d Refusal> {
        let is_about = move |refusal: &&Refusal| refusal.pipelines.iter().any(|p| p == pipeline);
        self.refusals.iter().filter(is_about)
    }
}

/// Decides who should run what. The work is that of one placement if everything has a place; else of one
/// for each capsule that does not run yet, and some; [`Weights::effort`](capmesh_placement::Weights::effort)
/// bounds each.
#[must_use]
pub fn decide(site: &Site<'_>, current: Current<'_>) -> Decision {
    decide_again(site, current, &mut Memory::default())
}

/// The same as [`decide`]. What was asked for the last decision is not computed again.
#[must_use]
pub fn decide_again(site: &Site<'_>, current: Current<'_>, memory: &mut Memory) -> Decision {
    let (known, mut refusals) = resolve(site);
    let names = Names::of(site);
    let absent = staying(site, &known, current.rows);
    let known_answers = core::mem::take(memory);
    let new_answers = RefCell::new(Memory::default());
    let question = Question {
        site,
        names: &names,
        known: &known,
        rows: current.rows,
        before: &known_answers,
        now: &new_answers,
    };
    let (cost, optimal, placed) = match question.answer(absent, &mut refusals) {
        Some(plan) => (plan.cost, plan.optimal, plan.rows),
        None => (Parts::default(), false, BTreeMap::new()),
    };
    *memory = new_answers.into_inner();
    let mut decision = Decision {
        rows: current.rows.clone(),
        ends: current.ends.clone(),
        next: current.next,
        reasons: BTreeMap::new(),
        refusals,
        cost,
        optimal,
        egress: Vec::new(),
        ingress: Vec::new(),
    };
    decision.forget(site, &known);
    decision.settle(&names, &known, placed);
    decision.hand_out_ends(&known);
    weave(&known, &mut decision.rows, &decision.ends);
    (decision.egress, decision.ingress) = bridges(&known, &decision.rows, &decision.ends);
    decision
}

/// Every pipeline in numbers; one that cannot be understood is a refusal.
fn resolve<'a>(site: &Site<'a>) -> (Known<'a>, Vec<Refusal>) {
    let (mut known, mut refusals) = (Known::new(), Vec::new());
    let mut offers = site.offers();
    // What runs goes on when a node goes for good; placement says what is missing then.
    offers.is_open = true;
    for (name, pipeline) in site.pipelines {
        match site.catalog.check(pipeline, &offers) {
            Ok(resolved) => {
                known.insert(name, (pipeline, resolved));
            }
            Err(mistakes) => refusals.push(Refusal::mistakes(name, mistakes)),
        }
    }
    (known, refusals)
}

/// The instances that stay where they are: those that wait for nodes that are lost, and those of nodes
/// that have not said yet what they have.
fn staying(site: &Site<'_>, known: &Known<'_>, rows: &Rows) -> BTreeSet<Instance> {
    let stays = |row: &&Row| {
        let capsule = known.get(row.pipeline.as_str()).and_then(|(p, _)| p.capsule(&row.name));
        capsule.is_some_and(|capsule| problem::stays(site, capsule, row.node))
    };
    let staying = rows.iter().filter(stays);
    staying.map(|row| (problem::key(&row.pipeline, &row.name), u16::from(row.replica))).collect()
}

/// What is asked of placement.
struct Question<'q> {
    site: &'q Site<'q>,
    names: &'q Names,
    known: &'q Known<'q>,
    rows: &'q Rows,
    before: &'q Memory,
    now: &'q RefCell<Memory>,
}

impl Question<'_> {
    /// Asks placement, or remembers what it has said.
    fn place(&self, problem: &Problem) -> Result<Plan, Unplaceable> {
        let asked = digest(problem, &self.site.weights);
        let mut now = self.now.borrow_mut();
        let mut known = now.answers.iter().chain(&self.before.answers);
        let known = known.find(|(other, _)| *other == asked).map(|(_, answer)| answer.clone());
        let answer = known.unwrap_or_else(|| place(problem, &self.site.weights));
        if now.answers.len() < REMEMBERED {
            now.answers.push((asked, answer.clone()));
        }
        answer
    }

    /// Places all that has a place. What has none is refused, and stays where it is.
    fn answer(&self, mut absent: BTreeSet<Instance>, refusals: &mut Vec<Refusal>) -> Option<Plan> {
        for _ in 0..TRIES {
            let problem = self.problem(&absent);
            let why = match self.place(&problem) {
                Ok(plan) => return Some(plan),
                Err(why) => why,
            };
            if matches!(why, Unplaceable::NoRoom { .. })
                && let Some(plan) = self.one_by_one(&absent, &problem, refusals)
            {
                return Some(plan);
            }
            let (why, out) = self.in_the_way(&absent, &problem, why);
            if out.is_empty() {
                return None;
            }
            self.refuse(&why, &out, refusals);
            absent.extend(out);
        }
        None
    }

    /// Where not everything has a place beside the others: what runs keeps its node, and what does not
    /// run yet is put beside it capsule by capsule, so that something new never drives out what runs.
    /// Then all may move again. `None` if what runs has no place even without anything new.
    fn one_by_one(
        &self,
        absent: &BTreeSet<Instance>,
        problem: &Problem,
        refusals: &mut Vec<Refusal>,
    ) -> Option<Plan> {
        let new: Vec<&String> = problem
            .capsules
            .iter()
            .filter(|(name, capsule)| {
                let mut all = (0..capsule.replicas).map(|replica| ((*name).clone(), replica));
                all.any(|instance| is_new(problem, &instance))
            })
            .map(|(name, _)| name)
            .collect();
        let of = |name: &String| {
            let mut all = instances(problem, name);
            all.retain(|instance| is_new(problem, instance));
            all
        };
        let mut absent = absent.clone();
        new.iter().for_each(|name| absent.extend(of(name)));
        let mut best = self.place(&self.frozen(&absent)).ok()?;
        for name in new {
            let own = of(name);
            let mut without = absent.clone();
            without.retain(|instance| !own.contains(instance));
            match self.place(&self.frozen(&without)) {
                Ok(plan) => (absent, best) = (without, plan),
                Err(why) => self.refuse(&why, &own, refusals),
            }
        }
        Some(self.place(&self.problem(&absent)).unwrap_or(best))
    }

    /// Who stays out of the question so that the others have an answer, and why. Where nodes are to be
    /// emptied it is those who cannot leave them: whoever else stayed out would not be heeded by those
    /// who must be apart from them.
    fn in_the_way(
        &self,
        absent: &BTreeSet<Instance>,
        problem: &Problem,
        why: Unplaceable,
    ) -> (Unplaceable, BTreeSet<Instance>) {
        let is_emptied = |home: &String| problem.nodes.get(home).is_some_and(|node| node.draining);
        let leaving = problem.current.iter().filter(|(_, home)| is_emptied(home));
        let leaving: BTreeSet<Instance> = leaving.map(|(instance, _)| instance.clone()).collect();
        if !matches!(why, Unplaceable::NoRoom { .. }) || leaving.is_empty() {
            let out = victims(problem, &why);
            return (why, out);
        }
        let why = self.place(&self.frozen(absent)).err().unwrap_or(why);
        let mut out = victims(problem, &why);
        out.retain(|instance| leaving.contains(instance));
        (why, if out.is_empty() { leaving } else { out })
    }

    fn refuse(&self, why: &Unplaceable, out: &BTreeSet<Instance>, refusals: &mut Vec<Refusal>) {
        let capsules: BTreeSet<String> = out.iter().map(|(key, _)| key.clone()).collect();
        refusals.push(Refusal::of(self.site, why, capsules.into_iter().collect()));
    }

    fn problem(&self, absent: &BTreeSet<Instance>) -> Problem {
        problem::problem(self.site, self.names, self.known, self.rows, absent)
    }

    /// The problem in which what runs keeps its node, but what is to leave it.
    fn frozen(&self, absent: &BTreeSet<Instance>) -> Problem {
        let mut problem = self.problem(absent);
        for (instance, home) in &problem.current {
            if problem.nodes.get(home).is_some_and(|node| !node.draining) {
                problem.pinned.entry(instance.clone()).or_insert_with(|| home.clone());
            }
        }
        problem
    }
}

/// Whether an instance is to be placed and does not run.
fn is_new(problem: &Problem, instance: &Instance) -> bool {
    !problem.current.contains_key(instance) && !problem.absent.contains(instance)
}

/// The instances of a capsule that are to be placed.
fn instances(problem: &Problem, name: &String) -> BTreeSet<Instance> {
    let replicas = problem.capsules.get(name).map_or(0, |capsule| capsule.replicas);
    let all = (0..replicas).map(|replica| (name.clone(), replica));
    all.filter(|instance| !problem.absent.contains(instance)).collect()
}

/// The instances that placement says are in the way.
fn victims(problem: &Problem, why: &Unplaceable) -> BTreeSet<Instance> {
    let all = |names: &mut dyn Iterator<Item = &String>| {
        names.flat_map(|name| instances(problem, name)).collect()
    };
    match why {
        Unplaceable::NoNode { capsules, .. } => all(&mut capsules.iter()),
        Unplaceable::Contradiction { name, other } => all(&mut [name, other].into_iter()),
        Unplaceable::NoRoom { instances, .. } => instances.iter().cloned().collect(),
        Unplaceable::NoNodes | Unplaceable::UnknownCapsule { .. } => {
            all(&mut problem.capsules.keys())
        }
    }
}

impl Decision {
    /// Ends what nobody wants any more. What belongs to a pipeline that cannot be understood stays.
    fn forget(&mut self, site: &Site<'_>, known: &Known<'_>) {
        let replicas = |row: &Row| {
            let (text, resolved) = known.get(row.pipeline.as_str())?;
            let place = text.capsules.iter().position(|c| c.name.value == row.name)?;
            resolved.capsules.get(place).map(|capsule| capsule.replicas)
        };
        self.rows.0.retain(|_, row| match known.contains_key(row.pipeline.as_str()) {
            true => replicas(row).is_some_and(|replicas| row.replica < replicas),
            false => site.pipelines.contains_key(&row.pipeline),
        });
        self.ends.0.retain(|name, _| match known.get(name.pipeline()) {
            Some((_, resolved)) => is_wanted(name, resolved),
            None => site.pipelines.contains_key(name.pipeline()),
        });
    }

    /// Takes what placement says.
    fn settle(&mut self, names: &Names, known: &Known<'_>, placed: BTreeMap<Instance, Reason>) {
        let places: BTreeMap<InstanceName, InstanceId> =
            self.rows.iter().map(|row| (InstanceName::of(row), row.instance)).collect();
        for (instance, reason) in placed {
            let node = names.node_of.get(&reason.node).copied();
            let Some((name, node)) = problem::instance(&instance).zip(node) else { continue };
            let instance = match places.get(&name) {
                Some(&instance) => {
                    if let Some(row) = self.rows.0.get_mut(&instance) {
                        row.node = node;
                    }
                    instance
                }
                None => match self.start(known, name, node) {
                    Some(instance) => instance,
                    None => continue,
                },
            };
            self.reasons.insert(instance, reason);
        }
    }

    /// Makes the row of a new instance, without what [`weave`] puts in.
    fn start(&mut self, known: &Known<'_>, name: InstanceName, node: NodeId) -> Option<InstanceId> {
        let (pipeline, resolved) = known.get(name.pipeline.as_str())?;
        let place = pipeline.capsules.iter().position(|c| c.name.value == name.capsule)?;
        let resolved = resolved.capsules.get(place)?;
        let instance = self.hand_out();
        let row = Row {
            instance,
            node,
            epoch: Epoch(1),
            fence: Epoch(1),
            capsule: resolved.capsule,
            pipeline: name.pipeline,
            name: name.capsule,
            replica: name.replica,
            lease_ms: None,
            failover: Failover::Restart,
            checkpoint_ms: None,
            rollback: false,
            config: resolved.config.clone(),
            inbound: Vec::new(),
            outbound: Vec::new(),
            peers: Vec::new(),
        };
        self.rows.0.insert(instance, row);
        Some(instance)
    }

    fn hand_out(&mut self) -> InstanceId {
        let instance = self.next;
        self.next = InstanceId(instance.0.saturating_add(1).min(InstanceId::FIRST_LOCAL.0 - 1));
        instance
    }

    /// Hands out the numbers of bridges' ends.
    fn hand_out_ends(&mut self, known: &Known<'_>) {
        for (pipeline, (_, resolved)) in known {
            let publish = resolved.publish.iter().map(|publish| {
                let (capsule, output) = publish.name.clone();
                BridgeName::Publish { pipeline: (*pipeline).to_owned(), capsule, output }
            });
            let subscribe = resolved.subscribe.iter().map(|subscribe| BridgeName::Subscribe {
                pipeline: (*pipeline).to_owned(),
                topic: subscribe.topic.clone(),
            });
            let wanted: BTreeSet<BridgeName> = publish.chain(subscribe).collect();
            for name in wanted {
                if !self.ends.0.contains_key(&name) {
                    let end = self.hand_out();
                    self.ends.0.insert(name, end);
                }
            }
        }
    }
}

fn is_wanted(name: &BridgeName, resolved: &Resolved) -> bool {
    match name {
        BridgeName::Publish { capsule, output, .. } => resolved
            .publish
            .iter()
            .any(|publish| publish.name.0 == *capsule && publish.name.1 == *output),
        BridgeName::Subscribe { topic, .. } => {
            resolved.subscribe.iter().any(|subscribe| subscribe.topic == *topic)
        }
    }
}

/// The digests of the capsules that the rows and pipelines of a site use: the manifests to keep.
#[must_use]
pub fn used(site: &Site<'_>, rows: &Rows) -> BTreeSet<Digest> {
    let wanted = site.pipelines.values().flat_map(|pipeline| &pipeline.capsules);
    let wanted = wanted.filter_map(|capsule| site.catalog.resolve(&capsule.uses));
    wanted.chain(rows.iter().map(|row| row.capsule)).collect()
}
