//! What the server of the pair offers.

use crate::plug_test::PlugTest;
use crate::shell::{Application, Core};
use capmesh_coap::Code;
use capmesh_coap::block::BlockSize;
use capmesh_coap::echo::EchoKey;
use capmesh_coap::endpoint::{Event, Outcome};
use capmesh_coap::link_format::Attributes;
use capmesh_coap::server::{
    Done, Handled, Refusal, Reply, Request, Resource, Route, Server, ServerConfig,
};
use capmesh_wire::Instant;
use rand_core::{OsRng, RngCore};
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

/// The length of the body that `/large` has, in bytes.
pub const LARGE: usize = 102_400;

/// The longest body that the server takes, in bytes.
pub const MAX_BODY: usize = 131_072;

const TEXT: u16 = 0;
const OCTETS: u16 = 42;

/// Whoever asks, as the security layer of the endpoint knows them.
pub trait Asker: Copy + Eq {
    /// Whether anybody vouches for them.
    fn is_authenticated(&self) -> bool;

    /// What they are called, for people to read.
    fn name(&self) -> String;
}

impl Asker for SocketAddr {
    fn is_authenticated(&self) -> bool {
        false
    }

    fn name(&self) -> String {
        format!("somebody at {self}")
    }
}

/// All resources, and the server that they are mounted in.
pub struct Site<P: Asker> {
    server: Box<Server<P, 64, 4, MAX_BODY>>,
    clock: Clock,
    store: Store,
    plug_test: PlugTest,
    next_second: Option<Instant>,
    /// Where responses are rendered.
    buf: Box<[u8; 2048]>,
}

impl<P: Asker> Default for Site<P> {
    fn default() -> Self {
        let mut key = [0; 16];
        OsRng.fill_bytes(&mut key);
        let config = ServerConfig { block: BlockSize::MAX, ..ServerConfig::default() };
        Self {
            server: Box::new(Server::new(config, EchoKey::new(key))),
            clock: Clock,
            store: Store::default(),
            plug_test: PlugTest::default(),
            next_second: None,
            buf: Box::new([0; 2048]),
        }
    }
}

impl<P: Asker> Site<P> {
    /// Lets `step` work with the server and the table of all resources.
    fn with_routes<T>(
        &mut self,
        step: impl FnOnce(&mut Server<P, 64, 4, MAX_BODY>, &mut [Route<'_, P>], &mut [u8]) -> T,
    ) -> T {
        let Self { server, clock, store, plug_test, buf, .. } = self;
        let (mut hello, mut large, mut echo, mut who) = (Hello, Large, Echo, WhoAmI);
        let [mut hello_coap, mut hello_1, mut hello_2, mut hello_3] = PlugTest::hellos();
        let PlugTest { hello_6, hello_7, observe_1, observe_2, test } = plug_test;
        let mut routes = [
            Route::at("hello", &mut hello),
            Route::at("time", clock),
            Route::at("large", &mut large),
            Route::at("echo", &mut echo),
            Route::at("store", store),
            Route::at("whoami", &mut who),
            Route::at("oscore/hello/coap", &mut hello_coap),
            Route::at("oscore/hello/1", &mut hello_1),
            Route::at("oscore/hello/2", &mut hello_2),
            Route::at("oscore/hello/3", &mut hello_3),
            Route::at("oscore/hello/6", hello_6),
            Route::at("oscore/hello/7", hello_7),
            Route::at("oscore/observe1", observe_1),
            Route::at("oscore/observe2", observe_2),
            Route::at("oscore/test", test),
        ];
        step(server, &mut routes, &mut buf[..])
    }

    fn notify(&mut self, core: &mut impl Core<Peer = P>, now: Instant) {
        self.with_routes(|server, routes, buf| while server.poll(now, core, routes, buf) {});
        if self.server.observers() == 0 {
            self.next_second = None;
        } else {
            self.next_second.get_or_insert(now + Duration::from_secs(1));
        }
    }
}

impl<C: Core> Application<C> for Site<<C as Core>::Peer> {
    fn event(&mut self, core: &mut C, now: Instant, event: Event<'_, <C as Core>::Peer>) {
        self.with_routes(|server, routes, buf| {
            // This side asks nobody, so no response comes.
            let _ = server.handle(now, core, routes, event, buf);
        });
        self.notify(core, now);
    }

    fn outcome(&mut self, _: &mut C, _: Instant, outcome: Outcome) {
        if let Outcome::ObservationEnded { observation, .. } = outcome {
            self.server.ended(observation);
        }
    }

    fn timeout(&self) -> Option<Instant> {
        self.next_second.into_iter().chain(self.plug_test.timeout()).min()
    }

    fn tick(&mut self, core: &mut C, now: Instant) {
        if self.next_second.is_some_and(|at| at <= now) {
            self.next_second = None;
            self.server.changed("time");
        }
        for path in self.plug_test.tick(now) {
            self.server.changed(path);
        }
        self.notify(core, now);
    }
}

/// Says hello.
struct Hello;

impl<P: Copy> Resource<P> for Hello {
    fn get(&mut self, _: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        reply.content_format(TEXT).write(b"hello from capmesh");
        Ok(Done::Content)
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { title: "A greeting", content_formats: &[TEXT], ..Attributes::default() }
    }
}

/// Tells the time since the server started, once a second to those who observe it.
struct Clock;

impl<P: Copy> Resource<P> for Clock {
    fn get(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        reply.content_format(TEXT).max_age(1);
        let seconds = request.now().as_micros() / 1_000_000;
        let _ = write!(reply, "up for {seconds} s");
        Ok(Done::Content)
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { title: "Time since the start", observable: true, ..Attributes::default() }
    }
}

/// A body that takes a hundred blocks: byte `i` is `i * 7 + i / 256`, modulo 256.
struct Large;

impl<P: Copy> Resource<P> for Large {
    fn get(&mut self, _: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        reply.content_format(OCTETS);
        let mut block = [0; 256];
        for high in 0..LARGE / 256 {
            for (low, byte) in block.iter_mut().enumerate() {
                [*byte, ..] = (low.wrapping_mul(7).wrapping_add(high)).to_le_bytes();
            }
            reply.write(&block);
        }
        Ok(Done::Content)
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes {
            title: "A hundred blocks",
            size: u32::try_from(LARGE).ok(),
            ..Attributes::default()
        }
    }
}

/// Answers with what it is sent.
struct Echo;

impl<P: Copy> Resource<P> for Echo {
    fn post(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        reply.content_format(request.content_format().unwrap_or(OCTETS)).write(request.body());
        Ok(Done::Changed)
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { title: "Answers with what it is sent", ..Attributes::default() }
    }
}

/// Keeps one body. Those who observe it hear of every change.
#[derive(Default)]
struct Store {
    body: Option<(u16, Vec<u8>)>,
}

impl<P: Copy> Resource<P> for Store {
    fn get(&mut self, _: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        let Some((format, body)) = &self.body else { return Err(Code::NOT_FOUND.into()) };
        reply.content_format(*format).write(body);
        Ok(Done::Content)
    }

    fn put(&mut self, request: &Request<'_, P>, _: &mut Reply<'_>) -> Handled {
        let format = request.content_format().unwrap_or(OCTETS);
        let before = self.body.replace((format, request.body().to_vec()));
        Ok(if before.is_none() { Done::Created } else { Done::Changed })
    }

    fn post(&mut self, request: &Request<'_, P>, _: &mut Reply<'_>) -> Handled {
        let format = request.content_format().unwrap_or(OCTETS);
        let (_, body) = self.body.get_or_insert((format, Vec::new()));
        if body.len() + request.body().len() > MAX_BODY {
            return Err(Refusal::new(Code::REQUEST_ENTITY_TOO_LARGE).because("the store is full"));
        }
        body.extend_from_slice(request.body());
        Ok(Done::Changed)
    }

    fn delete(&mut self, _: &Request<'_, P>, _: &mut Reply<'_>) -> Handled {
        self.body = None;
        Ok(Done::Deleted)
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes {
            title: "Keeps what is put there; POST appends",
            observable: true,
            ..Attributes::default()
        }
    }
}

/// Tells those who ask what the server knows of them.
struct WhoAmI;

impl<P: Asker> Resource<P> for WhoAmI {
    fn get(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        reply.content_format(TEXT).write(request.peer().name().as_bytes());
        Ok(Done::Content)
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { title: "Who you are to this server", ..Attributes::default() }
    }
}
