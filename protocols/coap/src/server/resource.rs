//! What a server serves.

use super::refusal::Refusal;
use super::reply::Reply;
use super::request::{Request, texts};
use crate::endpoint::Reliability;
use crate::link_format::{Attributes, LinkWriter};
use crate::message::{Code, Message};
use crate::option::OptionNumber;
use core::fmt;

/// What became of a request that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// 2.05 (Content).
    Content,
    /// 2.01 (Created).
    Created,
    /// 2.04 (Changed).
    Changed,
    /// 2.02 (Deleted).
    Deleted,
    /// A response with this code.
    Code(Code),
    /// The response comes later: the resource has kept [`Request::responder`], and whoever drives
    /// the endpoint will call [`Endpoint::respond`](crate::Endpoint::respond) with it. Such a
    /// response has to fit one message.
    Later,
}

/// What a resource says to a request.
pub type Handled = Result<Done, Refusal>;

/// Something that can be asked for over CoAP, by peers of type `P`.
///
/// ```
/// use capmesh_coap::Code;
/// use capmesh_coap::server::{Done, Handled, Reply, Request, Resource};
///
/// struct Light { on: bool }
///
/// impl<P: Copy> Resource<P> for Light {
///     fn get(&mut self, _: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
///         reply.content_format(0).write(if self.on { b"on" } else { b"off" });
///         Ok(Done::Content)
///     }
///
///     fn put(&mut self, request: &Request<'_, P>, _: &mut Reply<'_>) -> Handled {
///         self.on = match request.body() {
///             b"on" => true,
///             b"off" => false,
///             _ => return Err(Code::BAD_REQUEST.into()),
///         };
///         Ok(Done::Changed)
///     }
/// }
/// ```
///
/// The server takes care of the rest: unknown critical options, preconditions, entity-tags,
/// block-wise transfer of both bodies, observers, and 4.05 for methods that are not there.
pub trait Resource<P: Copy> {
    /// GET. It must have no effect: it is also called to render blocks, notifications and
    /// preconditions.
    ///
    /// # Errors
    /// Whatever is to be said instead.
    fn get(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        not_allowed(request, reply)
    }

    /// POST. If it succeeds, observers of the same path are notified, as with every method but GET
    /// and FETCH.
    ///
    /// # Errors
    /// Whatever is to be said instead.
    fn post(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        not_allowed(request, reply)
    }

    /// PUT.
    ///
    /// # Errors
    /// Whatever is to be said instead.
    fn put(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        not_allowed(request, reply)
    }

    /// DELETE.
    ///
    /// # Errors
    /// Whatever is to be said instead.
    fn delete(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        not_allowed(request, reply)
    }

    /// FETCH (RFC 8132). As GET, it must have no effect.
    ///
    /// # Errors
    /// Whatever is to be said instead.
    fn fetch(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        not_allowed(request, reply)
    }

    /// PATCH, and iPATCH if [`Request::method`] says so (RFC 8132).
    ///
    /// # Errors
    /// Whatever is to be said instead.
    fn patch(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        not_allowed(request, reply)
    }

    /// Any method. Called by the server; calls the methods above.
    ///
    /// # Errors
    /// Whatever is to be said instead.
    fn handle(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        match request.method() {
            Code::GET => self.get(request, reply),
            Code::POST => self.post(request, reply),
            Code::PUT => self.put(request, reply),
            Code::DELETE => self.delete(request, reply),
            Code::FETCH => self.fetch(request, reply),
            Code::PATCH | Code::IPATCH => self.patch(request, reply),
            _ => not_allowed(request, reply),
        }
    }

    /// What `.well-known/core` says of the resource. It can be observed if this says so.
    fn attributes(&self) -> Attributes<'_> {
        Attributes::default()
    }

    /// Writes the links of `.well-known/core`: one to `path`, where the resource is mounted, unless
    /// there is more below it, or nothing to be seen.
    ///
    /// # Errors
    /// What the writer says.
    fn links(&self, path: &str, links: &mut LinkWriter<'_>) -> fmt::Result {
        links.link(&[path], &self.attributes())
    }

    /// Whether the resource knows what to do with a critical option that the server does not know,
    /// or with a repeated one that may not be repeated.
    fn understands(&self, _option: OptionNumber) -> bool {
        false
    }

    /// The most bytes of a body that the resource takes in parts as they come, rather than from the
    /// server's memory once it is whole. It is then called for each part; see [`Request::part`]. A
    /// part that is not the last is answered 2.31 (Continue) if it is granted. The parts of one body
    /// come in order, but those of several bodies, from several peers say, may come in turns: a
    /// resource that can take only one at a time refuses what does not continue it.
    fn streams(&self, _method: Code) -> Option<u32> {
        None
    }

    /// Whether the resource looks at Block2 and writes blocks by itself, and deals with entity-tags and
    /// preconditions: what it replies then goes out as it is.
    fn renders_blocks(&self) -> bool {
        false
    }

    /// Whether notifications to observers are confirmable, apart from those that have to be.
    fn notifies(&self) -> Reliability {
        Reliability::NonConfirmable
    }
}

/// 4.05, in one place: its arguments are those of a handler so that each default is a tail call.
fn not_allowed<P>(_: &Request<'_, P>, _: &mut Reply<'_>) -> Handled {
    Err(Refusal::new(Code::METHOD_NOT_ALLOWED))
}

/// A resource and where it is mounted.
pub struct Route<'a, P: Copy> {
    path: &'a str,
    below: bool,
    pub(super) resource: &'a mut dyn Resource<P>,
}

impl<'a, P: Copy> Route<'a, P> {
    /// Mounts a resource at exactly this path: segments separated by `/`, none of them percent-encoded.
    /// The empty path is the root.
    #[must_use]
    pub fn at(path: &'a str, resource: &'a mut dyn Resource<P>) -> Self {
        Self { path: path.trim_matches('/'), below: false, resource }
    }

    /// Mounts a resource at this path and at everything below it that no longer path leads to.
    #[must_use]
    pub fn below(path: &'a str, resource: &'a mut dyn Resource<P>) -> Self {
        Self { below: true, ..Self::at(path, resource) }
    }

    /// Where the resource is mounted.
    #[must_use]
    pub const fn path(&self) -> &'a str {
        self.path
    }

    /// How many segments of the request's path lead here, if it does.
    fn depth(&self, request: Message<'_>) -> Option<usize> {
        let mut segments = texts(request, OptionNumber::URI_PATH);
        let mut depth = 0;
        for expected in self.path.split('/').filter(|segment| !segment.is_empty()) {
            if segments.next() != Some(expected) {
                return None;
            }
            depth += 1;
        }
        let ends = segments.next().is_none_or(|segment| depth == 0 && segment.is_empty());
        (ends || self.below).then_some(depth)
    }
}

impl<P: Copy> fmt::Debug for Route<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("path", &self.path).field("below", &self.below).finish()
    }
}

/// The route that a request takes, and how many segments of its path led there: the exact one, or
/// else the longest. The work is a comparison with each route.
pub(super) fn find<P: Copy>(
    routes: &[Route<'_, P>],
    request: Message<'_>,
) -> Option<(usize, usize)> {
    let depths = routes
        .iter()
        .enumerate()
        .filter_map(|(at, route)| route.depth(request).map(|depth| (depth, !route.below, at)));
    depths.max().map(|(depth, _, at)| (at, depth))
}
