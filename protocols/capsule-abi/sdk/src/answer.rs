//! Requests and their answers, in both directions, and how handlers end.

use crate::{Errno, Payload, Record, log, node};

/// What is to be done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Give what it holds.
    Get,
    /// Handle what is sent along.
    Post,
    /// Hold what is sent along.
    Put,
    /// Forget what it holds.
    Delete,
    /// Another method of CoAP, by its code.
    Other(u8),
}

impl Method {
    #[doc(hidden)]
    #[must_use]
    pub const fn from_code(code: u32) -> Self {
        match code {
            1 => Self::Get,
            2 => Self::Post,
            3 => Self::Put,
            4 => Self::Delete,
            #[expect(clippy::cast_possible_truncation, reason = "codes of methods are below 32")]
            code => Self::Other(code as u8),
        }
    }

    /// CoAP's code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Get => 1,
            Self::Post => 2,
            Self::Put => 3,
            Self::Delete => 4,
            Self::Other(code) => code,
        }
    }
}

/// How a request went: a CoAP response code, class and detail, as in `2.05`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(u8);

impl Status {
    /// 2.04: done.
    pub const CHANGED: Self = Self::new(2, 4);
    /// 2.05: here it is.
    pub const CONTENT: Self = Self::new(2, 5);
    /// 4.00: the request makes no sense.
    pub const BAD_REQUEST: Self = Self::new(4, 0);
    /// 4.03: not for you.
    pub const FORBIDDEN: Self = Self::new(4, 3);
    /// 4.04: there is no such thing.
    pub const NOT_FOUND: Self = Self::new(4, 4);
    /// 4.05: not with this method.
    pub const METHOD_NOT_ALLOWED: Self = Self::new(4, 5);
    /// 4.13: more than fits.
    pub const TOO_LARGE: Self = Self::new(4, 13);
    /// 5.00: it failed.
    pub const INTERNAL: Self = Self::new(5, 0);
    /// 5.03: not now.
    pub const UNAVAILABLE: Self = Self::new(5, 3);
    /// No answer came.
    pub const NONE: Self = Self(0);

    /// The status `class.detail`.
    #[must_use]
    pub const fn new(class: u8, detail: u8) -> Self {
        Self(class << 5 | detail & 31)
    }

    /// The status with CoAP's code.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        Self(code)
    }

    /// CoAP's code.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Whether the request was met.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 >> 5 == 2
    }
}

/// Somebody asks a resource of this capsule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request<T> {
    /// What is to be done.
    pub method: Method,
    /// What was sent along.
    pub body: Option<T>,
}

/// The number of a request that this capsule made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(u32);

impl RequestId {
    pub(crate) const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// The answer to a request of this capsule's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reply<T> {
    /// Which request, as [`Resource::ask`](crate::Resource::ask) has said.
    pub id: RequestId,
    /// How it went; [`Status::NONE`] if no answer came.
    pub status: Status,
    /// What was sent along.
    pub body: Option<T>,
}

/// How a handler ends that answers nobody.
pub trait Outcome {
    /// Notes a failure in the log.
    fn settle(self);
}

impl Outcome for () {
    #[inline(always)]
    fn settle(self) {}
}

impl Outcome for Result<(), Errno> {
    #[inline(always)]
    fn settle(self) {
        if let Err(error) = self {
            note(error);
        }
    }
}

#[inline(never)]
fn note(error: Errno) {
    log::text(
        log::Level::Error,
        match error {
            Errno::Full => "outbox full",
            Errno::Empty => "no value",
            _ => "call refused",
        },
    );
}

/// Answers a request by what its handler returns.
pub fn answer<Q: Record, R: Record>(
    method: u32,
    len: u32,
    handler: impl FnOnce(Request<Q>) -> Result<R, Status>,
) {
    let method = Method::from_code(method);
    // A body of another length is a node's mistake; `None` is what the handler makes of it.
    let body = if len == 0 { None } else { Q::take(len) };
    let done = if method == Method::Get { Status::CONTENT } else { Status::CHANGED };
    give(&handler(Request { method, body }), done);
}

/// Runs a one-shot capsule and gives its result.
pub fn run<A: Payload, R: Payload>(len: u32, handler: impl FnOnce(A) -> Result<R, Status>) {
    let result = A::take(len).ok_or(Status::TOO_LARGE).and_then(handler);
    give(&result, Status::CONTENT);
}

fn give<R: Payload>(result: &Result<R, Status>, done: Status) {
    let code = |status: Status| u32::from(status.code());
    let given = match result {
        Ok(body) => body.lend(|bytes| node::respond(code(done), bytes)),
        Err(status) => node::respond(code(*status), &[]),
    };
    // Without room for the answer, whoever asks may still hear that there is none.
    if given < 0 {
        node::respond(code(Status::INTERNAL), &[]);
    }
}

/// The reply being handled.
#[must_use]
pub fn reply<R: Record>(number: u32, status: u32, len: u32) -> Reply<R> {
    let body = if len == 0 { None } else { R::take(len) };
    #[expect(clippy::cast_possible_truncation, reason = "a CoAP code is a byte")]
    let status = Status::from_code(status as u8);
    Reply { id: RequestId(number), status, body }
}

/// How many requests of one capsule can be told apart.
const REQUESTS: usize = 8;

/// Which resource each of the last requests went to: a reply only says the request's number.
#[derive(Debug)]
pub struct Pending {
    /// The next place to be written.
    next: u8,
    entries: [Entry; REQUESTS],
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The request's number and 1, so that zero is no request.
    number: u32,
    peer: u8,
    resource: u8,
}

impl Pending {
    pub(crate) const NONE: Self =
        Self { next: 0, entries: [Entry { number: 0, peer: 0, resource: 0 }; REQUESTS] };

    pub(crate) fn note(&mut self, number: u32, peer: u8, resource: u8) {
        let place = usize::from(self.next) % REQUESTS;
        if let Some(entry) = self.entries.get_mut(place) {
            *entry = Entry { number: number.wrapping_add(1), peer, resource };
        }
        self.next = self.next.wrapping_add(1);
    }

    /// The peer and resource that a request went to. It is forgotten.
    #[must_use]
    pub fn take(number: u32) -> Option<(u8, u8)> {
        pending(|requests| {
            let wanted = number.wrapping_add(1);
            let entry = requests.entries.iter_mut().find(|entry| entry.number == wanted)?;
            entry.number = 0;
            Some((entry.peer, entry.resource))
        })
    }
}

pub(crate) fn pending<T>(with: impl FnOnce(&mut Pending) -> T) -> T {
    node::with_pending(with)
}
