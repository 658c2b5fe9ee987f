//! The broker inside, by clients of other makers: Mosquitto's for MQTT 3.1.1 and 5.

use crate::common::{Subscriber, has_mosquitto, is_there};
use capmesh_gatewayd::broker::{Broker, BrokerError, Settings};
use capmesh_gatewayd::config::Secret;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn settings(state: &Path) -> Settings {
    Settings { listen: ANY, websocket: Some(ANY), credentials: None, state: state.to_owned() }
}

/// Publishes with QoS 1 and waits for the acknowledgement.
fn publish(port: u16, arguments: &[&str]) -> Output {
    Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1"])
        .args(arguments)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_versions_share_a_port() {
    if !has_mosquitto() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(&settings(directory.path())).await.unwrap();
    let port = broker.address().port();
    let work = tokio::task::spawn_blocking(move || {
        let old = Subscriber::start(port, &["-V", "311", "-t", "a/+"]);
        let new = Subscriber::start(port, &["-V", "5", "-t", "a/+"]);
        for (version, topic) in [("311", "a/old"), ("5", "a/new")] {
            assert!(publish(port, &["-V", version, "-t", topic, "-m", "x"]).status.success());
            let wanted = format!("{topic} x");
            assert_eq!(old.wait_for(|line| line.starts_with("a/")), wanted);
            assert_eq!(new.wait_for(|line| line.starts_with("a/")), wanted);
        }
    });
    work.await.unwrap();
}

/// What is retained under a filter, as long as it takes to get `count` of it or a second.
fn retained(port: u16, filter: &str, count: u32) -> Vec<String> {
    let output = Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-v", "-t", filter])
        .args(["-C", &count.to_string(), "-W", if count > 1 { "20" } else { "1" }])
        .output()
        .unwrap();
    let mut lines: Vec<_> =
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_retained_survives_a_restart() {
    if !has_mosquitto() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(&settings(directory.path())).await.unwrap();
    let port = broker.address().port();
    let work = move || {
        let publish = |arguments: &[&str]| {
            assert!(publish(port, &[&["-r", "-V", "5"], arguments].concat()).status.success());
        };
        publish(&["-t", "kept/0", "-m", "first"]);
        publish(&["-t", "kept/1", "-m", "first"]);
        publish(&["-t", "kept/1", "-m", "second"]);
        publish(&["-t", "kept/2", "-m", "gone"]);
        publish(&["-t", "kept/2", "-n"]);
        let short =
            ["-D", "publish", "message-expiry-interval", "1", "-t", "kept/3", "-m", "short"];
        publish(&short);
        assert_eq!(retained(port, "kept/#", 3).len(), 3);
    };
    tokio::task::spawn_blocking(work).await.unwrap();
    drop(broker);
    // What is to expire does.
    tokio::time::sleep(std::time::Duration::from_millis(2_000)).await;
    let broker = Broker::start(&settings(directory.path())).await.unwrap();
    let port = broker.address().port();
    let work = move || {
        assert_eq!(retained(port, "kept/#", 2), ["kept/0 first", "kept/1 second"]);
        assert!(retained(port, "kept/2", 1).is_empty() && retained(port, "kept/3", 1).is_empty());
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_know_the_password_stays_outside() {
    if !has_mosquitto() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let credentials = Some(("mesh".to_owned(), Secret::new("hush")));
    let settings = Settings { credentials, ..settings(directory.path()) };
    let broker = Broker::start(&settings).await.unwrap();
    let port = broker.address().port();
    let work = move || {
        let message = ["-t", "a", "-m", "x"];
        for version in ["311", "5"] {
            let with = |more: &[&str]| {
                let all = [&["-V", version], &message[..], more].concat();
                publish(port, &all).status.success()
            };
            assert!(!with(&[]));
            assert!(!with(&["-u", "mesh", "-P", "another"]));
            assert!(!with(&["-u", "another", "-P", "hush"]));
            assert!(with(&["-u", "mesh", "-P", "hush"]));
        }
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}

/// Runs Paho's client; says what it has to complain about.
fn paho(port: u16, more: &[&str]) -> Option<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/daemon/paho_peer.py");
    let output =
        Command::new(python()).args([script, &port.to_string()]).args(more).output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn python() -> String {
    let usual = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.capmesh/venv").to_owned();
    std::env::var("CAPMESH_VENV").unwrap_or(usual) + "/bin/python"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_speaks_both_versions_over_both_transports() {
    if !is_there("Paho", &python(), "cargo xtask setup") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let credentials = Some(("mesh".to_owned(), Secret::new("hush")));
    let settings = Settings { credentials, ..settings(directory.path()) };
    let broker = Broker::start(&settings).await.unwrap();
    let (plain, web) = (broker.address().port(), broker.websocket().unwrap().port());
    let work = move || {
        for version in ["311", "5"] {
            for (port, transport) in [(plain, "tcp"), (web, "websockets")] {
                let problem = paho(port, &[version, transport, "mesh", "hush"]);
                assert_eq!(problem, None, "{version} over {transport}");
                let refused = paho(port, &[version, transport, "mesh", "another"]);
                assert!(
                    refused.as_ref().is_some_and(|text| text.contains("refused")),
                    "{refused:?}"
                );
            }
        }
    };
    tokio::task::spawn_blocking(work).await.unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let error =
        Broker::start(&Settings { listen, ..settings(directory.path()) }).await.unwrap_err();
    assert!(
        matches!(&error, BrokerError::Listen(at, error)
            if *at == listen && error.kind() == std::io::ErrorKind::AddrInUse),
        "{error}"
    );
}
