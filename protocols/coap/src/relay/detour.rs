//! Requests that reach their target through a relay.

use crate::message::{Message, MessageWriter, Options, Overflow};
use crate::option::OptionNumber;
use core::fmt::Write;
use core::net::SocketAddr;
use heapless::{String, Vec};

/// Peers behind relays at once. More are refused.
pub const DETOURS: usize = 16;

/// Header, token and options of a message that takes a detour, in bytes.
const HEAD: usize = 160;

/// The longest IP literal: an IPv6 address with an IPv4 one in it.
const LITERAL: usize = 45;

/// Somebody behind a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Detour<P> {
    pub(super) peer: P,
    /// What the relay is told, and what requests go to that are not to the peer but to its address.
    pub(super) target: SocketAddr,
    pub(super) relay: SocketAddr,
}

/// Who is behind which relay.
#[derive(Clone, Debug)]
pub(super) struct Detours<P>(Vec<Detour<P>, DETOURS>);

impl<P: Copy + PartialEq> Detours<P> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn end(&mut self, peer: P) {
        self.0.retain(|detour| detour.peer != peer);
    }

    /// Returns whether there was room.
    pub(super) fn set(&mut self, detour: Detour<P>) -> bool {
        match self.0.iter_mut().find(|known| known.peer == detour.peer) {
            Some(known) => {
                *known = detour;
                true
            }
            None => self.0.push(detour).is_ok(),
        }
    }

    pub(super) fn of(&self, peer: P) -> Option<&Detour<P>> {
        self.0.iter().find(|detour| detour.peer == peer)
    }

    pub(super) fn to(&self, target: SocketAddr) -> Option<&Detour<P>> {
        self.0.iter().find(|detour| detour.target == target)
    }
}

/// Names `target` in the message of `len` bytes at the start of `buf` as what a relay is to send it to,
/// or takes out what names one. Returns its new length.
///
/// # Errors
/// If it does not fit any more.
pub(super) fn name_target(
    buf: &mut [u8],
    len: usize,
    target: Option<SocketAddr>,
) -> Result<usize, Overflow> {
    let mut head = [0; HEAD];
    let bytes = buf.get(..len).ok_or(Overflow)?;
    let message = Message::parse(bytes).map_err(|_| Overflow)?;
    let payload = len - message.payload().len()..len;
    let mut writer = MessageWriter::new(
        &mut head,
        message.kind(),
        message.code(),
        message.id(),
        message.token(),
    )?;
    for (number, value) in message.options() {
        match number {
            OptionNumber::URI_HOST | OptionNumber::URI_PORT | OptionNumber::PROXY_SCHEME => {}
            number => {
                writer.option(number, value)?;
            }
        }
    }
    if let Some(target) = target {
        let mut host = String::<LITERAL>::new();
        write!(host, "{}", target.ip()).map_err(|_| Overflow)?;
        writer.option(OptionNumber::URI_HOST, host.as_bytes())?;
        if target.port() != super::target::PORT {
            writer.option_uint(OptionNumber::URI_PORT, u32::from(target.port()))?;
        }
        writer.option(OptionNumber::PROXY_SCHEME, b"coap")?;
    }
    let options = writer.finish();
    let marker = usize::from(!payload.is_empty());
    let start = options + marker;
    let end = start + payload.len();
    if end > buf.len() {
        return Err(Overflow);
    }
    buf.copy_within(payload, start);
    let written = head.get(..options).ok_or(Overflow)?;
    buf.get_mut(..options).ok_or(Overflow)?.copy_from_slice(written);
    if marker == 1
        && let Some(byte) = buf.get_mut(options)
    {
        *byte = Options::MARKER;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Code, Kind, Token};

    fn message(buf: &mut [u8], payload: &[u8]) -> usize {
        let token = Token::new(&[1, 2, 3]).unwrap();
        let mut writer = MessageWriter::new(buf, Kind::Confirmable, Code::POST, 7, token).unwrap();
        writer.path("a/b").unwrap().payload(payload).unwrap();
        writer.finish()
    }

    #[test]
    fn a_target_is_named_and_taken_out_again() {
        for payload in [&b"payload"[..], b""] {
            let mut before = [0; 128];
            let len = message(&mut before, payload);
            let mut buf = before;
            let target = "[fd00::17]:61616".parse().unwrap();
            let named = name_target(&mut buf, len, Some(target)).unwrap();
            let with = Message::parse(&buf[..named]).unwrap();
            assert_eq!(with.option(OptionNumber::URI_HOST), Some(&b"fd00::17"[..]));
            assert_eq!(with.option_uint(OptionNumber::URI_PORT), Some(61616));
            assert_eq!(with.option(OptionNumber::PROXY_SCHEME), Some(&b"coap"[..]));
            assert_eq!((with.payload(), with.id()), (payload, 7));
            // Naming it again changes nothing.
            assert_eq!(name_target(&mut buf, named, Some(target)), Ok(named));
            let without = name_target(&mut buf, named, None).unwrap();
            assert_eq!(buf[..without], before[..len]);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut buf = [0; 64];
        let len = message(&mut buf, &[9; 48]);
        let target = "192.0.2.1:5683".parse().unwrap();
        assert_eq!(name_target(&mut buf, len, Some(target)), Err(Overflow));
    }
}
