//! Lines made by rumqttc.
//!
//! What one has to know of version 0.25.1:
//! - Incoming packets are bounded at 10 KiB unless the connect properties say more.
//! - A packet identifier that comes round while it is in use stops the client for good. The
//!   [window](super::window) keeps that from happening.
//! - After a line is lost it keeps what was on its way, or does not, depending on the broker's session.
//!   So a client lives for one line only, and what was not acknowledged is read from the outbox anew.
//! - Waiting for room in its queue inside of the task that polls stands still for ever in an outage.
//!   So publishing never waits, and polling has a task of its own.

use super::limits;
use super::line::{Dial, Happening, Incoming, Line};
use super::tls::{self, TlsError};
use crate::config::{Secret, Target};
use bytes::Bytes;
use capmesh_gateway::Publication;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Filter, LastWill, Packet, PubAck, PubAckReason, Publish, PublishProperties,
};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use rumqttc::{Outgoing, TlsConfiguration, Transport};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Where a broker is and how it is spoken to.
#[derive(Clone)]
pub struct Server {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// How it proves who it is, if the line is encrypted.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// Dials a broker with rumqttc.
pub struct Rumqttc {
    options: MqttOptions,
    incoming: mpsc::Sender<Incoming>,
}

impl Server {
    /// The broker that the configuration names, if it names another one than the one inside.
    ///
    /// # Errors
    /// If certificates or keys cannot be used.
    pub fn external(config: &crate::config::Mqtt) -> Result<Option<Self>, TlsError> {
        let Target::External { host, port, tls } = &config.broker else { return Ok(None) };
        let identity = config.certificate.as_deref().zip(config.key.as_deref());
        let tls = tls.then(|| tls::config(config.ca.as_deref(), identity)).transpose()?;
        let password = config.password.as_ref().map_or("", Secret::expose).to_owned();
        let credentials = config.user.clone().map(|user| (user, password));
        Ok(Some(Self { host: host.clone(), port: *port, credentials, tls }))
    }
}

impl Rumqttc {
    /// Dials `server` under the name `client`, leaves `will` with it, and hands what comes from it to
    /// `incoming`.
    #[must_use]
    pub fn new(
        server: &Server,
        client: &str,
        will: &Publication,
        incoming: mpsc::Sender<Incoming>,
    ) -> Self {
        let mut options = MqttOptions::new(client, &server.host, server.port);
        options.set_keep_alive(limits::KEEP_ALIVE);
        options.set_connection_timeout(limits::DIAL.as_secs());
        options.set_clean_start(true);
        options.set_max_packet_size(Some(limits::PACKET));
        options.set_outgoing_inflight_upper_limit(limits::WINDOW);
        options.set_last_will(LastWill::new(
            will.topic.clone(),
            will.payload.clone(),
            QoS::AtLeastOnce,
            will.retain,
            None,
        ));
        if let Some((user, password)) = &server.credentials {
            options.set_credentials(user, password);
        }
        if let Some(tls) = &server.tls {
            let tls = TlsConfiguration::Rustls(Arc::clone(tls));
            options.set_transport(Transport::tls_with_config(tls));
        }
        let mut network = options.network_options();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        Self { options, incoming }
    }
}

impl Dial for Rumqttc {
    type Line = RumqttcLine;

    fn dial(&mut self) -> RumqttcLine {
        // Room for a window, and for subscriptions and the goodbye.
        let room = usize::from(limits::WINDOW) + 16;
        let (client, events) = AsyncClient::new(self.options.clone(), room);
        let (sender, happenings) = mpsc::channel(room);
        let shared = Arc::new(Shared::default());
        let poll = Poll {
            events,
            shared: Arc::clone(&shared),
            tags: HashMap::new(),
            happenings: sender,
            incoming: self.incoming.clone(),
        };
        RumqttcLine { client, happenings, shared, task: tokio::spawn(poll.run()) }
    }
}

/// A line made by rumqttc.
pub struct RumqttcLine {
    client: AsyncClient,
    happenings: mpsc::Receiver<Happening>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// Tags of what was handed to the client, which gives packet identifiers in this order.
    tags: Mutex<VecDeque<u64>>,
    /// Somebody found no room.
    is_starved: AtomicBool,
}

impl Drop for RumqttcLine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Line for RumqttcLine {
    fn publish(&mut self, publication: &Publication, tag: Option<u64>) -> bool {
        let qos = if tag.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let mut tags = self.shared.tags.lock().unwrap_or_else(PoisonError::into_inner);
        tags.extend(tag);
        let Publication { topic, payload, retain, .. } = publication;
        let sent = self.client.try_publish_with_properties(
            topic.as_str(),
            qos,
            *retain,
            Bytes::copy_from_slice(payload),
            properties(publication),
        );
        if sent.is_err() {
            if tag.is_some() {
                tags.pop_back();
            }
            self.shared.is_starved.store(true, Ordering::Release);
        }
        sent.is_ok()
    }

    fn subscribe(&mut self, filters: &[String]) -> bool {
        let filters = filters.iter().map(|filter| Filter::new(filter.as_str(), QoS::AtLeastOnce));
        self.client.try_subscribe_many(filters).is_ok()
    }

    fn unsubscribe(&mut self, filters: &[String]) -> bool {
        filters.iter().all(|filter| self.client.try_unsubscribe(filter.as_str()).is_ok())
    }

    fn close(&mut self) {
        // Without room the line is in no state to say goodbye.
        let _ = self.client.try_disconnect();
    }

    async fn happening(&mut self) -> Happening {
        let next = self.happenings.recv().await;
        next.unwrap_or_else(|| Happening::Ended("the client has ended".to_owned()))
    }
}

fn properties(publication: &Publication) -> PublishProperties {
    let is_json = matches!(publication.payload.first(), Some(b'{' | b'['));
    PublishProperties {
        // Whatever this gateway publishes is text.
        payload_format_indicator: Some(1),
        message_expiry_interval: publication.expiry,
        correlation_data: publication.correlation.clone().map(Bytes::from),
        content_type: is_json.then(|| "application/json".to_owned()),
        ..PublishProperties::default()
    }
}

/// The task that polls a client.
struct Poll {
    events: EventLoop,
    shared: Arc<Shared>,
    /// By packet identifier.
    tags: HashMap<u16, u64>,
    happenings: mpsc::Sender<Happening>,
    incoming: mpsc::Sender<Incoming>,
}

impl Poll {
    async fn run(mut self) {
        loop {
            let happening = match self.events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(connack))) => {
                    let asked = connack.properties.and_then(|properties| properties.receive_max);
                    let window = asked.unwrap_or(limits::WINDOW).clamp(1, limits::WINDOW);
                    Some(Happening::Up { window })
                }
                Ok(Event::Incoming(Packet::PubAck(ack))) => self.acknowledged(&ack),
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    if self.incoming.send(incoming(publish)).await.is_err() {
                        return;
                    }
                    None
                }
                Ok(Event::Outgoing(Outgoing::Publish(packet))) => self.published(packet),
                // It is sent; some brokers take their time to close.
                Ok(Event::Outgoing(Outgoing::Disconnect)) => {
                    let _ = self.happenings.send(Happening::Ended("goodbye".to_owned())).await;
                    return;
                }
                Ok(_) => None,
                Err(error) => {
                    let _ = self.happenings.send(Happening::Ended(error.to_string())).await;
                    return;
                }
            };
            if let Some(happening) = happening
                && self.happenings.send(happening).await.is_err()
            {
                return;
            }
        }
    }

    fn published(&mut self, packet: u16) -> Option<Happening> {
        if packet != 0 {
            let mut tags = self.shared.tags.lock().unwrap_or_else(PoisonError::into_inner);
            let tag = tags.pop_front();
            self.tags.extend(tag.map(|tag| (packet, tag)));
        }
        self.shared.is_starved.swap(false, Ordering::AcqRel).then_some(Happening::Sent)
    }

    fn acknowledged(&mut self, ack: &PubAck) -> Option<Happening> {
        let tag = self.tags.remove(&ack.pkid)?;
        let refused = match ack.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => None,
            reason => Some(format!("{reason:?}")),
        };
        Some(Happening::Acknowledged { tag, refused })
    }
}

fn incoming(publish: Publish) -> Incoming {
    let properties = publish.properties.unwrap_or_default();
    Incoming {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload,
        retain: publish.retain,
        response_topic: properties.response_topic,
        correlation: properties.correlation_data,
    }
}
