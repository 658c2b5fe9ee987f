//! The router as CoAP resources.

use super::Router;
use super::asks::ServiceError;
use super::instance::{Instance, State};
use super::receive::{ACK, CBOR, PROBLEM, Received, millis, seconds};
use alloc::vec::Vec;
use capmesh_coap::Code;
use capmesh_coap::link_format::{Attributes, LinkWriter};
use capmesh_coap::message::Kind;
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::{Done, Handled, Reply, Request, Resource};
use capmesh_wire::cbor::encode;
use capmesh_wire::{InstanceId, NodeId, Problem, content_format};
use core::fmt;

/// Takes batches: mounted below [`paths::INBOX`](capmesh_wire::paths::INBOX), made on the spot.
pub struct InboxResource<'a, P> {
    router: &'a mut Router,
    sender: fn(P) -> Result<NodeId, Code>,
}

impl<'a, P> InboxResource<'a, P> {
    /// Takes them from those that `sender` knows the node of; the others get the code that it says
    /// (4.01 or 4.03).
    pub const fn new(router: &'a mut Router, sender: fn(P) -> Result<NodeId, Code>) -> Self {
        Self { router, sender }
    }
}

impl<P> fmt::Debug for InboxResource<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InboxResource")
    }
}

impl<P: Copy> Resource<P> for InboxResource<'_, P> {
    fn post(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        let from = (self.sender)(request.peer())?;
        let mut rest = request.rest();
        let (Some(Ok(consumer)), None) = (rest.next().map(str::parse), rest.next()) else {
            return Err(Code::NOT_FOUND.into());
        };
        request.expect_format(&[content_format::BATCH])?;
        let confirmable = request.message().kind() == Kind::Confirmable;
        let (now, responder, body) = (request.now(), request.responder(), request.body());
        let consumer = InstanceId(consumer);
        let received = self.router.receive(now, from, consumer, confirmable, responder, body);
        match received {
            Received::Later => Ok(Done::Later),
            Received::Refused(problem) => refuse(&problem, reply),
            Received::Acknowledged(ack) => {
                let mut buf = [0; ACK];
                let len = encode(&ack, &mut buf).map_err(|_| Code::INTERNAL_SERVER_ERROR)?;
                reply.content_format(content_format::BATCH);
                reply.write(buf.get(..len).unwrap_or_default());
                Ok(Done::Changed)
            }
        }
    }

    /// It is for those who have a plan.
    fn links(&self, _path: &str, _links: &mut LinkWriter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// Shows topics: mounted below [`paths::TOPICS`](capmesh_wire::paths::TOPICS), made on the spot.
/// GET, with Observe, gives a batch with the newest message, or without one if there is none yet. Of several
/// replicas it gives the first, or the one that the query `r` names.
pub struct TopicsResource<'a, P> {
    router: &'a mut Router,
    allow: fn(P) -> Result<(), Code>,
}

impl<'a, P> TopicsResource<'a, P> {
    /// Shows them to those that `allow` lets pass; the others get the code that it says.
    pub const fn new(router: &'a mut Router, allow: fn(P) -> Result<(), Code>) -> Self {
        Self { router, allow }
    }
}

impl<P> fmt::Debug for TopicsResource<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TopicsResource")
    }
}

impl<P: Copy> Resource<P> for TopicsResource<'_, P> {
    fn get(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        (self.allow)(request.peer())?;
        let mut rest = request.rest();
        let path = (rest.next(), rest.next(), rest.next(), rest.next());
        let (Some(pipeline), Some(name), Some(output), None) = path else {
            return Err(Code::NOT_FOUND.into());
        };
        let replica: Option<u8> = request.query("r").and_then(|replica| replica.parse().ok());
        let mut buf = core::mem::take(&mut self.router.scratch);
        let written = self.router.topic([pipeline, name, output], replica, &mut buf);
        if written.is_some() {
            reply.content_format(content_format::BATCH).write(&buf);
        }
        self.router.scratch = buf;
        written.map(|()| Done::Content).ok_or(Code::NOT_FOUND.into())
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { observable: true, ..Attributes::default() }
    }

    fn links(&self, path: &str, links: &mut LinkWriter<'_>) -> fmt::Result {
        for (instance, output) in self.router.topics() {
            links.link(&[path, &instance.pipeline, &instance.name, output], &self.attributes())?;
        }
        Ok(())
    }
}

/// Asks capsules: mounted below [`paths::SERVICES`](capmesh_wire::paths::SERVICES), made on the spot. The path goes on with the
/// number of an instance, or with a pipeline and the name of a capsule in it, and ends with the name
/// of a service. The method is handed on to the capsule.
pub struct ServicesResource<'a, P> {
    router: &'a mut Router,
    allow: fn(P) -> Result<(), Code>,
}

impl<'a, P> ServicesResource<'a, P> {
    /// Lets those ask that `allow` lets pass; the others get the code that it says.
    pub const fn new(router: &'a mut Router, allow: fn(P) -> Result<(), Code>) -> Self {
        Self { router, allow }
    }
}

impl<P> fmt::Debug for ServicesResource<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServicesResource")
    }
}

impl<P: Copy> Resource<P> for ServicesResource<'_, P> {
    fn handle(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        (self.allow)(request.peer())?;
        let method = request.method();
        if !matches!(method, Code::GET | Code::POST | Code::PUT | Code::DELETE) {
            return Err(Code::METHOD_NOT_ALLOWED.into());
        }
        // `None`: an observer's, and services have none.
        let responder = request.responder().ok_or(Code::METHOD_NOT_ALLOWED)?;
        let mut rest = request.rest();
        let path = (rest.next(), rest.next(), rest.next(), rest.next());
        let (target, service) = match path {
            (Some(instance), Some(service), None, _) => {
                (instance.parse().ok().map(InstanceId), service)
            }
            (Some(pipeline), Some(name), Some(service), None) => {
                (self.router.named(pipeline, name).map(|instance| instance.id), service)
            }
            _ => return Err(Code::NOT_FOUND.into()),
        };
        let target = target.ok_or(Code::NOT_FOUND)?;
        let (now, body) = (request.now(), request.body());
        match self.router.serve(now, target, service, method.0, body, responder) {
            Ok(()) => Ok(Done::Later),
            Err(error @ (ServiceError::Busy | ServiceError::Full)) => {
                let retry = millis(self.router.config.retry_min);
                refuse(&Problem::retry(error.code(), retry), reply)
            }
            Err(error) => refuse(&Problem::new(error.code()), reply),
        }
    }

    fn links(&self, path: &str, links: &mut LinkWriter<'_>) -> fmt::Result {
        for instance in self.router.instances.iter().filter(|i| i.state == State::Running) {
            for service in &instance.services {
                let segments = [path, &instance.pipeline, &instance.name, &service.name];
                links.link(&segments, &Attributes::default())?;
            }
        }
        Ok(())
    }
}

impl Router {
    /// Writes a batch with the newest message of a topic.
    fn topic(
        &self,
        [pipeline, name, output]: [&str; 3],
        replica: Option<u8>,
        buf: &mut Vec<u8>,
    ) -> Option<()> {
        let named = self.instances.iter().filter(|i| *i.pipeline == *pipeline && *i.name == *name);
        let named = named.filter(|i| replica.is_none_or(|replica| i.replica == replica));
        let instance = named.min_by_key(|instance| instance.replica)?;
        let mut outputs = (0_u8..).zip(&instance.outputs);
        let (number, _) = outputs.find(|(_, port)| *port.name == *output)?;
        instance.write_newest(number, buf).map(drop)
    }

    /// All topics.
    fn topics(&self) -> impl Iterator<Item = (&Instance, &str)> {
        self.instances.iter().flat_map(|instance| {
            instance.outputs.iter().map(move |output| (instance, &*output.name))
        })
    }

    /// The first replica with this name.
    fn named(&self, pipeline: &str, name: &str) -> Option<&Instance> {
        let named = self.instances.iter().filter(|i| *i.pipeline == *pipeline && *i.name == *name);
        named.min_by_key(|instance| instance.replica)
    }
}

/// Answers with a problem.
fn refuse(problem: &Problem<'_>, reply: &mut Reply<'_>) -> Handled {
    let mut buf = [0; PROBLEM];
    let len = encode(problem, &mut buf).map_err(|_| Code::INTERNAL_SERVER_ERROR)?;
    if let Some(retry) = problem.retry_ms {
        reply.option_uint(OptionNumber::MAX_AGE, seconds(retry));
    }
    reply.content_format(CBOR);
    reply.write(buf.get(..len).unwrap_or_default());
    Ok(Done::Code(Code(problem.code.coap_code())))
}
