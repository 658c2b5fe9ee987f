//! libcoap's client and server (Debian's `libcoap3-bin`), plain CoAP.

#![expect(clippy::unwrap_used, reason = "helpers of tests are not recognised as tests")]

mod common;

use capmesh_coap::Code;
use capmesh_coap::endpoint::{Config, Failure as Reason};
use capmesh_coap::option::OptionNumber;
use capmesh_coap_pair::client::{Client, Failure, Request};
use capmesh_coap_pair::uri::Uri;
use capmesh_interop::pattern;
use capmesh_interop::peers::{ANSWER, Libcoap, free_port, own_address, scratch};
use capmesh_interop::process::{Finished, Process};
use common::serve;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const LARGE: usize = 102_400;

/// libcoap's client against our server, in a directory for its files.
struct TheirClient {
    libcoap: Libcoap,
    base: String,
    directory: PathBuf,
    _server: Process,
}

impl TheirClient {
    fn new(test: &str) -> Option<Self> {
        let libcoap = Libcoap::find()?;
        let address = SocketAddr::from((own_address(), 5683));
        let base = format!("coap://{}", address.ip());
        let directory = scratch(test);
        Some(Self { libcoap, base, directory, _server: serve(address, &[]) })
    }

    /// Runs the client with these arguments and a path, to its end.
    fn run(&self, arguments: &[&str], path: &str) -> Finished {
        let mut command = self.libcoap.client();
        command.args(arguments).arg(format!("{}/{path}", self.base)).current_dir(&self.directory);
        Process::start("libcoap client", &mut command).unwrap().finish(ANSWER).unwrap()
    }
}

#[test]
fn their_client_gets_puts_posts_and_deletes() {
    let Some(client) = TheirClient::new("libcoap-methods") else { return };
    assert_eq!(client.run(&[], "hello").out, "hello from capmesh");
    assert_eq!(client.run(&["-N"], "hello").out, "hello from capmesh");
    assert!(client.run(&[], ".well-known/core").out.contains("</store>"));
    assert!(client.run(&[], ".well-known/core?href=/time").out.starts_with("</time>"));
    assert!(client.run(&[], "nowhere").err.contains("4.04"));
    client.run(&["-m", "put", "-e", "one"], "store");
    assert_eq!(client.run(&[], "store").out, "one");
    client.run(&["-m", "post", "-e", " two"], "store");
    assert_eq!(client.run(&[], "store").out, "one two");
    assert_eq!(client.run(&["-m", "post", "-e", "back"], "echo").out, "back");
    client.run(&["-m", "delete"], "store");
    assert!(client.run(&[], "store").err.contains("4.04"));
    assert!(client.run(&["-m", "delete"], "hello").err.contains("4.05"));
    // An elective option that nobody knows is ignored, a critical one is not (RFC 7252 5.4.1).
    assert_eq!(client.run(&["-O", "65000,0x01"], "hello").out, "hello from capmesh");
    assert!(client.run(&["-O", "65001,0x01"], "hello").err.contains("4.02"));
}

#[test]
fn their_client_sends_and_fetches_blocks() {
    let Some(client) = TheirClient::new("libcoap-blocks") else { return };
    fs::write(client.directory.join("up"), pattern(LARGE)).unwrap();
    for block in ["1024", "256", "16"] {
        let length = if block == "16" { 10_240 } else { LARGE };
        fs::write(client.directory.join("up"), pattern(length)).unwrap();
        client.run(&["-b", block, "-m", "put", "-f", "up"], "store");
        client.run(&["-b", block, "-o", "down"], "store");
        let down = fs::read(client.directory.join("down")).unwrap();
        assert_eq!(down.len(), length, "blocks of {block}");
        assert_eq!(down, pattern(length));
    }
    client.run(&["-o", "large"], "large");
    assert_eq!(fs::read(client.directory.join("large")).unwrap(), pattern(LARGE));
}

#[test]
fn their_client_observes() {
    let Some(client) = TheirClient::new("libcoap-observe") else { return };
    // `-s`: observe for so many seconds; the clock notifies each second.
    let seen = client.run(&["-s", "3"], "time").out;
    // The first state and at least one other, however slow the machine is.
    assert!(seen.matches("up for").count() >= 2, "{seen}");
}

#[test]
fn their_server_serves_our_client() {
    let Some(libcoap) = Libcoap::find() else { return };
    let address = free_port(own_address());
    let _server = libcoap.serve(address, 4).unwrap();
    let mut client = Client::plain(address, Config::default()).unwrap();
    let request = |code, path: &str| {
        Request::new(code, Uri::parse(&format!("coap://{address}/{path}")).unwrap())
    };
    client.ping(address).unwrap();
    let links = client.request(address, &request(Code::GET, ".well-known/core")).unwrap();
    assert!(String::from_utf8(links.body).unwrap().contains("</time>"));
    let nowhere = client.request(address, &request(Code::GET, "nowhere")).unwrap();
    assert_eq!(nowhere.code, Code::NOT_FOUND);

    // `/async` answers late: the empty acknowledgement first, the response by itself.
    let late = client.request(address, &request(Code::GET, "async?1")).unwrap();
    assert_eq!(late.code, Code::CONTENT);

    let put = request(Code::PUT, "blob").body(pattern(LARGE));
    assert_eq!(client.request(address, &put).unwrap().code, Code::CREATED);
    let stored = client.request(address, &request(Code::GET, "blob")).unwrap();
    assert_eq!(stored.code, Code::CONTENT);
    assert_eq!(stored.body, pattern(LARGE));
    let small = Request { block: capmesh_coap::block::BlockSize::MIN, ..put.body(pattern(5_000)) };
    assert_eq!(client.request(address, &small).unwrap().code, Code::CHANGED);
    let small =
        Request { block: capmesh_coap::block::BlockSize::MIN, ..request(Code::GET, "blob") };
    assert_eq!(client.request(address, &small).unwrap().body, pattern(5_000));
    let deleted = client.request(address, &request(Code::DELETE, "blob")).unwrap();
    assert_eq!(deleted.code, Code::DELETED);

    // libcoap's 4.02 quotes the option that it does not know, a critical one, which our side does
    // not know either: a response with it must be rejected (RFC 7252 section 5.4.1).
    let unknown = request(Code::GET, "time").option(OptionNumber(65_001), &[1]);
    let rejected = client.request(address, &unknown).unwrap_err();
    assert!(matches!(rejected, Failure::Exchange(Reason::BadOption)), "{rejected}");
}

#[test]
fn our_client_observes_their_server() {
    let Some(libcoap) = Libcoap::find() else { return };
    let address = free_port(own_address());
    let _server = libcoap.serve(address, 4).unwrap();
    let mut client = Client::plain(address, Config::default()).unwrap();
    let uri = Uri::parse(&format!("coap://{address}/time")).unwrap();
    let (first, mut observation) = client.observe(address, Request::new(Code::GET, uri)).unwrap();
    assert_eq!(first.code, Code::CONTENT);
    let mut before = first.body;
    // Every fifth notification of libcoap's is confirmable: both kinds are seen.
    for _ in 0..6 {
        let deadline = Some(client.shell().now() + Duration::from_secs(10));
        let next = client.notification(address, &mut observation, deadline).unwrap();
        assert_eq!(next.code, Code::CONTENT);
        assert_ne!(next.body, before);
        before = next.body;
    }
    client.deregister(&observation).unwrap();
}
