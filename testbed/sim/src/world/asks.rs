//! Asking the gateway for things.

use super::World;
use crate::Host;
use crate::event::Event;
use crate::site::{GATEWAY, address, claim};
use capmesh_gateway::RequestId;
use capmesh_gateway::api::{Adopt, Answer, Refusal, Request};
use std::time::Duration;

impl World {
    /// Asks the gateway for something, and waits for the answer. `None` if the gateway was killed before.
    pub fn ask(&mut self, request: &Request) -> Option<Result<Answer, Refusal>> {
        self.run_until(60, |world| world.gate.gateway.is_some());
        let (id, starts) = (self.begin_ask(request), self.gate.starts);
        self.run_until(120, |world| {
            world.gate.answers.contains_key(&id)
                || world.gate.starts != starts
                || world.gate.gateway.is_none()
        });
        self.gate.answers.remove(&id)
    }

    /// Asks the gateway for something until it is done.
    pub fn insist(&mut self, request: &Request) -> Answer {
        for _ in 0..20 {
            match self.ask(request) {
                Some(Ok(answer)) => return answer,
                Some(Err(refusal)) if refusal.retry_ms.is_none() => {
                    panic!("seed {}: {refusal}: {refusal:?}", self.seed);
                }
                _ => self.run_for(Duration::from_millis(200)),
            }
        }
        panic!("seed {}: {request:?} is not done", self.seed);
    }

    /// Begins to ask; the answer will be among [`Gate::answers`](crate::Gate::answers), unless the gateway
    /// is down or killed before.
    pub fn begin_ask(&mut self, request: &Request) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        let what = format!("{request:?}").into();
        self.emit(Event::Asked { id: id.0, what });
        self.gate.handle(self.now, capmesh_gateway::Input::Request { id, request });
        self.schedule.touch(GATEWAY);
        id
    }

    /// What asks the gateway to take a node into the site.
    #[must_use]
    pub fn adoption(n: Host) -> Request {
        Request::Adopt(Adopt {
            claim: claim(n),
            address: address(n),
            name: format!("n{n}"),
            labels: Vec::new(),
        })
    }

    /// Has the gateway take a node into the site.
    pub fn adopt(&mut self, n: Host) {
        self.insist(&Self::adoption(n));
    }
}
