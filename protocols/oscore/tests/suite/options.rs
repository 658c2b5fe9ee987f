//! What becomes of each option on its way through (RFC 8613 section 4.1).

use crate::common::{Owned, pair, written};
use capmesh_coap::message::Code;
use capmesh_coap::option::OptionNumber;
use capmesh_oscore::{Class, UnprotectError, class};

/// Registered options, the class that their RFC gives them, and whether they may be outer as well.
const OPTIONS: [(OptionNumber, Class, &str); 29] = [
    (OptionNumber::IF_MATCH, Class::E, "RFC 8613 Figure 5"),
    (OptionNumber::URI_HOST, Class::U, "RFC 8613 Figure 5"),
    (OptionNumber::ETAG, Class::E, "RFC 8613 Figure 5"),
    (OptionNumber::IF_NONE_MATCH, Class::E, "RFC 8613 Figure 5"),
    (OptionNumber::URI_PORT, Class::U, "RFC 8613 Figure 5"),
    (OptionNumber::LOCATION_PATH, Class::E, "RFC 8613 Figure 5"),
    (OptionNumber::URI_PATH, Class::E, "RFC 8613 Figure 5"),
    (OptionNumber::CONTENT_FORMAT, Class::E, "RFC 8613 Figure 5"),
    (OptionNumber::MAX_AGE, Class::E, "RFC 8613 Figure 5, outer for errors only"),
    (OptionNumber::URI_QUERY, Class::E, "RFC 8613 Figure 5"),
    (OptionNumber::HOP_LIMIT, Class::U, "RFC 8768 section 3"),
    (OptionNumber::ACCEPT, Class::E, "RFC 8613 Figure 5"),
    (OptionNumber(19), Class::E, "Q-Block1, RFC 9177"),
    (OptionNumber::LOCATION_QUERY, Class::E, "RFC 8613 Figure 5"),
    (OptionNumber::BLOCK2, Class::E, "RFC 8613 Figure 5, outer by proxies only"),
    (OptionNumber::BLOCK1, Class::E, "RFC 8613 Figure 5, outer by proxies only"),
    (OptionNumber::SIZE2, Class::E, "RFC 8613 Figure 5, outer by proxies only"),
    (OptionNumber(31), Class::E, "Q-Block2, RFC 9177"),
    (OptionNumber::PROXY_SCHEME, Class::U, "RFC 8613 Figure 5"),
    (OptionNumber::SIZE1, Class::E, "RFC 8613 Figure 5, outer by proxies only"),
    (OptionNumber::ECHO, Class::E, "RFC 9175, outer by proxies only"),
    (OptionNumber::NO_RESPONSE, Class::E, "RFC 8613 section 4.1.3.6"),
    (OptionNumber::REQUEST_TAG, Class::E, "RFC 9175, outer by proxies only"),
    (OptionNumber(2), Class::E, "unknown, elective"),
    (OptionNumber(10), Class::E, "unknown, elective"),
    (OptionNumber(13), Class::E, "unknown, critical"),
    (OptionNumber(2048), Class::E, "unknown, elective"),
    (OptionNumber(2049), Class::E, "unknown, critical"),
    (OptionNumber(65_535), Class::E, "unknown, critical"),
];

/// Requests are what most options are for, but none is treated differently in a response.
#[test]
fn each_option_goes_where_its_class_says() {
    for (number, expected, source) in OPTIONS {
        assert_eq!(class(number), expected, "{number:?}: {source}");
        let (mut client, mut server) = pair();
        let request = Owned::new(Code::PUT, &[(number, b"v")], b"payload");
        let (outer, mut at_client) =
            written(|out| client.protect_request(request.view(), out)).unwrap();
        assert_eq!(outer.has(number), expected == Class::U, "{number:?}: {source}");
        let (inner, at_server) = open_request(&mut server, &outer);
        assert_eq!(inner, request);

        let response = Owned::new(Code::CONTENT, &[(number, b"v")], b"payload");
        let (outer, ()) = written(|out| {
            server.protect_response(&at_server, response.view(), out).map(|len| (len, ()))
        })
        .unwrap();
        assert_eq!(outer.has(number), expected == Class::U, "{number:?}: {source}");
        let mut scratch = [0; 256];
        let inner = client.unprotect_response(&mut at_client, outer.view(), &mut scratch).unwrap();
        assert_eq!(inner.as_bytes(), response.0);
    }
}

fn open_request(
    server: &mut capmesh_oscore::Context,
    outer: &Owned,
) -> (Owned, capmesh_oscore::Binding) {
    let mut scratch = vec![0; outer.0.len()];
    let (inner, binding) = server.unprotect_request(outer.view(), &mut scratch).unwrap();
    (Owned(inner.as_bytes().to_vec()), binding)
}

/// A proxy may add options; those of class E are not the client's word and are discarded.
#[test]
fn options_put_in_on_the_way_are_discarded_if_they_are_for_the_endpoints() {
    for (number, expected, source) in OPTIONS {
        let (mut client, mut server) = pair();
        let request = Owned::new(Code::GET, &[(OptionNumber::URI_PATH, b"p")], b"");
        let (outer, _) = written(|out| client.protect_request(request.view(), out)).unwrap();
        let (inner, _) = open_request(&mut server, &outer.with(number, b"w"));
        let injected = inner.view().option_values(number).any(|value| value == b"w");
        assert_eq!(injected, expected == Class::U, "{number:?}: {source}");
        assert!(inner.has(OptionNumber::URI_PATH));
    }
}

/// Outer block-wise is not supported: a complete message is opened all the same, and a fragment of
/// one is not authentic.
#[test]
fn fragments_of_an_outer_blockwise_transfer_are_refused() {
    let (mut client, mut server) = pair();
    let request = Owned::new(Code::POST, &[], &[7; 64]);
    let (outer, _) = written(|out| client.protect_request(request.view(), out)).unwrap();
    let options: Vec<_> =
        outer.view().options().chain([(OptionNumber::BLOCK1, &[8][..])]).collect();
    let fragment = Owned::new(outer.view().code(), &options, &outer.view().payload()[..32]);
    let mut scratch = [0; 256];
    let refused = server.unprotect_request(fragment.view(), &mut scratch).unwrap_err();
    assert_eq!(refused, UnprotectError::Decryption);
    let (inner, _) = open_request(&mut server, &outer.with(OptionNumber::BLOCK2, &[6]));
    assert_eq!(inner, request);
}

/// An outer No-Response is ignored (RFC 8613 section 4.1.3.6), an inner one is kept.
#[test]
fn no_response_counts_inside_only() {
    let (mut client, mut server) = pair();
    let request = Owned::new(Code::GET, &[(OptionNumber::NO_RESPONSE, &[2])], b"");
    let (outer, _) = written(|out| client.protect_request(request.view(), out)).unwrap();
    let (inner, _) = open_request(&mut server, &outer.with(OptionNumber::NO_RESPONSE, &[26]));
    assert_eq!(inner.view().option_uint(OptionNumber::NO_RESPONSE), Some(2));
}

#[test]
fn observe_is_both_and_changes_the_outer_codes() {
    let (mut client, mut server) = pair();
    let observe = [(OptionNumber::OBSERVE, &[][..]), (OptionNumber::URI_PATH, b"t")];
    let request = Owned::new(Code::GET, &observe, b"");
    let (outer, mut at_client) =
        written(|out| client.protect_request(request.view(), out)).unwrap();
    assert_eq!(outer.view().code(), Code::FETCH);
    assert_eq!(outer.view().option(OptionNumber::OBSERVE), Some(&[][..]));
    let (inner, at_server) = open_request(&mut server, &outer.with(OptionNumber::MAX_AGE, &[9]));
    assert_eq!(inner, request);
    assert!(at_server.is_observe());

    let notification = Owned::new(Code::CONTENT, &[(OptionNumber::OBSERVE, &[1, 2])], b"1");
    let mut out = [0; 128];
    let len = server.protect_notification(&at_server, notification.view(), &mut out).unwrap();
    let outer = Owned(out.get(..len).unwrap().to_vec());
    assert_eq!(outer.view().code(), Code::CONTENT);
    assert_eq!(outer.view().option(OptionNumber::OBSERVE), Some(&[1, 2][..]), "for proxies");
    let mut scratch = [0; 128];
    let inner = client.unprotect_response(&mut at_client, outer.view(), &mut scratch).unwrap();
    assert_eq!(inner.option(OptionNumber::OBSERVE), Some(&[][..]), "of Partial IV 0");
    assert_eq!((inner.code(), inner.payload()), (Code::CONTENT, &b"1"[..]));

    let plain = Owned::new(Code::NOT_FOUND, &[], b"");
    let len = server.protect_notification(&at_server, plain.view(), &mut out).unwrap();
    let outer = Owned(out.get(..len).unwrap().to_vec());
    assert_eq!(outer.view().code(), Code::CHANGED, "without Observe, to the same registration");
    let inner = client.unprotect_response(&mut at_client, outer.view(), &mut scratch).unwrap();
    assert_eq!((inner.code(), inner.option(OptionNumber::OBSERVE)), (Code::NOT_FOUND, None));
}

/// Options of both classes in every position relative to each other.
#[test]
fn outer_and_inner_options_are_merged_in_order() {
    let options: &[(OptionNumber, &[u8])] = &[
        (OptionNumber::IF_MATCH, b"1"),
        (OptionNumber::URI_HOST, b"host.example"),
        (OptionNumber::ETAG, b"2"),
        (OptionNumber::OBSERVE, &[1]),
        (OptionNumber::URI_PORT, &[0x16, 0x33]),
        (OptionNumber::URI_PATH, &[b'x'; 300]),
        (OptionNumber::URI_PATH, b""),
        (OptionNumber::HOP_LIMIT, &[9]),
        (OptionNumber::ACCEPT, &[60]),
        (OptionNumber::BLOCK2, &[2]),
        (OptionNumber::PROXY_SCHEME, b"coap"),
        (OptionNumber::REQUEST_TAG, b"tag"),
        (OptionNumber(2053), &[0; 13]),
    ];
    let (mut client, mut server) = pair();
    let request = Owned::new(Code::FETCH, options, &[0xff; 3]);
    let (outer, binding) = written(|out| client.protect_request(request.view(), out)).unwrap();
    let visible: Vec<_> = outer.view().options().map(|(number, _)| number.0).collect();
    assert_eq!(visible, [3, 6, 7, 9, 16, 39]);
    assert_eq!(open_request(&mut server, &outer).0, request);
    let mut scratch = vec![0; outer.0.len()];
    let reopened = client.reopen_request(&binding, outer.view(), &mut scratch).unwrap();
    assert_eq!(reopened.as_bytes(), request.0);
}

/// The example of RFC 8613 section 4.1.3.3.
#[cfg(feature = "proxy-uri")]
#[test]
fn proxy_uri_is_split() {
    let (mut client, mut server) = pair();
    let send = |client: &mut capmesh_oscore::Context, options: &[(OptionNumber, &[u8])]| {
        let request = Owned::new(Code::GET, options, b"");
        written(|out| client.protect_request(request.view(), out)).map(|(outer, _)| outer)
    };
    let uri = |uri: &'static str| (OptionNumber::PROXY_URI, uri.as_bytes());
    let max_age = (OptionNumber::MAX_AGE, &[1][..]);
    let outer = send(&mut client, &[uri("coap://example.com/resource?q=1"), max_age]).unwrap();
    assert_eq!(outer.view().option(OptionNumber::PROXY_URI), Some(&b"coap://example.com"[..]));
    let expected: &[(OptionNumber, &[u8])] = &[
        (OptionNumber::URI_PATH, b"resource"),
        max_age,
        (OptionNumber::URI_QUERY, b"q=1"),
        uri("coap://example.com"),
    ];
    assert_eq!(open_request(&mut server, &outer).0, Owned::new(Code::GET, expected, b""));

    let outer = send(&mut client, &[uri("coap://h/%7Ea//b%20c/?x&y=%26&")]).unwrap();
    let (inner, _) = open_request(&mut server, &outer);
    let path: Vec<_> = inner.view().option_values(OptionNumber::URI_PATH).collect();
    assert_eq!(path, [&b"~a"[..], b"", b"b c", b""]);
    let query: Vec<_> = inner.view().option_values(OptionNumber::URI_QUERY).collect();
    assert_eq!(query, [&b"x"[..], b"y=&", b""]);

    // What reopening a split request gives can be protected again.
    let path = (OptionNumber::URI_PATH, &b"p"[..]);
    assert!(send(&mut client, &[path, uri("coap://h")]).is_ok());
    assert!(send(&mut client, &[path, uri("coap://h/")]).is_ok());
    for refused in ["coap://h/q", "coap://h?q"] {
        assert_eq!(
            send(&mut client, &[path, uri(refused)]),
            Err(capmesh_oscore::ProtectError::ProxyUri)
        );
    }
    for refused in ["nonsense", "coap://h/%", "coap://h/%4", "coap://h/%zz", "coap://h/#x"] {
        assert_eq!(send(&mut client, &[uri(refused)]), Err(capmesh_oscore::ProtectError::ProxyUri));
    }
}

#[cfg(not(feature = "proxy-uri"))]
#[test]
fn proxy_uri_is_refused() {
    let (mut client, _) = pair();
    let request = Owned::new(Code::GET, &[(OptionNumber::PROXY_URI, b"coap://h/p")], b"");
    let refused = client.protect_request(request.view(), &mut [0; 256]);
    assert_eq!(refused, Err(capmesh_oscore::ProtectError::ProxyUri));
}

/// RFC 9668: EDHOC's message_3 travels in front of the ciphertext.
#[test]
fn combined_requests_open_like_others() {
    for len in [0, 18, 19, 23, 24, 255, 256] {
        let (mut client, mut server) = pair();
        let mut message_3 = match len {
            0..24 => vec![0x40 + len as u8],
            24..256 => vec![0x58, len as u8],
            _ => vec![0x59, (len >> 8) as u8, len as u8],
        };
        message_3.resize(message_3.len() + len, 0xaa);
        let options: &[(OptionNumber, &[u8])] =
            &[(OptionNumber::URI_HOST, b"h"), (OptionNumber::PROXY_SCHEME, b"coap")];
        let request = Owned::new(Code::GET, options, b"payload");
        let (outer, binding) =
            written(|out| client.protect_combined(request.view(), &message_3, out)).unwrap();
        assert_eq!(outer.view().option(OptionNumber::EDHOC), Some(&[][..]));
        assert_eq!(capmesh_oscore::split_combined(&outer.view()).unwrap().0, message_3);
        assert_eq!(open_request(&mut server, &outer).0, request);
        let mut scratch = vec![0; outer.0.len()];
        let reopened = client.reopen_request(&binding, outer.view(), &mut scratch).unwrap();
        assert_eq!(reopened.as_bytes(), request.0);
    }
}

#[test]
fn a_combined_payload_without_a_byte_string_does_not_decode() {
    let (mut client, mut server) = pair();
    let request = Owned::new(Code::GET, &[], b"");
    let (outer, _) = written(|out| client.protect_request(request.view(), out)).unwrap();
    let oscore = outer.view().option(OptionNumber::OSCORE).unwrap();
    let options = [(OptionNumber::OSCORE, oscore), (OptionNumber::EDHOC, &[])];
    for payload in
        [&[0x01][..], &[0x58], &[0x59, 0], &[0x43, 1, 2], &[0x5a, 0, 0, 0, 1, 1], &[0x80]]
    {
        let broken = Owned::new(Code::POST, &options, payload);
        let mut scratch = [0; 64];
        let refused = server.unprotect_request(broken.view(), &mut scratch).unwrap_err();
        assert_eq!(refused, UnprotectError::Decode);
    }
}
