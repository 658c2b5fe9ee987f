//! OSCORE with contexts that both sides were given beforehand, as a [`Security`] layer.
//!
//! Requests without OSCORE pass too, as those of a [`Identity::Anonymous`]: which resources they
//! may use is the resources' business.

use crate::resources::Asker;
use crate::store::Store;
use capmesh_coap::message::Message;
use capmesh_coap::security::{Answer, OpenedResponse, Opening, SealError, Sealed, Security};
use capmesh_oscore::{Context, CoseHeader, ProtectError, Refusal, UnprotectError};
use capmesh_wire::Instant;
use std::net::SocketAddr;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Somebody without a context.
    Anonymous(SocketAddr),
    /// Who shares the context with this number, counted in the order in which they were added.
    Context(usize),
}

impl Asker for Identity {
    fn is_authenticated(&self) -> bool {
        matches!(self, Self::Context(_))
    }

    fn name(&self) -> String {
        match self {
            Self::Anonymous(address) => address.name(),
            Self::Context(number) => format!("whoever shares OSCORE context {number}"),
        }
    }
}

/// What a response is opened or sealed with.
#[derive(Clone, Debug)]
pub enum Binding {
    /// In the clear.
    Plain,
    /// With a context.
    Oscore(usize, capmesh_oscore::Binding),
}

/// The contexts that this side shares with others.
#[derive(Default)]
pub struct Contexts {
    entries: Vec<Entry>,
}

struct Entry {
    context: Context,
    /// Where the sequence numbers in use are noted, unless the context dies with the process.
    store: Option<Store>,
    /// Where the other side was seen last.
    address: Option<SocketAddr>,
}

/// Room for an Echo value at the end of the scratch.
const ECHO_ROOM: usize = 8;

impl Contexts {
    /// Adds a context. Of two that have the same Recipient ID, the one without an ID Context has to
    /// be added first. `address` is where requests go before the other side was heard of.
    pub fn add(
        &mut self,
        context: Context,
        store: Option<Store>,
        address: Option<SocketAddr>,
    ) -> Identity {
        self.entries.push(Entry { context, store, address });
        Identity::Context(self.entries.len() - 1)
    }

    fn open_protected<'b>(
        &mut self,
        from: SocketAddr,
        header: &CoseHeader<'_>,
        outer: Message<'b>,
        scratch: &'b mut [u8],
    ) -> Opening<'b, Identity, Binding> {
        let found = self.entries.iter().position(|entry| entry.context.matches(header));
        let Some((number, entry)) = found.and_then(|at| Some((at, self.entries.get_mut(at)?)))
        else {
            return refuse(&UnprotectError::ContextNotFound);
        };
        let Some((scratch, room)) = scratch.split_at_mut_checked(scratch.len() - ECHO_ROOM) else {
            return Opening::Drop;
        };
        if !entry.reserve() {
            return Opening::Drop;
        }
        match entry.context.unprotect_request(outer, scratch) {
            Ok((inner, binding)) => {
                entry.address = Some(from);
                let binding = Binding::Oscore(number, binding);
                Opening::Request { peer: Identity::Context(number), binding, inner }
            }
            Err(UnprotectError::Unverified(binding)) => {
                let Some(echo) = entry.context.echo() else { return Opening::Drop };
                let value = echo.as_bytes();
                let Some(room) = room.get_mut(..value.len()) else { return Opening::Drop };
                room.copy_from_slice(value);
                Opening::Challenge { binding: Binding::Oscore(number, binding), echo: room }
            }
            Err(error) => refuse(&error),
        }
    }
}

impl Entry {
    /// Notes sequence numbers ahead of their use. Without that, nothing may be sealed.
    fn reserve(&mut self) -> bool {
        let Some(bound) = self.context.sequence().wanted() else { return true };
        match self.store.as_ref().map_or(Ok(()), |store| store.reserve(bound)) {
            Ok(()) => self.context.confirm_sequence(bound),
            Err(error) => {
                eprintln!("coap-pair: cannot note sequence numbers: {error}");
                return false;
            }
        }
        true
    }
}

impl Security for Contexts {
    type Peer = Identity;
    type Binding = Binding;

    const AUTHENTICATES: bool = true;
    const OVERHEAD: usize = 48;
    const RESERVED: usize = 0;

    fn address(&self, peer: Identity) -> Option<SocketAddr> {
        match peer {
            Identity::Anonymous(address) => Some(address),
            Identity::Context(number) => self.entries.get(number)?.address,
        }
    }

    fn open_request<'b>(
        &mut self,
        _now: Instant,
        from: SocketAddr,
        outer: Message<'b>,
        scratch: &'b mut [u8],
    ) -> Opening<'b, Identity, Binding> {
        match CoseHeader::of(&outer) {
            Ok(Some(header)) => self.open_protected(from, &header, outer, scratch),
            Ok(None) => Opening::Request {
                peer: Identity::Anonymous(from),
                binding: Binding::Plain,
                inner: outer,
            },
            Err(error) => refuse(&error),
        }
    }

    fn seal_response(
        &mut self,
        _now: Instant,
        binding: &Binding,
        role: Answer,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        let Binding::Oscore(number, binding) = binding else { return copy(inner, out) };
        let entry = self.entries.get_mut(*number).ok_or(SealError::NoPeer)?;
        if !entry.reserve() {
            return Err(SealError::NoKeys);
        }
        match role {
            Answer::First => entry.context.protect_response(binding, inner, out),
            Answer::Notification => entry.context.protect_notification(binding, inner, out),
        }
        .map_err(seal_error)
    }

    fn seal_request(
        &mut self,
        _now: Instant,
        to: Identity,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<Sealed<Binding>, SealError> {
        let number = match to {
            Identity::Anonymous(address) => {
                return Ok(Sealed { len: copy(inner, out)?, address, binding: Binding::Plain });
            }
            Identity::Context(number) => number,
        };
        let entry = self.entries.get_mut(number).ok_or(SealError::NoPeer)?;
        let address = entry.address.ok_or(SealError::NoPeer)?;
        if !entry.reserve() {
            return Err(SealError::NoKeys);
        }
        let (len, binding) = entry.context.protect_request(inner, out).map_err(seal_error)?;
        Ok(Sealed { len, address, binding: Binding::Oscore(number, binding) })
    }

    fn reopen_request(
        &mut self,
        binding: &Binding,
        outer: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        let Binding::Oscore(number, binding) = binding else { return copy(outer, out) };
        let entry = self.entries.get(*number).ok_or(SealError::NoPeer)?;
        let inner = entry.context.reopen_request(binding, outer, out);
        inner.map(|inner| inner.as_bytes().len()).map_err(|_| SealError::NoKeys)
    }

    fn open_response<'b>(
        &mut self,
        _now: Instant,
        from: SocketAddr,
        to: Identity,
        binding: &mut Binding,
        outer: Message<'b>,
        scratch: &'b mut [u8],
    ) -> OpenedResponse<'b, Identity> {
        let protected = matches!(CoseHeader::of(&outer), Ok(Some(_)));
        match (binding, protected) {
            (Binding::Plain, _) if to == Identity::Anonymous(from) => {
                OpenedResponse::Response { peer: to, inner: outer, ordered: false }
            }
            (Binding::Oscore(number, binding), true) => {
                let Some(entry) = self.entries.get_mut(*number) else {
                    return OpenedResponse::Drop;
                };
                match entry.context.unprotect_response(binding, outer, scratch) {
                    Ok(inner) => OpenedResponse::Response { peer: to, inner, ordered: true },
                    Err(_) => OpenedResponse::Drop,
                }
            }
            // The other side could not open the request. It says so in the clear, and so could
            // anybody: the application sees that nobody vouches for this error.
            (Binding::Oscore(..), false) if outer.code().class() >= 4 => {
                let peer = Identity::Anonymous(from);
                OpenedResponse::Response { peer, inner: outer, ordered: false }
            }
            _ => OpenedResponse::Drop,
        }
    }

    fn readiness(&self) -> u32 {
        0
    }

    fn is_address_verified(&self, _peer: Identity, _address: SocketAddr) -> bool {
        false
    }
}

/// Answers a request that could not be opened, as RFC 8613 section 8.2 says.
fn refuse<'b>(error: &UnprotectError) -> Opening<'b, Identity, Binding> {
    let Some(Refusal { code, payload }) = error.refusal() else { return Opening::Drop };
    let max_age = Some(Refusal::MAX_AGE);
    Opening::Answer { code, max_age, content_format: None, payload: payload.as_bytes() }
}

fn seal_error(error: ProtectError) -> SealError {
    match error {
        ProtectError::Overflow => SealError::Overflow,
        _ => SealError::NoKeys,
    }
}

fn copy(message: Message<'_>, out: &mut [u8]) -> Result<usize, SealError> {
    let bytes = message.as_bytes();
    out.get_mut(..bytes.len()).ok_or(SealError::Overflow)?.copy_from_slice(bytes);
    Ok(bytes.len())
}
