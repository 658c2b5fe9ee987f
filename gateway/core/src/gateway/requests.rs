//! What people and programs ask.

use super::attend::command;
use super::decide::Why;
use super::{Gateway, Purpose, REQUESTS, adopt};
use crate::api::{self, Refusal, RefusalCode, Request};
use crate::asks::{self, Answer};
use crate::io::RequestId;
use crate::nodes::{Node, Record};
use crate::plan::InstanceName;
use crate::rows::Row;
use capmesh_description::nearest;
use capmesh_wire::control::{Command, Nothing, Remove};
use capmesh_wire::{Digest, Instant, NodeId};

type Said<T> = Result<T, Box<Refusal>>;

impl Gateway {
    /// Does what is asked, or begins to. The work is at most that of a placement.
    pub(super) fn request(&mut self, now: Instant, id: RequestId, request: &Request) {
        if let Err(refusal) = request.check() {
            self.answer(id, Err(refusal));
            return;
        }
        if self.requests.len() >= REQUESTS {
            let message = "there are too many requests already";
            let refusal = Refusal::new(RefusalCode::Busy, message).retry_in(1_000);
            self.answer(id, Err(refusal));
            return;
        }
        self.requests.insert(id);
        match request {
            Request::Deploy(deploy) => self.begin_deploy(now, id, deploy),
            Request::Undeploy(on) => self.undeploy(now, id, &on.pipeline),
            Request::Migrate(migrate) => self.migrate(now, id, migrate),
            Request::Adopt(adopt) => self.begin_adoption(now, id, adopt),
            Request::Reboot(on) => self.reboot(now, id, &on.node),
            Request::Remove(remove) => self.remove_capsule(now, id, remove),
            Request::Restart(_)
            | Request::Drain(_)
            | Request::Undrain(_)
            | Request::Revoke(_)
            | Request::Rename(_)
            | Request::Label(_) => match self.change(now, request) {
                Ok(message) => self.promise(id, Ok(api::Answer::done(message))),
                Err(refusal) => self.answer(id, Err(*refusal)),
            },
            query => {
                let result = self.look(now, query);
                self.answer(id, result.map_err(|refusal| *refusal));
            }
        }
    }

    /// Answers once everything is durable that was put until now.
    pub(super) fn promise(&mut self, id: RequestId, result: Result<api::Answer, Refusal>) {
        match result {
            Ok(answer) => {
                let token = self.store.newest();
                self.promised.push((token, id, answer));
            }
            Err(refusal) => self.answer(id, Err(refusal)),
        }
    }

    /// Changes something, and says what was done.
    fn change(&mut self, now: Instant, request: &Request) -> Said<String> {
        match request {
            Request::Restart(on) => {
                let row = self.instance_named(&on.instance)?.clone();
                self.undo_of(now, row.instance, "the instance is started anew");
                let path = row.path();
                self.begin_afresh(row);
                Ok(format!("{path} starts afresh"))
            }
            Request::Drain(on) => self.drain(now, &on.node, true),
            Request::Undrain(on) => self.drain(now, &on.node, false),
            Request::Revoke(on) => self.revoke(now, &on.node),
            Request::Rename(rename) => {
                let node = self.node_named(&rename.node)?;
                let taken = self.nodes.iter().find(|other| other.record.name == rename.name);
                if let Some(taken) = taken.filter(|taken| taken.id != node.id) {
                    let message = format!("{} is the name of {} already", rename.name, taken.id);
                    return Err(refuse(RefusalCode::Conflict, message));
                }
                let (id, old) = (node.id, node.record.name.clone());
                let record = Record { name: rename.name.clone(), ..node.record.clone() };
                self.keep_record(now, id, record);
                self.bridge.remove_node(now, &old, &mut self.store);
                self.node_changed(now, id);
                Ok(format!("{old} is called {} now", rename.name))
            }
            Request::Label(label) => {
                let node = self.node_named(&label.node)?;
                let (id, mut record) = (node.id, node.record.clone());
                record.labels.retain(|known| !label.remove.contains(known));
                record.labels.extend(label.add.iter().cloned());
                record.labels.sort();
                record.labels.dedup();
                if record.labels.len() > api::limits::LABELS {
                    let most = api::limits::LABELS;
                    let message = format!("a node has at most {most} labels");
                    return Err(refuse(RefusalCode::TooLarge, message));
                }
                let labels = record.labels.join(", ");
                self.keep_record(now, id, record);
                self.plan_soon(now);
                Ok(format!("{} has the labels: {labels}", label.node))
            }
            _ => Err(refuse(RefusalCode::Internal, "that is not a change".to_owned())),
        }
    }

    fn keep_record(&mut self, now: Instant, id: NodeId, record: Record) {
        self.nodes.keep(now, &mut self.store, id, record);
        self.node_changed(now, id);
    }

    fn drain(&mut self, now: Instant, name: &str, draining: bool) -> Said<String> {
        let node = self.node_named(name)?;
        let (id, name) = (node.id, node.record.name.clone());
        let takes = format!("{name} takes instances again");
        if !draining && !node.record.draining {
            return Ok(takes);
        }
        let record = Record { draining, ..node.record.clone() };
        self.keep_record(now, id, record);
        if draining {
            // Whoever wanted something there wants it away now.
            let there = self.pins.iter().filter(|(_, node)| **node == id);
            let there: Vec<_> = there.map(|(name, _)| name.clone()).collect();
            there.iter().for_each(|name| self.pin(name, None));
        }
        let decision = self.decide(&self.pipelines, &self.pins);
        let causes: Vec<String> = decision.refusals.iter().map(|r| r.message.clone()).collect();
        self.apply(now, decision, Why::Changed);
        Ok(match (draining, causes.is_empty()) {
            (true, true) => format!("{name} is being emptied"),
            (true, false) => {
                format!(
                    "{name} is being emptied; what has no other place stays: {}",
                    causes.join("; ")
                )
            }
            (false, _) => takes,
        })
    }

    fn revoke(&mut self, now: Instant, name: &str) -> Said<String> {
        let node = self.node_named(name)?;
        let (id, name) = (node.id, node.record.name.clone());
        let unix = self.unix_millis(now).unwrap_or_default() / 1_000;
        self.members
            .revoke(&mut self.store, unix, id)
            .map_err(|error| Box::new(adopt::refusal(error)))?;
        self.nodes.remove(now, &mut self.store, &mut *self.link, id);
        self.asks.cancel(now, &mut *self.link, |purpose| match purpose {
            Purpose::Probe(node) | Purpose::Duty(node, _) => *node == id,
            _ => false,
        });
        self.bridge.remove_node(now, &name, &mut self.store);
        self.event(api::Event::Gone(api::Gone::Node(name.clone())));
        self.plan_soon(now);
        Ok(format!("{name} does not belong to the site any more"))
    }

    fn reboot(&mut self, now: Instant, id: RequestId, name: &str) {
        let order = command(&Command::Reboot(Nothing {}));
        self.order(now, id, name, order, "it starts anew");
    }

    fn remove_capsule(&mut self, now: Instant, id: RequestId, remove: &api::Remove) {
        let digest = remove.capsule.parse().ok().or_else(|| self.catalog.resolve(&remove.capsule));
        let Some(capsule) = digest else {
            let message = format!("nobody knows the capsule {}", remove.capsule);
            self.answer(id, Err(Refusal::new(RefusalCode::UnknownCapsule, message)));
            return;
        };
        if self.rows.iter().any(|row| row.capsule == capsule) {
            let message = format!("{} is in use", remove.capsule);
            self.answer(id, Err(Refusal::new(RefusalCode::Conflict, message)));
            return;
        }
        let order = command(&Command::Remove(Remove { capsule }));
        if let Some(node) = &remove.node {
            self.order(now, id, node, order, "it has forgotten the capsule");
            return;
        }
        let holders = self.nodes.iter().filter(|node| node.is_up() && node.holds(&capsule));
        let holders: Vec<NodeId> = holders.map(|node| node.id).collect();
        let count = holders.len();
        for node in holders {
            if let (Some(peer), Some(request)) = (self.link.peer(node), order.clone()) {
                let purpose = Purpose::Order(RequestId(u64::MAX), node, "");
                let _ = self.asks.send(now, &mut *self.link, peer, request, purpose);
            }
        }
        self.answer(id, Ok(api::Answer::done(format!("{count} nodes are told to forget it"))));
    }

    /// Commands a node for somebody who waits.
    fn order(
        &mut self,
        now: Instant,
        id: RequestId,
        name: &str,
        order: Option<asks::Request>,
        done: &'static str,
    ) {
        let node = match self.node_named(name) {
            Ok(node) => node.id,
            Err(refusal) => return self.answer(id, Err(*refusal)),
        };
        let peer = self.nodes.peer(now, &mut *self.link, node);
        let sent = peer.zip(order).is_some_and(|(peer, order)| {
            let purpose = Purpose::Order(id, node, done);
            self.asks.send(now, &mut *self.link, peer, order, purpose).is_ok()
        });
        if !sent {
            let refusal = Refusal::new(RefusalCode::Busy, format!("{name} cannot be told now"));
            self.answer(id, Err(refusal.retry_in(1_000)));
        }
    }

    pub(super) fn order_answered(
        &mut self,
        id: RequestId,
        node: NodeId,
        done: &str,
        answer: &Answer,
    ) {
        if id == RequestId(u64::MAX) {
            return;
        }
        let name = self.nodes.name(node);
        let result = match (answer.is_success(), answer.code) {
            (true, _) => Ok(api::Answer::done(format!("{name}: {done}"))),
            (false, Some(_)) => Err(Refusal::node_refused(&name, answer.problem().0)),
            (false, None) => {
                Err(Refusal::new(RefusalCode::Timeout, format!("{name} does not answer in time")))
            }
        };
        self.answer(id, result);
    }

    /// Looks something up.
    fn look(&self, now: Instant, query: &Request) -> Said<api::Answer> {
        Ok(match query {
            Request::Site => api::Answer::Site(Box::new(self.site_view(now))),
            Request::Nodes => {
                let mut nodes: Vec<_> =
                    self.nodes.iter().filter_map(|n| self.node_view(now, n.id)).collect();
                nodes.sort_by(|a, b| a.name.cmp(&b.name));
                api::Answer::Nodes(nodes)
            }
            Request::Node(on) => {
                let id = self.node_named(&on.node)?.id;
                let unknown = || refuse(RefusalCode::UnknownNode, on.node.clone());
                api::Answer::Node(Box::new(self.node_view(now, id).ok_or_else(unknown)?))
            }
            Request::Instances(which) => api::Answer::Instances(self.instances(which)?),
            Request::Instance(on) => {
                let row = self.instance_named(&on.instance)?;
                api::Answer::Instance(Box::new(self.instance_view(row)))
            }
            Request::Pipelines => {
                let names = self.pipelines.keys();
                let views = names.filter_map(|name| self.pipeline_view(name, None, false));
                api::Answer::Pipelines(views.collect())
            }
            Request::Pipeline(on) => {
                let view = self.pipeline_view(&on.pipeline, None, true);
                let unknown = || self.no_pipeline(&on.pipeline);
                api::Answer::Pipeline(Box::new(view.ok_or_else(unknown)?))
            }
            Request::Plan => api::Answer::Plan(self.plan_view(None)),
            Request::Topics => api::Answer::Topics(self.bridge.topics()),
            Request::Log(query) => api::Answer::Log(self.log_lines(query)?),
            Request::Capsules => api::Answer::Capsules(self.capsules()),
            Request::Migrations => {
                let count = self.migrations.len();
                let running = (0..count).rev().filter_map(|at| self.migration_view(now, at));
                api::Answer::Migrations(running.chain(self.over.iter().cloned()).collect())
            }
            _ => {
                let message = "that cannot be looked up".to_owned();
                return Err(refuse(RefusalCode::Internal, message));
            }
        })
    }

    fn instances(&self, which: &api::Which) -> Said<Vec<api::InstanceView>> {
        let node = which.node.as_ref().map(|name| self.node_named(name).map(|node| node.id));
        let node = node.transpose()?;
        let fits = |row: &&Row| {
            which.pipeline.as_ref().is_none_or(|pipeline| row.pipeline == *pipeline)
                && node.is_none_or(|node| row.node == node)
        };
        let mut rows: Vec<&Row> = self.rows.iter().filter(fits).collect();
        rows.sort_by_key(|row| InstanceName::of(row));
        Ok(rows.into_iter().map(|row| self.instance_view(row)).collect())
    }

    fn log_lines(&self, query: &api::LogQuery) -> Said<Vec<api::LogLine>> {
        let node = query.node.as_ref().map(|name| self.node_named(name));
        let node = node.transpose()?.map(|node| node.record.name.clone());
        let instance = query.instance.as_ref().map(|instance| self.instance_named(instance));
        let instance = instance.transpose()?.map(Row::path);
        let fits = |line: &&api::LogLine| {
            (node.is_none() || line.node == node)
                && (instance.is_none() || line.instance == instance)
                && query.level.is_none_or(|level| line.level.code() <= level.code())
        };
        let most = usize::from(query.lines.unwrap_or(api::limits::LOG_LINES));
        let newest = self.log.iter().rev().filter(fits).take(most);
        let mut lines: Vec<_> = newest.cloned().collect();
        lines.reverse();
        Ok(lines)
    }

    /// The node with this name or id.
    pub(super) fn node_named(&self, name: &str) -> Said<&Node> {
        self.nodes.named(name).ok_or_else(|| {
            let mut refusal =
                Refusal::new(RefusalCode::UnknownNode, format!("no node is called {name}"));
            let mut names: Vec<&str> =
                self.nodes.iter().map(|node| node.record.name.as_str()).collect();
            names.sort_unstable();
            if let Some(help) = meant(name, &names) {
                refusal = refusal.help(help);
            }
            Box::new(refusal)
        })
    }

    /// The instance that somebody means.
    pub(super) fn instance_named(&self, instance: &api::InstanceRef) -> Said<&Row> {
        let found = match instance {
            api::InstanceRef::Number(number) => self.rows.get(*number),
            api::InstanceRef::Place { pipeline, name, replica: Some(replica) } => {
                self.rows.find(pipeline, name, *replica)
            }
            api::InstanceRef::Place { pipeline, name, replica: None } => {
                let of = |row: &&Row| row.pipeline == *pipeline && row.name == *name;
                if self.rows.iter().filter(of).count() > 1 {
                    let message = format!("{instance} has several replicas");
                    let help = format!("say which: {instance}/0");
                    let refusal = Refusal::new(RefusalCode::UnknownInstance, message).help(help);
                    return Err(Box::new(refusal));
                }
                self.rows.iter().find(of)
            }
        };
        found.ok_or_else(|| {
            let message = format!("there is no instance {instance}");
            let mut refusal = Refusal::new(RefusalCode::UnknownInstance, message);
            let paths: Vec<String> = self.rows.iter().map(Row::path).collect();
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            if let Some(help) = meant(&instance.to_string(), &paths) {
                refusal = refusal.help(help);
            }
            Box::new(refusal)
        })
    }

    /// No pipeline is called so.
    pub(super) fn no_pipeline(&self, name: &str) -> Box<Refusal> {
        let message = format!("no pipeline is called {name}");
        let mut refusal = Refusal::new(RefusalCode::UnknownPipeline, message);
        let names: Vec<&str> = self.pipelines.keys().map(String::as_str).collect();
        if let Some(help) = meant(name, &names) {
            refusal = refusal.help(help);
        }
        Box::new(refusal)
    }

    /// What capsules there are.
    fn capsules(&self) -> Vec<api::CapsuleView> {
        let mut digests: Vec<Digest> = self.rows.iter().map(|row| row.capsule).collect();
        digests.extend(self.catalog.references().map(|(_, digest)| digest));
        digests.sort();
        digests.dedup();
        digests.iter().filter_map(|digest| self.capsule_view(digest)).collect()
    }
}

/// What may have been meant by a name that is none of these.
fn meant(name: &str, names: &[&str]) -> Option<String> {
    match (nearest(name, names.iter().copied()), names) {
        (Some(nearest), _) => Some(format!("did you mean {nearest}?")),
        (None, []) => None,
        (None, names) => {
            let shown = names.iter().take(20).copied().collect::<Vec<_>>().join(", ");
            Some(format!("there are {shown}{}", if names.len() > 20 { ", ..." } else { "" }))
        }
    }
}

fn refuse(code: RefusalCode, message: String) -> Box<Refusal> {
    Box::new(Refusal::new(code, message))
}
