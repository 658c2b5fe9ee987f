//! The resources of the OSCORE plug test (test-spec5 of the OSCORE interoperability events,
//! <https://github.com/EricssonResearch/OSCOAP>). All but the first want an authenticated client.

use crate::resources::Asker;
use capmesh_coap::Code;
use capmesh_coap::block::ETag;
use capmesh_coap::link_format::Attributes;
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::{Done, Handled, Refusal, Reply, Request, Resource};
use capmesh_wire::Instant;
use std::time::Duration;

/// How long the states of an observed resource last.
const STATE: Duration = Duration::from_secs(2);

/// The resources that have a state.
#[derive(Default)]
pub(crate) struct PlugTest {
    pub(crate) hello_6: Hello6,
    pub(crate) hello_7: Hello7,
    pub(crate) observe_1: Observed,
    pub(crate) observe_2: Observed,
    pub(crate) test: Deletable,
}

impl PlugTest {
    /// `/oscore/hello/coap`, `1`, `2` and `3`.
    pub(crate) fn hellos() -> [Hello; 4] {
        let open = Hello { is_open: true, etag: None, max_age: None };
        let closed = Hello { is_open: false, ..open };
        [
            open,
            closed,
            Hello { etag: ETag::new(&[0x2b]), ..closed },
            Hello { max_age: Some(5), ..closed },
        ]
    }

    /// When [`PlugTest::tick`] is due.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.observe_1.until.into_iter().chain(self.observe_2.until).min()
    }

    /// Moves on what is due. The paths of what has changed are returned.
    pub(crate) fn tick(&mut self, now: Instant) -> impl Iterator<Item = &'static str> + use<> {
        let one = self.observe_1.tick(now).then_some("oscore/observe1");
        let two = self.observe_2.tick(now).then_some("oscore/observe2");
        one.into_iter().chain(two)
    }
}

/// Refuses those for whom nobody vouches.
fn authenticate<P: Asker>(request: &Request<'_, P>) -> Result<(), Refusal> {
    if request.peer().is_authenticated() {
        Ok(())
    } else {
        Err(Refusal::new(Code::UNAUTHORIZED).because("OSCORE is wanted"))
    }
}

/// "Hello World!" with one option or another.
#[derive(Clone, Copy)]
pub(crate) struct Hello {
    is_open: bool,
    etag: Option<ETag>,
    max_age: Option<u32>,
}

impl<P: Asker> Resource<P> for Hello {
    fn get(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        if !self.is_open {
            authenticate(request)?;
        }
        reply.content_format(0).write(b"Hello World!");
        if let Some(etag) = self.etag {
            reply.etag(etag);
        }
        if let Some(seconds) = self.max_age {
            reply.max_age(seconds);
        }
        Ok(Done::Content)
    }
}

/// Takes a POST and answers with the same.
#[derive(Default)]
pub(crate) struct Hello6;

impl<P: Asker> Resource<P> for Hello6 {
    fn post(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        authenticate(request)?;
        reply.content_format(request.expect_format(&[0])?).write(request.body());
        Ok(Done::Changed)
    }
}

/// Exists, with entity-tag 0x7b, so that conditional PUTs have something to match.
#[derive(Default)]
pub(crate) struct Hello7 {
    body: Vec<u8>,
}

impl<P: Asker> Resource<P> for Hello7 {
    fn get(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        authenticate(request)?;
        reply.content_format(0).write(&self.body);
        if let Some(etag) = ETag::new(&[0x7b]) {
            reply.etag(etag);
        }
        Ok(Done::Content)
    }

    fn put(&mut self, request: &Request<'_, P>, _: &mut Reply<'_>) -> Handled {
        authenticate(request)?;
        self.body = request.body().to_vec();
        Ok(Done::Changed)
    }
}

/// Is "one" when somebody starts to observe it, "two" 2 s later, and 5.00 another 2 s later.
#[derive(Default)]
pub(crate) struct Observed {
    state: usize,
    until: Option<Instant>,
}

impl Observed {
    fn tick(&mut self, now: Instant) -> bool {
        let is_due = self.until.is_some_and(|until| until <= now);
        if is_due {
            self.state += 1;
            self.until = (self.state == 1).then(|| now + STATE);
        }
        is_due
    }
}

impl<P: Asker> Resource<P> for Observed {
    fn get(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        authenticate(request)?;
        let registers = request.message().option_uint(OptionNumber::OBSERVE) == Some(0);
        if registers && request.responder().is_some() {
            *self = Self { state: 0, until: Some(request.now() + STATE) };
        }
        reply.content_format(0);
        let state = self.state;
        reply.write([&b"one"[..], b"two"].get(state).copied().unwrap_or(b"Terminate Observe"));
        Ok(if state < 2 { Done::Content } else { Done::Code(Code::INTERNAL_SERVER_ERROR) })
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { observable: true, ..Attributes::default() }
    }
}

/// Can be deleted, over and over.
#[derive(Default)]
pub(crate) struct Deletable;

impl<P: Asker> Resource<P> for Deletable {
    fn delete(&mut self, request: &Request<'_, P>, _: &mut Reply<'_>) -> Handled {
        authenticate(request)?;
        Ok(Done::Deleted)
    }
}
