//! What the tests share: a real broker of another maker, and something that listens to it.

use capmesh_gateway::{Commit, Publication, Token};
use capmesh_gatewayd::mqtt::{self, Backoff, Client, Incoming, Mqtt, Server, Settings};
use capmesh_gatewayd::storage::{Opened, Storage};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Whether there are the programs that a test plays with. A test that has to go without says so; where
/// `CI` is set it fails.
pub(crate) fn is_there(what: &str, program: &str, how_to_get_it: &str) -> bool {
    let is_there = program.contains('/') && Path::new(program).exists()
        || std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()));
    if !is_there {
        let message = format!("SKIPPED: {what} is not installed ({how_to_get_it})");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
        eprintln!("{message}");
    }
    is_there
}

/// As [`is_there`], for the broker and the clients of Debian's Mosquitto.
pub(crate) fn has_mosquitto() -> bool {
    ["mosquitto", "mosquitto_sub", "mosquitto_pub"]
        .iter()
        .all(|program| is_there("Mosquitto", program, "cargo xtask setup"))
}

/// A port that nobody has just now.
pub(crate) fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Debian's Mosquitto, ended when it is dropped.
pub(crate) struct Mosquitto(Child);

impl Mosquitto {
    /// Starts it and waits until it takes connections.
    pub(crate) fn start(directory: &Path, port: u16) -> Self {
        let config = directory.join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\npersistence false\n"
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Mosquitto (Debian: apt-get install mosquitto)");
        let broker = Self(child);
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < PATIENCE, "Mosquitto does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        broker
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `mosquitto_sub`, ended when it is dropped.
pub(crate) struct Subscriber {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Subscriber {
    /// Subscribes with QoS 1; what comes is given as `TOPIC PAYLOAD`.
    pub(crate) fn start(port: u16, more: &[&str]) -> Self {
        // It tells a pipe only now and then that it has subscribed, unless it is made to.
        let mut child = Command::new("stdbuf")
            .args([
                "-oL",
                "mosquitto_sub",
                "-h",
                "127.0.0.1",
                "-p",
                &port.to_string(),
                "-q",
                "1",
                "-v",
                "-d",
            ])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto_sub (Debian: apt-get install mosquitto-clients)");
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let subscriber = Self { child, lines };
        subscriber.wait_for(|line| line.starts_with("Subscribed"));
        subscriber
    }

    /// Waits for a line.
    pub(crate) fn wait_for(&self, is_it: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(started.elapsed());
            let line = self.lines.recv_timeout(left).expect("what was waited for has not come");
            if is_it(&line) {
                return line;
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A gateway's way to a broker, without a gateway.
pub(crate) struct Pump {
    pub(crate) mqtt: Mqtt,
    pub(crate) opened: Opened,
    pub(crate) incoming: mpsc::Receiver<Incoming>,
    pub(crate) up: mpsc::UnboundedReceiver<bool>,
    pub(crate) task: tokio::task::JoinHandle<()>,
    token: u64,
}

impl Pump {
    pub(crate) fn start(state: &Path, server: &Server) -> Self {
        let opened = Storage::open(state).unwrap();
        let (mqtt, ears) = Mqtt::new();
        let (sender, incoming) = mpsc::channel(64);
        let (up_sender, up) = mpsc::unbounded_channel();
        let offline = publication("test/status", "offline", true);
        let dial = Client::new(server, "capmesh-test", &offline, sender);
        let short = Backoff::new(Duration::from_millis(50), Duration::from_millis(200));
        let settings = Settings { offline, backoff: short };
        let (storage, outbox) = (opened.storage.clone(), opened.outbox.clone());
        let task = tokio::spawn(mqtt::run(dial, settings, ears, storage, outbox, up_sender));
        Self { mqtt, opened, incoming, up, task, token: 0 }
    }

    /// Commits publications and waits until they are durable.
    pub(crate) async fn commit(&mut self, publications: Vec<Publication>) {
        self.token += 1;
        let token = Token(self.token);
        self.opened.storage.commit(Commit { token, publications, changes: Vec::new() }.into());
        assert_eq!(self.opened.committed.recv().await, Some((token, Ok(()))));
    }

    pub(crate) async fn wait_up(&mut self, wanted: bool) {
        let wait = async { while self.up.recv().await.unwrap() != wanted {} };
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
    }

    /// Waits until the broker has everything.
    pub(crate) async fn wait_empty(&self) {
        let started = Instant::now();
        while self.opened.outbox.waiting() > 0 {
            assert!(started.elapsed() < PATIENCE, "{} wait", self.opened.outbox.waiting());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(crate) fn publication(topic: &str, payload: &str, retain: bool) -> Publication {
    let (topic, payload) = (topic.to_owned(), payload.as_bytes().to_vec());
    Publication { topic, payload, retain, qos: 1, ..Publication::default() }
}

/// A broker at a port of this machine.
pub(crate) fn server(port: u16) -> Server {
    Server { host: "127.0.0.1".to_owned(), port, credentials: None, tls: None }
}
