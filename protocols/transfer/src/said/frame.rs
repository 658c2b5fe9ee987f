//! Parts and requests as datagrams.
//!
//! They are CoAP requests to a group that nobody answers: non-confirmable, without a token and options but
//! the path, as each byte counts. They are read and written past the endpoint: it would remember hundreds of
//! parts as messages that may come twice, which does no harm to parts, and forget others for that.

use super::keys::Keys;
use capmesh_coap::message::{Code, Kind, Message, MessageWriter, Overflow, Token};
use capmesh_coap::option::OptionNumber;
use capmesh_wire::said::{Ask, LACK, Lack, PART_HEAD, Part, SALT};
use capmesh_wire::{limits, paths};

/// Bytes of a datagram with a part that are not the part: header, path, marker, head and tag.
pub const AROUND: usize = 4 + 2 + 1 + PART_HEAD + 8;

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// A part of a piece.
    Part(Part<'a>),
    /// Somebody lacks parts.
    Ask(Ask<'a>),
}

/// Reads what came from a group. `None` if it is something else.
#[must_use]
pub fn read(datagram: &[u8]) -> Option<Heard<'_>> {
    let message = Message::parse(datagram).ok()?;
    let mut path = message.option_values(OptionNumber::URI_PATH);
    let is_said = message.kind() == Kind::NonConfirmable
        && message.token().as_bytes().is_empty()
        && path.next() == Some(paths::SAID.as_bytes())
        && path.next().is_none();
    match message.code() {
        Code::POST if is_said => Part::parse(message.payload()).map(Heard::Part),
        Code::FETCH if is_said => Ask::parse(message.payload()).map(Heard::Ask),
        _ => None,
    }
}

/// Writes a datagram with this part, whose `text` is sealed in place. Returns its length.
pub(super) fn write_part(
    keys: &Keys,
    part: &Part<'_>,
    text: &mut [u8],
    id: u16,
    buf: &mut [u8],
) -> Option<usize> {
    let tag = keys.seal_part(part, text)?;
    write(Code::POST, id, &[&part.head(), text, &tag], buf).ok()
}

/// Writes a datagram that asks for what is lacking, [`limits::LACKS`] at most. Returns its length. `salt` has
/// to be one that nobody who wants the blob has used, and need not be secret.
#[must_use]
pub fn write_ask(
    keys: &Keys,
    lacks: &[Lack],
    salt: [u8; SALT],
    id: u16,
    buf: &mut [u8],
) -> Option<usize> {
    let ask = Ask { blob: keys.tag(), salt, sealed: &[] };
    let mut text = [0; LACK * limits::LACKS];
    let text = write_lacks(lacks, &mut text)?;
    let tag = keys.seal_ask(&ask, text)?;
    write(Code::FETCH, id, &[&ask.head(), text, &tag], buf).ok()
}

/// Writes what is lacking. `None` if it is more than there is room for.
pub fn write_lacks<'b>(lacks: &[Lack], room: &'b mut [u8]) -> Option<&'b mut [u8]> {
    let room = room.get_mut(..lacks.len() * LACK)?;
    let (places, _) = room.as_chunks_mut();
    places.iter_mut().zip(lacks).for_each(|(place, lack)| *place = lack.to_bytes());
    Some(room)
}

fn write(code: Code, id: u16, parts: &[&[u8]], buf: &mut [u8]) -> Result<usize, Overflow> {
    let mut writer = MessageWriter::new(buf, Kind::NonConfirmable, code, id, Token::EMPTY)?;
    writer.path(paths::SAID)?;
    for bytes in parts {
        writer.payload(bytes)?;
    }
    Ok(writer.finish())
}
