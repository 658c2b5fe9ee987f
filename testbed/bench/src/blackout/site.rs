//! A site: each of its parts a process of its own, and everything done by the command.

use crate::broker::{self, Broker};
use capmesh_interop::peers::scratch;
use capmesh_interop::process::Process;
use serde_json::Value;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

/// How long anything but the measurement may take. Only a fault takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The capsules and their schema, and the pipeline of the two.
const FILES: [(&str, &str); 6] = [
    ("count.toml", include_str!("capsules/count.toml")),
    ("clock.toml", include_str!("capsules/clock.toml")),
    ("clock.wat", include_str!("capsules/clock.wat")),
    ("keeper.toml", include_str!("capsules/keeper.toml")),
    ("keeper.wat", include_str!("capsules/keeper.wat")),
    ("pipeline.toml", include_str!("pipeline.toml")),
];

/// The nodes, and what pipelines know them by.
const NODES: [(&str, &str); 3] = [("source", "clock"), ("left", "keeper"), ("right", "keeper")];

/// A site that runs until this is dropped.
pub(crate) struct Site {
    capmesh: PathBuf,
    directory: PathBuf,
    broker: Broker,
    api: String,
    registry: String,
    /// Registry, gateway, nodes.
    processes: Vec<Process>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.processes.clear();
        // What is left of it is of no use to anybody.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Site {
    /// Starts everything, with the nodes adopted and the capsules in the registry.
    pub(crate) fn start(capmesh: PathBuf) -> Result<Self, Failed> {
        let directory = scratch("bench-blackout");
        let broker = broker::start(&directory)?;
        let (mesh, http) = (port()?, port()?);
        let mut site = Self {
            capmesh,
            directory,
            broker,
            api: format!("http://127.0.0.1:{http}"),
            registry: String::new(),
            processes: Vec::new(),
        };
        for (name, text) in FILES {
            std::fs::write(site.path(name), text)?;
        }
        site.run(&["site", "init"])?;
        site.run(&["site", "add", "gateway", "--role", "gateway"])?;
        site.run(&["site", "add", "registry", "--role", "registry"])?;
        let any = "127.0.0.1:0";
        let registry =
            site.spawn("registry", &["registry", "--listen", any, "--http", any, "--state", "r"])?;
        let registry_mesh = said(&registry, "listening ")?;
        site.registry = said(&registry, "http ")?;
        site.processes.push(registry);
        let mut words = vec!["gateway".to_owned(), "--registry".to_owned(), registry_mesh];
        words.extend(["--listen".to_owned(), format!("127.0.0.1:{mesh}")]);
        words.extend(["--http".to_owned(), format!("127.0.0.1:{http}")]);
        words.extend(["--mqtt".to_owned(), format!("mqtt://127.0.0.1:{}", site.broker.port)]);
        words.extend(["--state".to_owned(), "g".to_owned()]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let gateway = site.spawn("gateway", &words)?;
        site.processes.push(gateway);
        site.wait_for_gateway()?;
        for (name, label) in NODES {
            site.start_node(name, label)?;
        }
        site.push("clock")?;
        site.push("keeper")?;
        Ok(site)
    }

    /// The port of the broker.
    pub(crate) const fn broker(&self) -> u16 {
        self.broker.port
    }

    /// Runs the pipeline.
    pub(crate) fn deploy(&self) -> Result<(), Failed> {
        self.run(&["deploy", "pipeline.toml"]).map(drop)
    }

    /// Moves the capsule with the state, and returns what the gateway says of that.
    pub(crate) fn migrate(&self, to: &str) -> Result<Value, Failed> {
        let said = self.run(&["--json", "migrate", "blackout/keeper", "--to", to])?;
        Ok(serde_json::from_str(&said)?)
    }

    fn start_node(&mut self, name: &str, label: &str) -> Result<(), Failed> {
        let words = ["node", "run", "--name", name, "--listen", "127.0.0.1:0"];
        let node = self.spawn(name, &[&words[..], &["--no-sensors", "--state", name]].concat())?;
        let (at, claim) = (said(&node, "listening ")?, said(&node, "claim ")?);
        self.processes.push(node);
        self.run(&["node", "adopt", "--at", &at, "--name", name, "--label", label, &claim])
            .map(drop)
    }

    /// Builds, signs and pushes a capsule.
    fn push(&self, name: &str) -> Result<(), Failed> {
        let (description, file) = (format!("{name}.toml"), format!("{name}.capsule"));
        let key = "capmesh-site/keys/publisher.pem";
        self.run(&["capsule", "build", &description, "--key", key, "--out", &file])?;
        self.run(&["capsule", "push", &file, "--registry", &self.registry]).map(drop)
    }

    fn wait_for_gateway(&self) -> Result<(), Failed> {
        let begun = Instant::now();
        loop {
            match self.run(&["node", "ls"]) {
                Ok(_) => return Ok(()),
                Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.capmesh);
        command.current_dir(&self.directory).args(["--gateway", &self.api]).args(words);
        command
    }

    fn spawn(&self, name: &str, words: &[&str]) -> Result<Process, Failed> {
        Process::start(name, &mut self.command(words)).map_err(|error| error.to_string().into())
    }

    /// Runs the command to its end; what it prints.
    fn run(&self, words: &[&str]) -> Result<String, Failed> {
        let output = self.command(words).output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("capmesh {}: {said}", words.join(" ")).into())
    }
}

/// What a process says behind a word at the beginning of a line.
fn said(process: &Process, word: &str) -> Result<String, Failed> {
    let line = process.wait_for(word, PATIENCE).map_err(|error| error.to_string())?;
    Ok(line.strip_prefix(word).ok_or("the line begins with something else")?.to_owned())
}

/// A port that nobody has just now.
fn port() -> Result<u16, Failed> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
