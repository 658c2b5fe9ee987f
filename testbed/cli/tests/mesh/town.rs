//! A whole mesh, every part of it a process of its own: registry, gateway, an external broker, nodes.
//! On it, if wanted, a pipeline that counts: `parse` numbers rows as fast as they come, and each number
//! passes `range` and `fill` on `every` wires on its way to the broker.

use crate::broker::{Broker, Listener, Message, port};
use crate::machine::{CAPMESH, Machine, Place};
use crate::process::{PATIENCE, Process, within};
use capmesh::site::Site;
use capmesh_client::api::{
    Adopt, Deploy, InstanceView, MigrationState, MigrationView, NodeState, Which,
};
use capmesh_client::{Client, Error};
use capmesh_wire::Role;
use capmesh_wire::inventory::InstanceState;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long a mesh may take to work again after somebody was killed.
pub(crate) const RECOVERY: Duration = Duration::from_secs(10);

/// What arrives at the end of the pipeline that counts.
pub(crate) const COUNTED: &str = "capmesh/home/node/+/count--fill/whole";

/// A member of the site who may command nobody.
pub(crate) const READER: &str = "reader";

const COUNT: &str = r#"
[pipeline]
name = "count"

[[capsule]]
name = "parse"
use = "examples/air-parse:1.0.0"
config = { period = 10 }

[[capsule]]
name = "range"
use = "examples/air-range-filter:1.0.0"
failover = "checkpoint"

[[capsule]]
name = "fill"
use = "examples/air-interpolate:1.0.0"
failover = "checkpoint"

[[wire]]
from = "parse.climate"
to = "range.climate"
delivery = "every"
rate = 100

[[wire]]
from = "range.valid"
to = "fill.climate"
delivery = "every"
rate = 100

[bridge]
publish = [{ from = "fill.whole", delivery = "every", rate = 100 }]
"#;

pub(crate) struct Town {
    pub(crate) nodes: Vec<Machine>,
    pub(crate) broker: Broker,
    pub(crate) listener: Listener,
    pub(crate) registry_http: String,
    pub(crate) client: Client,
    pub(crate) runtime: Runtime,
    gateway: Process,
    registry: Process,
    registry_mesh: String,
    ports: [u16; 2],
    pub(crate) place: Place,
}

impl Town {
    /// Starts a mesh with nodes of these names; the first replays rows a hundred times a second.
    /// Listens at the broker to `filter`.
    pub(crate) fn start(test: &str, nodes: &[&str], filter: &str) -> Self {
        let place = Place::new(test);
        let mut site = Site::create(&place.site(), "home").unwrap();
        site.make_member("gateway", Role::Gateway).unwrap();
        site.make_member("registry", Role::Registry).unwrap();
        site.make_member(READER, Role::Node).unwrap();
        let publisher = std::fs::read(examples().join("capsules/dist/examples.ccs")).unwrap();
        site.enrol(&publisher, Role::Publisher).unwrap();
        let broker = Broker::start(&place.join(""));
        let listener = Listener::start(broker.port, filter);
        let (registry, [registry_mesh, registry_http]) = registry(&place);
        let ports = [port(), port()];
        let gateway = gateway(&place, &registry_mesh, ports, broker.port);
        let client = Client::new(&format!("http://127.0.0.1:{}", ports[1]), None).unwrap();
        let mut town = Self {
            nodes: Vec::new(),
            broker,
            listener,
            registry_http,
            client,
            runtime: Runtime::new().unwrap(),
            gateway,
            registry,
            registry_mesh,
            ports,
            place,
        };
        town.wait(PATIENCE, "the gateway works", |town| {
            town.ask(town.client.site()).is_ok_and(|site| site.mqtt.connected)
        });
        town.add_nodes(nodes);
        town
    }

    fn add_nodes(&mut self, names: &[&str]) {
        let recording = recording(&self.place);
        for (at, name) in names.iter().enumerate() {
            let replay = ["--replay", &recording, "--every", "0.01"];
            let more = if at == 0 { &replay[..] } else { &[] };
            self.nodes.push(Machine::start_with(&self.place, name, more));
        }
        for node in &self.nodes {
            let (claim, address) = (node.claim(), node.address());
            let adopt = Adopt { claim, address, name: node.name().to_owned(), labels: Vec::new() };
            self.ask(self.client.adopt(adopt)).unwrap();
        }
        let count = names.len();
        self.wait(PATIENCE, "all nodes are online", |town| {
            let nodes = town.ask(town.client.nodes()).unwrap_or_default();
            nodes.iter().filter(|node| node.state == NodeState::Online).count() == count
        });
    }

    /// Runs the pipeline that counts until the first numbers have come.
    pub(crate) fn count(&self) {
        for name in ["air-parse", "air-range-filter", "air-interpolate"] {
            self.push(&examples().join(format!("capsules/dist/{name}.capsule"))).unwrap();
        }
        let deploy = Deploy { text: COUNT.to_owned(), file: None, dry_run: false };
        self.ask(self.client.deploy(deploy)).unwrap();
        self.wait_rows(PATIENCE, 100);
    }

    /// Puts a capsule into the registry, as a person does.
    pub(crate) fn push(&self, file: &Path) -> Result<String, String> {
        let file = file.to_str().unwrap();
        self.run(&["capsule", "push", file, "--registry", &self.registry_http])
    }

    /// Runs the command; what it prints, or how it fails.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(CAPMESH)
            .args(["--gateway", &self.client.url()])
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    pub(crate) fn ask<T>(
        &self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.runtime.block_on(request)
    }

    /// Waits until something holds; returns how long that took.
    pub(crate) fn wait(
        &self,
        limit: Duration,
        what: &str,
        holds: impl Fn(&Self) -> bool,
    ) -> Duration {
        within(limit, what, || holds(self))
    }

    /// An instance of the pipeline that counts.
    pub(crate) fn instance(&self, name: &str) -> Option<InstanceView> {
        let which = Which { pipeline: Some("count".to_owned()), node: None };
        let all = self.ask(self.client.instances(which)).ok()?;
        all.into_iter().find(|instance| instance.name == name)
    }

    /// Where an instance of the pipeline that counts runs, if it does.
    pub(crate) fn place_of(&self, name: &str) -> Option<String> {
        let instance = self.instance(name)?;
        (instance.state == Some(InstanceState::Running)).then_some(instance.node)
    }

    /// Has an instance of the pipeline that counts begin to move to the other node; says where to.
    pub(crate) fn begin_move(&self, name: &str, between: [&str; 2]) -> (MigrationView, String) {
        let from = self.instance(name).unwrap().node;
        let to = between.into_iter().find(|node| *node != from).unwrap();
        let instance = format!("count/{name}").parse().unwrap();
        (self.ask(self.client.migrate(instance, to)).unwrap(), to.to_owned())
    }

    /// Whether every node is heard and no move is under way.
    pub(crate) fn is_calm(&self) -> bool {
        let Ok(nodes) = self.ask(self.client.nodes()) else { return false };
        let Ok(moves) = self.ask(self.client.migrations()) else { return false };
        let is_over =
            |m: &MigrationView| matches!(m.state, MigrationState::Done | MigrationState::Undone);
        nodes.iter().all(|node| node.state == NodeState::Online) && moves.iter().all(is_over)
    }

    /// How many rows have come, counted from 0.
    pub(crate) fn rows(&self) -> usize {
        self.listener.heard(<[Message]>::len)
    }

    /// Waits until so many more rows have come, none of which came before; returns how long that took.
    pub(crate) fn wait_rows(&self, limit: Duration, more: u64) -> Duration {
        let last = self.listener.heard(|all| all.iter().map(row).max());
        let wanted = last.map_or(0, |last| last + 1) + more;
        self.wait(limit, "rows arrive", |town| {
            town.listener.heard(|all| all.iter().rev().take(200).any(|m| row(m) + 1 >= wanted))
        })
    }

    pub(crate) fn node(&mut self, name: &str) -> &mut Machine {
        self.nodes.iter_mut().find(|node| node.name() == name).unwrap()
    }

    /// Where nodes reach the gateway.
    pub(crate) fn gateway_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[0]))
    }

    pub(crate) fn registry(&self) -> &Process {
        &self.registry
    }

    pub(crate) fn gateway(&self) -> &Process {
        &self.gateway
    }

    pub(crate) fn kill_gateway(&mut self) {
        self.gateway.kill();
    }

    pub(crate) fn start_gateway(&mut self) {
        self.gateway = gateway(&self.place, &self.registry_mesh, self.ports, self.broker.port);
    }
}

/// The number of a row that has arrived.
pub(crate) fn row(message: &Message) -> u64 {
    message.json()["row"].as_u64().unwrap()
}

/// Every row has come once, and in order.
pub(crate) fn assert_once(all: &[Message]) {
    for (message, expected) in all.iter().zip(0..) {
        assert_eq!(row(message), expected, "lost, doubled or out of order: {}", message.payload);
    }
}

/// Every row has come, in order; some may have come again: to the broker, a gateway that was killed says
/// once more what it does not know to have arrived.
pub(crate) fn assert_all(all: &[Message]) {
    let mut next = 0;
    for message in all {
        let row = row(message);
        assert!(row <= next, "{next} to {row} are lost");
        next = next.max(row + 1);
    }
}

/// The directory with the examples.
pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// Rows to be replayed, each with another name, as the node is told of them.
fn recording(place: &Place) -> String {
    let mut text = String::new();
    for number in 0..5_000 {
        let row = format!(
            r#"{{"e":[{{"n":"source","sv":"sensor-{number}"}},{{"n":"longitude","v":"6.1"}},
{{"n":"latitude","v":"46.2"}},{{"n":"temperature","v":"8"}},{{"n":"humidity","v":"50"}},
{{"n":"airquality_raw","v":"20"}}]}}"#
        );
        writeln!(text, "{number},{}", row.replace('\n', "")).unwrap();
    }
    let rows = place.join("rows.csv");
    std::fs::write(&rows, text).unwrap();
    let schema = examples().join("pipelines/data/air-quality.toml");
    format!("air-quality={},{}", rows.display(), schema.display())
}

/// The registry, and where it is for nodes and for tools.
fn registry(place: &Place) -> (Process, [String; 2]) {
    let mut registry = Process::spawn(
        Command::new(CAPMESH)
            .arg("--site")
            .arg(place.site())
            .args(["registry", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state"])
            .arg(place.join("registry"))
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(place.join("registry.log")).unwrap()),
    );
    let mut lines = BufReader::new(registry.output()).lines().map(Result::unwrap);
    let mut said = |what: &str| {
        let line = lines.find_map(|line| line.strip_prefix(what).map(str::to_owned));
        line.unwrap_or_else(|| panic!("the registry does not say {what:?}"))
    };
    let addresses = [said("listening "), said("http ")];
    (registry, addresses)
}

fn gateway(place: &Place, registry: &str, [mesh, http]: [u16; 2], broker: u16) -> Process {
    // Where this registry is stands under its name; somewhere else there is none.
    let config = place.join("gateway.toml");
    let text = format!("registry = \"127.0.0.1:9\"\n[registries]\nregistry = \"{registry}\"\n");
    std::fs::write(&config, text).unwrap();
    let log = std::fs::File::options().create(true).append(true).open(place.join("gateway.log"));
    Process::spawn(
        Command::new(CAPMESH)
            .arg("--site")
            .arg(place.site())
            .arg("gateway")
            .arg("--config")
            .arg(&config)
            .args(["--listen", &format!("127.0.0.1:{mesh}")])
            .args(["--http", &format!("127.0.0.1:{http}")])
            .args(["--mqtt", &format!("mqtt://127.0.0.1:{broker}")])
            .stdout(Stdio::null())
            .stderr(log.unwrap()),
    )
}
