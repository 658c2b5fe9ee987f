//! aiocoap as a client of our server.

#![expect(clippy::unwrap_used, reason = "helpers of tests are not recognised as tests")]

mod common;

use capmesh_interop::peers::{Aiocoap, Driver, own_address};
use capmesh_interop::{pattern, sha256};
use common::{Keys, Mode, serve};
use serde_json::json;
use std::net::SocketAddr;

const LARGE: usize = 102_400;

/// Everything that a client may want of a server, over whatever protection.
fn converse(client: &mut Driver, base: &str, mode: Mode) {
    let hello = client.request("GET", &format!("{base}/hello")).unwrap();
    assert_eq!(hello.code(), "2.05");
    assert_eq!(hello.payload(), b"hello from capmesh");
    assert_eq!(hello.option(12).as_deref(), Some(&[][..]), "text/plain is format 0");

    let who = client.request("GET", &format!("{base}/whoami")).unwrap();
    let who = String::from_utf8(who.payload()).unwrap();
    assert_eq!(who.contains("somebody"), mode == Mode::Plain, "{who}");

    assert_eq!(client.request("GET", &format!("{base}/nowhere")).unwrap().code(), "4.04");
    assert_eq!(client.request("DELETE", &format!("{base}/hello")).unwrap().code(), "4.05");

    let links = client.request("GET", &format!("{base}/.well-known/core")).unwrap();
    assert!(String::from_utf8(links.payload()).unwrap().contains("</store>"));

    blocks(client, base);
    observe(client, base);
    let deleted = client.request("DELETE", &format!("{base}/store")).unwrap();
    assert_eq!(deleted.code(), "2.02");
}

/// 100 KB down, up, and both ways.
fn blocks(client: &mut Driver, base: &str) {
    let body = (LARGE as u64, sha256(&pattern(LARGE)));
    let large = client.request("GET", &format!("{base}/large")).unwrap();
    assert_eq!((large.code().as_str(), large.digest()), ("2.05", body.clone()));

    let uri = format!("{base}/store");
    let put = json!({ "do": "request", "code": "PUT", "uri": uri, "pattern": LARGE });
    assert_eq!(client.tell(&put).unwrap().code(), "2.01");
    let stored = client.request("GET", &uri).unwrap();
    assert_eq!((stored.code().as_str(), stored.digest()), ("2.05", body.clone()));

    let uri = format!("{base}/echo");
    let post = json!({ "do": "request", "code": "POST", "uri": uri, "pattern": LARGE });
    let echoed = client.tell(&post).unwrap();
    assert_eq!((echoed.code().as_str(), echoed.digest()), ("2.04", body));
}

/// Three states of one resource, changed by the client that observes it.
fn observe(client: &mut Driver, base: &str) {
    let uri = format!("{base}/store");
    let put =
        |payload: &str| json!({ "do": "request", "code": "PUT", "uri": uri, "payload": payload });
    assert_eq!(client.tell(&put("01")).unwrap().code(), "2.04");
    let first = client.tell(&json!({ "do": "observe", "uri": uri })).unwrap();
    assert_eq!((first.code().as_str(), first.payload()), ("2.05", vec![1]));
    assert!(first.option(6).is_some(), "an accepted observation has an Observe option");
    for state in ["02", "0303"] {
        assert_eq!(client.tell(&put(state)).unwrap().code(), "2.04");
        let next = client.tell(&json!({ "do": "next" })).unwrap();
        assert_eq!(next.code(), "2.05");
        assert_eq!(next.payload(), if state == "02" { vec![2] } else { vec![3, 3] });
    }
    client.tell(&json!({ "do": "cancel" })).unwrap();
    // A notification to somebody who has forgotten is reset, and the server goes on.
    assert_eq!(client.tell(&put("04")).unwrap().code(), "2.04");
}

fn everything(test: &str, mode: Mode) {
    let Some(aiocoap) = Aiocoap::find() else { return };
    let address = SocketAddr::from((own_address(), 5683));
    let keys = Keys::new(test, mode, "coap://unused");
    let _server = serve(address, &keys.for_our_server());
    let mut client = aiocoap.drive(keys.for_aiocoap_client().as_deref()).unwrap();
    converse(&mut client, &format!("coap://{}", address.ip()), mode);
}

/// The server loses all it had in memory while the client lives on; then the client does.
fn restart(test: &str, mode: Mode) {
    let Some(aiocoap) = Aiocoap::find() else { return };
    let address = SocketAddr::from((own_address(), 5683));
    let keys = Keys::new(test, mode, "coap://unused");
    let uri = format!("coap://{}/whoami", address.ip());
    let mut server = serve(address, &keys.for_our_server());
    let credentials = keys.for_aiocoap_client();
    let mut client = aiocoap.drive(credentials.as_deref()).unwrap();
    assert_eq!(client.request("GET", &uri).unwrap().code(), "2.05");

    server.kill();
    let _server = serve(address, &keys.for_our_server());
    for _ in 0..3 {
        assert_eq!(client.request("GET", &uri).unwrap().code(), "2.05");
    }

    drop(client);
    let mut client = aiocoap.drive(credentials.as_deref()).unwrap();
    for _ in 0..3 {
        assert_eq!(client.request("GET", &uri).unwrap().code(), "2.05");
    }
}

/// aiocoap sends its whole credential instead of the name of it.
#[test]
fn edhoc_credential_by_value() {
    let Some(aiocoap) = Aiocoap::find() else { return };
    let address = SocketAddr::from((own_address(), 5683));
    let keys = Keys::new("aiocoap-client-by-value", Mode::Combined, "coap://unused");
    let credentials = keys.by_value(&keys.for_aiocoap_client().unwrap());
    let _server = serve(address, &keys.for_our_server());
    let mut client = aiocoap.drive(Some(&credentials)).unwrap();
    let who = client.request("GET", &format!("coap://{}/whoami", address.ip())).unwrap();
    assert_eq!(who.code(), "2.05");
    assert!(who.payload().starts_with(b"node "));
}

/// Somebody whom our server does not know gets no session, and no answer that needs one.
#[test]
fn edhoc_with_a_stranger() {
    let Some(aiocoap) = Aiocoap::find() else { return };
    let address = SocketAddr::from((own_address(), 5683));
    let ours = Keys::new("aiocoap-client-known", Mode::Combined, "coap://unused");
    let theirs = Keys::new("aiocoap-client-stranger", Mode::Combined, "coap://unused");
    // They know the server; the server does not know them.
    let credentials = ours.with_client_of(&theirs);
    let _server = serve(address, &ours.for_our_server());
    let uri = format!("coap://{}/oscore/hello/1", address.ip());
    let refused = aiocoap.drive(Some(&credentials)).unwrap().request("GET", &uri).unwrap();
    assert_ne!(refused.code(), "2.05");
    let known = aiocoap.drive(ours.for_aiocoap_client().as_deref()).unwrap().request("GET", &uri);
    assert_eq!(known.unwrap().code(), "2.05");
}

common::in_every_mode!("aiocoap-client");
