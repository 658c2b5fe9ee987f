//! The nodes: processes of their own.

use super::examples;
use anyhow::{Context as _, Result, anyhow, ensure};
use capmesh_client::Client;
use capmesh_client::api::Adopt;
use capmesh_wire::Claim;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// How long a node that has ended stays away: long enough to see the others take over.
const AWAY: Duration = Duration::from_secs(15);

/// How long nodes may take to end.
const LAST: Duration = Duration::from_secs(5);

/// What a node is given.
struct Spec {
    name: &'static str,
    flash: &'static str,
    ram: &'static str,
    fuel: &'static str,
    senses: Senses,
}

/// What a node senses.
enum Senses {
    /// The machine that it runs on.
    Machine,
    /// What was recorded in a city.
    City,
    Nothing,
}

/// Unequal, as nodes are.
const NODES: [Spec; 6] = [
    Spec { name: "hall", flash: "2M", ram: "4M", fuel: "50M", senses: Senses::Machine },
    Spec { name: "attic", flash: "1M", ram: "2M", fuel: "30M", senses: Senses::Machine },
    Spec { name: "street", flash: "1M", ram: "1M", fuel: "20M", senses: Senses::City },
    Spec { name: "kitchen", flash: "1M", ram: "512K", fuel: "10M", senses: Senses::Nothing },
    Spec { name: "cellar", flash: "512K", ram: "256K", fuel: "5M", senses: Senses::Nothing },
    Spec { name: "garage", flash: "512K", ram: "128K", fuel: "2M", senses: Senses::Nothing },
];

/// The nodes that run, and what they were started with.
pub(super) struct Children {
    place: Place,
    nodes: Vec<Node>,
}

/// What all of them are given.
struct Place {
    state: PathBuf,
    /// What the one with recordings replays; what comes with the command if absent.
    rows: Option<PathBuf>,
}

struct Node {
    spec: &'static Spec,
    process: Child,
    /// It runs as long as this is open.
    life: Option<ChildStdin>,
    /// Where it was, to be there again after a restart.
    address: Option<SocketAddr>,
    claim: Option<Claim>,
}

impl Children {
    /// Starts them all.
    pub(super) fn start(state: &Path, rows: Option<&Path>) -> Result<Self> {
        examples::write_recordings(&state.join("recordings"))?;
        let place = Place { state: state.into(), rows: rows.map(Path::to_path_buf) };
        let start = |spec| {
            let mut process = place.launch(spec, None)?;
            let life = process.stdin.take();
            Ok(Node { spec, process, life, address: None, claim: None })
        };
        let nodes = NODES.iter().map(start).collect::<Result<_>>()?;
        Ok(Self { place, nodes })
    }

    pub(super) const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Waits until they say where they are, and makes them members of the site.
    pub(super) async fn adopt(&mut self, client: &Client) -> Result<()> {
        for node in &mut self.nodes {
            node.listen().await?;
        }
        let all = self.nodes.iter().map(|node| async {
            let (Some(claim), Some(address)) = (node.claim, node.address) else { return Ok(()) };
            let name = node.spec.name.to_owned();
            let adopt = Adopt { claim, address, name, labels: Vec::new() };
            client.adopt(adopt).await.map(drop).map_err(|error| crate::commands::explain(&error))
        });
        for (done, spec) in futures_util::future::join_all(all).await.into_iter().zip(&NODES) {
            done.with_context(|| format!("node {} was not adopted", spec.name))?;
        }
        Ok(())
    }

    /// Starts those anew that end, after a while. Never returns.
    pub(super) async fn tend(&mut self) {
        let place = &self.place;
        let all = self.nodes.iter_mut().map(|node| async move {
            loop {
                let ended = node.process.wait().await;
                let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                eprintln!(
                    "node {} has ended ({how}); it is started anew in {} s",
                    node.spec.name,
                    AWAY.as_secs()
                );
                tokio::time::sleep(AWAY).await;
                if let Err(error) = node.start_anew(place).await {
                    eprintln!("node {}: {error:#}", node.spec.name);
                    return;
                }
                eprintln!("node {} is back", node.spec.name);
            }
        });
        futures_util::future::join_all(all).await;
        std::future::pending::<()>().await;
    }

    /// Has them all end, and waits for it.
    pub(super) async fn end(mut self) {
        for node in &mut self.nodes {
            node.life = None;
        }
        let all = self.nodes.iter_mut().map(|node| node.process.wait());
        // Those that do not end in time are killed as they are dropped; their flash stays whole.
        let _ = tokio::time::timeout(LAST, futures_util::future::join_all(all)).await;
    }
}

impl Node {
    /// Reads where it listens and what it claims, which it says first.
    async fn listen(&mut self) -> Result<()> {
        let output = self.process.stdout.take().context("its output is read twice")?;
        let mut lines = BufReader::new(output).lines();
        while self.address.is_none() || self.claim.is_none() {
            let Some(line) = lines.next_line().await? else {
                return Err(anyhow!("it ended at once"))
                    .with_context(|| format!("node {}; its log says why", self.spec.name));
            };
            match line.split_once(' ') {
                Some(("listening", text)) => self.address = Some(text.parse()?),
                Some(("claim", text)) => self.claim = Some(text.parse()?),
                _ => {}
            }
        }
        // What else it says is read, so that it never waits for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(())
    }

    async fn start_anew(&mut self, place: &Place) -> Result<()> {
        let before = self.address.take();
        self.process = place.launch(self.spec, before)?;
        self.life = self.process.stdin.take();
        self.listen().await?;
        ensure!(before.is_none() || self.address == before, "it listens somewhere else now");
        Ok(())
    }
}

impl Place {
    /// Starts a node: this program once more, which ends when its standard input does.
    fn launch(&self, spec: &Spec, address: Option<SocketAddr>) -> Result<Child> {
        let state = &self.state;
        let own = std::env::current_exe().context("this program")?;
        let log = state.join("logs").join(format!("{}.log", spec.name));
        let log = File::options().create(true).append(true).open(&log).context("the log")?;
        let address =
            address.map_or_else(|| "127.0.0.1:0".to_owned(), |address| address.to_string());
        let mut command = Command::new(own);
        command
            .args(["node", "run", "--while-stdin", "--no-sync", "--board", "linux-process"])
            .args(["--name", spec.name, "--listen", &address])
            .args(["--flash", spec.flash, "--ram", spec.ram, "--fuel", spec.fuel])
            .arg("--state")
            .arg(state.join("nodes").join(spec.name));
        match spec.senses {
            Senses::Machine => {}
            Senses::City => {
                let replay = examples::replay(&state.join("recordings"), self.rows.as_deref());
                command.arg("--no-sensors").arg("--replay").arg(replay);
            }
            Senses::Nothing => {
                command.arg("--no-sensors");
            }
        }
        // Ctrl-C goes to this process only, which then ends its children in order.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        command.spawn().with_context(|| format!("cannot start node {}", spec.name))
    }
}
