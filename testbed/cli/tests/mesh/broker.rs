//! A broker of another maker, Debian's Mosquitto, and somebody who listens there.

use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::process::{PATIENCE, Process, within};

/// Whether Mosquitto is there. A test that has to go without says so; where `CI` is set it fails.
pub(crate) fn has_mosquitto() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |program: &str| std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    let is_there = ["mosquitto", "mosquitto_sub", "mosquitto_pub"].into_iter().all(has);
    if !is_there {
        let message = "SKIPPED: Mosquitto is not installed (cargo xtask setup)";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
        eprintln!("{message}");
    }
    is_there
}

/// A port that nobody has just now.
pub(crate) fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A broker that keeps nothing when it is killed.
pub(crate) struct Broker {
    process: Option<Process>,
    config: PathBuf,
    pub(crate) port: u16,
}

impl Broker {
    pub(crate) fn start(directory: &Path) -> Self {
        let (port, config) = (port(), directory.join("mosquitto.conf"));
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\npersistence false\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut broker = Self { process: None, config, port };
        broker.start_again();
        broker
    }

    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it and waits until it takes connections.
    pub(crate) fn start_again(&mut self) {
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&self.config).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(Process::spawn(&mut command));
        within(PATIENCE, "Mosquitto takes connections", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// Publishes a message.
    pub(crate) fn publish(&self, topic: &str, payload: &str) {
        let status = Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-q", "1", "-t", topic, "-m", payload])
            .status();
        assert!(status.unwrap().success());
    }
}

/// What has come.
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: String,
}

impl Message {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap()
    }
}

/// `mosquitto_sub`, which remembers all that comes.
pub(crate) struct Listener {
    process: Process,
    heard: Arc<Mutex<Vec<Message>>>,
}

impl Listener {
    /// Listens to a topic filter; returns once the broker knows.
    pub(crate) fn start(port: u16, filter: &str) -> Self {
        let heard = Arc::<Mutex<Vec<Message>>>::default();
        let process = Self::listen(port, filter, &heard);
        Self { process, heard }
    }

    /// Listens at a broker that was started anew, and goes on with the same memory.
    pub(crate) fn listen_again(&mut self, port: u16, filter: &str) {
        self.process = Self::listen(port, filter, &self.heard);
    }

    fn listen(port: u16, filter: &str, heard: &Arc<Mutex<Vec<Message>>>) -> Process {
        // It tells a pipe only now and then what has come, unless it is made to.
        let mut command = Command::new("stdbuf");
        command
            .args(["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", &port.to_string()])
            .args(["-q", "1", "-v", "-d", "-t", filter])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = Process::spawn(&mut command);
        let mut lines = BufReader::new(process.output()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with("Subscribed")), "mosquitto_sub subscribes");
        let heard = Arc::clone(heard);
        std::thread::spawn(move || {
            // What it says of itself has no such beginning.
            for line in lines.filter(|line| line.starts_with("capmesh/")) {
                let (topic, payload) = line.split_once(' ').unwrap_or((&line, ""));
                let (topic, payload) = (topic.to_owned(), payload.to_owned());
                heard.lock().unwrap().push(Message { topic, payload });
            }
        });
        process
    }

    /// What `look` makes of all that has come.
    pub(crate) fn heard<T>(&self, look: impl FnOnce(&[Message]) -> T) -> T {
        look(&self.heard.lock().unwrap())
    }
}
