//! `.well-known/core` (RFC 6690 section 4).

use super::reply::Reply;
use super::request::Request;
use super::resource::{Done, Handled, Resource, Route};
use crate::link_format::{self, Filter, LinkWriter};
use crate::message::{Code, Message};
use crate::option::OptionNumber;

/// The path, in the segments that it has in a request.
const PATH: [&[u8]; 2] = [b".well-known", b"core"];

/// Whether this request is to `.well-known/core`.
pub(super) fn is_meant(request: Message<'_>) -> bool {
    request.option_values(OptionNumber::URI_PATH).eq(PATH)
}

/// The resource that lists the others.
pub(super) struct Discovery<'d, 'r, P: Copy> {
    pub(super) routes: &'d [Route<'r, P>],
}

impl<P: Copy> Resource<P> for Discovery<'_, '_, P> {
    fn get(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        reply.content_format(request.negotiate(&[link_format::CONTENT_FORMAT])?);
        let mut matches = |path: &[&str], attributes: &link_format::Attributes<'_>| {
            request.queries().all(|query| Filter::parse(query).matches(path, attributes))
        };
        let mut links = LinkWriter::new(reply.body(), &mut matches);
        for route in self.routes {
            if route.resource.links(route.path(), &mut links).is_err() {
                return Err(Code::INTERNAL_SERVER_ERROR.into());
            }
        }
        Ok(Done::Content)
    }
}
