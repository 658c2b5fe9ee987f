//! aiocoap as the server of our client.

#![expect(clippy::unwrap_used, reason = "helpers of tests are not recognised as tests")]

mod common;

use capmesh_coap::Code;
use capmesh_coap::endpoint::{Config, Reliability};
use capmesh_coap::option::OptionNumber;
use capmesh_coap_pair::client::{Client, Request};
use capmesh_coap_pair::shell::Core;
use capmesh_coap_pair::store::Store;
use capmesh_coap_pair::uri::Uri;
use capmesh_interop::pattern;
use capmesh_interop::peers::{ANSWER, Aiocoap, own_address};
use capmesh_session::Workflow;
use common::{Keys, Mode};
use std::net::SocketAddr;

const LARGE: usize = 102_400;

/// What a test does with a client, whatever protects it.
trait Script {
    fn run<C: Core>(&mut self, client: Client<C>, server: C::Peer, base: &str);
}

/// Runs `script` with a new client.
fn with_client(script: &mut impl Script, keys: &Keys, mode: Mode, address: SocketAddr) {
    let base = format!("coap://{}", address.ip());
    match mode {
        Mode::Plain => {
            let client = Client::plain(address, Config::default()).unwrap();
            script.run(client, address, &base);
        }
        Mode::Oscore => {
            let (context, store) = Store::open(&keys.directory().join("oscore-client")).unwrap();
            let (client, server) =
                Client::oscore(address, Config::default(), context, Some(store)).unwrap();
            script.run(client, server, &base);
        }
        Mode::Combined | Mode::Separate => {
            let workflow =
                if mode == Mode::Combined { Workflow::Combined } else { Workflow::Separate };
            let (client, server) =
                Client::edhoc(address, Config::default(), keys.directory(), workflow).unwrap();
            script.run(client, server, &base);
        }
    }
}

/// Everything that a client may want of a server.
struct Everything {
    mode: Mode,
}

impl Script for Everything {
    fn run<C: Core>(&mut self, mut client: Client<C>, server: C::Peer, base: &str) {
        let request =
            |code, path: &str| Request::new(code, Uri::parse(&format!("{base}/{path}")).unwrap());
        let hello = client.request(server, &request(Code::GET, "hello")).unwrap();
        assert_eq!(
            (hello.code, hello.body.as_slice()),
            (Code::CONTENT, &b"hello from aiocoap"[..])
        );
        assert_eq!(hello.option(OptionNumber::CONTENT_FORMAT), Some(&[][..]));

        let non =
            Request { reliability: Reliability::NonConfirmable, ..request(Code::GET, "hello") };
        assert_eq!(client.request(server, &non).unwrap().code, Code::CONTENT);

        let who = client.request(server, &request(Code::GET, "whoami")).unwrap();
        let who = String::from_utf8(who.body).unwrap();
        assert_eq!(who.contains(":client"), self.mode != Mode::Plain, "{who}");

        let nowhere = client.request(server, &request(Code::GET, "nowhere")).unwrap();
        assert_eq!(nowhere.code, Code::NOT_FOUND);
        let links = client.request(server, &request(Code::GET, ".well-known/core")).unwrap();
        assert!(String::from_utf8(links.body).unwrap().contains("/store"));

        let large = client.request(server, &request(Code::GET, "large")).unwrap();
        assert_eq!((large.code, large.body), (Code::CONTENT, pattern(LARGE)));
        let put = request(Code::PUT, "store").body(pattern(LARGE));
        assert_eq!(client.request(server, &put).unwrap().code, Code::CREATED);
        let stored = client.request(server, &request(Code::GET, "store")).unwrap();
        assert_eq!((stored.code, stored.body), (Code::CONTENT, pattern(LARGE)));
        let post = request(Code::POST, "store").body(pattern(LARGE));
        let digest = client.request(server, &post).unwrap();
        assert_eq!(digest.code, Code::CHANGED);
        assert_eq!(digest.body, capmesh_interop::sha256(&pattern(LARGE)).into_bytes());

        let put = |state: &[u8]| request(Code::PUT, "store").body(state.to_vec());
        assert_eq!(client.request(server, &put(b"one")).unwrap().code, Code::CHANGED);
        let (first, mut observation) = client.observe(server, request(Code::GET, "store")).unwrap();
        assert_eq!((first.code, first.body.as_slice()), (Code::CONTENT, &b"one"[..]));
        for state in [&b"two"[..], b"three"] {
            assert_eq!(client.request(server, &put(state)).unwrap().code, Code::CHANGED);
            let deadline = Some(client.shell().now() + ANSWER);
            let next = client.notification(server, &mut observation, deadline).unwrap();
            assert_eq!((next.code, next.body.as_slice()), (Code::CONTENT, state));
            assert!(!observation.is_over());
        }
        client.deregister(&observation).unwrap();
        let deleted = client.request(server, &request(Code::DELETE, "store")).unwrap();
        assert_eq!(deleted.code, Code::DELETED);
    }
}

/// Asks, has the server restarted, and asks again.
struct Restart<F> {
    restart: F,
}

impl<F: FnMut()> Script for Restart<F> {
    fn run<C: Core>(&mut self, mut client: Client<C>, server: C::Peer, base: &str) {
        let hello = Request::new(Code::GET, Uri::parse(&format!("{base}/hello")).unwrap());
        assert_eq!(client.request(server, &hello).unwrap().code, Code::CONTENT);
        (self.restart)();
        for _ in 0..3 {
            assert_eq!(client.request(server, &hello).unwrap().code, Code::CONTENT);
        }
    }
}

fn everything(test: &str, mode: Mode) {
    let Some(aiocoap) = Aiocoap::find() else { return };
    let address = SocketAddr::from((own_address(), 5683));
    let keys = Keys::new(test, mode, &format!("coap://{}", address.ip()));
    let _server = aiocoap.serve(address, keys.for_aiocoap_server().as_deref()).unwrap();
    with_client(&mut Everything { mode }, &keys, mode, address);
}

/// The server loses all it had in memory while our client lives on; then the client does.
fn restart(test: &str, mode: Mode) {
    let Some(aiocoap) = Aiocoap::find() else { return };
    let address = SocketAddr::from((own_address(), 5683));
    let keys = Keys::new(test, mode, &format!("coap://{}", address.ip()));
    let credentials = keys.for_aiocoap_server();
    let mut server = aiocoap.serve(address, credentials.as_deref()).unwrap();
    let mut restart = Restart {
        restart: || {
            server.kill();
            server = aiocoap.serve(address, credentials.as_deref()).unwrap();
        },
    };
    with_client(&mut restart, &keys, mode, address);
    with_client(&mut Restart { restart: || {} }, &keys, mode, address);
}

/// aiocoap sends its whole credential instead of the name of it.
#[test]
fn edhoc_credential_by_value() {
    let Some(aiocoap) = Aiocoap::find() else { return };
    let mode = Mode::Combined;
    let address = SocketAddr::from((own_address(), 5683));
    let keys = Keys::new("aiocoap-server-by-value", mode, &format!("coap://{}", address.ip()));
    let credentials = keys.by_value(&keys.for_aiocoap_server().unwrap());
    let _server = aiocoap.serve(address, Some(&credentials)).unwrap();
    with_client(&mut Restart { restart: || {} }, &keys, mode, address);
}

common::in_every_mode!("aiocoap-server");
