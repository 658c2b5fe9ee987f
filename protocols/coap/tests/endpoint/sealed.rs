//! The seam to the security layer, with a layer that seals for show: the outer message is a POST or
//! 2.04 whose payload is a key number, the inner code and the inner options and payload.

use super::{Core, Side, empty, message, peer, stranger, token, view};
use capmesh_coap::endpoint::{
    Config, Event, Failure, Outcome, Reliability, RequestError, RespondError, Via,
};
use capmesh_coap::message::Message;
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::{Answer, OpenedResponse, Opening, SealError, Sealed, Security};
use capmesh_coap::{Code, Kind, MessageWriter};
use capmesh_wire::Instant;
use std::net::SocketAddr;
use std::time::Duration;

/// A peer with a name, whose address may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name(u8);

#[derive(Debug)]
struct Show {
    address: Option<SocketAddr>,
    /// `None` while there is no context.
    key: Option<u8>,
    readiness: u32,
    verified: bool,
    broken: bool,
    /// What was sealed, as notification or not.
    roles: Vec<Answer>,
}

impl Show {
    fn ready(key: Option<u8>) -> Self {
        let address = Some(peer());
        Self { address, key, readiness: 0, verified: true, broken: false, roles: Vec::new() }
    }
}

fn wrap(inner: Message<'_>, code: Code, key: u8, out: &mut [u8]) -> Result<usize, SealError> {
    let mut writer = MessageWriter::new(out, inner.kind(), code, inner.id(), inner.token())?;
    writer.payload(&[key, inner.code().0])?;
    writer.payload(&inner.as_bytes()[4 + inner.token().as_bytes().len()..])?;
    Ok(writer.finish())
}

fn unwrap<'b>(outer: Message<'_>, out: &'b mut [u8]) -> (u8, Message<'b>) {
    let &[key, code, ref rest @ ..] = outer.payload() else { panic!("not sealed") };
    let head = 4 + outer.token().as_bytes().len();
    out[..head].copy_from_slice(&outer.as_bytes()[..head]);
    out[1] = code;
    out[head..head + rest.len()].copy_from_slice(rest);
    (key, Message::parse(&out[..head + rest.len()]).unwrap())
}

impl Security for Show {
    type Peer = Name;
    type Binding = u8;

    const AUTHENTICATES: bool = true;
    const OVERHEAD: usize = 3;
    const RESERVED: usize = 0;

    fn address(&self, _: Name) -> Option<SocketAddr> {
        self.address
    }

    fn readiness(&self) -> u32 {
        self.readiness
    }

    fn open_request<'b>(
        &mut self,
        _: Instant,
        _: SocketAddr,
        outer: Message<'b>,
        scratch: &'b mut [u8],
    ) -> Opening<'b, Name, u8> {
        match outer.payload() {
            [] => Opening::Drop,
            [b'?'] => Opening::Challenge { binding: 9, echo: b"now" },
            [b'!', rest @ ..] => Opening::Answer {
                code: Code::CHANGED,
                max_age: Some(0),
                content_format: Some(65),
                payload: rest,
            },
            _ => {
                let (binding, inner) = unwrap(outer, scratch);
                Opening::Request { peer: Name(1), binding, inner }
            }
        }
    }

    fn seal_response(
        &mut self,
        _: Instant,
        binding: &u8,
        role: Answer,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        self.roles.push(role);
        if self.broken {
            return Err(SealError::NoKeys);
        }
        wrap(inner, Code::CHANGED, *binding, out)
    }

    fn seal_request(
        &mut self,
        _: Instant,
        _: Name,
        inner: Message<'_>,
        out: &mut [u8],
    ) -> Result<Sealed<u8>, SealError> {
        let key = self.key.ok_or(SealError::NotReady)?;
        if self.broken {
            return Err(SealError::NoKeys);
        }
        let len = wrap(inner, Code::POST, key, out)?;
        Ok(Sealed { len, address: self.address.unwrap(), binding: key })
    }

    fn reopen_request(
        &mut self,
        binding: &u8,
        outer: Message<'_>,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        let (key, inner) = unwrap(outer, out);
        assert_eq!(key, *binding);
        Ok(inner.as_bytes().len())
    }

    fn open_response<'b>(
        &mut self,
        _: Instant,
        _: SocketAddr,
        to: Name,
        binding: &mut u8,
        outer: Message<'b>,
        scratch: &'b mut [u8],
    ) -> OpenedResponse<'b, Name> {
        if outer.code() == Code::UNAUTHORIZED {
            self.key = None;
            self.readiness += 1;
            return OpenedResponse::Restart;
        }
        let (key, inner) = unwrap(outer, scratch);
        if key != *binding {
            return OpenedResponse::Drop;
        }
        OpenedResponse::Response { peer: to, inner, ordered: true }
    }

    fn is_address_verified(&self, _: Name, _: SocketAddr) -> bool {
        self.verified
    }
}

fn side(key: Option<u8>) -> Side<Show> {
    Side::new(Config::default(), Show::ready(key))
}

fn ready(side: &mut Side<Show>, key: u8) {
    let security = side.core.security_mut();
    security.key = Some(key);
    security.readiness += 1;
}

fn sealed_by(request: &[u8]) -> (u8, u8) {
    (view(request).payload()[0], view(request).payload()[1])
}

fn answer(request: &[u8], key: u8, inner: Code, options: &[u8]) -> Vec<u8> {
    let (id, token) = (view(request).id(), view(request).token());
    message(Kind::Acknowledgement, Code::CHANGED, id, token, |writer| {
        writer.payload(&[key, inner.0])?;
        writer.payload(options).map(drop)
    })
}

#[test]
fn requests_and_responses_go_through_the_layer() {
    let mut client = side(Some(5));
    let exchange = client.get(Name(1), "door");
    let request = client.sent_one();
    assert_eq!(view(&request).code(), Code::POST);
    assert_eq!(sealed_by(&request), (5, Code::GET.0));

    let mut server = side(None);
    let got = server.receive(&request).unwrap();
    assert_eq!((got.peer, got.message().code()), (Name(1), Code::GET));
    assert_eq!(got.message().option(OptionNumber::URI_PATH), Some(&b"door"[..]));
    server.respond(got.responder(), b"open");
    let response = server.sent_one();
    assert_eq!(server.core.security().roles, [Answer::First]);
    assert_eq!(view(&response).code(), Code::CHANGED);

    let got = client.receive(&response).unwrap();
    assert_eq!(got.answers, Some((exchange, true)));
    assert_eq!((got.message().code(), got.message().payload()), (Code::CONTENT, &b"open"[..]));
}

#[test]
fn requests_are_held_until_the_layer_is_ready() {
    let mut side = side(None);
    let exchanges = [side.get(Name(1), "a"), side.get(Name(1), "b")];
    assert!(side.sent().is_empty());
    assert_eq!(side.next(), Some(90_000));
    side.pass(Duration::from_secs(10));
    ready(&mut side, 5);
    assert_eq!(side.core.poll_timeout(), Some(Instant::ZERO));
    let request = side.sent_one();
    assert_eq!(view(&request).payload()[2..], [0xb1, b'a']);
    let got = side.receive(&answer(&request, 5, Code::CONTENT, &[])).unwrap();
    assert_eq!(got.answers, Some((exchanges[0], true)));
    let request = side.sent_one();
    assert_eq!(view(&request).payload()[2..], [0xb1, b'b']);
}

#[test]
fn a_request_that_is_held_too_long_fails_and_can_be_cancelled() {
    let mut side = side(None);
    let (first, second) = (side.get(Name(1), "a"), side.get(Name(1), "b"));
    side.sent();
    assert!(side.core.cancel(side.now, first));
    // Trying again and again does not win it more time.
    side.pass(Duration::from_secs(60));
    side.core.security_mut().readiness += 1;
    assert!(side.sent().is_empty());
    assert_eq!(side.next(), Some(30_000));
    side.wait();
    let reason = Failure::Security(SealError::NotReady);
    assert_eq!(side.outcomes(), [Outcome::Failed { exchange: second, reason }]);
    ready(&mut side, 5);
    assert!(side.is_idle());
}

#[test]
fn what_cannot_be_sealed_fails() {
    let mut side = side(Some(5));
    side.core.security_mut().broken = true;
    let exchange = side.get(Name(1), "a");
    let reason = Failure::Security(SealError::NoKeys);
    assert_eq!(side.outcomes(), [Outcome::Failed { exchange, reason }]);
    assert!(side.is_idle());
    side.core.security_mut().address = None;
    let now = side.now;
    let nowhere = side.core.request(now, Name(1), Reliability::Confirmable, Code::GET, |_| Ok(()));
    assert_eq!(nowhere, Err(RequestError::NoAddress));
}

#[test]
fn a_response_that_cannot_be_sealed_is_given_up_but_acknowledged() {
    let mut side = side(Some(5));
    let request = {
        side.get(Name(1), "a");
        side.sent_one()
    };
    let mut server = super::sealed::side(None);
    let got = server.receive(&request).unwrap();
    server.core.security_mut().broken = true;
    let failed = server.core.respond(server.now, got.responder(), Code::CONTENT, |_| Ok(()));
    assert_eq!(failed, Err(RespondError::Security(SealError::NoKeys)));
    assert_eq!(server.sent_one(), empty(Kind::Acknowledgement, view(&request).id()));
    assert_eq!(server.core.stats().not_sealed, 1);
    assert!(server.is_idle());
}

#[test]
fn a_lost_context_seals_the_request_anew_when_there_is_another() {
    let mut side = side(Some(5));
    let exchange = side.get(Name(1), "door");
    let first = side.sent_one();
    let lost = |request: &[u8]| {
        let (id, token) = (view(request).id(), view(request).token());
        message(Kind::Acknowledgement, Code::UNAUTHORIZED, id, token, |_| Ok(()))
    };
    assert!(side.receive(&lost(&first)).is_none());
    assert!(side.sent().is_empty());
    ready(&mut side, 6);
    let second = side.sent_one();
    assert_eq!(sealed_by(&second), (6, Code::GET.0));
    assert_eq!(view(&second).payload()[2..], view(&first).payload()[2..]);
    assert_ne!(view(&second).token(), view(&first).token());
    // It is not for ever.
    assert!(side.receive(&lost(&second)).is_none());
    ready(&mut side, 7);
    let third = side.sent_one();
    assert!(side.receive(&lost(&third)).is_none());
    let reason = Failure::Restarted;
    assert_eq!(side.outcomes(), [Outcome::Failed { exchange, reason }]);
}

#[test]
fn an_echo_inside_is_answered_inside() {
    let mut side = side(Some(5));
    let exchange = side.get(Name(1), "door");
    let request = side.sent_one();
    // Echo is option 252: delta 13 + 239.
    let challenge = answer(&request, 5, Code::UNAUTHORIZED, &[0xd3, 239, b'n', b'o', b'w']);
    assert!(side.receive(&challenge).is_none());
    let again = side.sent_one();
    let inner = &view(&again).payload()[2..];
    assert!(inner.windows(3).any(|bytes| bytes == b"now"), "{inner:02x?}");
    let got = side.receive(&answer(&again, 5, Code::CONTENT, &[])).unwrap();
    assert_eq!(got.answers, Some((exchange, true)));
}

#[test]
fn a_response_that_does_not_open_changes_nothing() {
    let mut side = side(Some(5));
    let exchange = side.get(Name(1), "door");
    let request = side.sent_one();
    assert!(side.receive(&answer(&request, 99, Code::CONTENT, &[])).is_none());
    assert_eq!(side.core.stats().not_authentic, 1);
    let got = side.receive(&answer(&request, 5, Code::CONTENT, &[])).unwrap();
    assert_eq!(got.answers, Some((exchange, true)));
}

#[test]
fn the_layer_answers_by_itself_and_says_the_same_to_a_duplicate() {
    let mut side = side(None);
    let handshake = message(Kind::Confirmable, Code::POST, 1, token(&[1]), |writer| {
        writer.payload(b"!message_2").map(drop)
    });
    assert!(side.receive(&handshake).is_none());
    let reply = side.sent_one();
    let sent = view(&reply);
    assert_eq!((sent.kind(), sent.code()), (Kind::Acknowledgement, Code::CHANGED));
    assert_eq!(sent.option_uint(OptionNumber::CONTENT_FORMAT), Some(65));
    assert_eq!(sent.option_uint(OptionNumber::MAX_AGE), Some(0));
    assert_eq!(sent.payload(), b"message_2");
    assert!(side.receive(&handshake).is_none());
    assert_eq!(side.sent_one(), reply);
    // A group is not answered, nor is what the layer drops.
    let asked = message(Kind::NonConfirmable, Code::POST, 2, token(&[1]), |writer| {
        writer.payload(b"!x").map(drop)
    });
    assert!(side.receive_from(peer(), Via::Multicast, &asked).is_none());
    let dropped = message(Kind::Confirmable, Code::POST, 3, token(&[1]), |_| Ok(()));
    assert!(side.receive(&dropped).is_none());
    assert!(side.is_idle());
}

#[test]
fn a_challenge_is_sealed_with_a_nonce_of_its_own() {
    let mut side = side(None);
    let request = message(Kind::Confirmable, Code::POST, 1, token(&[1]), |writer| {
        writer.payload(b"?").map(drop)
    });
    assert!(side.receive(&request).is_none());
    let reply = side.sent_one();
    assert_eq!(sealed_by(&reply), (9, Code::UNAUTHORIZED.0));
    assert_eq!(side.core.security().roles, [Answer::Notification]);
}

#[test]
fn notifications_are_sealed_for_the_newest_registration() {
    let ask = |id, key| {
        message(Kind::Confirmable, Code::POST, id, token(&[1]), |writer| {
            writer.payload(&[key, Code::GET.0, 0x60]).map(drop)
        })
    };
    let mut side = side(None);
    let mut observation = None;
    for (id, key) in [(1, 5), (2, 6)] {
        let got = side.receive(&ask(id, key)).unwrap();
        let accepted = side.core.accept_observation(side.now, got.responder()).unwrap();
        assert_eq!(*observation.get_or_insert(accepted), accepted);
        side.respond(got.responder(), b"x");
        assert_eq!(sealed_by(&side.sent_one()), (key, Code::CONTENT.0));
        for how in [Reliability::NonConfirmable, Reliability::Confirmable] {
            side.core.notify(side.now, accepted, how, Code::CONTENT, |_| Ok(())).unwrap();
            let sent = side.sent_one();
            assert_eq!(sealed_by(&sent), (key, Code::CONTENT.0));
            side.receive(&empty(Kind::Acknowledgement, view(&sent).id()));
        }
    }
    let roles = &side.core.security().roles;
    assert_eq!(roles[..3], [Answer::First, Answer::Notification, Answer::Notification]);
}

#[test]
fn a_notification_that_cannot_be_sealed_ends_the_observation() {
    let mut side = side(None);
    let ask = message(Kind::Confirmable, Code::POST, 1, token(&[1]), |writer| {
        writer.payload(&[5, Code::GET.0, 0x60]).map(drop)
    });
    let got = side.receive(&ask).unwrap();
    let observation = side.core.accept_observation(side.now, got.responder()).unwrap();
    side.respond(got.responder(), b"x");
    side.sent_one();
    side.core.security_mut().broken = true;
    let mut notify = || {
        let how = Reliability::Confirmable;
        side.core.notify(side.now, observation, how, Code::CONTENT, |_| Ok(()))
    };
    assert_eq!(notify(), Err(RespondError::Security(SealError::NoKeys)));
    assert_eq!(notify(), Err(RespondError::Gone));
    assert!(side.is_idle());
}

#[test]
fn a_request_goes_where_its_peer_is_when_it_is_sealed() {
    let mut side = side(None);
    side.get(Name(1), "a");
    side.get(Name(1), "b");
    side.sent();
    side.core.security_mut().address = Some(stranger(3));
    ready(&mut side, 5);
    let sent = side.sent_to();
    // Both had taken their turn at the old address by then; neither is lost.
    assert!(sent.iter().all(|(to, _)| *to == stranger(3)));
    for (_, request) in &sent {
        let answer = answer(request, 5, Code::CONTENT, &[]);
        assert!(side.receive_from(stranger(3), Via::Unicast, &answer).is_some());
    }
    let more = side.sent_to();
    assert_eq!(sent.len() + more.len(), 2);
}

#[test]
fn anybody_cannot_displace_what_is_remembered_of_a_verified_peer() {
    let mut server = side(None);
    let mut client = side(Some(5));
    client.get(Name(1), "door");
    let request = client.sent_one();
    let got = server.receive(&request).unwrap();
    server.respond(got.responder(), b"open");
    let reply = server.sent_one();
    for id in 0..200 {
        let noise = message(Kind::Confirmable, Code::POST, id, token(&[1]), |writer| {
            writer.payload(b"!")?;
            writer.payload(&[0; 100]).map(drop)
        });
        server.receive_from(stranger(id), Via::Unicast, &noise);
        assert_eq!(server.sent().len(), 1);
    }
    assert!(server.receive(&request).is_none());
    assert_eq!(server.sent_one(), reply);
}

#[test]
fn the_peer_is_borrowed_for_no_longer_than_the_datagram() {
    // The message lives in the scratch or the datagram, not in the endpoint: the application can
    // answer while it reads.
    let mut core = Core::new(Config::default(), Show::ready(None), [1; 16]);
    let datagram = message(Kind::Confirmable, Code::POST, 1, token(&[1]), |writer| {
        writer.payload(&[5, Code::POST.0, 0xff, b'x']).map(drop)
    });
    let mut scratch = [0; 256];
    let now = Instant::ZERO;
    let event = core.handle(now, peer(), Via::Unicast, &datagram, &mut scratch);
    let Some(Event::Request { responder, message, .. }) = event else { panic!("{event:?}") };
    core.respond(now, responder, Code::CHANGED, |writer| {
        writer.payload(message.payload()).map(drop)
    })
    .unwrap();
}
