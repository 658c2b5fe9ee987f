//! The resources that the ETSI plug tests want a server to offer.

use capmesh_coap::block::ETag;
use capmesh_coap::endpoint::{Reliability, Responder};
use capmesh_coap::link_format::{Attributes, LinkWriter};
use capmesh_coap::option::OptionNumber;
use capmesh_coap::server::{Done, Handled, Outbox, Reply, Request, Resource, Route, Unfinished};
use capmesh_coap::{Code, Message};
use capmesh_wire::Instant;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

const TEXT: u16 = 0;
const XML: u16 = 41;
const LINKS: u16 = 40;

/// How long `/separate` takes to answer.
pub const DELAY: Duration = Duration::from_secs(2);

/// A resource with a text for a state, that takes all methods.
#[derive(Debug, Default)]
pub struct Note {
    pub text: Option<Vec<u8>>,
    pub format: u16,
    pub attributes: Attributes<'static>,
    pub confirmable: bool,
    pub posts: Vec<Vec<u8>>,
    /// Where POST says that it has created something.
    location: &'static str,
    location_queries: &'static [&'static str],
}

impl Note {
    fn of(text: &str) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    fn with(attributes: Attributes<'static>) -> Self {
        Self { attributes, ..Self::of("linked") }
    }
}

impl<P: Copy> Resource<P> for Note {
    fn get(&mut self, _: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        let text = self.text.as_ref().ok_or(Code::NOT_FOUND)?;
        reply.content_format(self.format).with_etag().write(text);
        Ok(Done::Content)
    }

    fn put(&mut self, request: &Request<'_, P>, _: &mut Reply<'_>) -> Handled {
        self.format = request.expect_format(&[TEXT, XML])?;
        let existed = self.text.replace(request.body().to_vec()).is_some();
        Ok(if existed { Done::Changed } else { Done::Created })
    }

    fn post(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        self.posts.push(request.body().to_vec());
        if self.location.is_empty() && self.location_queries.is_empty() {
            return Ok(Done::Changed);
        }
        if !self.location.is_empty() {
            reply.location_path(self.location);
        }
        for query in self.location_queries {
            reply.location_query(query);
        }
        Ok(Done::Created)
    }

    fn delete(&mut self, _: &Request<'_, P>, _: &mut Reply<'_>) -> Handled {
        self.text = None;
        Ok(Done::Deleted)
    }

    fn attributes(&self) -> Attributes<'_> {
        self.attributes
    }

    fn notifies(&self) -> Reliability {
        if self.confirmable { Reliability::Confirmable } else { Reliability::NonConfirmable }
    }
}

/// `/separate`: answers after a while.
#[derive(Debug, Default)]
pub struct Separate {
    pending: Vec<(Instant, Responder)>,
    /// Bodies whose first part it refuses next.
    unwanted: Vec<(Responder, Unfinished<SocketAddr>)>,
}

impl Resource<SocketAddr> for Separate {
    fn get(&mut self, request: &Request<'_, SocketAddr>, _: &mut Reply<'_>) -> Handled {
        let responder = request.responder().ok_or(Code::INTERNAL_SERVER_ERROR)?;
        self.pending.push((request.now() + DELAY, responder));
        Ok(Done::Later)
    }

    fn put(&mut self, request: &Request<'_, SocketAddr>, _: &mut Reply<'_>) -> Handled {
        let waiting = request.responder().zip(request.unfinished());
        self.unwanted.push(waiting.ok_or(Code::INTERNAL_SERVER_ERROR)?);
        Ok(Done::Later)
    }

    fn streams(&self, method: Code) -> Option<u32> {
        (method == Code::PUT).then_some(100_000)
    }
}

/// `/query`: repeats what it was asked.
#[derive(Debug)]
pub struct Query;

impl<P: Copy> Resource<P> for Query {
    fn get(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        reply.content_format(TEXT);
        let first = request.query("first").unwrap_or("nothing");
        writeln!(reply, "first is {first}").map_err(|_| Code::INTERNAL_SERVER_ERROR)?;
        for query in request.queries() {
            reply.write(query.as_bytes()).write(b"\n");
        }
        Ok(Done::Content)
    }
}

/// `/multi-format`.
#[derive(Debug)]
pub struct MultiFormat;

impl<P: Copy> Resource<P> for MultiFormat {
    fn get(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        match request.negotiate(&[TEXT, XML])? {
            XML => reply.content_format(XML).write(b"<text>hello</text>"),
            _ => reply.content_format(TEXT).write(b"hello"),
        };
        Ok(Done::Content)
    }
}

/// `/large-create`: keeps what is posted as `/large-create/N`.
#[derive(Debug, Default)]
pub struct Create {
    pub created: Vec<Vec<u8>>,
}

impl<P: Copy> Resource<P> for Create {
    fn get(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        let number: usize =
            request.rest().next().and_then(|n| n.parse().ok()).ok_or(Code::NOT_FOUND)?;
        reply.content_format(TEXT).write(self.created.get(number).ok_or(Code::NOT_FOUND)?);
        Ok(Done::Content)
    }

    fn post(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        reply.location_path(&format!("large-create/{}", self.created.len()));
        self.created.push(request.body().to_vec());
        Ok(Done::Created)
    }
}

/// `/large-post`: answers with what it got, in reverse, and as often as the query says.
#[derive(Debug, Default)]
pub struct Reverse {
    pub calls: usize,
}

impl<P: Copy> Resource<P> for Reverse {
    fn fetch(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        Resource::<P>::post(self, request, reply)?;
        Ok(Done::Content)
    }

    fn post(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        self.calls += 1;
        reply.content_format(TEXT);
        let times = request.query("times").map_or(1, |times| times.parse().unwrap());
        for _ in 0..times {
            for byte in request.body().iter().rev() {
                reply.write(&[*byte]);
            }
        }
        Ok(Done::Changed)
    }
}

/// `/path`: a collection with members, of which `.well-known/core` shows the collection alone.
#[derive(Debug)]
pub struct Collection;

impl<P: Copy> Resource<P> for Collection {
    fn get(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        let Some(member) = request.rest().next() else {
            reply.content_format(LINKS);
            let mut all = |_: &[&str], _: &Attributes<'_>| true;
            let mut links = LinkWriter::new(reply.body(), &mut all);
            for member in ["sub1", "sub2"] {
                let _ = links.link(&["path", member], &Attributes::default());
            }
            return Ok(Done::Content);
        };
        reply.content_format(TEXT).write(b"/path/").write(member.as_bytes());
        Ok(Done::Content)
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { content_formats: &[LINKS], ..Attributes::default() }
    }
}

/// A resource that understands the critical option 65001, takes its body in parts, names its own
/// version, and refuses what it is told to.
#[derive(Debug, Default)]
pub struct Picky {
    pub parts: Vec<(u32, Vec<u8>, bool)>,
    pub version: u32,
    pub refuse_from: Option<u32>,
}

impl<P: Copy> Resource<P> for Picky {
    fn get(&mut self, _: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        reply.etag(ETag::from(self.version)).max_age(5).write(b"picky");
        Ok(Done::Content)
    }

    fn put(&mut self, request: &Request<'_, P>, _: &mut Reply<'_>) -> Handled {
        let part = request.part();
        if self.refuse_from.is_some_and(|from| part.offset >= from) {
            return Err(Code::FORBIDDEN.into());
        }
        self.parts.push((part.offset, request.body().to_vec(), part.more));
        Ok(Done::Changed)
    }

    fn understands(&self, option: OptionNumber) -> bool {
        option == OptionNumber(65001)
    }

    fn streams(&self, method: Code) -> Option<u32> {
        (method == Code::PUT).then_some(100_000)
    }
}

#[derive(Debug)]
pub struct Site {
    pub test: Note,
    pub created: Note,
    pub seg: Note,
    pub validate: Note,
    pub create1: Note,
    pub location_query: Note,
    pub large: Note,
    pub large_update: Note,
    pub obs: Note,
    pub obs_non: Note,
    pub obs_large: Note,
    pub obs_pumping: Note,
    pub typed: [Note; 4],
    pub interfaces: [Note; 3],
    pub links: [Note; 3],
    pub large_create: Create,
    pub large_post: Reverse,
    pub separate: Separate,
    query: Query,
    multi_format: MultiFormat,
    collection: Collection,
    pub picky: Picky,
    /// Paths that have changed at the server.
    pub changes: Vec<&'static str>,
}

/// A text of `len` bytes in which no block is like another.
pub fn text(len: usize) -> Vec<u8> {
    (0..len).map(|at| b'a' + ((at + at / 16 + at / 300) % 26) as u8).collect()
}

impl Site {
    pub fn new() -> Self {
        let observable = Attributes { observable: true, ..Attributes::default() };
        let observed = |text: &[u8], confirmable| Note {
            text: Some(text.to_vec()),
            attributes: observable,
            confirmable,
            ..Note::default()
        };
        let typed =
            |resource_type| Note::with(Attributes { resource_type, ..Attributes::default() });
        let interface = |interface| Note::with(Attributes { interface, ..Attributes::default() });
        let large = |size| Note {
            text: Some(text(size)),
            attributes: Attributes { size: Some(2_000), ..Attributes::default() },
            ..Note::default()
        };
        Self {
            test: Note { location: "location1/location2/location3", ..Note::of("test") },
            created: Note::default(),
            seg: Note::of("three segments"),
            validate: Note::of("first"),
            create1: Note::default(),
            location_query: Note { location_queries: &["first=1", "second=2"], ..Note::default() },
            large: large(2_000),
            large_update: large(1_300),
            obs: observed(b"0", true),
            obs_non: observed(b"0", false),
            obs_large: observed(&text(1_500), true),
            obs_pumping: observed(&text(1_500), true),
            typed: [typed("Type1 Type2"), typed("Type2 Type3"), typed("Type1 Type3"), typed("")],
            interfaces: [interface("If1"), interface("If2"), interface("foo")],
            links: [(); 3].map(|()| Note::of("link")),
            large_create: Create::default(),
            large_post: Reverse::default(),
            separate: Separate::default(),
            query: Query,
            multi_format: MultiFormat,
            collection: Collection,
            picky: Picky::default(),
            changes: Vec::new(),
        }
    }

    pub fn routes(&mut self) -> Vec<Route<'_, SocketAddr>> {
        let mut routes = vec![
            Route::at("test", &mut self.test),
            Route::at("location1/location2/location3", &mut self.created),
            Route::at("separate", &mut self.separate),
            Route::at("seg1/seg2/seg3", &mut self.seg),
            Route::at("query", &mut self.query),
            Route::at("multi-format", &mut self.multi_format),
            Route::at("validate", &mut self.validate),
            Route::at("create1", &mut self.create1),
            Route::at("location-query", &mut self.location_query),
            Route::at("large", &mut self.large),
            Route::at("large-update", &mut self.large_update),
            Route::below("large-create", &mut self.large_create),
            Route::at("large-post", &mut self.large_post),
            Route::at("obs", &mut self.obs),
            Route::at("obs-non", &mut self.obs_non),
            Route::at("obs-large", &mut self.obs_large),
            Route::at("obs-pumping", &mut self.obs_pumping),
            Route::at("picky", &mut self.picky),
            Route::below("path", &mut self.collection),
        ];
        let named = ["type1", "type2", "type3", "type4"];
        routes.extend(named.into_iter().zip(&mut self.typed).map(|(at, note)| Route::at(at, note)));
        let named = ["if1", "if2", "if3"];
        routes.extend(named.into_iter().zip(&mut self.interfaces).map(|(p, n)| Route::at(p, n)));
        let named = ["link1", "link2", "link3"];
        routes.extend(named.into_iter().zip(&mut self.links).map(|(at, note)| Route::at(at, note)));
        routes
    }

    /// Refuses what `/separate` does not want. Gives the bodies that have ended.
    pub fn refuse(
        &mut self,
        now: Instant,
        out: &mut dyn Outbox<SocketAddr>,
    ) -> Vec<Unfinished<SocketAddr>> {
        let mut ended = Vec::new();
        for (responder, body) in self.separate.unwanted.drain(..) {
            out.respond(now, responder, Code::FORBIDDEN, &mut |_| Ok(())).unwrap();
            ended.push(body);
        }
        ended
    }

    /// Answers what `/separate` has taken its time for.
    pub fn poll(&mut self, now: Instant, out: &mut dyn Outbox<SocketAddr>) {
        self.separate.pending.retain(|(at, responder)| {
            if *at > now {
                return true;
            }
            let answered = out.respond(now, *responder, Code::CONTENT, &mut |writer| {
                writer.option_uint(OptionNumber::CONTENT_FORMAT, u32::from(TEXT))?;
                writer.payload(b"at last")?;
                Ok(())
            });
            answered.unwrap();
            false
        });
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.separate.pending.iter().map(|(at, _)| *at).min()
    }

    /// The paths that have changed since the last call.
    pub fn take_changes(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.changes)
    }
}

/// The links of a document, as paths.
pub fn targets(message: &Message<'_>) -> Vec<String> {
    let text = std::str::from_utf8(message.payload()).unwrap();
    capmesh_coap::link_format::Links::new(text).map(|link| link.unwrap().target.into()).collect()
}
