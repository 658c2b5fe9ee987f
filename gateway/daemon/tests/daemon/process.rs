//! The program as a process: what it serves, what it says, and how it ends.

use crate::common::{PATIENCE, Subscriber, has_mosquitto, port};
use crate::site;
use capmesh_client::api::{Event, LogQuery};
use capmesh_client::{Client, Error};
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A gateway as a process, killed when it is dropped.
struct Gateway {
    child: Child,
    http: u16,
    mqtt: u16,
}

/// The ports of a gateway.
#[derive(Clone, Copy)]
struct Ports {
    http: u16,
    mqtt: u16,
}

impl Ports {
    fn free() -> Self {
        Self { http: port(), mqtt: port() }
    }
}

fn command(directory: &Path, ports: Ports) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_capmesh-gatewayd"));
    command
        .args(["--site".as_ref(), directory.as_os_str()])
        .args(["--listen", "127.0.0.1:0", "--broker-websocket", ""])
        .args(["--http", &format!("127.0.0.1:{}", ports.http)])
        .args(["--broker-listen", &format!("127.0.0.1:{}", ports.mqtt)])
        .stderr(Stdio::piped());
    command
}

impl Gateway {
    fn start(directory: &Path, ports: Ports) -> Self {
        let child = command(directory, ports).spawn().unwrap();
        Self { child, http: ports.http, mqtt: ports.mqtt }
    }

    fn client(&self) -> Client {
        Client::new(&format!("http://127.0.0.1:{}", self.http), None).unwrap()
    }

    /// Waits until it works; says how long that took.
    async fn ready(&mut self) -> Duration {
        let started = Instant::now();
        loop {
            match self.client().site().await {
                Ok(site) if site.mqtt.connected => return started.elapsed(),
                Ok(_) | Err(Error::Unreachable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            assert!(self.child.try_wait().unwrap().is_none(), "it has ended: {}", self.said());
            assert!(started.elapsed() < PATIENCE, "it is not ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn said(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn terminate(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const STATUS: &str = "capmesh/garden/gw/gateway/status";

#[tokio::test]
async fn it_serves_says_goodbye_and_finds_its_state_again() {
    if !has_mosquitto() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    site::create(directory.path());
    let ports = Ports::free();
    let mut gateway = Gateway::start(directory.path(), ports);
    let took = gateway.ready().await;
    println!("ready after {took:?}");
    let site = gateway.client().site().await.unwrap();
    assert_eq!((site.site.as_str(), site.gateway.as_str()), ("garden", "gateway"));
    assert!(site.has_site_key && site.nodes == 0 && site.now_at.is_some());
    assert!(gateway.client().nodes().await.unwrap().is_empty());
    gateway.client().log(LogQuery::default()).await.unwrap();
    let mut events = gateway.client().events().await.unwrap();
    assert!(matches!(events.next().await.unwrap(), Some(Event::Mqtt(_))));
    let refused = gateway.client().drain("n1").await.unwrap_err();
    assert_eq!(refused.code(), "unknown-node", "{refused}");

    let subscriber = Subscriber::start(gateway.mqtt, &["-t", "capmesh/#"]);
    assert_eq!(subscriber.wait_for(|line| line.starts_with(STATUS)), format!("{STATUS} online"));
    assert!(gateway.terminate().success());
    assert!(gateway.said().contains("stopped"));

    let mut again = Gateway::start(directory.path(), ports);
    again.ready().await;
    let site = again.client().site().await.unwrap();
    assert_eq!(site.roster, 1, "the roster is the same");
}

#[tokio::test]
async fn a_kill_is_noticed_by_the_broker_of_others_and_survived() {
    if !has_mosquitto() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    site::create(directory.path());
    let ports = Ports::free();
    let broker = port();
    let _mosquitto = crate::common::Mosquitto::start(directory.path(), broker);
    let subscriber = Subscriber::start(broker, &["-t", "capmesh/#"]);
    let start = || {
        let url = format!("mqtt://127.0.0.1:{broker}");
        let child = command(directory.path(), ports).args(["--mqtt", &url]).spawn().unwrap();
        Gateway { child, http: ports.http, mqtt: broker }
    };
    let is_status = |line: &str| line.starts_with(STATUS);
    for _ in 0..3 {
        let mut gateway = start();
        gateway.ready().await;
        assert_eq!(subscriber.wait_for(is_status), format!("{STATUS} online"));
        gateway.child.kill().unwrap();
        gateway.child.wait().unwrap();
        assert_eq!(subscriber.wait_for(is_status), format!("{STATUS} offline"));
    }
}

#[tokio::test]
async fn what_is_taken_is_named_with_a_way_out() {
    let directory = tempfile::tempdir().unwrap();
    site::create(directory.path());
    let mut first = Gateway::start(directory.path(), Ports::free());
    first.ready().await;
    let fails = |ports: Ports, more: &[&str]| {
        let other = directory.path().join("other");
        let output =
            command(directory.path(), ports).arg("--state").arg(other).args(more).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text)
    };
    let taken = Ports { http: first.http, ..Ports::free() };
    let (code, text) = fails(taken, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&first.http.to_string()) && text.contains("--http"), "{text}");
    let taken = Ports { mqtt: first.mqtt, ..Ports::free() };
    let (code, text) = fails(taken, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("--mqtt mqtt://") && text.contains("ss -ltnp"), "{text}");
    // The same state directory.
    let output = command(directory.path(), Ports::free()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && text.contains("another gateway"), "{text}");
    // What it is told is wrong.
    let (code, text) = fails(Ports::free(), &["--http", "0.0.0.0:8080"]);
    assert!(code == Some(2) && text.contains("http.token"), "{text}");
    let (code, text) = fails(Ports::free(), &["--site", "/nowhere"]);
    assert!(code == Some(2) && text.contains("capmesh site init"), "{text}");
    let (code, text) = fails(Ports::free(), &["--log", "a=b=c"]);
    assert!(code == Some(2) && text.contains("log.filter"), "{text}");
}
