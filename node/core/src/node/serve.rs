//! The node's resources, for any CoAP client.

use super::command::COMMANDERS;
use super::{BODY, Node};
use crate::config::Config;
use crate::discovery::AnnounceResource;
use crate::flash::Store;
use crate::host::CapsuleHost;
use crate::install::{Blobs, CapsulesResource};
use crate::instances::profile::ABI;
use crate::log::Log;
use crate::migrate::Offers;
use crate::router::{Counters, InboxResource, ServicesResource, TopicsResource};
use crate::site::{CredentialResource, PlanResource, RosterResource};
use alloc::vec;
use alloc::vec::Vec;
use capmesh_coap::Code;
use capmesh_coap::endpoint::{Event, Responder};
use capmesh_coap::link_format::{Attributes, LinkWriter};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::{Done, Handled, Refusal, Reply, Request, Resource, Route};
use capmesh_session::{Link, Peer, Roles};
use capmesh_transfer::BlobResource;
use capmesh_wire::cbor::{self, Encode, List, Writer};
use capmesh_wire::inventory::{self, InstanceStatus, Inventory, Refused, Sensor, Share, Status};
use capmesh_wire::manifest::Actuator;
use capmesh_wire::{
    Digest, DigestPrefix, Instant, Name, NodeId, Revision, Role, Text, content_format, limits,
    paths,
};
use core::fmt;
use core::time::Duration;

/// How often observers of status, inventory and log are told.
const PACE: Duration = Duration::from_millis(250);

/// How often all observers are told what they observe, changed or not: those who have vanished are
/// found out, and keep no place.
const CHECK: Duration = Duration::from_secs(300);

/// Which resources have changed since their observers were told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changes {
    pub(super) status: bool,
    pub(super) inventory: bool,
    pub(super) log: bool,
}

/// Everybody on the roster may read.
fn reader(peer: Peer) -> Result<(), Code> {
    peer.require(Roles::ANY).map(drop)
}

/// Nodes publish, and gateways: what comes from outside of the mesh.
fn publisher(peer: Peer) -> Result<NodeId, Code> {
    peer.require(Roles::only(Role::Node).or(Role::Gateway)).map(|member| member.id)
}

impl<E: Link, H: CapsuleHost> Node<E, H> {
    /// Answers a request.
    #[inline(never)]
    pub(super) fn request(&mut self, now: Instant, flash: &[u8], event: Event<'_, Peer>) {
        let Event::Request { message, peer, .. } = event else { return };
        let first = message.option_values(OptionNumber::URI_PATH).next().unwrap_or_default();
        let first = core::str::from_utf8(first).unwrap_or_default();
        let reads = matches!(message.code(), Code::GET | Code::FETCH);
        if first == paths::CAPSULES && !reads && peer.require(COMMANDERS).is_err() {
            self.forbid(now, peer);
        }
        let mut canvas = core::mem::take(&mut self.canvas);
        let mut commands = Commands::default();
        match first {
            paths::CONTROL => {
                let mut routes = [Route::at(paths::CONTROL, &mut commands)];
                self.server.handle(now, &mut self.link, &mut routes, event, &mut canvas);
            }
            paths::INBOX => {
                let mut inbox = InboxResource::new(&mut self.router, publisher);
                let mut routes = [Route::below(paths::INBOX, &mut inbox)];
                self.server.handle(now, &mut self.link, &mut routes, event, &mut canvas);
            }
            paths::SERVICES => {
                let mut services = ServicesResource::new(&mut self.router, reader);
                let mut routes = [Route::below(paths::SERVICES, &mut services)];
                self.server.handle(now, &mut self.link, &mut routes, event, &mut canvas);
            }
            paths::BLOBS => {
                let Self { instances, install, store, serve, speaker, server, link, .. } = self;
                let offers =
                    Offers(instances.iter().filter_map(|slot| slot.offer.as_ref()).collect());
                let blobs = Blobs::new(install, store, flash).beside(&offers);
                let mut blobs =
                    BlobResource::new(serve, &blobs, reader).speaking(speaker.as_deref_mut());
                let mut routes = [Route::below(paths::BLOBS, &mut blobs)];
                server.handle(now, link, &mut routes, event, &mut canvas);
            }
            paths::ANNOUNCE => {
                let mine = self.mine(flash);
                let mut announce = AnnounceResource::new(&mut self.discovery, mine, |peer| {
                    if let Peer::Anonymous(address) = peer { Some(address) } else { None }
                });
                let mut routes = [Route::at(paths::ANNOUNCE, &mut announce)];
                self.server.handle(now, &mut self.link, &mut routes, event, &mut canvas);
            }
            paths::CAPSULES => {
                let Self { instances, install, store, server, link, .. } = self;
                let in_use = |digest: &Digest| instances.uses(digest);
                let mut capsules = CapsulesResource::new(install, flash, store, &in_use);
                let mut routes = [Route::below(paths::CAPSULES, &mut capsules)];
                server.handle(now, link, &mut routes, event, &mut canvas);
            }
            paths::ROSTER if message.code() == Code::POST => {
                let Event::Request { peer, responder, .. } = event else { return };
                self.tidings_heard(now, flash, peer, message.payload());
                self.discovery.ignore(responder);
            }
            paths::ROSTER | paths::PLAN | paths::CREDENTIAL => {
                self.document(now, flash, first, event, &mut canvas);
            }
            _ => self.read(now, flash, Some(event), &mut canvas),
        }
        self.canvas = canvas;
        // Whoever observes what the request has changed is to be told.
        self.notifies = true;
        if let Some((peer, responder)) = commands.who {
            let body = commands.body;
            self.command(now, flash, peer, responder, &body);
        }
    }

    /// Serves roster, plan or credential.
    #[inline(never)]
    fn document(
        &mut self,
        now: Instant,
        flash: &[u8],
        path: &str,
        event: Event<'_, Peer>,
        canvas: &mut [u8],
    ) {
        match path {
            paths::ROSTER => {
                let mut roster = RosterResource::new(&mut self.site, flash, &mut self.store);
                let mut routes = [Route::at(paths::ROSTER, &mut roster)];
                self.server.handle(now, &mut self.link, &mut routes, event, canvas);
            }
            paths::PLAN => {
                let mut plan = PlanResource::new(&mut self.site, flash, &mut self.store);
                let mut routes = [Route::at(paths::PLAN, &mut plan)];
                self.server.handle(now, &mut self.link, &mut routes, event, canvas);
            }
            _ => {
                let mut credential = CredentialResource::new(&self.site, &self.store);
                let mut routes = [Route::at(paths::CREDENTIAL, &mut credential)];
                self.server.handle(now, &mut self.link, &mut routes, event, canvas);
            }
        }
    }

    /// Tells observers what has changed.
    #[inline(never)]
    pub(super) fn advance_server(&mut self, now: Instant, flash: &[u8]) {
        if self.changed.any() && self.notify_at.is_none_or(|at| at <= now) {
            let changed = core::mem::take(&mut self.changed);
            for (path, has_changed) in [
                (paths::STATUS, changed.status),
                (paths::INVENTORY, changed.inventory),
                (paths::LOG, changed.log),
            ] {
                if has_changed {
                    self.server.changed(path);
                    self.notifies = true;
                }
            }
            self.notify_at = None;
        }
        self.notify_at = match (self.changed.any(), self.notify_at) {
            (true, None) => Some(now + PACE),
            (_, at) => at,
        };
        if self.server.observers() == 0 {
            self.check_at = None;
        } else if *self.check_at.get_or_insert(now + CHECK) <= now {
            self.check_at = Some(now + CHECK);
            self.server.check_observers();
            self.notifies = true;
        }
        if core::mem::take(&mut self.notifies) && self.server.observers() > 0 {
            let mut canvas = core::mem::take(&mut self.canvas);
            self.read(now, flash, None, &mut canvas);
            self.canvas = canvas;
        }
    }

    /// Serves what can be read: one request, or every notification that is due.
    #[inline(never)]
    fn read(
        &mut self,
        now: Instant,
        flash: &[u8],
        event: Option<Event<'_, Peer>>,
        canvas: &mut [u8],
    ) {
        let statuses = self.statuses(now);
        let held: Vec<_> = self.install.digests().map(|digest| digest.prefix()).collect();
        let stats = self.link.stats();
        let refused = Refused {
            unauthenticated: stats.rejected.saturating_add(stats.refused),
            forbidden: self.forbidden.saturating_add(self.router.stats().forbidden),
            messages: self.router.stats().refused,
            unverified: self.unverified,
        };
        let status = Status {
            uptime_ms: now.saturating_since(self.born).as_millis().try_into().unwrap_or(u64::MAX),
            boots: self.site.boots(),
            roster: self.site.roster(flash, &self.store).map_or(Revision(0), |r| r.head().version),
            plan: self.site.plan(flash, &self.store).map_or(Revision(0), |plan| plan.revision),
            clock: self.timekeeper.clock().copied(),
            instances: List::new(&statuses).unwrap_or_default(),
            refused,
        };
        let (ram, fuel) = self.instances.promised();
        let free = Free {
            ram: self.config.budget.ram.saturating_sub(ram),
            fuel: self.config.budget.fuel_per_second.saturating_sub(fuel),
            instances: usize::from(self.config.budget.instances)
                .saturating_sub(self.instances.live()),
        };
        let links = self.links(now);
        let Self { config, store, log, router, server, link, .. } = self;
        let mut inventory =
            InventoryResource { config, store, flash, free, held: &held, links: &links };
        let mut status =
            Document { value: &status, format: content_format::STATUS, title: "status" };
        let mut lines = LogResource(log);
        let mut topics = TopicsResource::new(router, reader);
        let mut listed = [
            (paths::CONTROL, "commands"),
            (paths::CAPSULES, "capsules"),
            (paths::ROSTER, "roster"),
            (paths::PLAN, "plan"),
            (paths::CREDENTIAL, "credential"),
        ]
        .map(|(path, title)| (path, Listed(title)));
        let mut routes = vec![
            Route::at(paths::INVENTORY, &mut inventory),
            Route::at(paths::STATUS, &mut status),
            Route::at(paths::LOG, &mut lines),
            Route::below(paths::TOPICS, &mut topics),
        ];
        routes.extend(listed.iter_mut().map(|(path, listed)| Route::at(path, listed)));
        if let Some(event) = event {
            server.handle(now, link, &mut routes, event, canvas);
        }
        while server.poll(now, link, &mut routes, canvas) {}
    }

    /// How the instances are.
    fn statuses(&self, now: Instant) -> Vec<InstanceStatus> {
        self.instances
            .iter()
            .take(limits::ASSIGNMENTS)
            .map(|slot| {
                let Counters { handled, published, dropped, inbox, outbox } =
                    self.router.counters(slot.id).unwrap_or_default();
                InstanceStatus {
                    instance: slot.id,
                    epoch: slot.epoch,
                    state: slot.state,
                    reason: slot.reason,
                    restarts: slot.faults.restarts,
                    handled,
                    published,
                    dropped: dropped.saturating_add(slot.dropped),
                    fuel_per_second: slot.meter.read(now),
                    inbox,
                    outbox,
                }
            })
            .collect()
    }
}

impl Changes {
    const fn any(self) -> bool {
        self.status || self.inventory || self.log
    }
}

/// Takes a command down, to be obeyed when its resource is not borrowed any more.
#[derive(Default)]
struct Commands {
    who: Option<(Peer, Responder)>,
    body: Vec<u8>,
}

impl Resource<Peer> for Commands {
    fn post(&mut self, request: &Request<'_, Peer>, _: &mut Reply<'_>) -> Handled {
        request.expect_format(&[content_format::CONTROL, CBOR])?;
        let responder = request.responder().ok_or(Code::BAD_REQUEST)?;
        self.body = request.body().get(..BODY).unwrap_or(request.body()).into();
        self.who = Some((request.peer(), responder));
        Ok(Done::Later)
    }
}

/// The Content-Format application/cbor.
const CBOR: u16 = 60;

/// The Content-Format application/cbor-seq.
const CBOR_SEQUENCE: u16 = 63;

/// A document that is encoded as it is asked for.
struct Document<'a, T> {
    value: &'a T,
    format: u16,
    title: &'static str,
}

impl<T: Encode> Resource<Peer> for Document<'_, T> {
    fn get(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        reader(request.peer())?;
        let format = request.negotiate(&[CBOR, self.format])?;
        write(self.value, format, reply)
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { title: self.title, observable: true, ..Attributes::default() }
    }
}

/// Encodes a value as the body of a reply.
fn write(value: &dyn Encode, format: u16, reply: &mut Reply<'_>) -> Handled {
    let mut buf = vec![0; DOCUMENT];
    let mut writer = Writer::new(&mut buf);
    value.write(&mut writer);
    let len = writer.finish().map_err(|_| Refusal::new(Code::INTERNAL_SERVER_ERROR))?;
    reply.content_format(format).write(buf.get(..len).unwrap_or_default());
    Ok(Done::Content)
}

/// Bytes of the longest of these documents: a status with as many instances as there may be.
const DOCUMENT: usize = 8 << 10;

/// What is left of what the node has.
#[derive(Clone, Copy)]
struct Free {
    ram: u32,
    fuel: u32,
    instances: usize,
}

struct InventoryResource<'a> {
    config: &'a Config,
    store: &'a Store,
    flash: &'a [u8],
    free: Free,
    held: &'a [DigestPrefix],
    links: &'a [inventory::Link],
}

impl Resource<Peer> for InventoryResource<'_> {
    fn get(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        reader(request.peer())?;
        let format = request.negotiate(&[CBOR, content_format::INVENTORY])?;
        let Config { sensors, actuators, sources, budget, .. } = self.config;
        let sensors: Vec<_> = sensors
            .iter()
            .filter_map(|s| Some(Sensor { name: Name::new(&s.name).ok()?, schema: s.schema }))
            .collect();
        let actuators: Vec<_> = actuators
            .iter()
            .filter_map(|a| Some(Actuator { name: Name::new(&a.name).ok()?, unit: a.unit }))
            .collect();
        let sources: Vec<_> = sources.iter().filter_map(|name| Name::new(name).ok()).collect();
        let usage = self.store.usage(self.flash);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let flash = self.store.config();
        let inventory = Inventory {
            wire: capmesh_wire::VERSION,
            firmware: Text::cut(&self.config.firmware),
            board: Text::cut(&self.config.board),
            abis: List::new(&[ABI]).unwrap_or_default(),
            flash: Share {
                total: u32::from(flash.extent_sectors).saturating_mul(flash.geometry.sector),
                free: usage.extents_free,
            },
            ram: Share { total: budget.ram, free: self.free.ram },
            fuel: Share { total: budget.fuel_per_second, free: self.free.fuel },
            instances: Share {
                total: u32::from(budget.instances),
                free: count(self.free.instances),
            },
            chunk_log2: crate::download::CHUNK_LOG2,
            sensors: List::new(&sensors).unwrap_or_default(),
            actuators: List::new(&actuators).unwrap_or_default(),
            sources: List::new(&sources).unwrap_or_default(),
            links: List::new(self.links).unwrap_or_default(),
            capsules: List::new(self.held.get(..limits::HELD).unwrap_or(self.held))
                .unwrap_or_default(),
        };
        write(&inventory, format, reply)
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { title: "inventory", observable: true, ..Attributes::default() }
    }
}

/// The log, from the line that `?from=` names: a CBOR sequence (RFC 8742) of lines.
struct LogResource<'a>(&'a Log);

impl Resource<Peer> for LogResource<'_> {
    fn get(&mut self, request: &Request<'_, Peer>, reply: &mut Reply<'_>) -> Handled {
        reader(request.peer())?;
        let format = request.negotiate(&[CBOR_SEQUENCE])?;
        let from = request.query("from").and_then(|from| from.parse().ok()).unwrap_or(0);
        let lines: Vec<_> = self.0.since(from).collect();
        reply.content_format(format);
        let mut buf = vec![0; limits::LOG_LINE + 64];
        for line in &lines {
            let len = cbor::encode(line, &mut buf);
            let len = len.map_err(|_| Refusal::new(Code::INTERNAL_SERVER_ERROR))?;
            reply.write(buf.get(..len).unwrap_or_default());
        }
        Ok(Done::Content)
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { title: "log", observable: true, ..Attributes::default() }
    }
}

/// Something that is listed here and served elsewhere.
struct Listed(&'static str);

impl Resource<Peer> for Listed {
    fn links(&self, path: &str, links: &mut LinkWriter<'_>) -> fmt::Result {
        links.link(&[path], &Attributes { title: self.0, ..Attributes::default() })
    }
}
