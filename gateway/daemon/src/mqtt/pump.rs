//! Keeps a line up and publishes.

use super::backoff::Backoff;
use super::limits;
use super::line::{Dial, Happening, Line};
use super::window::Window;
use crate::storage::{Outbox, Storage, Waiting};
use capmesh_gateway::Publication;
use rand_core::{OsRng, RngCore};
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, watch};

/// Tells the pump what to do. Never waits.
#[derive(Clone, Debug)]
pub struct Mqtt {
    volatile: mpsc::Sender<Publication>,
    filters: watch::Sender<Vec<String>>,
    closing: watch::Sender<bool>,
}

/// What the pump hears.
#[derive(Debug)]
pub struct Ears {
    volatile: mpsc::Receiver<Publication>,
    filters: watch::Receiver<Vec<String>>,
    closing: watch::Receiver<bool>,
}

/// How the pump does its work.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is published before the line is given up; the same as the will, by custom.
    pub offline: Publication,
    /// How long it waits between lines.
    pub backoff: Backoff,
}

impl Mqtt {
    /// The two ends.
    #[must_use]
    pub fn new() -> (Self, Ears) {
        let (volatile, received) = mpsc::channel(limits::VOLATILE);
        let (filters, has_filters) = watch::channel(Vec::new());
        let (closing, is_closing) = watch::channel(false);
        let ears = Ears { volatile: received, filters: has_filters, closing: is_closing };
        (Self { volatile, filters, closing }, ears)
    }

    /// Publishes if there is a line and room on it.
    pub fn publish(&self, publication: Publication) {
        if self.volatile.try_send(publication).is_err() {
            dropped(1);
        }
    }

    /// Whether there is room for more. `before` is what was said last: there is room again once half of
    /// it is free, and none any more when a quarter is left.
    #[must_use]
    pub fn takes(&self, before: bool) -> bool {
        let free = self.volatile.capacity();
        if before { free > limits::VOLATILE / 4 } else { free > limits::VOLATILE / 2 }
    }

    /// Has these filters subscribed, and no others.
    pub fn subscribe(&self, filters: Vec<String>) {
        self.filters.send_replace(filters);
    }

    /// Ends the pump: says goodbye to the broker.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }
}

/// How a line has ended.
enum End {
    Closed,
    Lost(String),
}

/// Runs until [`Mqtt::close`]. Says through `up` when there is a line and when there is none.
pub async fn run<D: Dial>(
    mut dial: D,
    settings: Settings,
    ears: Ears,
    storage: Storage,
    outbox: Outbox,
    up: mpsc::UnboundedSender<bool>,
) {
    let mut backoff = settings.backoff.clone();
    let mut pump = Pump {
        settings,
        ears,
        storage,
        outbox,
        up,
        acknowledged: 0,
        read: 0,
        ready: VecDeque::new(),
        volatile: VecDeque::new(),
        window: None,
    };
    loop {
        let mut line = dial.dial();
        let end = pump.serve(&mut line).await;
        if pump.window.is_some() {
            backoff.reset();
            let _ = pump.up.send(false);
        }
        match end {
            End::Closed => return,
            End::Lost(reason) => tracing::warn!(%reason, "no line to the MQTT broker"),
        }
        drop(line);
        pump.forget_line();
        metrics::gauge!("capmesh_mqtt_up").set(0);
        if pump.rest(backoff.next(OsRng.next_u32())).await {
            return;
        }
    }
}

struct Pump {
    settings: Settings,
    ears: Ears,
    storage: Storage,
    outbox: Outbox,
    up: mpsc::UnboundedSender<bool>,
    /// Up to where the broker has everything of the outbox.
    acknowledged: i64,
    /// Up to where the outbox was read.
    read: i64,
    /// What was read and not sent.
    ready: VecDeque<Waiting>,
    volatile: VecDeque<Publication>,
    /// What is on its way; `None` while there is no line.
    window: Option<Window>,
}

impl Pump {
    /// Works with a line until its end.
    async fn serve(&mut self, line: &mut impl Line) -> End {
        let mut subscribed: Vec<String> = Vec::new();
        loop {
            let is_full = !self.fill(line);
            let patience = self.window.as_ref().and_then(Window::waits_since);
            let wants_more = self.window.is_some() && self.ready.is_empty() && !is_full;
            tokio::select! {
                happening = line.happening() => match happening {
                    Happening::Up { window } => {
                        self.begin(window);
                        subscribed.clear();
                        if !self.resubscribe(line, &mut subscribed) {
                            return End::Lost("no room for subscriptions".to_owned());
                        }
                        let _ = self.up.send(true);
                    }
                    Happening::Acknowledged { tag, refused } => self.acknowledge(tag, refused),
                    Happening::Sent => {}
                    Happening::Ended(reason) => return End::Lost(reason),
                },
                Some(publication) = self.ears.volatile.recv() => self.queue(publication),
                () = self.outbox.reaches_beyond(self.read), if wants_more => self.read().await,
                Ok(()) = self.ears.filters.changed() => {
                    if self.window.is_some() && !self.resubscribe(line, &mut subscribed) {
                        return End::Lost("no room for subscriptions".to_owned());
                    }
                }
                () = closed(&mut self.ears.closing) => {
                    self.farewell(line).await;
                    return End::Closed;
                }
                () = until(patience.map(|since| since + limits::PATIENCE)) => {
                    return End::Lost("the broker does not acknowledge".to_owned());
                }
            }
        }
    }

    /// There is a line.
    fn begin(&mut self, window: u16) {
        tracing::info!(window, "connected to the MQTT broker");
        metrics::gauge!("capmesh_mqtt_up").set(1);
        metrics::counter!("capmesh_mqtt_connects_total").increment(1);
        self.window = Some(Window::new(window));
    }

    /// What was not acknowledged is read anew; what was not durable is gone.
    fn forget_line(&mut self) {
        self.window = None;
        self.ready.clear();
        self.read = self.acknowledged;
        dropped(self.volatile.len());
        self.volatile.clear();
    }

    fn queue(&mut self, publication: Publication) {
        if self.window.is_none() {
            return dropped(1);
        }
        if self.volatile.len() >= limits::VOLATILE {
            self.volatile.pop_front();
            dropped(1);
        }
        self.volatile.push_back(publication);
    }

    /// Sends what there is room for; says whether everything was sent.
    fn fill(&mut self, line: &mut impl Line) -> bool {
        let Some(window) = &mut self.window else { return true };
        let now = Instant::now();
        while let Some(publication) = self.volatile.front() {
            let is_acknowledged = publication.qos > 0;
            if is_acknowledged && !window.has_room() {
                return false;
            }
            let tag = is_acknowledged.then(|| window.next());
            if !line.publish(publication, tag) {
                return false;
            }
            if is_acknowledged {
                window.sent(None, now);
            }
            published();
            self.volatile.pop_front();
        }
        let seconds = wall();
        while let Some(waiting) = self.ready.front_mut() {
            if !window.has_room() {
                return false;
            }
            let left = waiting.expires.map(|at| at.saturating_sub(seconds));
            if left == Some(0) {
                let tag = window.next();
                window.sent(Some(waiting.id), now);
                self.acknowledged = window.acknowledged(tag).unwrap_or(self.acknowledged);
                dropped(1);
            } else {
                waiting.publication.expiry =
                    left.map(|left| u32::try_from(left).unwrap_or(u32::MAX));
                if !line.publish(&waiting.publication, Some(window.next())) {
                    return false;
                }
                window.sent(Some(waiting.id), now);
                published();
            }
            self.ready.pop_front();
        }
        true
    }

    fn acknowledge(&mut self, tag: u64, refused: Option<String>) {
        if let Some(reason) = refused {
            tracing::warn!(reason, "the MQTT broker refuses a publication");
            metrics::counter!("capmesh_mqtt_refused_total").increment(1);
        }
        let reached = self.window.as_mut().and_then(|window| window.acknowledged(tag));
        if let Some(reached) = reached {
            self.acknowledged = reached;
            self.storage.delivered(reached);
        }
    }

    /// Reads the outbox on.
    async fn read(&mut self) {
        if let Some(waiting) = self.outbox.read_tail(self.read, limits::READ) {
            self.read = waiting.last().map_or(self.read, |last| last.id);
            self.ready.extend(waiting);
            return;
        }
        let (outbox, after, end) = (self.outbox.clone(), self.read, self.outbox.end());
        let read = tokio::task::spawn_blocking(move || outbox.read(after, limits::READ)).await;
        match read {
            Ok(Ok(waiting)) => {
                // Without anything left to read, what there was has left the outbox.
                self.read = waiting.last().map_or(end, |last| last.id);
                self.ready.extend(waiting);
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot read the outbox; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            // The runtime is ending.
            Err(_) => std::future::pending().await,
        }
    }

    /// Asks for what is wanted now and was not, and no more for what is not.
    fn resubscribe(&mut self, line: &mut impl Line, subscribed: &mut Vec<String>) -> bool {
        let wanted = self.ears.filters.borrow_and_update().clone();
        let but = |all: &[String], these: &[String]| -> Vec<String> {
            all.iter().filter(|filter| !these.contains(filter)).cloned().collect()
        };
        let (new, old) = (but(&wanted, subscribed), but(subscribed, &wanted));
        *subscribed = wanted;
        (old.is_empty() || line.unsubscribe(&old)) && (new.is_empty() || line.subscribe(&new))
    }

    /// Sends what is left, and goodbye.
    async fn farewell(&mut self, line: &mut impl Line) {
        while let Ok(publication) = self.ears.volatile.try_recv() {
            self.queue(publication);
        }
        if self.window.is_none() {
            return;
        }
        self.ready.clear();
        self.volatile.push_back(self.settings.offline.clone());
        let goodbye = async {
            loop {
                let is_sent = self.fill(line);
                if is_sent && self.window.as_ref().is_none_or(Window::is_empty) {
                    line.close();
                }
                match line.happening().await {
                    Happening::Acknowledged { tag, refused } => self.acknowledge(tag, refused),
                    Happening::Ended(_) => return,
                    Happening::Up { .. } | Happening::Sent => {}
                }
            }
        };
        if tokio::time::timeout(limits::GOODBYE, goodbye).await.is_err() {
            tracing::warn!("the MQTT broker did not hear the goodbye");
        }
    }

    /// Waits before the next line; says whether the pump is to end instead.
    async fn rest(&mut self, wait: Duration) -> bool {
        let mut sleep = std::pin::pin!(tokio::time::sleep(wait));
        loop {
            tokio::select! {
                () = &mut sleep => return false,
                () = closed(&mut self.ears.closing) => return true,
                Some(_) = self.ears.volatile.recv() => dropped(1),
            }
        }
    }
}

/// Waits until the pump is to end; it is also if there is nobody left to tell it.
async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Seconds since 1970.
fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn published() {
    metrics::counter!("capmesh_mqtt_published_total").increment(1);
}

fn dropped(count: usize) {
    metrics::counter!("capmesh_mqtt_dropped_total").increment(count as u64);
}
