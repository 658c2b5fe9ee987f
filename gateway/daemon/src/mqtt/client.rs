//! Lines that speak MQTT 5.
//!
//! The packets are rumqttc's; the connection is not. rumqttc's event loop makes a system call for every
//! packet, and every acknowledgement passes two channels on its way: at tens of thousands of publications
//! a second that costs more than everything else that a gateway does. Here publishing appends to a buffer,
//! which is written as a whole whenever there is nothing more to be read out of the other one.

mod connection;
mod dial;

use super::limits;
use super::line::{Dial, Happening, Incoming, Line};
use super::tls::{self, TlsError};
use crate::config::{Secret, Target};
use bytes::Bytes;
use capmesh_gateway::Publication;
use connection::{Connection, Put};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Connect, ConnectProperties, ConnectReturnCode, Disconnect, DisconnectReasonCode, Filter,
    LastWill, Login, Packet, PingReq, PubAck, PubAckReason, Publish, PublishProperties, Subscribe,
    Unsubscribe,
};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Where a broker is and how it is spoken to.
#[derive(Clone)]
pub struct Server {
    /// Its name or address; one of IPv6 in brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// How it proves who it is, if the line is encrypted.
    pub tls: Option<Arc<rustls::ClientConfig>>,
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

/// Dials a broker.
pub struct Client {
    server: Server,
    hello: Packet,
    incoming: mpsc::Sender<Incoming>,
}

impl Client {
    /// Dials `server` under the name `client`, leaves `will` with it, and hands what comes from it to
    /// `incoming`.
    #[must_use]
    pub fn new(
        server: &Server,
        client: &str,
        will: &Publication,
        incoming: mpsc::Sender<Incoming>,
    ) -> Self {
        let keep_alive = u16::try_from(limits::KEEP_ALIVE.as_secs()).unwrap_or(u16::MAX);
        let mut properties = ConnectProperties::new();
        properties.max_packet_size = Some(limits::PACKET);
        let connect = Connect {
            keep_alive,
            client_id: client.to_owned(),
            clean_start: true,
            properties: Some(properties),
        };
        let will = LastWill::new(
            will.topic.clone(),
            will.payload.clone(),
            QoS::AtLeastOnce,
            will.retain,
            None,
        );
        let login = server.credentials.clone().map(|(user, password)| Login::new(user, password));
        let hello = Packet::Connect(connect, Some(will), login);
        Self { server: server.clone(), hello, incoming }
    }
}

impl Dial for Client {
    type Line = ClientLine;

    fn dial(&mut self) -> ClientLine {
        let state = State::Dialling(Box::pin(dial::dial(self.server.clone(), self.hello.clone())));
        ClientLine {
            state,
            incoming: self.incoming.clone(),
            arrived: None,
            next_tag: 0,
            requests: 0,
            is_starved: false,
            too_long: VecDeque::new(),
        }
    }
}

/// A connection, or what has become of it.
enum State {
    Dialling(Pin<Box<dyn Future<Output = Result<Connection, String>> + Send>>),
    Up(Connection),
    Over(String),
}

/// Packet identifiers of publications are those up to here; the others are for subscriptions. A window of
/// publications has a place among them many times over, so that none is met that is in use.
const PUBLISHED: u16 = 1 << 15;
const _: () = assert!(limits::WINDOW < PUBLISHED);

/// A line to a broker.
pub struct ClientLine {
    state: State,
    incoming: mpsc::Sender<Incoming>,
    /// What has come and the gateway has not taken, with what is to be acknowledged then.
    arrived: Option<(Incoming, Option<u16>)>,
    /// The tag that is used next.
    next_tag: u64,
    /// Subscriptions that were asked for or given back.
    requests: u16,
    /// Somebody found no room.
    is_starved: bool,
    /// Publications that are longer than the broker takes, by their tags.
    too_long: VecDeque<u64>,
}

impl Line for ClientLine {
    fn publish(&mut self, publication: &Publication, tag: Option<u64>) -> bool {
        let Publication { topic, payload, retain, .. } = publication;
        let publish = Publish {
            dup: false,
            qos: if tag.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce },
            retain: *retain,
            topic: Bytes::copy_from_slice(topic.as_bytes()),
            pkid: tag.map_or(0, packet_of),
            payload: Bytes::copy_from_slice(payload),
            properties: Some(properties(publication)),
        };
        let put = self.put(&Packet::Publish(publish));
        if put == Put::NoRoom {
            self.is_starved = true;
            return false;
        }
        if let Some(tag) = tag {
            self.next_tag = tag + 1;
            self.too_long.extend((put == Put::TooLong).then_some(tag));
        }
        true
    }

    fn subscribe(&mut self, filters: &[String]) -> bool {
        let filters = filters.iter().map(|filter| Filter::new(filter.as_str(), QoS::AtLeastOnce));
        let mut subscribe = Subscribe::new_many(filters, None);
        subscribe.pkid = self.request();
        self.put(&Packet::Subscribe(subscribe)) == Put::Done
    }

    fn unsubscribe(&mut self, filters: &[String]) -> bool {
        let filters = filters.to_vec();
        let pkid = self.request();
        let unsubscribe = Unsubscribe { pkid, filters, properties: None };
        self.put(&Packet::Unsubscribe(unsubscribe)) == Put::Done
    }

    fn close(&mut self) {
        // Without room the line is in no state to say goodbye.
        let goodbye = Disconnect::new(DisconnectReasonCode::NormalDisconnection);
        if self.put(&Packet::Disconnect(goodbye)) == Put::Done
            && let State::Up(connection) = &mut self.state
        {
            connection.close();
        }
    }

    async fn happening(&mut self) -> Happening {
        if let Some(tag) = self.too_long.pop_front() {
            let refused = Some("it is longer than the broker takes".to_owned());
            return Happening::Acknowledged { tag, refused };
        }
        loop {
            match &mut self.state {
                State::Over(reason) => return Happening::Ended(reason.clone()),
                State::Dialling(dialling) => match dialling.await {
                    Ok(connection) => {
                        let window = connection.window;
                        self.state = State::Up(connection);
                        return Happening::Up { window };
                    }
                    Err(reason) => self.state = State::Over(reason),
                },
                State::Up(_) if self.arrived.is_some() => self.hand_over().await,
                State::Up(connection) => {
                    if self.is_starved && connection.has_room() {
                        self.is_starved = false;
                        return Happening::Sent;
                    }
                    match connection.next().await {
                        Ok(Some(packet)) => {
                            if let Some(happening) = self.take(packet) {
                                return happening;
                            }
                        }
                        Ok(None) => {}
                        Err(reason) => self.state = State::Over(reason),
                    }
                }
            }
        }
    }
}

impl ClientLine {
    fn put(&mut self, packet: &Packet) -> Put {
        let State::Up(connection) = &mut self.state else { return Put::NoRoom };
        connection.put(packet)
    }

    /// The identifier of the next request.
    const fn request(&mut self) -> u16 {
        self.requests = (self.requests + 1) % (PUBLISHED - 1);
        PUBLISHED + 1 + self.requests
    }

    /// Gives the gateway what has come, once it takes it, and acknowledges that. May be dropped before.
    async fn hand_over(&mut self) {
        let State::Up(connection) = &mut self.state else { return };
        if let Err(error) = connection.make_room().await {
            self.state = State::Over(error.to_string());
            return;
        }
        let room = tokio::select! {
            // Without a gateway there is nobody to hear of it.
            room = self.incoming.reserve() => room.map_err(|_| "the gateway has ended".to_owned()),
            error = connection.write() => Err(error.to_string()),
        };
        let room = match room {
            Ok(room) => room,
            Err(reason) => {
                self.state = State::Over(reason);
                return;
            }
        };
        let Some((message, packet)) = self.arrived.take() else { return };
        room.send(message);
        if let Some(packet) = packet {
            connection.put(&Packet::PubAck(PubAck::new(packet, None)));
        }
    }

    fn take(&mut self, packet: Packet) -> Option<Happening> {
        match packet {
            Packet::PubAck(ack) => self.acknowledged(&ack),
            Packet::Publish(publish) => {
                let packet = (publish.qos != QoS::AtMostOnce).then_some(publish.pkid);
                self.arrived = Some((incoming(publish), packet));
                None
            }
            Packet::Disconnect(goodbye) => {
                self.state = State::Over(format!("the broker says {:?}", goodbye.reason_code));
                None
            }
            _ => None,
        }
    }

    /// Which publication it was: the newest with that identifier.
    fn acknowledged(&self, ack: &PubAck) -> Option<Happening> {
        let tag = tag_of(ack.pkid, self.next_tag.checked_sub(1)?)?;
        let refused = match ack.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => None,
            reason => Some(format!("{reason:?}")),
        };
        Some(Happening::Acknowledged { tag, refused })
    }
}

/// The packet identifier of a tag: 1 to [`PUBLISHED`].
fn packet_of(tag: u64) -> u16 {
    u16::try_from(tag % u64::from(PUBLISHED)).unwrap_or_default() + 1
}

/// The newest tag with a packet identifier, if `last` is the newest of all.
fn tag_of(packet: u16, last: u64) -> Option<u64> {
    let behind = u32::from(packet_of(last)) + u32::from(PUBLISHED);
    let behind = behind.checked_sub(u32::from(packet))? % u32::from(PUBLISHED);
    (1..=PUBLISHED).contains(&packet).then(|| last.checked_sub(u64::from(behind))).flatten()
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

#[cfg(test)]
mod tests;
