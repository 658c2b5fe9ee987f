//! The loop around the gateway: what comes goes in, what it wants is done.
//!
//! It runs in a thread of its own, and nothing in it ever waits: disks, brokers and people are on the
//! other ends of channels.

use crate::calls::Call;
use crate::events::Events;
use crate::mqtt::{Incoming, Mqtt};
use crate::site;
use crate::socket::Socket;
use crate::storage::{Outbox, Storage};
use capmesh_coap::endpoint::Via;
use capmesh_gateway::api::{Answer, Refusal};
use capmesh_gateway::{Commit, Failed, Gateway, Input, Output, RequestId, Token, bridge, endpoint};
use capmesh_wire::Instant;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::sync::{oneshot, watch};

/// Room for the longest datagram.
const BUFFER: usize = endpoint::MTU;

/// Outputs that are done before something else has its turn.
const OUTPUTS: usize = 1_024;

/// How often it looks at what nobody tells it: the clock, who watches, how full the outbox is.
const LOOK: Duration = Duration::from_millis(100);

/// How far the clock may drift from what the gateway was told before it is told anew.
const DRIFT: Duration = Duration::from_millis(500);

/// How much the outbox may change before the gateway hears of it at once, and not at the next look.
const NOTICEABLE: u64 = bridge::OUTBOX / 16;

/// How long the last commit may take when the process ends.
const LAST_COMMIT: Duration = Duration::from_secs(5);

/// Where things come from.
pub(crate) struct Sources {
    pub(crate) calls: Receiver<Call>,
    pub(crate) incoming: Receiver<Incoming>,
    pub(crate) up: UnboundedReceiver<bool>,
    pub(crate) committed: UnboundedReceiver<(Token, Result<(), Failed>)>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// Where things go.
pub(crate) struct Engine {
    pub(crate) started: std::time::Instant,
    pub(crate) storage: Storage,
    pub(crate) outbox: Outbox,
    /// Nothing, if there is no broker.
    pub(crate) mqtt: Option<Mqtt>,
    pub(crate) events: Events,
    /// Where the site's directory is, for its copy of the roster.
    pub(crate) site: PathBuf,
    pub(crate) told: Told,
}

/// What the gateway was told last.
#[derive(Debug, Default)]
pub(crate) struct Told {
    waiting: u64,
    takes: bool,
    watched: bool,
    /// The time of day less the time since the start.
    wall: Option<Duration>,
    /// The roster that was written to the site's directory.
    roster: Vec<u8>,
    /// Who waits for answers.
    asked: BTreeMap<RequestId, oneshot::Sender<Result<Answer, Refusal>>>,
    next: u64,
    /// A commit is on its way to the disk.
    is_committing: bool,
}

impl Told {
    /// Nothing yet; the site's directory holds `roster`.
    pub(crate) fn new(roster: Vec<u8>) -> Self {
        Self { roster, ..Self::default() }
    }
}

impl Engine {
    fn now(&self) -> Instant {
        let micros = self.started.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Runs until it is told to stop, and until what was committed is durable.
    pub(crate) async fn run(mut self, socket: Socket, mut gateway: Gateway, mut sources: Sources) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            self.drain(&socket, &mut gateway);
            let until = gateway.poll_timeout().map(|at| at.saturating_since(self.now()));
            tokio::select! {
                _ = sources.stop.wait_for(|stop| *stop) => break,
                Some((token, result)) = sources.committed.recv() => {
                    self.committed(&mut gateway, token, result);
                }
                () = socket.readable() => self.receive(&socket, &mut gateway),
                Some(call) = sources.calls.recv() => self.ask(&mut gateway, call),
                Some(incoming) = sources.incoming.recv() => self.take(&mut gateway, &incoming),
                Some(up) = sources.up.recv() => gateway.handle(self.now(), Input::MqttUp(up)),
                _ = look.tick() => self.look(&mut gateway),
                () = wait(until) => {}
            }
        }
        self.finish(&socket, &mut gateway, &mut sources).await;
    }

    /// Does what the gateway wants done.
    fn drain(&mut self, socket: &Socket, gateway: &mut Gateway) {
        let mut buffer = [0; BUFFER];
        for _ in 0..OUTPUTS {
            let Some(output) = gateway.poll(self.now(), &mut buffer) else { return };
            match output {
                Output::Transmit { to, bytes } => socket.send(to, bytes),
                Output::Commit(commit) => self.commit(commit),
                Output::Publish(publication) => {
                    if let Some(mqtt) = &self.mqtt {
                        mqtt.publish(publication);
                    }
                }
                Output::Subscribe(filters) => {
                    if let Some(mqtt) = &self.mqtt {
                        mqtt.subscribe(filters);
                    }
                }
                Output::Answer { id, result } => {
                    if let Some(asked) = self.told.asked.remove(&id) {
                        // Who has given up waiting does not hear it.
                        let _ = asked.send(result);
                    }
                }
                Output::Event(event) => self.events.push(event),
                Output::Missed => self.events.missed(),
            }
        }
    }

    fn commit(&mut self, commit: Arc<Commit>) {
        self.told.is_committing = true;
        if self.mqtt.is_some() || commit.publications.is_empty() {
            return self.storage.commit(commit);
        }
        // Nobody will ever publish them.
        let (token, changes) = (commit.token, commit.changes.clone());
        self.storage.commit(Arc::new(Commit { token, changes, publications: Vec::new() }));
    }

    fn committed(&mut self, gateway: &mut Gateway, token: Token, result: Result<(), Failed>) {
        self.told.is_committing = false;
        gateway.handle(self.now(), Input::Committed { token, result });
        self.tell_outbox(gateway, NOTICEABLE);
    }

    fn receive(&mut self, socket: &Socket, gateway: &mut Gateway) {
        socket.read(|from, bytes| {
            gateway.handle(self.now(), Input::Datagram { from, via: Via::Unicast, bytes });
            // The endpoint keeps few replies: each datagram's are sent before the next one is taken.
            self.drain(socket, gateway);
        });
    }

    fn ask(&mut self, gateway: &mut Gateway, call: Call) {
        self.told.next += 1;
        let id = RequestId(self.told.next);
        // Those who gave up are forgotten, also if their requests are never answered.
        self.told.asked.retain(|_, asked| !asked.is_closed());
        self.told.asked.insert(id, call.answer);
        gateway.handle(self.now(), Input::Request { id, request: &call.request });
    }

    fn take(&mut self, gateway: &mut Gateway, incoming: &Incoming) {
        let input = Input::Mqtt {
            topic: &incoming.topic,
            payload: &incoming.payload,
            response_topic: incoming.response_topic.as_deref(),
            correlation: incoming.correlation.as_deref(),
            retain: incoming.retain,
        };
        gateway.handle(self.now(), input);
    }

    /// Looks at what nobody tells it.
    fn look(&mut self, gateway: &mut Gateway) {
        self.tell_outbox(gateway, 1);
        let watched = self.events.is_watched();
        if watched != self.told.watched {
            self.told.watched = watched;
            gateway.handle(self.now(), Input::Watched(watched));
        }
        self.tell_wall(gateway);
        if gateway.roster() != self.told.roster {
            self.told.roster = gateway.roster().to_vec();
            let (site, roster) = (self.site.clone(), self.told.roster.clone());
            // The gateway has a copy of its own; this one is for other programs.
            tokio::task::spawn_blocking(move || {
                if let Err(error) = site::write_roster(&site, &roster) {
                    tracing::warn!(%error, "the site's directory keeps an old roster");
                }
            });
        }
    }

    /// Says how full the outbox is, if that has changed by so much.
    fn tell_outbox(&mut self, gateway: &mut Gateway, by: u64) {
        let waiting = self.outbox.waiting();
        let takes = self.mqtt.as_ref().is_some_and(|mqtt| mqtt.takes(self.told.takes));
        if takes != self.told.takes || waiting.abs_diff(self.told.waiting) >= by {
            (self.told.waiting, self.told.takes) = (waiting, takes);
            gateway.handle(self.now(), Input::Outbox { waiting, takes });
        }
    }

    /// Tells the time of day at the start and whenever it has jumped.
    pub(crate) fn tell_wall(&mut self, gateway: &mut Gateway) {
        let Ok(wall) = SystemTime::now().duration_since(UNIX_EPOCH) else { return };
        let offset = wall.saturating_sub(self.started.elapsed());
        if self.told.wall.is_none_or(|told| told.abs_diff(offset) > DRIFT) {
            self.told.wall = Some(offset);
            let micros = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
            gateway.handle(self.now(), Input::Wall(micros));
        }
    }

    /// Has what was begun become durable; what comes from outside is not taken any more.
    async fn finish(&mut self, socket: &Socket, gateway: &mut Gateway, sources: &mut Sources) {
        let commits = async {
            loop {
                self.drain(socket, gateway);
                if !self.told.is_committing {
                    return;
                }
                let Some((token, result)) = sources.committed.recv().await else { return };
                self.committed(gateway, token, result);
            }
        };
        if tokio::time::timeout(LAST_COMMIT, commits).await.is_err() {
            tracing::warn!("the last commit has not ended");
        }
    }
}

/// Waits as long as the gateway has nothing to do; gives others a turn if it has something at once.
async fn wait(until: Option<Duration>) {
    match until {
        None => std::future::pending().await,
        Some(Duration::ZERO) => tokio::task::yield_now().await,
        Some(until) => tokio::time::sleep(until).await,
    }
}
