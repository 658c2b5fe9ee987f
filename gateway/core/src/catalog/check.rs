//! A pipeline against manifests and nodes.

use super::{
    Catalog, Demands, Kind, Mistake, Offers, Port, Resolved, ResolvedCapsule, ResolvedPublish,
    ResolvedSubscribe, ResolvedWire, config, schema,
};
use crate::pipeline::{Capsule, End, Pipeline};
use capmesh_description::document::{Collector, File, Message, hint};
use capmesh_wire::manifest::{Peer, Service};
use capmesh_wire::{Digest, Manifest, Schema, cbor, limits};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

/// The length of a sector of flash, in which a node lays modules down.
const SECTOR: u64 = 4_096;

/// Collects mistakes with their places.
pub(super) struct Report<'p> {
    pipeline: &'p Pipeline,
    mistakes: RefCell<Vec<(usize, Mistake)>>,
}

impl<'p> Report<'p> {
    const fn new(pipeline: &'p Pipeline) -> Self {
        Self { pipeline, mistakes: RefCell::new(Vec::new()) }
    }

    pub(super) fn mistake(&self, kind: Kind, span: &Range<usize>, message: impl Into<Message>) {
        if self.mistakes.borrow().len() >= Collector::MOST {
            return;
        }
        let collector = Collector::default();
        let text = self.pipeline.text.clone();
        File::of(Path::new(&self.pipeline.path), text, &collector).fault(span, message);
        let Err(faults) = collector.finish::<()>(None) else { return };
        let found = faults.as_slice().first().cloned();
        let found = found.map(|fault| (span.start, Mistake { kind, fault }));
        self.mistakes.borrow_mut().extend(found);
    }

    fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Mistake>> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort_by_key(|(place, _)| *place);
        match value {
            Some(value) if mistakes.is_empty() => Ok(value),
            _ => Err(mistakes.into_iter().map(|(_, mistake)| mistake).collect()),
        }
    }
}

/// A capsule of the pipeline with its manifest.
struct Known<'a> {
    capsule: &'a Capsule,
    digest: Digest,
    manifest: Manifest<'a>,
    envelope: usize,
    is_left_out: bool,
}

pub(super) fn check(
    catalog: &Catalog,
    pipeline: &Pipeline,
    offers: &Offers,
) -> Result<Resolved, Vec<Mistake>> {
    let report = Report::new(pipeline);
    let known: Vec<Option<Known<'_>>> =
        pipeline.capsules.iter().map(|capsule| known(&report, catalog, capsule, offers)).collect();
    let check = Check { report: &report, known: &known };
    let capsules: Option<Vec<_>> =
        known.iter().map(|known| check.capsule(known.as_ref()?)).collect();
    let wires = check.wires();
    let publish = check.publish();
    let subscribe = check.subscribe();
    check.counts(&wires, &publish, &subscribe);
    report.finish(capsules.map(|capsules| Resolved { capsules, wires, publish, subscribe }))
}

/// Finds a capsule's manifest, and whether there is a node with all that it wants.
fn known<'a>(
    report: &Report<'_>,
    catalog: &'a Catalog,
    capsule: &'a Capsule,
    offers: &Offers,
) -> Option<Known<'a>> {
    let uses = capsule.uses.as_str();
    let digest = catalog.resolve(uses);
    let found = digest.and_then(|digest| {
        Some((digest, catalog.manifest(&digest)?, catalog.envelope(&digest)?.len()))
    });
    let Some((digest, manifest, envelope)) = found else {
        let names: Vec<&str> = catalog.references().map(|(name, _)| name).collect();
        let message = match digest {
            Some(_) => format!("the manifest of `{uses}` is not known").into(),
            None if names.is_empty() => format!("the registry has no `{uses}`").into(),
            None => hint(uses, &names).after(format!("the registry has no `{uses}`")),
        };
        report.mistake(Kind::UnknownCapsule, &capsule.uses.span, message);
        return None;
    };
    let wanted = demands(capsule, &manifest);
    let lacks = |wanted: &BTreeSet<String>, there: &BTreeSet<String>| {
        wanted.difference(there).cloned().collect::<Vec<_>>()
    };
    let sensors = lacks(&wanted.sensors, &offers.there.sensors);
    let actuators = lacks(&wanted.actuators, &offers.there.actuators);
    let is_left_out = capsule.optional && !(sensors.is_empty() && actuators.is_empty());
    if !is_left_out && !offers.is_open {
        lacking(report, capsule, Kind::Sensor, &sensors, &offers.there.sensors);
        lacking(report, capsule, Kind::Actuator, &actuators, &offers.there.actuators);
    }
    Some(Known { capsule, digest, manifest, envelope, is_left_out })
}

/// What a capsule's node has to have: what the capsule wants, and what the pipeline wants beside.
fn demands(capsule: &Capsule, manifest: &Manifest<'_>) -> Demands {
    let mut wanted = Demands::of(&manifest.capsule);
    wanted.sensors.extend(capsule.sensors.iter().map(|sensor| sensor.value.clone()));
    wanted.actuators.extend(capsule.actuators.iter().map(|actuator| actuator.value.clone()));
    wanted
}

/// Reports sensors or actuators that no node has.
fn lacking(
    report: &Report<'_>,
    capsule: &Capsule,
    kind: Kind,
    lacks: &[String],
    there: &BTreeSet<String>,
) {
    let what = if kind == Kind::Sensor { "sensor" } else { "actuator" };
    for word in lacks {
        let name = Demands::shown(word);
        let asked = capsule.sensors.iter().chain(&capsule.actuators);
        let place = asked.into_iter().find(|asked| asked.value == *word);
        let span = place.map_or(&capsule.uses.span, |place| &place.span);
        let message = if word.starts_with('~') {
            let uses = &capsule.uses.value;
            format!("no node has the digital input `{name}`, which `{uses}` hears of").into()
        } else if there.contains(name) {
            let uses = &capsule.uses.value;
            let with = if kind == Kind::Sensor { "samples of the schema" } else { "the unit" };
            format!(
                "there are nodes with a {what} `{name}`, but none with {with} that `{uses}` wants"
            )
            .into()
        } else {
            let names: Vec<&str> =
                there.iter().map(String::as_str).filter(|n| !n.contains(['#', '~'])).collect();
            hint(name, &names).after(format!("no node has the {what} `{name}`"))
        };
        report.mistake(kind, span, message);
    }
}

/// An end that was found: its port and its schema.
type Found<'a> = (Port, Schema<'a>);

struct Check<'r, 'a> {
    report: &'r Report<'r>,
    known: &'r [Option<Known<'a>>],
}

impl<'a> Check<'_, 'a> {
    fn capsule(&self, known: &Known<'a>) -> Option<ResolvedCapsule> {
        let described = &known.manifest.capsule;
        let size = u64::from(known.manifest.module_size);
        let chunks = size.div_ceil(1 << described.chunk_log2.min(31));
        // Digest pages hold 32 bytes for each chunk; pages above them are few.
        let blob = (size + 40 * chunks).next_multiple_of(SECTOR);
        Some(ResolvedCapsule {
            capsule: known.digest,
            replicas: if known.is_left_out { 0 } else { known.capsule.replicas },
            config: config::payload(self.report, known.capsule, described.config),
            peers: self.peers(known),
            demands: demands(known.capsule, &known.manifest),
            abi: described.abi,
            needs: described.needs,
            flash: blob + known.envelope as u64 + u64::from(described.needs.memory),
        })
    }

    /// A capsule by its name in the pipeline.
    fn find(&self, name: &str) -> Option<(usize, &Known<'a>)> {
        let is = |known: &Option<Known<'a>>| {
            known.as_ref().is_some_and(|known| known.capsule.name.value == name)
        };
        let place = self.known.iter().position(is)?;
        Some((place, self.known.get(place)?.as_ref()?))
    }

    /// The output or input that an end names; `None` if it is wrong, or its capsule is.
    fn port(&self, end: &End, is_output: bool) -> Option<Found<'a>> {
        let (capsule, known) = self.find(&end.capsule)?;
        let described = &known.manifest.capsule;
        let ports = if is_output { described.outputs } else { described.inputs };
        let found = (0..=u8::MAX).zip(ports.iter()).find(|(_, p)| p.name.as_str() == end.port);
        let Some((number, port)) = found else {
            let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
            let what = if is_output { "output" } else { "input" };
            let hint = hint(&end.port, &names);
            let uses = &known.capsule.uses.value;
            let message = format!("`{uses}` has no {what} `{}`", end.port);
            self.report.mistake(Kind::UnknownPort, &end.span, hint.after(message));
            return None;
        };
        Some((Port { capsule, number }, described.schema(port.schema)?))
    }

    fn is_left_out(&self, port: Port) -> bool {
        self.known.get(port.capsule).is_some_and(|k| k.as_ref().is_some_and(|k| k.is_left_out))
    }

    fn wires(&self) -> Vec<ResolvedWire> {
        let mut wires = Vec::new();
        for wire in &self.report.pipeline.wires {
            let ends = (self.port(&wire.from, true), self.port(&wire.to, false));
            let (Some((from, comes)), Some((to, wanted))) = ends else { continue };
            if let Some(difference) = schema::difference(&comes, &wanted) {
                let (a, b) = (schema::shown(&comes), schema::shown(&wanted));
                let message = format!(
                    "`{}.{}` gives {a}, `{}.{}` takes {b}: {difference}",
                    wire.from.capsule, wire.from.port, wire.to.capsule, wire.to.port
                );
                self.report.mistake(Kind::Schema, &wire.to.span, message);
            }
            if self.is_left_out(from) || self.is_left_out(to) {
                continue;
            }
            wires.push(ResolvedWire {
                from,
                to,
                delivery: wire.delivery,
                overflow: wire.overflow,
                replicas: wire.replicas,
                rate: wire.rate,
                longest: u32::try_from(comes.max_payload_len()).unwrap_or(u32::MAX),
            });
        }
        wires
    }

    fn publish(&self) -> Vec<ResolvedPublish> {
        let mut all = Vec::new();
        for publish in &self.report.pipeline.publish {
            let Some((from, schema)) = self.port(&publish.from, true) else { continue };
            if self.is_left_out(from) {
                continue;
            }
            all.push(ResolvedPublish {
                from,
                name: (publish.from.capsule.clone(), publish.from.port.clone()),
                schema: encoded(&schema),
                delivery: publish.delivery,
                overflow: publish.overflow,
            });
        }
        all
    }

    fn subscribe(&self) -> Vec<ResolvedSubscribe> {
        let mut all: Vec<ResolvedSubscribe> = Vec::new();
        let mut schemas: BTreeMap<&str, (Schema<'a>, &End)> = BTreeMap::new();
        for subscribe in &self.report.pipeline.subscribe {
            let Some((to, wanted)) = self.port(&subscribe.to, false) else { continue };
            // One topic is one stream, whose messages have one schema.
            let (first, end) = schemas.entry(&subscribe.topic).or_insert((wanted, &subscribe.to));
            if let Some(difference) = schema::difference(first, &wanted) {
                let message = format!(
                    "one topic goes to `{}.{}`, which takes {}, and `{}.{}`, which takes {}: {difference}",
                    end.capsule,
                    end.port,
                    schema::shown(first),
                    subscribe.to.capsule,
                    subscribe.to.port,
                    schema::shown(&wanted),
                );
                self.report.mistake(Kind::Schema, &subscribe.to.span, message);
            }
            if !self.is_left_out(to) {
                all.push(ResolvedSubscribe {
                    topic: subscribe.topic.value.clone(),
                    to,
                    input: subscribe.to.port.clone(),
                    schema: encoded(&wanted),
                    delivery: subscribe.delivery,
                });
            }
        }
        all
    }

    /// Whom a capsule asks: everybody that its manifest names has to be somebody who answers that.
    fn peers(&self, known: &Known<'a>) -> Vec<(u8, usize)> {
        let peers = known.manifest.capsule.peers;
        let names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
        let uses = &known.capsule.uses.value;
        for (name, _) in &known.capsule.peers {
            if !names.contains(&name.as_str()) {
                let hint = hint(name, &names);
                let message = format!("`{uses}` asks nobody called `{}`", name.value);
                self.report.mistake(Kind::Peer, &name.span, hint.after(message));
            }
        }
        let mut found = Vec::new();
        for (number, peer) in (0..=u8::MAX).zip(peers.iter()) {
            let bound =
                known.capsule.peers.iter().find(|(name, _)| name.value == peer.name.as_str());
            let Some((_, to)) = bound else {
                let message = format!(
                    "`{}` lacks `peers = {{ {} = \"...\" }}`: the capsule of this pipeline that \
                     `{uses}` asks for {}",
                    known.capsule.name.value,
                    peer.name,
                    services(&peer),
                );
                self.report.mistake(Kind::Peer, &known.capsule.name.span, message);
                continue;
            };
            let Some((place, asked)) = self.find(to) else { continue };
            self.answers(known, &peer, asked, &to.span);
            if asked.is_left_out && !known.is_left_out {
                let message = format!("`{}` is left out, as no node has what it needs", to.value);
                self.report.mistake(Kind::Peer, &to.span, message);
            }
            found.push((number, place));
        }
        found
    }

    /// Whether a capsule answers what is asked of it, with the schemas that are meant.
    fn answers(&self, asking: &Known<'a>, peer: &Peer<'a>, asked: &Known<'a>, span: &Range<usize>) {
        let has = asked.manifest.capsule.services;
        for wanted in peer.services {
            let (uses, name) = (&asked.capsule.uses.value, wanted.name);
            let Some(found) = has.iter().find(|service| service.name == name) else {
                let names: Vec<&str> = has.iter().map(|service| service.name.as_str()).collect();
                let hint = hint(name.as_str(), &names);
                let message = format!("`{uses}` does not answer `{name}`");
                self.report.mistake(Kind::Peer, span, hint.after(message));
                continue;
            };
            let schema = |known: &Known<'a>, number: Option<u8>| {
                number.and_then(|number| known.manifest.capsule.schema(number))
            };
            let pairs = [
                ("requests", (asking, wanted.request), (asked, found.request)),
                ("responses", (asked, found.response), (asking, wanted.response)),
            ];
            for (what, (comes, a), (takes, b)) in pairs {
                let difference = match (schema(comes, a), schema(takes, b)) {
                    (Some(comes), Some(wanted)) => schema::difference(&comes, &wanted),
                    (None, None) => None,
                    (Some(_), None) => Some("they come with a value where none is wanted".into()),
                    (None, Some(_)) => Some("they come without the value that is wanted".into()),
                };
                if let Some(difference) = difference {
                    let message = format!("the {what} of `{name}` do not match: {difference}");
                    self.report.mistake(Kind::Schema, span, message);
                }
            }
        }
    }

    /// Whether no instance has more wires than it can.
    fn counts(
        &self,
        wires: &[ResolvedWire],
        publish: &[ResolvedPublish],
        subscribe: &[ResolvedSubscribe],
    ) {
        let replicas = |capsule: usize| {
            let known = self.known.get(capsule).and_then(Option::as_ref);
            known.map_or(0, |known| known.capsule.replicas)
        };
        let mut begin: BTreeMap<(usize, u8), usize> = BTreeMap::new();
        let mut end: BTreeMap<(usize, u8), usize> = BTreeMap::new();
        for wire in wires {
            let (from, to) = (wire.from.capsule, wire.to.capsule);
            for (a, b) in wire.replicas.pairs(replicas(from), replicas(to)) {
                *begin.entry((from, a)).or_default() += 1;
                *end.entry((to, b)).or_default() += 1;
            }
        }
        let all = |capsule: usize| (0..replicas(capsule)).map(move |replica| (capsule, replica));
        for port in publish.iter().map(|publish| publish.from) {
            all(port.capsule).for_each(|key| *begin.entry(key).or_default() += 1);
        }
        for port in subscribe.iter().map(|subscribe| subscribe.to) {
            all(port.capsule).for_each(|key| *end.entry(key).or_default() += 1);
        }
        for (what, counts) in [("begin", begin), ("end", end)] {
            let over = counts.into_iter().filter(|(_, count)| *count > limits::WIRES);
            let worst: BTreeMap<usize, usize> = over.map(|((c, _), count)| (c, count)).collect();
            for (capsule, count) in worst {
                let Some(known) = self.known.get(capsule).and_then(Option::as_ref) else {
                    continue;
                };
                let name = &known.capsule.name;
                let message = format!(
                    "{count} wires {what} at each instance of `{}`, those of all replicas counted; \
                     {} are possible",
                    name.value,
                    limits::WIRES
                );
                self.report.mistake(Kind::TooMany, &name.span, message);
            }
        }
    }
}

fn services(peer: &Peer<'_>) -> String {
    let names: Vec<String> =
        peer.services.iter().map(|service: Service<'_>| format!("`{}`", service.name)).collect();
    names.join(", ")
}

fn encoded(schema: &Schema<'_>) -> Vec<u8> {
    let mut buf = [0; limits::FIELD * (limits::FIELDS_OF_SCHEMA + 1)];
    let len = cbor::encode(schema, &mut buf).unwrap_or_default();
    buf.get(..len).unwrap_or_default().to_vec()
}
