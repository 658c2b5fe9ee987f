//! Every way in which a message is refused, and what the peer is told.

use crate::common::{CLIENT, Owned, pair, swap, written};
use capmesh_coap::message::Code;
use capmesh_coap::option::OptionNumber;
use capmesh_oscore::{Binding, Context, Parameters, ProtectError, Refusal, UnprotectError};

fn get() -> Owned {
    Owned::new(Code::GET, &[(OptionNumber::URI_PATH, b"p")], b"")
}

fn content() -> Owned {
    Owned::new(Code::CONTENT, &[], b"value")
}

fn request_error(server: &mut Context, outer: &Owned) -> UnprotectError {
    let mut scratch = [0; 256];
    server.unprotect_request(outer.view(), &mut scratch).unwrap_err()
}

fn response_error(client: &mut Context, binding: &mut Binding, outer: &Owned) -> UnprotectError {
    let mut scratch = [0; 256];
    client.unprotect_response(binding, outer.view(), &mut scratch).unwrap_err()
}

/// A request on its way, with both ends.
fn exchange() -> (Context, Context, Owned, Binding) {
    let (mut client, server) = pair();
    let (outer, binding) = written(|out| client.protect_request(get().view(), out)).unwrap();
    (client, server, outer, binding)
}

/// The same outer message with another OSCORE option or payload.
fn forged(outer: &Owned, oscore: &[u8], payload: &[u8]) -> Owned {
    Owned::new(outer.view().code(), &[(OptionNumber::OSCORE, oscore)], payload)
}

/// RFC 8613 section 8.2: codes and diagnostic payloads.
#[test]
fn refusals_are_those_of_the_rfc() {
    let refusal =
        |error: UnprotectError| error.refusal().map(|Refusal { code, payload }| (code, payload));
    assert_eq!(refusal(UnprotectError::Decode), Some((Code::BAD_OPTION, "Failed to decode COSE")));
    assert_eq!(
        refusal(UnprotectError::ContextNotFound),
        Some((Code::UNAUTHORIZED, "Security context not found"))
    );
    assert_eq!(refusal(UnprotectError::Replay), Some((Code::UNAUTHORIZED, "Replay detected")));
    assert_eq!(refusal(UnprotectError::Decryption), Some((Code::BAD_REQUEST, "Decryption failed")));
    assert_eq!(refusal(UnprotectError::Malformed).map(|(code, _)| code), Some(Code::BAD_REQUEST));
    assert_eq!(
        refusal(UnprotectError::Exhausted),
        Some((Code::UNAUTHORIZED, "Security context not found"))
    );
    assert_eq!(refusal(UnprotectError::Stale), None);
    assert_eq!(refusal(UnprotectError::Overflow), None);
    assert_eq!(Refusal::MAX_AGE, 0);
}

#[test]
fn requests_that_do_not_decode() {
    let (_, mut server, outer, _) = exchange();
    let payload = outer.view().payload();
    let plain = get();
    let no_piv = forged(&outer, b"\x08c", payload);
    let no_kid = forged(&outer, b"\x01\0", payload);
    let nothing = forged(&outer, b"", payload);
    let reserved = forged(&outer, b"\x89\0c", payload);
    let no_payload = forged(&outer, b"\x09\0c", b"");
    let twice = outer.with(OptionNumber::OSCORE, b"\x09\0c");
    for message in [plain, no_piv, no_kid, nothing, reserved, no_payload, twice] {
        assert_eq!(request_error(&mut server, &message), UnprotectError::Decode, "{message:?}");
    }
    assert!(server.unprotect_request(outer.view(), &mut [0; 256]).is_ok());
}

#[test]
fn requests_for_other_contexts() {
    let (_, mut server, outer, _) = exchange();
    let payload = outer.view().payload();
    for oscore in [&b"\x09\0d"[..], b"\x09\0", b"\x09\0cc", b"\x19\0\x01xc"] {
        let message = forged(&outer, oscore, payload);
        assert_eq!(request_error(&mut server, &message), UnprotectError::ContextNotFound);
    }
}

#[test]
fn requests_that_are_not_authentic() {
    let (_, mut server, outer, _) = exchange();
    let oscore = outer.view().option(OptionNumber::OSCORE).unwrap();
    let payload = outer.view().payload();
    for short in 1..=8 {
        let message = forged(&outer, oscore, &payload[..short]);
        assert_eq!(request_error(&mut server, &message), UnprotectError::Decryption);
    }
    let other_piv = forged(&outer, b"\x09\x01c", payload);
    assert_eq!(request_error(&mut server, &other_piv), UnprotectError::Decryption);
    let other_keys = Parameters { master_secret: b"another secret", ..CLIENT };
    let mut other = Context::derive(&swap(other_keys)).unwrap();
    assert_eq!(request_error(&mut other, &outer), UnprotectError::Decryption);
    // None of it has used up the Partial IV.
    assert!(server.unprotect_request(outer.view(), &mut [0; 256]).is_ok());
    assert_eq!(request_error(&mut server, &outer), UnprotectError::Replay);
}

/// Calls that only a mistake of the caller's makes.
#[test]
fn what_is_not_to_be_protected() {
    let (mut client, mut server) = pair();
    let nested = [(OptionNumber::OSCORE, &b"\x09\0c"[..])];
    for (code, options, expected) in [
        (Code::GET, &nested[..], ProtectError::Nested),
        (Code::GET, &[(OptionNumber::EDHOC, &b""[..])][..], ProtectError::Nested),
        (Code::CONTENT, &[][..], ProtectError::WrongCode),
        (Code::EMPTY, &[][..], ProtectError::WrongCode),
    ] {
        let message = if code == Code::EMPTY {
            Owned(vec![0x40, 0, 0, 1])
        } else {
            Owned::new(code, options, b"x")
        };
        let refused = client.protect_request(message.view(), &mut [0; 256]);
        assert_eq!(refused, Err(expected));
    }
    let (outer, _) = written(|out| client.protect_request(get().view(), out)).unwrap();
    let (_, binding) =
        server.unprotect_request(outer.view(), &mut [0; 256]).map(|(_, b)| ((), b)).unwrap();
    let refused = server.protect_response(&binding, get().view(), &mut [0; 256]);
    assert_eq!(refused, Err(ProtectError::WrongCode));
}

#[test]
fn buffers_that_are_too_small() {
    let (mut client, mut server, outer, mut at_client) = exchange();
    let len = outer.0.len();
    for room in 0..len {
        let error = client.protect_request(get().view(), &mut vec![0; room]).unwrap_err();
        assert_eq!(error, ProtectError::Overflow);
        let mut scratch = vec![0; room];
        let error = server.unprotect_request(outer.view(), &mut scratch).unwrap_err();
        assert_eq!(error, UnprotectError::Overflow);
        let mut scratch = vec![0; room];
        let error = client.reopen_request(&at_client, outer.view(), &mut scratch).unwrap_err();
        assert_eq!(error, UnprotectError::Overflow);
    }
    let mut scratch = vec![0; len];
    let (_, binding) = server.unprotect_request(outer.view(), &mut scratch).unwrap();
    let error = server.protect_response(&binding, content().view(), &mut [0; 20]).unwrap_err();
    assert_eq!(error, ProtectError::Overflow);
    // What did not go out has used up the request's nonce, so the next one takes its own.
    let (response, ()) = written(|out| {
        server.protect_response(&binding, content().view(), out).map(|len| (len, ()))
    })
    .unwrap();
    assert_eq!(response.view().option(OptionNumber::OSCORE), Some(&[1, 0][..]));
    let mut scratch = vec![0; response.0.len() - 1];
    let error = client.unprotect_response(&mut at_client, response.view(), &mut scratch);
    assert_eq!(error.unwrap_err(), UnprotectError::Overflow);
}

#[test]
fn responses_that_are_dropped() {
    let (mut client, mut server, outer, mut at_client) = exchange();
    let mut scratch = [0; 256];
    let (_, at_server) = server.unprotect_request(outer.view(), &mut scratch).unwrap();
    let mut respond = |message: &Owned| {
        let protect = |out: &mut [u8]| {
            server.protect_response(&at_server, message.view(), out).map(|len| (len, ()))
        };
        written(protect).unwrap().0
    };
    let first = respond(&content());
    let second = respond(&content());
    let third = respond(&content());
    let observed = respond(&Owned::new(Code::CONTENT, &[(OptionNumber::OBSERVE, &[])], b"value"));

    let client = &mut client;
    let binding = &mut at_client;
    // Unprotected, malformed, forged.
    assert_eq!(response_error(client, binding, &content()), UnprotectError::Decode);
    let broken = forged(&first, b"\x20", first.view().payload());
    assert_eq!(response_error(client, binding, &broken), UnprotectError::Decode);
    let other_kid = forged(&first, b"\x08c", first.view().payload());
    assert_eq!(response_error(client, binding, &other_kid), UnprotectError::Decode);
    let broken = forged(&first, b"", &[0; 20]);
    assert_eq!(response_error(client, binding, &broken), UnprotectError::Decryption);
    // To another request.
    let (_, mut other) = written(|out| client.protect_request(get().view(), out)).unwrap();
    assert_eq!(response_error(client, &mut other, &first), UnprotectError::Decryption);
    assert_eq!(response_error(client, &mut other, &second), UnprotectError::Decryption);
    // A notification, but this request did not observe (RFC 8613 section 4.1.3.5.2).
    assert_eq!(response_error(client, binding, &observed), UnprotectError::Malformed);
    // The right one, in spite of all that, and then nothing that is older.
    let mut scratch = [0; 256];
    let inner = client.unprotect_response(binding, second.view(), &mut scratch).unwrap();
    assert_eq!(inner.as_bytes(), content().0);
    assert_eq!(response_error(client, binding, &first), UnprotectError::Stale);
    assert_eq!(response_error(client, binding, &second), UnprotectError::Stale);
    assert!(client.unprotect_response(binding, third.view(), &mut [0; 256]).is_ok());
}

/// A request that comes back to its sender opens at no one.
#[test]
fn reflected_messages_are_refused() {
    let (mut client, mut server, outer, mut at_client) = exchange();
    assert_eq!(request_error(&mut client, &outer), UnprotectError::ContextNotFound);
    assert_eq!(response_error(&mut client, &mut at_client, &outer), UnprotectError::Decode);
    let anonymous = forged(&outer, b"\x01\0", outer.view().payload());
    let error = response_error(&mut client, &mut at_client, &anonymous);
    assert_eq!(error, UnprotectError::Decryption);
    let (_, at_server) =
        server.unprotect_request(outer.view(), &mut [0; 256]).map(|(_, b)| ((), b)).unwrap();
    let (response, ()) = written(|out| {
        server.protect_response(&at_server, content().view(), out).map(|len| (len, ()))
    })
    .unwrap();
    assert_eq!(request_error(&mut server, &response), UnprotectError::Decode);
}

#[test]
fn notifications_only_go_forward() {
    let (mut client, mut server) = pair();
    let observe = Owned::new(Code::GET, &[(OptionNumber::OBSERVE, &[])], b"");
    let (outer, mut binding) = written(|out| client.protect_request(observe.view(), out)).unwrap();
    let mut scratch = [0; 256];
    let (_, at_server) = server.unprotect_request(outer.view(), &mut scratch).unwrap();
    let notification = Owned::new(Code::CONTENT, &[(OptionNumber::OBSERVE, &[9])], b"value");
    let sent: Vec<_> = (0..6)
        .map(|_| {
            let protect = |out: &mut [u8]| {
                server.protect_response(&at_server, notification.view(), out).map(|len| (len, ()))
            };
            written(protect).unwrap().0
        })
        .collect();
    assert_eq!(sent[0].view().option(OptionNumber::OSCORE), Some(&[][..]), "the request's nonce");
    assert_eq!(sent[1].view().option(OptionNumber::OSCORE), Some(&[1, 0][..]));
    assert_eq!(sent[5].view().option(OptionNumber::OSCORE), Some(&[1, 4][..]));
    let mut values = Vec::new();
    for at in [1, 0, 1, 3, 2, 5, 4, 5] {
        let mut scratch = [0; 256];
        match client.unprotect_response(&mut binding, sent[at].view(), &mut scratch) {
            Ok(inner) => values.push((at, inner.option_uint(OptionNumber::OBSERVE))),
            Err(error) => assert_eq!(error, UnprotectError::Stale),
        }
    }
    assert_eq!(values, [(1, Some(0)), (3, Some(2)), (5, Some(4))]);
    // A new registration starts anew (RFC 8613 Appendix B.1.3).
    let (_, mut again) = written(|out| client.protect_request(observe.view(), out)).unwrap();
    assert_eq!(response_error(&mut client, &mut again, &sent[5]), UnprotectError::Decryption);
}
