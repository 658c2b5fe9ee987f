//! Pipelines come and go: their capsules are looked up at the registry, then it is decided.

use super::decide::Why;
use super::{Gateway, Purpose};
use crate::api::{self, RefusalCode};
use crate::asks::{Answer, Request};
use crate::catalog::{Kind, Mistake};
use crate::io::RequestId;
use crate::nodes::{Node, Presence};
use crate::pipeline::Pipeline;
use crate::plan::{Decision, InstanceName};
use crate::store::{Key, Table};
use capmesh_blob::mapping::Name as BlobName;
use capmesh_description::Fault;
use capmesh_description::document::Hint;
use capmesh_wire::log::Level;
use capmesh_wire::manifest::UnverifiedManifest;
use capmesh_wire::registry::Resolved;
use capmesh_wire::{Digest, Instant, Manifest, Role, cbor, paths};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

/// Pipelines that are looked up at one time.
const DEPLOYS: usize = 16;

/// Pipelines of a site.
const PIPELINES: usize = 256;

/// How long the registry may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long to wait for what nodes have that have just come, and how often to look.
const HEARING: Duration = Duration::from_secs(5);
const HEAR_AGAIN: Duration = Duration::from_millis(50);

/// How often it is asked that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// A pipeline whose capsules are looked up.
#[derive(Debug)]
pub(super) struct Deploying {
    request: RequestId,
    pipeline: Pipeline,
    dry_run: bool,
    /// References that are still to be resolved; those that are tags are asked for even if they are
    /// known, since a tag may stand for something else today.
    wanted: BTreeSet<String>,
    /// Those of them that stand for nothing.
    unknown: BTreeSet<String>,
    until: Instant,
    /// How long nodes that have just come may take to say what they have.
    hear_until: Instant,
    ask_at: Instant,
    /// What the registry said last.
    said: Option<String>,
}

impl Gateway {
    pub(super) fn begin_deploy(&mut self, now: Instant, request: RequestId, deploy: &api::Deploy) {
        let file = deploy.file.as_deref().unwrap_or("pipeline");
        let pipeline = match Pipeline::parse(file, &deploy.text) {
            Ok(pipeline) => pipeline,
            Err(faults) => {
                let mistakes = faults.as_slice().iter().map(|f| mistake(f, "text")).collect();
                self.answer(request, Err(api::Refusal::invalid_pipeline(mistakes)));
                return;
            }
        };
        let is_known = self.pipelines.contains_key(&pipeline.name.value);
        if self.deploys.len() >= DEPLOYS || self.pipelines.len() >= PIPELINES && !is_known {
            let refusal = api::Refusal::new(RefusalCode::Busy, "there are too many pipelines");
            self.answer(request, Err(refusal));
            return;
        }
        let tags = pipeline.capsules.iter().map(|capsule| capsule.uses.value.clone());
        let wanted = tags.filter(|uses| !uses.contains('@')).collect();
        self.deploys.push(Deploying {
            request,
            pipeline,
            dry_run: deploy.dry_run,
            wanted,
            unknown: BTreeSet::new(),
            until: now + PATIENCE,
            hear_until: now + HEARING,
            ask_at: now,
            said: None,
        });
    }

    pub(super) fn deploys_timeout(&self) -> Option<Instant> {
        self.deploys.iter().map(|deploy| deploy.ask_at.min(deploy.until)).min()
    }

    pub(super) fn advance_deploys(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(deploy) = self.deploys.get(at) {
            let missing = self.catalog.missing(&deploy.pipeline);
            let is_known = deploy.wanted.is_empty()
                && missing.manifests.is_empty()
                && missing.references.is_subset(&deploy.unknown);
            let is_early = now < deploy.hear_until && self.is_hearing();
            let has_registry = self.registry_peer(now).is_some();
            let Some(deploy) = self.deploys.get_mut(at) else { return };
            if is_early && (is_known || !has_registry) && deploy.until > now {
                deploy.ask_at = now + HEAR_AGAIN;
                at += 1;
                continue;
            }
            if is_known || !has_registry || deploy.until <= now {
                let deploy = self.deploys.remove(at);
                let is_silent = !is_known && deploy.said.is_none() && deploy.unknown.is_empty();
                let silence = is_silent.then_some(match has_registry {
                    true => Silence::NoAnswer,
                    false => Silence::NoRegistry,
                });
                self.finish_deploy(now, deploy, silence);
                continue;
            }
            if deploy.ask_at <= now {
                let references = deploy.wanted.clone();
                if let Some(deploy) = self.deploys.get_mut(at) {
                    deploy.ask_at = now + AGAIN;
                }
                self.look_up(now, references, &missing.manifests);
            }
            at += 1;
        }
    }

    /// Whether a node that is there has yet to say what it has.
    fn is_hearing(&self) -> bool {
        let is_silent = |node: &Node| node.presence != Presence::Lost && !node.has_inventory();
        self.nodes.iter().any(is_silent)
    }

    fn look_up(&mut self, now: Instant, wanted: BTreeSet<String>, manifests: &BTreeSet<Digest>) {
        for reference in wanted {
            let mut request = Request::get(paths::TAGS);
            request.query = Some(format!("t={reference}"));
            self.ask_registry(now, request, Purpose::Resolve(reference));
        }
        for digest in manifests {
            let path = format!("{}/{}/0", paths::BLOBS, BlobName::of(digest).as_str());
            self.ask_registry(now, Request::get(path), Purpose::Manifest(*digest));
        }
    }

    /// What is looked up is asked for at once: there is another registry.
    pub(super) fn look_up_again(&mut self, now: Instant) {
        self.deploys.iter_mut().for_each(|deploy| deploy.ask_at = now);
    }

    /// The registry has said what a reference stands for, or that it stands for nothing.
    pub(super) fn resolve_answered(&mut self, now: Instant, reference: &str, answer: &Answer) {
        let resolved = cbor::decode::<Resolved>(&answer.body).ok().filter(|_| answer.is_success());
        if let Some(resolved) = resolved {
            let _ = self.catalog.refer(reference, resolved.capsule);
            let key = Key::new(Table::References, reference);
            self.store.put(key, resolved.capsule.as_bytes().to_vec());
        }
        for deploy in self.deploys.iter_mut().filter(|deploy| deploy.wanted.contains(reference)) {
            if answer.code.is_some() {
                deploy.wanted.remove(reference);
                // Manifests are asked for at once.
                deploy.ask_at = now;
                if resolved.is_none() {
                    deploy.unknown.insert(reference.to_owned());
                }
            }
        }
    }

    /// The registry has given a manifest, or not.
    pub(super) fn manifest_answered(&mut self, now: Instant, digest: &Digest, answer: &Answer) {
        let taken = if answer.is_success() {
            self.take_manifest(digest, &answer.body)
        } else {
            Err("the registry does not have it".to_owned())
        };
        if let (Err(why), true) = (&taken, answer.is_success()) {
            self.note(now, Level::Error, format!("the manifest {digest} is refused: {why}"));
        }
        for deploy in &mut self.deploys {
            if let (Err(why), true) = (&taken, answer.code.is_some()) {
                deploy.said = Some(format!("no manifest {digest}: {why}"));
                deploy.until = now;
            }
            deploy.ask_at = now + AGAIN;
        }
    }

    /// Takes a manifest if it is the one that was asked for, and a publisher of the site's has signed it.
    fn take_manifest(&mut self, digest: &Digest, envelope: &[u8]) -> Result<(), String> {
        let unverified = UnverifiedManifest::parse(envelope).map_err(|error| error.to_string())?;
        if Manifest::digest(envelope) != *digest {
            return Err("the registry has given another one".to_owned());
        }
        let publisher = unverified.publisher();
        let entry = self.members.roster().and_then(|roster| roster.find(publisher));
        let entry = entry.filter(|entry| entry.role == Role::Publisher);
        let key = entry.map(|entry| entry.credential.public_key());
        let key = key.ok_or_else(|| format!("{publisher} is not a publisher of the site"))?;
        if unverified.verify(&key).is_err() {
            return Err(format!("the signature is not that of {publisher}"));
        }
        self.catalog.insert(envelope).map_err(|error| error.to_string())?;
        self.store.put(Key::new(Table::Manifests, digest.as_bytes()), envelope.to_vec());
        Ok(())
    }

    fn finish_deploy(&mut self, now: Instant, deploy: Deploying, silence: Option<Silence>) {
        let Deploying { request, pipeline, dry_run, said, wanted, .. } = deploy;
        // It may allow what nodes have refused.
        self.nodes.forget_refusals();
        let name = pipeline.name.value.clone();
        let offers = self.with_site(&self.pipelines, &self.pins, |site| site.offers());
        if let Err(mistakes) = self.catalog.check(&pipeline, &offers) {
            let refusal = refused(mistakes, said, silence);
            self.answer(request, Err(refusal));
            return;
        }
        if let Some(silence) = silence.filter(|_| !wanted.is_empty() && !dry_run) {
            let text =
                format!("{}: {name} has the capsules that were known before", silence.words());
            self.note(now, Level::Warning, text);
        }
        let mut pipelines = self.pipelines.clone();
        let text = pipeline.text.clone();
        pipelines.insert(name.clone(), pipeline);
        let decision = self.decide(&pipelines, &self.pins);
        let causes: Vec<String> =
            decision.refusals_of(&name).map(|refusal| refusal.message.clone()).collect();
        if !causes.is_empty() {
            let message = format!("{name} has no place on the nodes that there are");
            let refusal = api::Refusal::new(RefusalCode::Unplaceable, message);
            let refusal = causes.into_iter().fold(refusal, api::Refusal::because);
            self.answer(request, Err(refusal));
            return;
        }
        let plan = self.plan_view(Some(&decision));
        let before = core::mem::replace(&mut self.pipelines, pipelines);
        if dry_run {
            let rows = decision.rows.clone();
            let view = self.pipeline_view(&name, Some(&rows), false);
            self.pipelines = before;
            let answer = view.map(|pipeline| api::Deployed { dry_run, pipeline, plan });
            self.answer(request, answered(answer));
            return;
        }
        self.store.put(Key::new(Table::Pipelines, &name), text.into_bytes());
        self.note_deployed(now, &name, true);
        self.adopt_decision(now, decision);
        let view = self.pipeline_view(&name, None, false);
        let answer = view.map(|pipeline| api::Deployed { dry_run, pipeline, plan });
        self.promise(request, answered(answer));
        self.pipeline_changed(&name);
    }

    fn adopt_decision(&mut self, now: Instant, decision: Decision) {
        self.apply(now, decision, Why::Wanted);
        self.event(api::Event::Plan(self.plan_view(None)));
    }

    pub(super) fn undeploy(&mut self, now: Instant, request: RequestId, name: &str) {
        if self.pipelines.remove(name).is_none() {
            self.answer(request, Err(*self.no_pipeline(name)));
            return;
        }
        self.store.delete(Key::new(Table::Pipelines, name));
        self.note_deployed(now, name, false);
        let decision = self.decide(&self.pipelines, &self.pins);
        self.adopt_decision(now, decision);
        self.event(api::Event::Gone(api::Gone::Pipeline(name.to_owned())));
        self.promise(request, Ok(api::Answer::done(format!("{name} has ended"))));
    }

    /// Moves an instance because somebody wants it, and keeps it there.
    pub(super) fn migrate(&mut self, now: Instant, request: RequestId, migrate: &api::Migrate) {
        let result = self.try_migrate(now, migrate);
        match result {
            Err(refusal) => self.answer(request, Err(*refusal)),
            Ok(answer) => self.promise(request, Ok(answer)),
        }
    }

    fn try_migrate(
        &mut self,
        now: Instant,
        migrate: &api::Migrate,
    ) -> Result<api::Answer, Box<api::Refusal>> {
        let row = self.instance_named(&migrate.instance)?.clone();
        let node = self.node_named(&migrate.to)?;
        let (to, to_name) = (node.id, node.record.name.clone());
        let (id, path) = (row.instance, row.path());
        let refuse = |code, message: String| Box::new(api::Refusal::new(code, message));
        if row.node == to {
            return Err(refuse(RefusalCode::WrongState, format!("{path} is on {to_name} already")));
        }
        if !node.is_up() {
            return Err(refuse(RefusalCode::Unreachable, format!("{to_name} does not answer")));
        }
        if self.migrations.iter().any(|m| m.instance == id && m.is_in_the_way()) {
            return Err(refuse(RefusalCode::Underway, format!("{path} is moving already")));
        }
        let name = InstanceName::of(&row);
        let pins: BTreeMap<_, _> =
            self.pins.clone().into_iter().chain([(name.clone(), to)]).collect();
        let mut decision = self.decide(&self.pipelines, &pins);
        if decision.rows.get(id).is_none_or(|row| row.node != to) {
            let refusal =
                refuse(RefusalCode::Unplaceable, format!("{path} cannot be on {to_name}"));
            let causes = decision.refusals_of(&row.pipeline).map(|r| r.message.clone());
            return Err(Box::new(causes.fold(*refusal, api::Refusal::because)));
        }
        // Others stay where they are until it is decided anew.
        for (other, wanted) in &mut decision.rows.0 {
            if let Some(known) = self.rows.get(*other).filter(|_| *other != id) {
                wanted.node = known.node;
            }
        }
        self.calm.remove(&id);
        self.pin(&name, Some(to));
        self.adopt_decision(now, decision);
        let at = self.migrations.iter().rposition(|m| m.instance == id && m.is_in_the_way());
        let view = at.and_then(|at| self.migration_view(now, at));
        Ok(match view {
            Some(view) => api::Answer::Migration(Box::new(view)),
            None => api::Answer::done(format!("{path} starts on {to_name}")),
        })
    }
}

/// What to say to a pipeline with mistakes, when the registry has said this last, or nothing.
fn refused(
    mut mistakes: Vec<Mistake>,
    said: Option<String>,
    silence: Option<Silence>,
) -> api::Refusal {
    let unknown = mistakes.iter().filter(|m| m.kind == Kind::UnknownCapsule).count();
    let silence = silence.filter(|_| unknown > 0);
    if silence.is_some() {
        // Nobody has said that the registry does not have them.
        mistakes.retain(|m| m.kind != Kind::UnknownCapsule);
    }
    let refusal = match silence {
        Some(silence) if mistakes.is_empty() => silence.refusal(unknown),
        silence => {
            let mistakes = mistakes.iter().map(|m| mistake(&m.fault, m.kind.name()));
            let refusal = api::Refusal::invalid_pipeline(mistakes.collect());
            silence.map(Silence::words).into_iter().fold(refusal, api::Refusal::because)
        }
    };
    said.into_iter().fold(refusal, api::Refusal::because)
}

/// Why nothing is known of what a registry has.
#[derive(Clone, Copy, Debug)]
enum Silence {
    NoRegistry,
    NoAnswer,
}

impl Silence {
    const fn words(self) -> &'static str {
        match self {
            Self::NoRegistry => "there is no registry",
            Self::NoAnswer => "the registry does not answer",
        }
    }

    /// What to say where that is all there is to say: so many capsules are not known without it.
    fn refusal(self, unknown: usize) -> api::Refusal {
        let capsules = match unknown {
            1 => "a capsule".to_owned(),
            unknown => format!("{unknown} capsules"),
        };
        let help = match self {
            Self::NoRegistry => {
                "start one with `capmesh registry`, and name its address as `registry` in the \
                 gateway's configuration"
            }
            Self::NoAnswer => {
                "see that it runs (`capmesh registry`, or a part of `capmesh up`) where the gateway's \
                 configuration says (`registry`), then deploy again"
            }
        };
        let cause = format!("{capsules} of the pipeline can be had only from it");
        api::Refusal::new(RefusalCode::Registry, self.words()).because(cause).help(help)
    }
}

fn answered(deployed: Option<api::Deployed>) -> Result<api::Answer, api::Refusal> {
    let lost = || api::Refusal::new(RefusalCode::Internal, "the pipeline cannot be shown");
    deployed.map(|deployed| api::Answer::Deployed(Box::new(deployed))).ok_or_else(lost)
}

/// A mistake as people see it.
fn mistake(fault: &Fault, code: &str) -> api::Mistake {
    let place = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let file = fault.path.to_string_lossy().into_owned();
    let (nearest, help) = match fault.hint.clone() {
        Some(Hint::Nearest(name)) => (Some(name), None),
        Some(Hint::Choice(names)) => (None, Some(names)),
        None => (None, None),
    };
    api::Mistake {
        file: Some(file).filter(|file| !file.is_empty()),
        line: place(fault.line),
        column: place(fault.column),
        length: place(fault.length),
        code: code.to_owned(),
        message: fault.message.clone(),
        help,
        nearest,
    }
}
