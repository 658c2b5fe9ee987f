//! What there is, as people see it.

use super::Gateway;
use crate::api::{
    self, CapsuleView, Change, ClockView, Counters, Event, Holder, InstanceView, LinkView,
    MigrationState, MigrationView, NodeState, NodeView, PipelineState, PipelineView, PlanRow,
    PlanView, RefusedView, ShareView, SiteView, StepView, WireView,
};
use crate::migrate::Step;
use crate::nodes::{Node, Presence};
use crate::plan::{self, Decision, Reason};
use crate::rows::{Row, Rows};
use capmesh_wire::inventory::{CapsuleState, InstanceState, Share};
use capmesh_wire::log::LogLine;
use capmesh_wire::{Digest, Instant, NodeId};
use core::time::Duration;
use std::collections::BTreeMap;

impl Gateway {
    pub(super) fn node_view(&self, now: Instant, id: NodeId) -> Option<NodeView> {
        let node = self.nodes.get(id)?;
        let (inventory, status) = (node.inventory(), node.status());
        let was_heard = node.presence == Presence::Up || node.heard > self.begun;
        let silent = now.saturating_since(node.heard);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let share = |share: Option<Share>| {
            share.map_or_else(ShareView::default, |s| ShareView { total: s.total, free: s.free })
        };
        let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let uncertainty = status
            .and_then(|s| s.clock)
            .map(|clock| ClockView { uncertainty_us: u64::from(clock.uncertainty) });
        Some(NodeView {
            name: node.record.name.clone(),
            id,
            state: self.state_of(now, node),
            draining: node.record.draining,
            labels: node.record.labels.clone(),
            address: node.address(),
            seen_at: self
                .unix_millis(now)
                .filter(|_| was_heard)
                .map(|at| at - millis(silent).min(at)),
            seen_ms: was_heard.then(|| millis(silent)),
            firmware: inventory.map_or_else(String::new, |i| i.firmware.as_str().to_owned()),
            board: inventory.map_or_else(String::new, |i| i.board.as_str().to_owned()),
            uptime_ms: status.map(|s| s.uptime_ms),
            boots: status.map(|s| s.boots),
            roster: status.map(|s| s.roster.0),
            plan: status.map(|s| s.plan.0),
            clock: uncertainty,
            flash: share(inventory.map(|i| i.flash)),
            ram: share(inventory.map(|i| i.ram)),
            fuel: share(inventory.map(|i| i.fuel)),
            places: share(inventory.map(|i| i.instances)),
            sensors: names(
                inventory.iter().flat_map(|i| i.sensors.iter()).map(|s| s.name.as_str()).collect(),
            ),
            actuators: names(
                inventory
                    .iter()
                    .flat_map(|i| i.actuators.iter())
                    .map(|a| a.name.as_str())
                    .collect(),
            ),
            sources: names(
                inventory.iter().flat_map(|i| i.sources.iter()).map(|s| s.as_str()).collect(),
            ),
            links: inventory
                .iter()
                .flat_map(|i| i.links.iter())
                .map(|link| self.link_view(&link))
                .collect(),
            instances: self.rows.of(id).map(Row::path).collect(),
            refused: status.map(|s| RefusedView {
                unauthenticated: s.refused.unauthenticated,
                forbidden: s.refused.forbidden,
                messages: s.refused.messages,
                unverified: s.refused.unverified,
            }),
        })
    }

    /// What people call a node, or another member of the site.
    fn member_name(&self, id: NodeId) -> String {
        let node = self.nodes.get(id).map(|node| node.record.name.clone());
        node.or_else(|| self.members.name(id)).unwrap_or_else(|| id.to_string())
    }

    fn link_view(&self, link: &capmesh_wire::inventory::Link) -> LinkView {
        LinkView {
            to: self.member_name(link.node),
            address: link.address.0,
            kind: link.kind,
            quality: link.quality,
            mtu: link.mtu,
        }
    }

    fn state_of(&self, now: Instant, node: &Node) -> NodeState {
        let silent = now.saturating_since(node.heard);
        match node.presence {
            Presence::Unknown => NodeState::Joining,
            Presence::Lost => NodeState::Offline,
            Presence::Up if silent > self.config.liveness.probe * 2 => NodeState::Suspect,
            Presence::Up => NodeState::Online,
        }
    }

    fn is_lost(&self, node: NodeId) -> bool {
        self.nodes.get(node).is_none_or(|node| node.presence == Presence::Lost)
    }

    pub(super) fn instance_view(&self, row: &Row) -> InstanceView {
        let status = self.nodes.get(row.node).and_then(|node| node.instance(row.instance));
        let status = status.filter(|status| status.epoch == row.epoch);
        // What a node said counts for nothing once the node is lost.
        let known = status.filter(|_| !self.is_lost(row.node));
        let refused = self.nodes.get(row.node).and_then(|node| node.duties.refusal_of(row));
        let counters = status.map_or_else(Counters::default, |s| Counters {
            restarts: s.restarts,
            handled: s.handled,
            published: s.published,
            dropped: s.dropped,
            fuel_per_second: s.fuel_per_second,
            inbox: s.inbox,
            outbox: s.outbox,
        });
        InstanceView {
            instance: row.instance.0,
            path: row.path(),
            pipeline: row.pipeline.clone(),
            name: row.name.clone(),
            replica: row.replica,
            capsule: self.capsule_name(&row.capsule),
            digest: row.capsule,
            node: self.nodes.name(row.node),
            epoch: row.epoch.0,
            state: known.map(|s| s.state),
            lost: self.is_lost(row.node),
            reason: known.and_then(|s| s.reason).or(refused),
            why: self.planned.reasons.get(&row.instance).map(sentences).unwrap_or_default(),
            lease_ms: row.lease_ms,
            counters,
        }
    }

    /// The instances of a node, for those who watch.
    pub(super) fn instances_changed(&mut self, now: Instant, id: NodeId) {
        let views: Vec<_> = self.rows.of(id).map(|row| self.instance_view(row)).collect();
        let mut pipelines: Vec<String> = views.iter().map(|view| view.pipeline.clone()).collect();
        pipelines.dedup();
        for view in views {
            self.event(Event::Instance(Box::new(view)));
        }
        pipelines.iter().for_each(|name| self.pipeline_changed(name));
        let _ = now;
    }

    pub(super) fn pipeline_changed(&mut self, name: &str) {
        if let Some(view) = self.pipeline_view(name, None, false) {
            self.event(Event::Pipeline(Box::new(view)));
        }
    }

    /// A pipeline, with rows as they are or as they would be.
    pub(super) fn pipeline_view(
        &self,
        name: &str,
        rows: Option<&Rows>,
        text: bool,
    ) -> Option<PipelineView> {
        let pipeline = self.pipelines.get(name)?;
        let rows = rows.unwrap_or(&self.rows);
        let own: Vec<&Row> = rows.iter().filter(|row| row.pipeline == name).collect();
        let views: Vec<_> = own.iter().map(|row| self.instance_view(row)).collect();
        let runs = |view: &&InstanceView| view.state == Some(InstanceState::Running);
        let running = views.iter().filter(runs).count();
        let refused: Vec<String> = self
            .planned
            .refusals
            .iter()
            .filter(|refusal| refusal.pipelines.iter().any(|of| of == name))
            .map(|refusal| refusal.message.clone())
            .collect();
        let faults = views.iter().filter_map(|view| {
            let reason = view.reason?;
            Some(format!("{} on {}: {reason}", view.path, view.node))
        });
        let failing = views.iter().any(|view| {
            matches!(view.state, Some(InstanceState::Failed | InstanceState::BackingOff))
        });
        let lost = own.iter().any(|row| self.is_lost(row.node));
        let state = if !refused.is_empty() {
            PipelineState::Unplaceable
        } else if running == views.len() {
            PipelineState::Running
        } else if failing || lost {
            PipelineState::Degraded
        } else {
            PipelineState::Starting
        };
        Some(PipelineView {
            name: name.to_owned(),
            state,
            deployed_at: self.deployed.get(name).copied(),
            instances: views.iter().map(|view| view.path.clone()).collect(),
            running: u32::try_from(running).unwrap_or(u32::MAX),
            wires: pipeline
                .wires
                .iter()
                .map(|wire| WireView {
                    from: format!("{}.{}", wire.from.capsule, wire.from.port),
                    to: format!("{}.{}", wire.to.capsule, wire.to.port),
                    delivery: wire.delivery,
                    overflow: wire.overflow,
                })
                .collect(),
            publishes: pipeline
                .publish
                .iter()
                .map(|publish| format!("{}.{}", publish.from.capsule, publish.from.port))
                .collect(),
            subscribes: pipeline
                .subscribe
                .iter()
                .map(|to| (to.topic.value.clone(), format!("{}.{}", to.to.capsule, to.to.port)))
                .collect(),
            problems: refused.into_iter().chain(faults).collect(),
            text: text.then(|| pipeline.text.clone()),
        })
    }

    /// What runs where, or would with a decision.
    pub(super) fn plan_view(&self, decision: Option<&Decision>) -> PlanView {
        let changes: BTreeMap<_, _> = decision
            .map(|decision| plan::changes(&self.rows, &decision.rows))
            .into_iter()
            .flatten()
            .map(|change| match change {
                plan::Change::Start { instance, .. } => (instance, (Change::Starts, None)),
                plan::Change::Stop { instance, .. } => (instance, (Change::Ends, None)),
                plan::Change::Move { instance, from, .. } => {
                    (instance, (Change::Moves, Some(from)))
                }
                plan::Change::Update { instance, .. } | plan::Change::Rewire { instance, .. } => {
                    (instance, (Change::Changes, None))
                }
            })
            .collect();
        let rows = decision.map_or(&self.rows, |decision| &decision.rows);
        let reasons = decision.map_or(&self.planned.reasons, |decision| &decision.reasons);
        let ended = self.rows.iter().filter(|row| rows.get(row.instance).is_none());
        let view = |row: &Row| {
            let change = changes.get(&row.instance);
            let is_new = self.rows.get(row.instance).is_none();
            PlanRow {
                instance: (!is_new || decision.is_none()).then_some(row.instance.0),
                path: row.path(),
                capsule: self.capsule_name(&row.capsule),
                node: self.nodes.name(row.node),
                change: change.map_or(Change::Stays, |(change, _)| *change),
                from: change.and_then(|(_, from)| *from).map(|from| self.nodes.name(from)),
                why: reasons.get(&row.instance).map(sentences).unwrap_or_default(),
            }
        };
        let cost = decision.map_or(self.planned.cost, |decision| decision.cost.total());
        PlanView {
            revision: self.planned.revision.0,
            rows: rows.iter().chain(ended).map(view).collect(),
            cost,
            optimal: decision.map_or(self.planned.optimal, |decision| decision.optimal),
        }
    }

    pub(super) fn migration_view(&self, now: Instant, at: usize) -> Option<MigrationView> {
        let migration = self.migrations.get(at)?;
        let row = self.rows.get(migration.instance);
        let was_undone = migration.steps.iter().any(|(step, _)| *step == "resume");
        let state = match migration.step {
            Step::Undo { .. } => MigrationState::Undoing,
            Step::Over if was_undone => MigrationState::Undone,
            Step::Over => MigrationState::Done,
            Step::Start | Step::Release => MigrationState::Committed,
            _ => MigrationState::Running,
        };
        let micros = |from: Instant, to: Instant| {
            u64::try_from(to.saturating_since(from).as_micros()).unwrap_or(u64::MAX)
        };
        let ends = migration.steps.iter().skip(1).map(|(_, at)| Some(*at)).chain([None]);
        let steps = migration.steps.iter().zip(ends).filter(|((step, _), _)| *step != "over");
        let steps = steps.map(|((step, began), end)| StepView {
            step: (*step).to_owned(),
            after_us: micros(migration.began, *began),
            took_us: end.map(|end| micros(*began, end)),
        });
        let since = u64::try_from(now.saturating_since(migration.began).as_millis());
        let from = migration.from.or_else(|| row.map(|row| row.node));
        Some(MigrationView {
            instance: migration.instance.0,
            path: row.map_or_else(|| migration.instance.to_string(), Row::path),
            from: from.map_or_else(String::new, |id| self.nodes.name(id)),
            to: self.nodes.name(migration.to),
            epoch: migration.new.0,
            state,
            cause: migration.cause.clone(),
            began_at: self.unix_millis(now).map(|at| at.saturating_sub(since.unwrap_or_default())),
            steps: steps.collect(),
            snapshot_bytes: migration.snapshot.map(|blob| blob.size),
            blackout_us: migration.quiet.and_then(|(from, to)| Some(micros(from, to?))),
            problem: migration.problem.clone(),
        })
    }

    pub(super) fn site_view(&self, now: Instant) -> SiteView {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let runs = |row: &&Row| self.instance_view(row).state == Some(InstanceState::Running);
        let uptime = now.saturating_since(self.begun).as_millis();
        SiteView {
            site: self.config.site.clone(),
            gateway: self.config.name.clone(),
            gateway_id: self.id,
            version: self.config.version.clone(),
            uptime_ms: u64::try_from(uptime).unwrap_or(u64::MAX),
            now_at: self.unix_millis(now),
            has_site_key: self.members.has_key(),
            roster: self.members.version().0,
            plan: self.planned.revision.0,
            nodes: count(self.nodes.len()),
            online: count(self.nodes.iter().filter(|node| node.is_up()).count()),
            pipelines: count(self.pipelines.len()),
            instances: count(self.rows.0.len()),
            running: count(self.rows.iter().filter(runs).count()),
            mqtt: self.bridge.counters(),
            registry: self.registry_view(now),
        }
    }

    pub(super) fn line_view(&self, now: Instant, id: NodeId, line: &LogLine<'_>) -> api::LogLine {
        let _ = now;
        let instance = line.instance.map(|instance| {
            self.rows.get(instance).map_or_else(|| instance.to_string(), Row::path)
        });
        api::LogLine {
            at: line.at.uncertainty.map(|_| line.at.micros / 1_000),
            node: Some(self.nodes.name(id)),
            number: line.number,
            instance,
            level: line.level,
            text: line.text.as_str().to_owned(),
        }
    }

    /// A capsule's name and version.
    pub(super) fn capsule_name(&self, digest: &Digest) -> String {
        let manifest = self.catalog.manifest(digest);
        manifest.map_or_else(
            || digest.to_string(),
            |manifest| format!("{}:{}", manifest.name, manifest.capsule.version),
        )
    }

    pub(super) fn capsule_view(&self, digest: &Digest) -> Option<CapsuleView> {
        let manifest = self.catalog.manifest(digest)?;
        let instances = self.rows.iter().filter(|row| row.capsule == *digest).count();
        let holders = self.nodes.iter().filter_map(|node| {
            let wanted = self.rows.of(node.id).any(|row| row.capsule == *digest);
            let state = match (node.holds(digest), wanted) {
                (true, _) => CapsuleState::Held,
                (false, true) => CapsuleState::Wanted,
                (false, false) => return None,
            };
            Some(Holder { node: node.record.name.clone(), state })
        });
        let needs = manifest.capsule.needs;
        Some(CapsuleView {
            digest: *digest,
            name: manifest.name.to_string(),
            version: manifest.capsule.version.to_string(),
            sequence: manifest.sequence,
            publisher: None,
            size: manifest.module_size,
            ram: needs.ram,
            fuel_per_second: needs.fuel_per_second,
            instances: u32::try_from(instances).unwrap_or(u32::MAX),
            nodes: holders.collect(),
        })
    }
}

/// Why an instance is where it is.
fn sentences(reason: &Reason) -> Vec<String> {
    let mut why = Vec::new();
    if let Some(from) = &reason.moves_from {
        why.push(format!("it moves from {from}"));
    }
    if let Some(next) = &reason.runner_up {
        let more = next.parts.total().saturating_sub(reason.parts.total());
        why.push(format!("{} would cost {more} more", next.node));
    }
    for (obstacle, nodes) in &reason.ruled_out {
        let nodes = if *nodes == 1 { "1 node is".to_owned() } else { format!("{nodes} nodes are") };
        why.push(format!("{nodes} ruled out: {obstacle}"));
    }
    if why.is_empty() {
        why.push("there is no other node".to_owned());
    }
    why
}
