//! A request as a resource sees it.

use super::refusal::Refusal;
use crate::block::BlockValue;
use crate::endpoint::{Responder, Via};
use crate::message::{Code, Message};
use crate::option::OptionNumber;
use capmesh_wire::Instant;

/// A request to one resource.
///
/// The options that route it and those that make it conditional have been dealt with; the body is
/// whole unless the resource takes it in parts.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r, P> {
    pub(super) now: Instant,
    pub(super) peer: P,
    pub(super) method: Code,
    pub(super) message: Message<'r>,
    pub(super) body: &'r [u8],
    pub(super) part: Part,
    /// How many segments of the path led to the resource.
    pub(super) depth: usize,
    pub(super) responder: Option<Responder>,
    pub(super) via: Via,
}

/// Which part of its body a request carries, for a resource that takes bodies
/// [in parts](super::Resource::streams).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where in the body this part belongs, in bytes. 0 starts a new body.
    pub offset: u32,
    /// Whether more parts are to come.
    pub more: bool,
    /// The size of the body, as the client said it in its first part (Size1).
    pub total: Option<u32>,
    /// The Block1 option that a response has to carry that comes [later](super::Done::Later), if any:
    /// with 2.31 (Continue) if more is to come.
    pub answer: Option<BlockValue>,
    /// Where the server keeps count of the body, while more is to come.
    pub(super) slot: Option<usize>,
}

impl Part {
    /// The only part of a body.
    pub(super) const WHOLE: Self =
        Self { offset: 0, more: false, total: None, answer: None, slot: None };
}

/// A body of which more parts are to come, unless the answer to this one is the last word: whoever
/// gives that answer [later](super::Done::Later) says so to [`Server::release`](super::Server::release).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished<P> {
    pub(super) peer: P,
    pub(super) slot: usize,
}

impl<'r, P: Copy> Request<'r, P> {
    /// Who asks: what the security layer of the endpoint proved.
    #[must_use]
    pub const fn peer(&self) -> P {
        self.peer
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> Code {
        self.method
    }

    /// The body, whole unless [`Request::part`] says otherwise.
    #[must_use]
    pub const fn body(&self) -> &'r [u8] {
        self.body
    }

    /// Which part of the body this is.
    #[must_use]
    pub const fn part(&self) -> Part {
        self.part
    }

    /// The body that this part belongs to, if more parts of it are to come.
    #[must_use]
    pub fn unfinished(&self) -> Option<Unfinished<P>> {
        self.part.slot.map(|slot| Unfinished { peer: self.peer, slot })
    }

    /// When it came, or when it is answered anew for an observer.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The segments of the path below the one that the resource is mounted at.
    pub fn rest(&self) -> impl Iterator<Item = &'r str> + use<'r, P> {
        texts(self.message, OptionNumber::URI_PATH).skip(self.depth)
    }

    /// How many segments of the path led to the resource.
    #[must_use]
    pub const fn depth(&self) -> usize {
        self.depth
    }

    /// The arguments of the query, as written: `name=value` or `name`.
    pub fn queries(&self) -> impl Iterator<Item = &'r str> + use<'r, P> {
        texts(self.message, OptionNumber::URI_QUERY)
    }

    /// The value of the first argument of the query called `name`, empty if it has none.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&'r str> {
        self.queries().find_map(|query| match query.strip_prefix(name)? {
            "" => Some(""),
            rest => rest.strip_prefix('='),
        })
    }

    /// The Content-Format of the body.
    #[must_use]
    pub fn content_format(&self) -> Option<u16> {
        uint16(self.message, OptionNumber::CONTENT_FORMAT)
    }

    /// The Content-Format that the client wants.
    #[must_use]
    pub fn accept(&self) -> Option<u16> {
        uint16(self.message, OptionNumber::ACCEPT)
    }

    /// Which of the Content-Formats on `offer` to answer in: the one that the client wants, or the
    /// first if it did not say.
    ///
    /// # Errors
    /// 4.06 (Not Acceptable) if it wants another one.
    pub fn negotiate(&self, offer: &[u16]) -> Result<u16, Refusal> {
        let found = match self.accept() {
            None => offer.first(),
            Some(wanted) => offer.iter().find(|format| **format == wanted),
        };
        found.copied().ok_or(Refusal::new(Code::NOT_ACCEPTABLE))
    }

    /// The Content-Format of the body, which has to be one of `known`; the first of them if the
    /// client did not say.
    ///
    /// # Errors
    /// 4.15 (Unsupported Content-Format) if it is another one.
    pub fn expect_format(&self, known: &[u16]) -> Result<u16, Refusal> {
        let found = match self.content_format() {
            None => known.first(),
            Some(format) => known.iter().find(|known| **known == format),
        };
        found.copied().ok_or(Refusal::new(Code::UNSUPPORTED_CONTENT_FORMAT))
    }

    /// What to answer with later, after [`Done::Later`](super::Done::Later). `None` when there is
    /// nobody to answer later, because the request is answered anew for an observer.
    #[must_use]
    pub const fn responder(&self) -> Option<Responder> {
        self.responder
    }

    /// Whether everybody was asked, rather than this side alone.
    #[must_use]
    pub const fn via(&self) -> Via {
        self.via
    }

    /// The message that brought the request, or its last block, with all its options.
    #[must_use]
    pub const fn message(&self) -> Message<'r> {
        self.message
    }
}

/// The values of a text option that are UTF-8; requests with others have been refused.
pub(super) fn texts<'r>(
    message: Message<'r>,
    number: OptionNumber,
) -> impl Iterator<Item = &'r str> + use<'r> {
    message.option_values(number).filter_map(|value| core::str::from_utf8(value).ok())
}

fn uint16(message: Message<'_>, number: OptionNumber) -> Option<u16> {
    message.option_uint(number).and_then(|value| u16::try_from(value).ok())
}
