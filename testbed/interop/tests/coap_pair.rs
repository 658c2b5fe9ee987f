//! The example `coap-pair` as its README shows it: our server and our client as programs, no outside
//! peer.

#![expect(clippy::unwrap_used, reason = "helpers of tests are not recognised as tests")]

mod common;

use capmesh_interop::pattern;
use capmesh_interop::peers::{ANSWER, own_address};
use capmesh_interop::process::{Finished, Process};
use common::{Keys, Mode, serve};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// Runs `coap-pair` to its end.
fn pair(arguments: &[&str], keys: &[PathBuf]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_interop-pair"));
    let process = Process::start("coap-pair", command.args(arguments).args(keys)).unwrap();
    process.finish(ANSWER).unwrap()
}

/// What the README does, in one mode.
fn tour(test: &str, mode: Mode) {
    let address = SocketAddr::from((own_address(), 5683));
    let keys = Keys::new(test, mode, "coap://unused");
    let _server = serve(address, &keys.for_our_server());
    let client = keys.for_our_client();
    let uri = |path: &str| format!("coap://{}/{path}", address.ip());
    let get = |path: &str| pair(&["get", &uri(path)], &client);

    let hello = get("hello");
    assert!(hello.status.success(), "{hello:?}");
    assert_eq!(hello.out, "hello from capmesh");
    assert!(hello.err.starts_with("2.05 Content"), "{}", hello.err);
    assert_eq!(get("whoami").out.contains("somebody"), mode == Mode::Plain);
    let links = get(".well-known/core").out;
    assert!(links.contains("</time>;title=\"Time since the start\";obs"), "{links}");

    let file = keys.directory().join("body");
    fs::write(&file, pattern(102_400)).unwrap();
    let (up, down) = (file.to_str().unwrap(), file.with_extension("back"));
    let put = pair(&["put", &uri("store"), "--file", up], &client);
    assert!(put.err.starts_with("2.01 Created"), "{}", put.err);
    pair(&["get", &uri("store"), "--output", down.to_str().unwrap(), "--block", "256"], &client);
    assert_eq!(fs::read(&down).unwrap(), pattern(102_400));
    let echo = pair(&["post", &uri("echo"), "--body", "and back", "--non"], &client);
    assert_eq!(echo.out, "and back");

    let observed = pair(&["get", &uri("time"), "--observe", "3"], &client);
    assert_eq!(observed.out.lines().count(), 3, "{}", observed.out);

    assert_eq!(get("nowhere").status.code(), Some(4));
    assert_eq!(pair(&["delete", &uri("hello")], &client).status.code(), Some(4));
    assert!(pair(&["ping", &uri("")], &[]).out.contains("answers"));
}

#[test]
fn plain() {
    tour("coap-pair-plain", Mode::Plain);
}

#[test]
fn oscore() {
    tour("coap-pair-oscore", Mode::Oscore);
}

#[test]
fn edhoc_combined() {
    tour("coap-pair-combined", Mode::Combined);
}

#[test]
fn edhoc_separate() {
    tour("coap-pair-separate", Mode::Separate);
}

#[test]
fn a_context_is_used_by_one_process_at_a_time() {
    let keys = Keys::new("coap-pair-lock", Mode::Oscore, "coap://unused");
    let _server = serve(SocketAddr::from((own_address(), 5683)), &keys.for_our_server());
    let second = pair(&["serve", "--bind", "127.0.0.1:0"], &keys.for_our_server());
    assert!(!second.status.success());
    assert!(second.err.contains("it is in use"), "{}", second.err);
}

#[test]
fn strangers_are_told_so() {
    let address = SocketAddr::from((own_address(), 5683));
    let ours = Keys::new("coap-pair-ours", Mode::Combined, "coap://unused");
    let theirs = Keys::new("coap-pair-theirs", Mode::Combined, "coap://unused");
    let _server = serve(address, &ours.for_our_server());
    let uri = format!("coap://{}/hello", address.ip());
    let stranger = pair(&["get", &uri], &theirs.for_our_client());
    assert_eq!(stranger.status.code(), Some(1));
    assert!(stranger.err.contains("unknown credential"), "{}", stranger.err);
    // What needs no authentication is still there for them.
    assert_eq!(pair(&["get", &uri], &[]).out, "hello from capmesh");
}

#[test]
fn mistakes_are_explained() {
    for (arguments, expected) in [
        (&["get", "http://127.0.0.1/"][..], "a URI like coap://"),
        (&["get", "coap://127.0.0.1/", "--block", "100"], "a power of two"),
        (&["get", "coap://127.0.0.1/", "--oscore", "/nowhere"], "/nowhere"),
        (&["get", "coap://127.0.0.1/", "--edhoc", "/nowhere"], "/nowhere"),
        (&["put", "coap://127.0.0.1/", "--file", "/nowhere"], "/nowhere"),
        (&["serve", "--bind", "192.0.2.1:5683"], "192.0.2.1"),
    ] {
        let finished = pair(arguments, &[]);
        assert!(!finished.status.success(), "{arguments:?}");
        assert!(finished.err.contains(expected), "{arguments:?}: {}", finished.err);
    }
}
