//! The program as a process: what it says, how it ends, and what survives kill -9.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests"
)]

use capmesh_coap::option::OptionNumber;
use capmesh_coap::{Code, Message};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

struct Node {
    child: Child,
    address: SocketAddr,
    claim: String,
    id: String,
}

fn command(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_capmesh-node"));
    command.arg("--state").arg(state).args([
        "--listen",
        "127.0.0.1:0",
        "--no-sensors",
        "--name",
        "oven",
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Node {
    fn start(state: &Path) -> Self {
        Self::spawn(&mut command(state))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut fact = |name: &str| {
            let line = lines.next().expect("it says who it is").unwrap();
            let fact = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
            fact.unwrap_or_else(|| panic!("`{line}` does not say {name}")).to_owned()
        };
        let address = fact("listening").parse().unwrap();
        let (claim, id) = (fact("claim"), fact("node"));
        Self { child, address, claim, id }
    }

    fn signal(&mut self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Asks for `.well-known/core`, in the clear. Who answers at length first wants to know whether
    /// the address is right (RFC 9175), so that the question is asked with their Echo again.
    fn discover(&self) -> String {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut echo = Vec::new();
        let mut buf = [0; 2_048];
        for id in 0..8_u8 {
            // CON, no token, GET; Uri-Path in two segments.
            let mut request = vec![0x40, 1, 0, id];
            request.extend_from_slice(b"\xbb.well-known\x04core");
            if let Some(len) = u8::try_from(echo.len()).ok().filter(|len| (1..13).contains(len)) {
                request.extend_from_slice(&[0xd0 | len, 252 - 11 - 13]);
                request.extend_from_slice(&echo);
            }
            socket.send_to(&request, self.address).unwrap();
            let Ok(len) = socket.recv(&mut buf) else { continue };
            let message = Message::parse(&buf[..len]).unwrap();
            match message.code() {
                Code::CONTENT => return String::from_utf8(message.payload().to_vec()).unwrap(),
                _ => echo = message.option(OptionNumber::ECHO).expect("an Echo").to_vec(),
            }
        }
        panic!("no answer");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process that cannot start ends with, and what it says.
fn failure(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn it_answers_and_stops_when_it_is_told_to() {
    let state = tempfile::tempdir().unwrap();
    for signal in ["TERM", "INT"] {
        let mut node = Node::start(state.path());
        let links = node.discover();
        assert!(links.contains("</"), "{links}");
        node.signal(signal);
        assert_eq!(node.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn it_is_the_same_node_after_kill_9() {
    let state = tempfile::tempdir().unwrap();
    let mut claims = Vec::new();
    for _ in 0..4 {
        let mut node = Node::start(state.path());
        node.discover();
        claims.push((node.claim.clone(), node.id.clone()));
        node.child.kill().unwrap();
        node.child.wait().unwrap();
    }
    claims.dedup();
    assert_eq!(claims.len(), 1, "{claims:?}");
    let other = tempfile::tempdir().unwrap();
    assert_ne!(Node::start(other.path()).claim, claims[0].0);
}

#[test]
fn its_state_is_its_own() {
    use std::os::unix::fs::PermissionsExt;
    let state = tempfile::tempdir().unwrap();
    let state = state.path().join("deep/down");
    let node = Node::start(&state);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&state), mode(&state.join("flash"))), (0o700, 0o600));
    let (code, said) = failure(&mut command(&state));
    assert_eq!(code, Some(3), "{said}");
    drop(node);
    let (code, said) = failure(command(&state).args(["--flash", "4M"]));
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("8388608"), "{said}");
}

#[test]
fn wrong_arguments_and_addresses_have_their_codes() {
    let state = tempfile::tempdir().unwrap();
    let node = Node::start(&state.path().join("a"));
    let taken = node.address.to_string();
    let other = state.path().join("b");
    for (arguments, code, words) in [
        (["--listen", &taken], 5, "cannot listen"),
        (["--interface", "nonesuch0"], 5, "there are: "),
        (["--flash", "63K"], 2, "multiple of 4096"),
        (["--flash", "many"], 2, "number"),
        (["--name", "no/name"], 2, "--name"),
        (["--replay", "x"], 2, "NAME=ROWS,SCHEMA"),
        (["--replay", "x=/nonesuch,/nonesuch.toml"], 2, "nonesuch.toml"),
        (["--state", "/dev/null/x"], 4, "/dev/null"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_capmesh-node"));
        command.args(["--no-sensors", "--listen", "127.0.0.1:0"]);
        if arguments[0] != "--state" {
            command.arg("--state").arg(&other);
        }
        // An option is given once.
        if arguments[0] == "--listen" {
            command = Command::new(env!("CARGO_BIN_EXE_capmesh-node"));
            command.arg("--no-sensors").arg("--state").arg(&other);
        }
        let (found, said) = failure(command.args(arguments));
        assert_eq!(found, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn sensors_are_shown_with_their_schemas() {
    let state = tempfile::tempdir().unwrap();
    let rows = state.path().join("rows.json");
    let schema = state.path().join("dust.toml");
    std::fs::write(&rows, "{\"n\":\"dust\",\"v\":\"3.5\"}\n").unwrap();
    let text = "name = \"dust\"\nversion = 2\n[[field]]\nname = \"value\"\ntype = \"f32\"\n";
    std::fs::write(&schema, text).unwrap();
    let replay = format!("dust={},{}", rows.display(), schema.display());
    let mut child =
        command(state.path()).args(["--replay", &replay, "--show-sensors"]).spawn().unwrap();
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(shown.starts_with("# sensor `dust`\nname = \"dust\"\nversion = 2\n"), "{shown}");
}

#[test]
fn it_ends_with_standard_input_if_that_is_wanted() {
    let place = tempfile::tempdir().unwrap();
    let mut node = Node::spawn(command(place.path()).arg("--while-stdin").stdin(Stdio::piped()));
    assert!(node.child.try_wait().unwrap().is_none());
    drop(node.child.stdin.take());
    assert!(node.child.wait().unwrap().success());
}
