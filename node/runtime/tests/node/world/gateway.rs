//! The gateway: somebody who asks and commands.

use super::World;
use super::who::{Core, GATEWAY, MTU, UNIX, address, core, node_id, roster};
use capmesh_coap::endpoint::{Event, ExchangeId, Outcome, Reliability, Via};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::{Code, MessageWriter};
use capmesh_session::{Peer, Replaceable as _};
use capmesh_wire::clock::{TimeReply, TimeRequest};
use capmesh_wire::control::{Command, Reply};
use capmesh_wire::inventory::{InstanceState, InstanceStatus, Status};
use capmesh_wire::log::LogLine;
use capmesh_wire::{ErrorCode, InstanceId, Instant, Problem, Roster, cbor, content_format, paths};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// What a command was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: Code,
    pub(crate) payload: Vec<u8>,
}

impl Answer {
    pub(crate) fn reply(&self) -> Reply<'_> {
        assert_eq!(self.code, Code::CHANGED, "{:?}", self.problem());
        cbor::decode(&self.payload).unwrap()
    }

    pub(crate) fn problem(&self) -> Option<ErrorCode> {
        Some(cbor::decode::<Problem<'_>>(&self.payload).ok()?.code)
    }

    pub(crate) fn is_success(&self) -> bool {
        self.code.is_success()
    }
}

/// The gateway: somebody who commands.
pub(crate) struct Controller {
    pub(super) core: Box<Core>,
    pub(super) answers: BTreeMap<ExchangeId, Option<Answer>>,
    /// An observation, and what it has brought.
    pub(super) observed: Option<(ExchangeId, Vec<Vec<u8>>)>,
    /// Observations that were accepted.
    pub(super) observing: BTreeSet<ExchangeId>,
}

impl World {
    /// Observes a resource for a while; gives what it has been.
    pub(crate) fn observe(&mut self, n: u8, path: &str, time: Duration) -> Vec<Vec<u8>> {
        let peer = self.gateway.core.sessions().peer(node_id(n)).unwrap();
        let build = |writer: &mut MessageWriter<'_>| {
            writer.option_uint(OptionNumber::OBSERVE, 0)?;
            path.split('/').try_for_each(|segment| writer.path(segment).map(drop))
        };
        let now = self.now;
        let core = &mut self.gateway.core;
        let exchange = core.request(now, peer, Reliability::Confirmable, Code::GET, build).unwrap();
        self.gateway.observed = Some((exchange, Vec::new()));
        self.run_for(time);
        self.gateway.core.cancel(self.now, exchange);
        self.gateway.observed.take().map_or(Vec::new(), |(_, seen)| seen)
    }

    /// Asks a node, as the gateway.
    pub(crate) fn ask(
        &mut self,
        n: u8,
        code: Code,
        path: &str,
        format: u16,
        body: &[u8],
    ) -> Answer {
        let exchange = self.begin_ask(n, code, path, format, body);
        self.answer(exchange)
    }

    fn introduced(&mut self, n: u8) -> Peer {
        let sessions = self.gateway.core.sessions_mut();
        let peer = sessions.peer(node_id(n));
        peer.unwrap_or_else(|| sessions.introduce(self.now, node_id(n), address(n)).unwrap())
    }

    pub(crate) fn begin_ask(
        &mut self,
        n: u8,
        code: Code,
        path: &str,
        format: u16,
        body: &[u8],
    ) -> ExchangeId {
        let now = self.now;
        let peer = self.introduced(n);
        let build = |writer: &mut MessageWriter<'_>| {
            for segment in path.split('/') {
                writer.path(segment)?;
            }
            if !body.is_empty() {
                writer.option_uint(OptionNumber::CONTENT_FORMAT, u32::from(format))?;
                writer.payload(body)?;
            }
            Ok(())
        };
        let exchange = self.gateway.core.request(now, peer, Reliability::Confirmable, code, build);
        let exchange = exchange.unwrap();
        self.gateway.answers.insert(exchange, None);
        exchange
    }

    pub(crate) fn answer(&mut self, exchange: ExchangeId) -> Answer {
        self.run_until(300, |world| {
            world.gateway.answers.get(&exchange).is_none_or(|answer| answer.is_some())
        });
        self.gateway
            .answers
            .remove(&exchange)
            .flatten()
            .unwrap_or(Answer { code: Code::GATEWAY_TIMEOUT, payload: Vec::new() })
    }

    /// Commands a node.
    pub(crate) fn command(&mut self, n: u8, command: &Command<'_>) -> Answer {
        let exchange = self.begin_command(n, command);
        self.answer(exchange)
    }

    pub(crate) fn begin_command(&mut self, n: u8, command: &Command<'_>) -> ExchangeId {
        let mut body = vec![0; 2_048];
        let len = cbor::encode(command, &mut body).unwrap();
        self.begin_ask(n, Code::POST, paths::CONTROL, content_format::CONTROL, &body[..len])
    }

    /// Commands until it is obeyed: nodes may be down or busy for a while, and fall over if there is
    /// chaos.
    pub(crate) fn retry(&mut self, n: u8, command: &Command<'_>) -> Answer {
        for _ in 0..60 {
            let exchange = self.begin_command(n, command);
            self.chaos();
            let answer = self.answer(exchange);
            if answer.is_success() {
                return answer;
            }
            self.run_for(Duration::from_millis(500));
        }
        panic!("seed {}: node {n} does not obey {command:?}", self.seed);
    }

    /// The gateway falls over, and is back with its key and nothing else.
    pub(crate) fn restart_gateway(&mut self) {
        let roster = roster(1, self.machines.len() as u8, &[]);
        let seed = self.dice.roll();
        let mut core = core("gateway", GATEWAY, seed);
        core.sessions_mut().roster_mut().replace(&Roster::from_trusted(&roster).unwrap());
        *self.gateway.core = core;
        self.gateway.observing.clear();
    }

    /// Asks to observe a resource. Says whether that was accepted.
    pub(crate) fn begin_to_observe(&mut self, n: u8, path: &str) -> bool {
        let peer = self.introduced(n);
        let build = |writer: &mut MessageWriter<'_>| {
            writer.option_uint(OptionNumber::OBSERVE, 0)?;
            path.split('/').try_for_each(|segment| writer.path(segment).map(drop))
        };
        let now = self.now;
        let core = &mut self.gateway.core;
        let exchange = core.request(now, peer, Reliability::Confirmable, Code::GET, build).unwrap();
        self.gateway.answers.insert(exchange, None);
        let is_success = self.answer(exchange).is_success();
        is_success && self.gateway.observing.contains(&exchange)
    }

    /// The controller has the key of a node from now on, which is down.
    pub(crate) fn become_node(&mut self, n: u8) {
        self.machine(n).node = None;
        let roster = roster(1, self.machines.len() as u8, &[]);
        let mut core = core(&format!("n{n}"), n, self.seed + 77);
        core.sessions_mut().roster_mut().replace(&Roster::from_trusted(&roster).unwrap());
        *self.gateway.core = core;
    }

    /// Asks a node without saying who asks.
    pub(crate) fn ask_anonymously(
        &mut self,
        n: u8,
        code: Code,
        path: &str,
        command: &Command<'_>,
    ) -> Answer {
        let mut body = vec![0; 2_048];
        let len = cbor::encode(command, &mut body).unwrap();
        let peer = Peer::Anonymous(address(n));
        let format = u32::from(content_format::CONTROL);
        let build = |writer: &mut MessageWriter<'_>| {
            writer.path(path)?;
            if code == Code::POST {
                writer.option_uint(OptionNumber::CONTENT_FORMAT, format)?;
                writer.payload(&body[..len])?;
            }
            Ok(())
        };
        let now = self.now;
        let exchange =
            self.gateway.core.request(now, peer, Reliability::Confirmable, code, build).unwrap();
        self.gateway.answers.insert(exchange, None);
        self.answer(exchange)
    }

    /// How an instance is, as its node's status says.
    pub(crate) fn status(&mut self, n: u8, instance: u32) -> Option<InstanceStatus> {
        let answer = self.ask(n, Code::GET, paths::STATUS, 0, &[]);
        let status: Status<'_> = cbor::decode(&answer.payload).ok()?;
        status.instances.iter().find(|status| status.instance == InstanceId(instance))
    }

    /// Waits until an instance is in a state.
    pub(crate) fn wait(&mut self, n: u8, instance: u32, state: InstanceState) -> InstanceStatus {
        for _ in 0..200 {
            self.chaos();
            if let Some(status) = self.status(n, instance)
                && status.state == state
            {
                return status;
            }
            self.run_for(Duration::from_millis(100));
        }
        let (is, log) = (self.status(n, instance), self.log(n));
        panic!("seed {}: instance {instance} is {is:?}\n{log}", self.seed);
    }

    /// The first block of the node's log, as text.
    pub(crate) fn log(&mut self, n: u8) -> String {
        let answer = self.ask(n, Code::GET, paths::LOG, 0, &[]);
        let mut reader = cbor::Reader::new(&answer.payload);
        let mut text = String::new();
        while !reader.is_at_end() {
            let line: LogLine<'_> = cbor::Decode::read(&mut reader);
            if reader.status().is_err() {
                break;
            }
            text += &format!("{:?} {}: {}\n", line.instance, line.level, line.text);
        }
        text
    }
}

impl Controller {
    pub(super) fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let mut scratch = [0; MTU];
        let event = self.core.handle(now, from, Via::Unicast, bytes, &mut scratch);
        match event {
            Some(Event::Response { exchange, message, last, .. }) => {
                if !last {
                    self.observing.insert(exchange);
                }
                let answer = Answer { code: message.code(), payload: message.payload().to_vec() };
                if let Some((observed, seen)) = &mut self.observed
                    && *observed == exchange
                    && answer.is_success()
                {
                    seen.push(answer.payload.clone());
                }
                if let Some(place) = self.answers.get_mut(&exchange) {
                    *place = Some(answer);
                }
            }
            Some(Event::Request { responder, message, .. }) => {
                let mut buf = [0; 64];
                let reply = cbor::decode::<TimeRequest>(message.payload()).ok().map(|request| {
                    let micros = UNIX + now.as_micros();
                    let uncertainty = 100;
                    TimeReply { sent: request.sent, received: micros, replied: micros, uncertainty }
                });
                let len = reply.and_then(|reply| cbor::encode(&reply, &mut buf).ok());
                let code = if len.is_some() { Code::CONTENT } else { Code::NOT_FOUND };
                let payload = &buf[..len.unwrap_or(0)];
                let _ = self.core.respond(now, responder, code, |writer| {
                    writer.payload(payload)?;
                    Ok(())
                });
            }
            None => {}
        }
    }

    pub(super) fn outcome(&mut self, outcome: Outcome) {
        if let Outcome::Failed { exchange, .. } | Outcome::Finished { exchange } = outcome {
            self.answers.remove(&exchange);
        }
    }
}
