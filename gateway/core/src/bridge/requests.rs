//! Requests over MQTT.
//!
//! A request is an object at `capmesh/<site>/bridge/request/<op>`, as [`Request::parse_op`] reads it. Its
//! answer goes to the response topic of MQTT 5 with the request's correlation data, or to
//! `bridge/response/<op>`:
//!
//! ```json
//! {"op":"drain","status":"ok","answer":{"done":{"message":"n03 is being drained"}}}
//! {"op":"drain","status":"refused","refusal":{"code":"unknown-node","message":"..."}}
//! ```
//!
//! For clients of MQTT 3.1.1 two keys are taken beside those of the operation: `transaction`, which
//! stands in the answer again, and `expires`, the time of day in milliseconds since 1970 from which on the
//! request is not to be taken up any more. A request that the broker had retained is refused: it is from
//! another time.

use super::topics::Topics;
use super::{REQUEST_TIMEOUT, REQUESTS};
use crate::api::{Answer, Refusal, RefusalCode, Request, limits};
use crate::io::Publication;
use capmesh_wire::Instant;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};

/// A message from the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// What it holds.
    pub payload: &'a [u8],
    /// Where an answer is wanted (MQTT 5).
    pub response_topic: Option<&'a str>,
    /// What is to go with the answer (MQTT 5).
    pub correlation: Option<&'a [u8]>,
    /// Whether the broker had kept it for us.
    pub retain: bool,
}

/// Names a request that came over MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// Bytes of a response topic or of correlation data. Longer ones are not used.
const ECHO: usize = 1_024;

/// Bytes of a transaction. A longer one is left out of the answer.
const TRANSACTION: usize = 256;

/// After how many seconds an answer is of no use.
const ANSWER_EXPIRY: u32 = 60;

/// What may be done to a node by its command topic.
const COMMANDS: [&str; 3] = ["reboot", "drain", "undrain"];

/// Where an answer goes, and what goes with it.
#[derive(Clone, Debug)]
struct Asker {
    op: String,
    topic: String,
    correlation: Option<Vec<u8>>,
    transaction: Option<Value>,
}

#[derive(Debug)]
struct Pending {
    asker: Asker,
    due: Instant,
}

/// Requests on their way.
#[derive(Debug, Default)]
pub(super) struct Requests {
    count: u64,
    pending: BTreeMap<Ticket, Pending>,
    /// Those that the gateway has not been given.
    fresh: VecDeque<(Ticket, Request)>,
    responses: VecDeque<Publication>,
}

impl Requests {
    /// A request has come.
    pub(super) fn request(
        &mut self,
        now: Instant,
        wall: Option<u64>,
        op: &str,
        arrival: &Arrival<'_>,
        topics: &Topics,
    ) {
        let asker = Asker::new(op, arrival, topics);
        self.take(now, wall, asker, arrival, None);
    }

    /// A command for a node has come: an object with its operation in `op`.
    pub(super) fn command(
        &mut self,
        now: Instant,
        wall: Option<u64>,
        node: &str,
        arrival: &Arrival<'_>,
        topics: &Topics,
    ) {
        let asker = Asker::new("command", arrival, topics);
        self.take(now, wall, asker, arrival, Some(node));
    }

    fn take(
        &mut self,
        now: Instant,
        wall: Option<u64>,
        mut asker: Asker,
        arrival: &Arrival<'_>,
        node: Option<&str>,
    ) {
        if self.responses.len() >= REQUESTS {
            return;
        }
        let taken = read(wall, &mut asker, arrival, node).and_then(|request| {
            if self.pending.len() >= REQUESTS {
                let message = "there are too many requests already";
                return Err(Refusal::new(RefusalCode::Busy, message).retry_in(1_000));
            }
            Ok(request)
        });
        match taken {
            Ok(request) => {
                let ticket = Ticket(self.count);
                self.count += 1;
                self.pending.insert(ticket, Pending { asker, due: now + REQUEST_TIMEOUT });
                self.fresh.push_back((ticket, request));
            }
            Err(refusal) => self.responses.push_back(asker.response(&Err(refusal))),
        }
    }

    /// The next request for the gateway.
    pub(super) fn next(&mut self) -> Option<(Ticket, Request)> {
        self.fresh.pop_front()
    }

    /// The gateway has answered a request. One that has waited too long was answered before.
    pub(super) fn answered(&mut self, ticket: Ticket, result: &Result<Answer, Refusal>) {
        if let Some(Pending { asker, .. }) = self.pending.remove(&ticket) {
            self.responses.push_back(asker.response(result));
        }
    }

    /// Refuses what has waited too long.
    pub(super) fn expire(&mut self, now: Instant) {
        // All wait equally long: the first is due first.
        while let Some(first) = self.pending.first_entry().filter(|first| first.get().due <= now) {
            let Pending { asker, .. } = first.remove();
            let message = "the request was not done in time; it may still be";
            let refusal = Refusal::new(RefusalCode::Timeout, message);
            self.responses.push_back(asker.response(&Err(refusal)));
        }
    }

    /// The next answer to be published.
    pub(super) fn response(&mut self) -> Option<Publication> {
        self.responses.pop_front()
    }

    pub(super) fn is_ready(&self, connected: bool) -> bool {
        !self.fresh.is_empty() || connected && !self.responses.is_empty()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.pending.first_key_value().map(|(_, pending)| pending.due)
    }
}

/// Takes out of a request what is about the asker, and reads the rest.
fn read(
    wall: Option<u64>,
    asker: &mut Asker,
    arrival: &Arrival<'_>,
    node: Option<&str>,
) -> Result<Request, Refusal> {
    let malformed = |message: &str| Refusal::new(RefusalCode::Malformed, message);
    if arrival.payload.len() > limits::REQUEST {
        let message = format!("the request is longer than {} bytes", limits::REQUEST);
        return Err(Refusal::new(RefusalCode::TooLarge, message));
    }
    let mut object: Map<String, Value> = match arrival.payload.trim_ascii() {
        [] => Map::new(),
        json => serde_json::from_slice(json).map_err(|error| {
            malformed("the request is not what it should be").because(error.to_string())
        })?,
    };
    let transaction = object.remove("transaction");
    let is_short = |value: &Value| value.to_string().len() <= TRANSACTION;
    asker.transaction = transaction.filter(is_short);
    let expires = object.remove("expires");
    if arrival.retain {
        let message = "a retained message is no request: it is from another time";
        return Err(Refusal::new(RefusalCode::Expired, message)
            .help("publish it again without the retain flag"));
    }
    if let Some(expires) = expires {
        let at = expires.as_u64().ok_or(malformed("`expires` is not a time of day"))?;
        if wall.is_some_and(|wall| wall / 1_000 >= at) {
            return Err(Refusal::new(RefusalCode::Expired, "the request has run out"));
        }
    }
    if let Some(node) = node {
        let op = object.get("op").and_then(Value::as_str).unwrap_or_default();
        if !COMMANDS.contains(&op) {
            let commands = COMMANDS.join(", ");
            return Err(
                malformed("`op` is no command for a node").help(format!("give one of {commands}"))
            );
        }
        asker.op = op.to_owned();
        object.insert("node".to_owned(), node.into());
    } else {
        object.insert("op".to_owned(), asker.op.as_str().into());
    }
    Request::from_object(object)
}

impl Asker {
    fn new(op: &str, arrival: &Arrival<'_>, topics: &Topics) -> Self {
        let response = arrival.response_topic;
        // What a client may not publish to is nothing to be told by it.
        let named = response.filter(|topic| {
            !topic.is_empty() && topic.len() <= ECHO && !topic.contains(['+', '#', '\0'])
        });
        let op: String = op.chars().take(capmesh_wire::limits::NAME).collect();
        Self {
            topic: named.map_or_else(|| topics.response(&op), str::to_owned),
            correlation: arrival.correlation.filter(|c| c.len() <= ECHO).map(<[u8]>::to_vec),
            transaction: None,
            op,
        }
    }

    fn response(self, result: &Result<Answer, Refusal>) -> Publication {
        let mut object = Map::new();
        object.insert("op".to_owned(), self.op.into());
        if let Some(transaction) = self.transaction {
            object.insert("transaction".to_owned(), transaction);
        }
        let (status, key, value) = match result {
            Ok(answer) => ("ok", "answer", serde_json::to_value(answer)),
            Err(refusal) => ("refused", "refusal", serde_json::to_value(refusal)),
        };
        object.insert("status".to_owned(), status.into());
        object.insert(key.to_owned(), value.unwrap_or_default());
        Publication {
            topic: self.topic,
            payload: Value::Object(object).to_string().into_bytes(),
            retain: false,
            qos: 1,
            expiry: Some(ANSWER_EXPIRY),
            correlation: self.correlation,
        }
    }
}

impl super::Bridge {
    /// The gateway has answered a request that came over MQTT.
    pub fn answered(&mut self, ticket: Ticket, result: &Result<Answer, Refusal>) {
        self.requests.answered(ticket, result);
    }
}
