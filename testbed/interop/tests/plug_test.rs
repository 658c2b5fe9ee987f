//! The OSCORE plug test (test-spec5), with aiocoap's client and server for it.
//!
//! | test | what |
//! |---|---|
//! | 0 | plain CoAP |
//! | 1, 2 | GET without and with an ID Context |
//! | 3, 4 | ETag, Uri-Query; Max-Age, Accept |
//! | 5 | Observe that is not granted |
//! | 6, 7 | Observe that the server ends; that the client ends |
//! | 8, 9, 10, 11 | POST; PUT with If-Match; with If-None-Match; DELETE |
//! | 12, 13, 14 | unknown kid; wrong sender key; wrong recipient key |
//! | 15 | replay |
//! | 16 | OSCORE to a server that does not know it |
//! | 17 | no OSCORE to a resource that wants it |
//!
//! Our client runs each test twice: against a server whose state is fresh, and against one that has
//! lost its replay window and recovers it by Echo (RFC 8613 appendix B.1.2).
//!
//! Test 16 wants a server that does not know OSCORE: ours without keys for aiocoap's client,
//! libcoap's for ours. Test 17 passes with aiocoap's client; aiocoap's server does not keep anybody
//! from its resources, so that our client has no refusal to see there.

#![expect(clippy::unwrap_used, reason = "helpers of tests are not recognised as tests")]

mod common;

use capmesh_coap::Code;
use capmesh_coap::endpoint::Config;
use capmesh_coap::option::OptionNumber;
use capmesh_coap::security::Plain;
use capmesh_coap_pair::client::{Client, Failure, Request, Response};
use capmesh_coap_pair::contexts::{Contexts, Identity};
use capmesh_coap_pair::shell::PairEndpoint;
use capmesh_coap_pair::uri::Uri;
use capmesh_interop::peers::{ANSWER, Aiocoap, Libcoap, START, own_address, scratch};
use capmesh_interop::process::Process;
use capmesh_oscore::{Context, Parameters};
use common::serve;
use hex_literal::hex;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MASTER_SECRET: [u8; 16] = hex!("0102030405060708090a0b0c0d0e0f10");
const MASTER_SALT: [u8; 8] = hex!("9e7ca92223786340");
const ID_CONTEXT: [u8; 8] = hex!("37cbf3210017a2d3");

/// The client's end of security context AB, from which CD differs by its ID Context.
const A: Parameters<'_> = Parameters {
    master_secret: &MASTER_SECRET,
    master_salt: &MASTER_SALT,
    id_context: None,
    sender_id: &[],
    recipient_id: &[1],
};

const C: Parameters<'_> = Parameters { id_context: Some(&ID_CONTEXT), ..A };

/// Writes the contexts that the plug test's programs and our server load from `directory`: `a` and
/// `c` are the client's ends, `b` and `d` the server's.
fn write_contexts(directory: &Path) {
    let hex = capmesh_coap_pair::store::hex;
    let secret = format!(
        r#"{{"secret_hex": "{}", "salt_hex": "{}"}}"#,
        hex(&MASTER_SECRET),
        hex(&MASTER_SALT)
    );
    let id_context = format!(r#", "id-context_hex": "{}""#, hex(&ID_CONTEXT));
    let contexts = [
        ("a", "", "01", ""),
        ("b", "01", "", ""),
        ("c", "", "01", &*id_context),
        ("d", "01", "", &*id_context),
    ];
    for (name, sender, recipient, more) in contexts {
        let context = directory.join(name);
        fs::create_dir_all(&context).unwrap();
        let settings =
            format!(r#"{{"sender-id_hex": "{sender}", "recipient-id_hex": "{recipient}"{more}}}"#);
        fs::write(context.join("settings.json"), settings).unwrap();
        fs::write(context.join("secret.json"), &secret).unwrap();
    }
}

/// aiocoap's client, test `number`, against our server.
fn their_client(number: u8) {
    let Some(aiocoap) = Aiocoap::find() else { return };
    let Some(programs) = aiocoap.plug_test() else { return };
    let directory = scratch(&format!("plug-test-their-client-{number}"));
    write_contexts(&directory);
    let address = SocketAddr::from((own_address(), 5683));
    let ours: Vec<PathBuf> = match number {
        // The server that does not know OSCORE.
        16 => vec![],
        _ => ["b", "d"].iter().flat_map(|name| ["--oscore".into(), directory.join(name)]).collect(),
    };
    let _server = serve(address, &ours);
    let mut command = aiocoap.command(&programs.join("plugtest-client"));
    command.arg(address.ip().to_string()).arg(&directory).arg(number.to_string());
    let client = Process::start("plugtest-client", &mut command).unwrap();
    let finished = client.finish(ANSWER).unwrap();
    assert!(finished.status.success(), "{finished:?}");
    let begins = |line: &&str, with: &[&str]| with.iter().any(|start| line.starts_with(start));
    let pass = ["Additional verify passed", "Check passed", "Passed"];
    let fail = ["Additional verify failed", "Expectation failed", "Failed", "Dubious"];
    assert!(finished.out.lines().any(|line| begins(&line, &pass)), "{}", finished.out);
    assert!(!finished.out.lines().any(|line| begins(&line, &fail)), "{}", finished.out);
}

/// aiocoap's server for the plug test.
struct TheirServer {
    process: Process,
    address: SocketAddr,
}

impl TheirServer {
    fn start(test: &str, arguments: &[&str]) -> Option<Self> {
        let aiocoap = Aiocoap::find()?;
        let programs = aiocoap.plug_test()?;
        let directory = scratch(test);
        write_contexts(&directory);
        let address = SocketAddr::from((own_address(), 5683));
        let mut command = aiocoap.command(&programs.join("plugtest-server"));
        command.args(["--bind", &address.to_string()]).args(arguments).arg(&directory);
        let process = Process::start("plugtest-server", &mut command).unwrap();
        process.wait_for("Plugtest server ready", START).unwrap();
        Some(Self { process, address })
    }

    fn client(&self, parameters: &Parameters<'_>) -> (Client<PairEndpoint<Contexts>>, Identity) {
        oscore_client(self.address, parameters)
    }

    /// What the server thought of the requests.
    fn is_content(&self) {
        let transcript = self.process.transcript();
        assert!(!transcript.contains("verify failed"), "{transcript}");
    }
}

fn oscore_client(
    address: SocketAddr,
    parameters: &Parameters<'_>,
) -> (Client<PairEndpoint<Contexts>>, Identity) {
    // Test 14 has a response that cannot be opened, so that the request is sent again and again:
    // three times are enough.
    let ack_timeout = Duration::from_millis(500);
    let config = Config { ack_timeout, max_retransmit: 2, ..Config::default() };
    let context = Context::derive(parameters).unwrap();
    Client::oscore(address, config, context, None).unwrap()
}

fn plain_client(address: SocketAddr) -> Client<PairEndpoint<Plain>> {
    Client::plain(address, Config::default()).unwrap()
}

fn request(code: Code, address: SocketAddr, path: &str) -> Request {
    Request::new(code, Uri::parse(&format!("coap://{address}/oscore/{path}")).unwrap())
}

/// A response's code, its options by number, and its body.
type Parts<'r> = (Code, Vec<(u16, &'r [u8])>, &'r [u8]);

fn parts<P>(response: &Response<P>) -> Parts<'_> {
    let options = response.options.iter().map(|(number, value)| (number.0, value.as_slice()));
    (response.code, options.collect(), &response.body)
}

const ETAG: u16 = OptionNumber::ETAG.0;
const CONTENT_FORMAT: u16 = OptionNumber::CONTENT_FORMAT.0;
const MAX_AGE: u16 = OptionNumber::MAX_AGE.0;
const HELLO: &[u8] = b"Hello World!";
const TEXT: (u16, &[u8]) = (CONTENT_FORMAT, &[]);

/// Our client, test `number`, against aiocoap's server.
fn our_client(number: u8) {
    let lost = ["--state-was-lost"];
    for (name, arguments) in [("fresh", &[][..]), ("recovering", &lost)] {
        let test = format!("plug-test-our-client-{number}-{name}");
        let Some(server) = TheirServer::start(&test, arguments) else { return };
        match number {
            0 => plain(&server),
            1 => hello(&server, &A),
            2 => hello(&server, &C),
            3..=4 | 8..=11 => methods(&server, number),
            5..=7 => observe(&server, number),
            12..=14 => wrong_context(&server, number),
            15 => replay(&server),
            17 => unprotected(&server),
            _ => unreachable!(),
        }
        // The server takes the end of the observation (Observe: 1) for a request without Observe, and
        // finds fault with it.
        if number != 7 {
            server.is_content();
        }
    }
}

fn plain(server: &TheirServer) {
    let mut client = plain_client(server.address);
    let hello = request(Code::GET, server.address, "hello/coap");
    let response = client.request(server.address, &hello).unwrap();
    assert_eq!(parts(&response), (Code::CONTENT, vec![TEXT], HELLO));
}

fn hello(server: &TheirServer, parameters: &Parameters<'_>) {
    let (mut client, to) = server.client(parameters);
    let response = client.request(to, &request(Code::GET, server.address, "hello/1")).unwrap();
    assert_eq!(parts(&response), (Code::CONTENT, vec![TEXT], HELLO));
    assert_eq!(response.peer, to);
}

fn methods(server: &TheirServer, number: u8) {
    let (mut client, to) = server.client(&A);
    let text = (OptionNumber::CONTENT_FORMAT, Vec::new());
    let ask = |code, path: &str, options: &[(OptionNumber, Vec<u8>)], body: &[u8]| {
        let mut request = request(code, server.address, path).body(body.to_vec());
        request.options.extend_from_slice(options);
        request
    };
    let (request, expected) = match number {
        3 => (
            ask(Code::GET, "hello/2?first=1", &[], &[]),
            (Code::CONTENT, vec![(ETAG, &[0x2b][..]), TEXT], HELLO),
        ),
        4 => (
            ask(Code::GET, "hello/3", &[(OptionNumber::ACCEPT, Vec::new())], &[]),
            (Code::CONTENT, vec![TEXT, (MAX_AGE, &[5][..])], HELLO),
        ),
        8 => {
            (ask(Code::POST, "hello/6", &[text], &[0x4a]), (Code::CHANGED, vec![TEXT], &[0x4a][..]))
        }
        9 => (
            ask(Code::PUT, "hello/7", &[(OptionNumber::IF_MATCH, vec![0x7b]), text], &[0x7a]),
            (Code::CHANGED, vec![], &[][..]),
        ),
        10 => (
            ask(Code::PUT, "hello/7", &[(OptionNumber::IF_NONE_MATCH, vec![]), text], &[0x8a]),
            (Code::PRECONDITION_FAILED, vec![], &[][..]),
        ),
        _ => (ask(Code::DELETE, "test", &[], &[]), (Code::DELETED, vec![], &[][..])),
    };
    let response = client.request(to, &request).unwrap();
    assert_eq!(parts(&response), expected);
}

fn observe(server: &TheirServer, number: u8) {
    let (mut client, to) = server.client(&A);
    let path = match number {
        5 => "hello/1",
        6 => "observe1",
        _ => "observe2",
    };
    let (first, mut observation) =
        client.observe(to, request(Code::GET, server.address, path)).unwrap();
    if number == 5 {
        assert_eq!(parts(&first), (Code::CONTENT, vec![TEXT], HELLO));
        assert!(observation.is_over());
        return;
    }
    assert_eq!((first.code, first.body.as_slice()), (Code::CONTENT, &b"one"[..]));
    assert!(!observation.is_over());
    let deadline = Some(client.shell().now() + ANSWER);
    let second = client.notification(to, &mut observation, deadline).unwrap();
    assert_eq!((second.code, second.body.as_slice()), (Code::CONTENT, &b"two"[..]));
    if number == 6 {
        let last = client.notification(to, &mut observation, deadline).unwrap();
        assert_eq!(last.code, Code::INTERNAL_SERVER_ERROR);
        assert_eq!(last.body, b"Terminate Observe");
        assert!(observation.is_over());
    } else {
        client.deregister(&observation).unwrap();
    }
}

fn wrong_context(server: &TheirServer, number: u8) {
    let hello = request(Code::GET, server.address, "hello/1");
    let wrong = match number {
        12 => Parameters { sender_id: &[0x77], ..A },
        13 => Parameters { master_secret: &[0x55; 16], ..A },
        // The recipient key is derived from the recipient's ID, the sender key is not.
        _ => Parameters { recipient_id: &[0x02], ..A },
    };
    let (mut client, to) = server.client(&wrong);
    let response = client.request(to, &hello);
    let expected = match number {
        12 => Code::UNAUTHORIZED,
        13 => Code::BAD_REQUEST,
        _ => {
            // Nothing that can be opened comes.
            let reason = response.unwrap_err();
            assert!(matches!(reason, Failure::Exchange(_)), "{reason}");
            return;
        }
    };
    let response = response.unwrap();
    assert_eq!(response.code, expected);
    assert_eq!(response.peer, Identity::Anonymous(server.address), "nobody vouches for it");
}

/// A second client begins with the sequence numbers of the first.
fn replay(server: &TheirServer) {
    let hello = request(Code::GET, server.address, "hello/1");
    for expected in [Code::CONTENT, Code::UNAUTHORIZED] {
        let (mut client, to) = server.client(&A);
        let response = client.request(to, &hello).unwrap();
        assert_eq!(response.code, expected);
        assert_eq!(response.peer == to, expected == Code::CONTENT);
    }
}

/// aiocoap's server does not keep its resources to those who use OSCORE, so that test 17 has no
/// 4.01 to see; what can be seen is that our client asks and is answered in the clear.
fn unprotected(server: &TheirServer) {
    let mut client = plain_client(server.address);
    let hello = request(Code::GET, server.address, "hello/1");
    let response = client.request(server.address, &hello).unwrap();
    assert_eq!(response.code, Code::CONTENT);
}

/// Test 16 of our client: libcoap's server of Debian does not know OSCORE.
#[test]
fn our_client_16() {
    let Some(libcoap) = Libcoap::find() else { return };
    let address = capmesh_interop::peers::free_port(own_address());
    let _server = libcoap.serve(address, 0).unwrap();
    let (mut client, to) = oscore_client(address, &A);
    let response = client.request(to, &request(Code::GET, address, "hello/coap")).unwrap();
    assert_eq!(response.code, Code::BAD_OPTION);
    assert_eq!(response.peer, Identity::Anonymous(address));
}

macro_rules! plug_tests {
    ($($number:literal: $theirs:ident $(, $ours:ident)?;)*) => {$(
        #[test]
        fn $theirs() {
            their_client($number);
        }

        $(
            #[test]
            fn $ours() {
                our_client($number);
            }
        )?
    )*};
}

plug_tests! {
    0: their_client_00, our_client_00;
    1: their_client_01, our_client_01;
    2: their_client_02, our_client_02;
    3: their_client_03, our_client_03;
    4: their_client_04, our_client_04;
    5: their_client_05, our_client_05;
    6: their_client_06, our_client_06;
    7: their_client_07, our_client_07;
    8: their_client_08, our_client_08;
    9: their_client_09, our_client_09;
    10: their_client_10, our_client_10;
    11: their_client_11, our_client_11;
    12: their_client_12, our_client_12;
    13: their_client_13, our_client_13;
    14: their_client_14, our_client_14;
    15: their_client_15, our_client_15;
    16: their_client_16;
    17: their_client_17, our_client_17;
}
