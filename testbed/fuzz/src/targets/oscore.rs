//! OSCORE: options and ciphertexts of strangers, and protected messages that were tampered with.

use crate::Feed;
use capmesh_coap::message::{Code, Kind, Message, MessageWriter, Token};
use capmesh_coap::option::OptionNumber;
use capmesh_oscore::{Context, CoseHeader, Parameters, split_combined};

const LEN: usize = 2048;

fn context(sender_id: &[u8], recipient_id: &[u8]) -> Context {
    Context::derive(&Parameters {
        master_secret: &[1; 16],
        master_salt: &[2; 8],
        id_context: None,
        sender_id,
        recipient_id,
    })
    .expect("the parameters are in order")
}

/// A message of drawn options and payload; `None` if it does not fit.
fn message<'b>(feed: &mut Feed<'_>, code: Code, buf: &'b mut [u8]) -> Option<Message<'b>> {
    let token = Token::new(feed.bytes(8)).expect("at most eight bytes");
    let mut writer = MessageWriter::new(buf, Kind::Confirmable, code, feed.word(), token).ok()?;
    for _ in 0..feed.below(8) {
        let number = match feed.below(3) {
            0 => feed.word(),
            1 => u16::from(feed.byte()),
            _ => *[3, 6, 7, 9, 11, 14, 15, 16, 21, 23, 27, 35, 39, 252, 258]
                .get(feed.below(15))
                .unwrap_or(&11),
        };
        writer.option(OptionNumber(number), feed.bytes(20)).ok()?;
    }
    writer.payload(feed.bytes(200)).ok()?;
    let len = writer.finish();
    Message::parse(&buf[..len]).ok()
}

/// Half of the inputs are a datagram for a server that knows two contexts; the others make a request
/// and a response, protect them, change something, and unprotect.
pub fn run(data: &[u8]) {
    let mut feed = Feed::new(data);
    if feed.byte() & 1 == 0 {
        stranger(feed.rest());
    } else {
        tampered(&mut feed);
    }
}

fn stranger(data: &[u8]) {
    let _ = CoseHeader::parse(data);
    let Ok(outer) = Message::parse(data) else { return };
    let _ = split_combined(&outer);
    let mut scratch = vec![0; data.len()];
    if let Ok(Some(header)) = CoseHeader::of(&outer) {
        let kid = header.kid.filter(|kid| kid.len() < 8 && *kid != [1]).unwrap_or(&[]);
        let mut server = context(&[1], kid);
        assert!(server.unprotect_request(outer, &mut scratch).is_err(), "nobody has the keys");
    }
    let mut client = context(&[1], &[2]);
    let mut buf = [0; 64];
    let request =
        MessageWriter::new(&mut buf, Kind::Confirmable, Code::GET, 1, Token::EMPTY).expect("fits");
    let mut sealed = [0; 128];
    let (_, mut binding) =
        client.protect_request(request.as_message(), &mut sealed).expect("it fits");
    assert!(client.unprotect_response(&mut binding, outer, &mut scratch).is_err());
}

fn tampered(feed: &mut Feed<'_>) {
    let (mut client, mut server) = (context(&[1], &[]), context(&[], &[1]));
    let (mut buf, mut sealed, mut opened) = ([0; LEN], [0; LEN], [0; LEN]);
    let code = Code(feed.byte());
    let Some(request) = message(feed, code, &mut buf) else { return };
    let Ok((len, mut binding)) = client.protect_request(request, &mut sealed) else { return };
    // Observe goes inside and outside; one that is longer than it may be costs that twice.
    let observe: usize = request.option_values(OptionNumber::OBSERVE).map(|v| 3 + v.len()).sum();
    assert!(len <= request.as_bytes().len() + Context::MAX_OVERHEAD + observe);
    let outer = Message::parse(&sealed[..len]).expect("what is sealed is a message");
    client.reopen_request(&binding, outer, &mut opened).expect("it is our own");
    let changed = feed.mutated(outer.as_bytes());
    if changed != outer.as_bytes()
        && let Ok(changed) = Message::parse(&changed)
        && let Ok((inner, _)) = server.unprotect_request(changed, &mut opened)
    {
        // Only what is outside of the protection can have changed.
        assert_eq!(inner.payload(), request.payload());
        assert_eq!(inner.code(), request.code());
    }
    let Ok((_, theirs)) = server.unprotect_request(outer, &mut opened) else { return };
    let code = Code(feed.byte());
    let Some(response) = message(feed, code, &mut buf) else { return };
    let protected = match feed.below(2) {
        0 => server.protect_response(&theirs, response, &mut sealed),
        _ => server.protect_notification(&theirs, response, &mut sealed),
    };
    let Ok(len) = protected else { return };
    let changed = feed.mutated(&sealed[..len]);
    if let Ok(changed) = Message::parse(&changed)
        && let Ok(inner) = client.unprotect_response(&mut binding, changed, &mut opened)
    {
        assert_eq!(inner.payload(), response.payload());
        assert_eq!(inner.code(), response.code());
    }
}
