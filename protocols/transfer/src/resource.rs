//! The side that has blobs.

use crate::said::{self, Speaker};
use capmesh_blob::fetch::HOLDINGS;
use capmesh_blob::mapping::{self, HOLDINGS_FORMAT, PIECE_FORMAT, PREFIX};
use capmesh_blob::serve::{Answer, Request as BlobRequest, holdings};
use capmesh_blob::{Serve, Store};
use capmesh_coap::Code;
use capmesh_coap::link_format::LinkWriter;
use capmesh_coap::server::{Done, Handled, Refusal, Reply, Request, Resource};
use core::fmt;

/// Serves the blobs of a [`Store`], and says for whom.
///
/// It is made on the spot, for one turn of the server, and mounted with
/// `Route::below(PREFIX, &mut resource)`. Pieces that are longer than the server's blocks go in
/// blocks; each of them reads from the store no more than it carries.
pub struct BlobResource<'a, P, S: ?Sized, const PEERS: usize> {
    serve: &'a mut Serve<P, PEERS>,
    store: &'a S,
    allow: fn(P) -> Result<(), Code>,
    speaker: Option<&'a mut Speaker>,
}

impl<'a, P, S: ?Sized, const PEERS: usize> BlobResource<'a, P, S, PEERS> {
    /// Serves those that `allow` lets pass; the others get the code that it says (4.01 or 4.03).
    pub const fn new(
        serve: &'a mut Serve<P, PEERS>,
        store: &'a S,
        allow: fn(P) -> Result<(), Code>,
    ) -> Self {
        Self { serve, store, allow, speaker: None }
    }

    /// Also says blobs to all on its link when one of them asks to: POST with what is lacking
    /// ([`Lack`](capmesh_wire::said::Lack)), which is answered with 2.04.
    #[must_use]
    pub const fn speaking(mut self, speaker: Option<&'a mut Speaker>) -> Self {
        self.speaker = speaker;
        self
    }
}

impl<P: Copy + Eq, S: Store + ?Sized, const PEERS: usize> Resource<P>
    for BlobResource<'_, P, S, PEERS>
{
    fn get(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        (self.allow)(request.peer())?;
        let path = core::iter::once(PREFIX).chain(request.rest()).map(str::as_bytes);
        let (digest, piece) = mapping::parse_path(path).ok_or(Code::NOT_FOUND)?;
        let asked = BlobRequest { digest, piece };
        let answer = self.serve.answer(request.now(), request.peer(), &asked, self.store);
        match answer {
            Answer::Piece { offset, len } => {
                reply.content_format(PIECE_FORMAT);
                reply
                    .body()
                    .write_with(u32::from(len), |skip, room| {
                        self.store.read(&digest, offset + skip, room)
                    })
                    .map_err(|error| refusal(mapping::unreadable(error)))?;
                Ok(Done::Content)
            }
            Answer::Holdings(held) => {
                reply.content_format(HOLDINGS_FORMAT);
                for byte in holdings(self.store, &digest, held) {
                    reply.write(&[byte]);
                }
                Ok(Done::Content)
            }
            Answer::NotFound | Answer::Gone | Answer::Busy { .. } => {
                Err(refusal(mapping::response(answer)))
            }
        }
    }

    fn post(&mut self, request: &Request<'_, P>, _: &mut Reply<'_>) -> Handled {
        (self.allow)(request.peer())?;
        let Some(speaker) = &mut self.speaker else { return Err(Code::METHOD_NOT_ALLOWED.into()) };
        let path = core::iter::once(PREFIX).chain(request.rest()).map(str::as_bytes);
        let named = mapping::parse_path(path).filter(|(_, piece)| *piece == HOLDINGS);
        let (digest, _) = named.ok_or(Code::NOT_FOUND)?;
        if let Err(seconds) = self.serve.admit(request.now(), request.peer()) {
            return Err(Refusal::retry_after(seconds));
        }
        let mut scratch = [0; said::PIECE];
        match speaker.ask(request.now(), &digest, request.body(), self.store, &mut scratch) {
            Ok(()) => Ok(Done::Changed),
            Err(said::Refused::NotFound) => Err(Code::NOT_FOUND.into()),
            Err(said::Refused::Malformed) => Err(Code::BAD_REQUEST.into()),
        }
    }

    /// Blobs are found by those who know their names.
    fn links(&self, _path: &str, _links: &mut LinkWriter<'_>) -> fmt::Result {
        Ok(())
    }
}

fn refusal((code, max_age): (u8, Option<u32>)) -> Refusal {
    match (Code(code), max_age) {
        (Code::SERVICE_UNAVAILABLE, Some(seconds)) => Refusal::retry_after(seconds),
        (code, _) => Refusal::new(code),
    }
}
