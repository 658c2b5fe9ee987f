//! What a gateway takes and gives.

use crate::api;
use crate::store::Key;
use capmesh_coap::endpoint::Via;
use core::net::SocketAddr;
use std::sync::Arc;

/// Something that has happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A datagram has come.
    Datagram {
        /// Where it came from.
        from: SocketAddr,
        /// Whether it was sent to this gateway or to a group.
        via: Via,
        /// What it holds.
        bytes: &'a [u8],
    },
    /// A message has come from the MQTT broker.
    Mqtt {
        /// Its topic.
        topic: &'a str,
        /// What it holds.
        payload: &'a [u8],
        /// Where an answer is wanted (MQTT 5).
        response_topic: Option<&'a str>,
        /// What is to go with the answer (MQTT 5).
        correlation: Option<&'a [u8]>,
        /// Whether the broker had kept it.
        retain: bool,
    },
    /// Somebody asks for something; it is answered by [`Output::Answer`].
    Request {
        /// What the answer will say.
        id: RequestId,
        /// What is asked.
        request: &'a api::Request,
    },
    /// How many publications wait in the durable outbox: said at least when it crosses a quarter of
    /// [`bridge::OUTBOX`](crate::bridge::OUTBOX).
    Outbox {
        /// So many.
        waiting: u64,
        /// Whether [`Output::Publish`] is taken now.
        takes: bool,
    },
    /// Whether anybody wants to see values as they come ([`api::Event::Value`]). Nobody does at the start.
    Watched(bool),
    /// There is a connection to the MQTT broker, or there is none any more.
    MqttUp(bool),
    /// A commit is durable, or could not be made so: then it is given again after a while.
    Committed {
        /// Which.
        token: Token,
        /// Whether it is durable.
        result: Result<(), Failed>,
    },
    /// The time of day, in microseconds since 1970: for what people read and what nodes are told. Given
    /// once at the start and whenever it has jumped.
    Wall(u64),
}

/// A commit that could not be made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Output<'b> {
    /// Send a datagram.
    Transmit {
        /// Where to.
        to: SocketAddr,
        /// What it holds: the beginning of the buffer that was lent to `poll`.
        bytes: &'b [u8],
    },
    /// Make a transaction durable.
    Commit(Arc<Commit>),
    /// Publish, if there is a connection now.
    Publish(Publication),
    /// Have these topic filters subscribed, and no others.
    Subscribe(Vec<String>),
    /// A request is answered.
    Answer {
        /// Which.
        id: RequestId,
        /// What is said.
        result: Result<api::Answer, api::Refusal>,
    },
    /// Something has changed, for whoever watches.
    Event(api::Event),
    /// There were more changes than are kept, and some are missing: whoever watches has to look everything
    /// up anew.
    Missed,
}

/// Names a commit. Later ones are larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// A transaction: becomes durable as a whole or not at all. There is one on its way at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// What it is answered by.
    pub token: Token,
    /// What changes of the gateway's state, in this order.
    pub changes: Vec<Change>,
    /// What goes to the durable outbox, in this order, and from there to the broker once it is durable.
    pub publications: Vec<Publication>,
}

/// A change of the gateway's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What changes.
    pub key: Key,
    /// Its new value; `None` if it is deleted.
    pub value: Option<Vec<u8>>,
}

/// A message for the MQTT broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// Its topic.
    pub topic: String,
    /// What it holds.
    pub payload: Vec<u8>,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
    /// Quality of service: 0 or 1.
    pub qos: u8,
    /// After how many seconds it is of no use any more (MQTT 5).
    pub expiry: Option<u32>,
    /// What goes with an answer (MQTT 5).
    pub correlation: Option<Vec<u8>>,
}

/// Names a request of a person's or program's. The shell hands them out and may use one again once it is
/// answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);
