//! A whole mesh on one machine: registry, broker and gateway in this process, six nodes as processes of
//! their own, a pipeline on them.
//!
//! Everything is kept in one directory, so that the next `up` finds it again:
//!
//! ```text
//! lock                held as long as a mesh runs from here
//! site/               the site (see `site`)
//! registry/ gateway/  what they keep
//! nodes/NAME/         a node's flash
//! recordings/         what nodes replay
//! logs/NAME.log       what nodes say
//! ```

mod children;
mod examples;
mod machine;
mod progress;

pub(crate) use examples::pipeline;

use crate::Failure;
use crate::site::Site;
use anyhow::{Context as _, Result, anyhow, ensure};
use capmesh_client::Client;
use capmesh_client::api::{Deploy, Event};
use capmesh_gatewayd::config::Target;
use capmesh_wire::Role;
use children::Children;
use clap::Args;
use progress::Progress;
use serde_json::json;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What the gateway and the registry are called on the roster.
const GATEWAY: &str = "gateway";
const REGISTRY: &str = "registry";

/// The port at which the command looks for a gateway if nothing is said.
const GATEWAY_PORT: u16 = 8080;

/// How long the first value may take before `up` says so and goes on.
const FIRST_VALUE: Duration = Duration::from_secs(30);

/// Start a whole mesh on this machine: broker, registry, gateway, six nodes, a pipeline
#[derive(Clone, Debug, Args)]
pub struct Up {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = "capmesh-up")]
    pub state: PathBuf,

    /// Forget what an earlier `up` kept there
    #[arg(long)]
    pub fresh: bool,

    /// The pipeline to deploy: a file, or the name of an example
    #[arg(long, value_name = "FILE", default_value = "machine-health")]
    pub pipeline: String,

    /// The port of the page and the API; 0 takes any that is free, here and below
    #[arg(long, value_name = "PORT", default_value_t = GATEWAY_PORT)]
    pub http: u16,

    /// The port for MQTT
    #[arg(long, value_name = "PORT", default_value_t = 1883)]
    pub mqtt: u16,

    /// The port for MQTT over WebSocket
    #[arg(long, value_name = "PORT", default_value_t = 8083)]
    pub websocket: u16,

    /// The port of the registry (OCI over HTTP)
    #[arg(long, value_name = "PORT", default_value_t = 5050)]
    pub oci: u16,

    /// The gateway's port for nodes (CoAP over UDP)
    #[arg(long, value_name = "PORT", default_value_t = 5683)]
    pub coap: u16,

    /// Rows that the node `street` replays as its sensor air-quality (SenML, as
    /// examples/pipelines/data/README.md says), instead of those that come with the command
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,

    /// Use this broker instead of the one inside: mqtt://HOST:PORT
    #[arg(long, value_name = "URL", value_parser = broker)]
    pub broker: Option<Target>,

    /// End after the first value has arrived: to see whether it works
    #[arg(long, hide = true)]
    pub check: bool,
}

/// A broker that is not the one inside, or none.
fn broker(text: &str) -> Result<Target, String> {
    Target::try_from(text.to_owned())
}

/// Runs a mesh until the process is told to stop (SIGTERM or SIGINT). Says as JSON where it is, if a
/// program is to read that.
///
/// # Errors
/// If it cannot start.
pub fn run(up: &Up, json: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start")?.block_on(serve(up, json))
}

async fn serve(up: &Up, json: bool) -> Result<()> {
    let stop = |kind| signal(kind).context("signals");
    let mut stops = [stop(SignalKind::interrupt())?, stop(SignalKind::terminate())?];
    let [interrupt, terminate] = &mut stops;
    let progress = Progress::new();
    let text = pipeline(&up.pipeline)?;
    if let Some(rows) = &up.replay {
        ensure!(rows.is_file(), "--replay {}: there is no such file", rows.display());
    }
    let _lock = prepare(up)?;
    let site = site(&up.state.join("site"))?;
    let mut mesh = tokio::select! {
        mesh = Mesh::start(up, &site, &progress) => mesh?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    let deployed = tokio::select! {
        deployed = mesh.deploy(up, text, &progress) => deployed,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    if deployed.is_ok() && !up.check {
        mesh.say_where(up, json);
        tokio::select! {
            () = mesh.children.tend() => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    progress.done("ending");
    progress.begin("nodes and gateway end");
    mesh.end().await;
    deployed
}

/// The directory, which nobody else uses as long as the file lives.
fn prepare(up: &Up) -> Result<File> {
    let directory = &up.state;
    let name = || directory.display().to_string();
    ensure!(!directory.exists() || directory.is_dir(), "--state {}: not a directory", name());
    fs::create_dir_all(directory).with_context(name)?;
    let lock = File::create(directory.join("lock")).with_context(name)?;
    lock.try_lock().map_err(|_| {
        Failure::new("conflict", format!("a mesh runs from {} already", name())).help(
            "end that one, or start another: capmesh up --state DIR --http 0 --mqtt 0 --websocket 0 \
             --oci 0 --coap 0",
        )
    })?;
    if up.fresh {
        for part in ["site", "registry", "gateway", "nodes", "recordings", "logs"] {
            match fs::remove_dir_all(directory.join(part)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot forget {}", name()));
                }
                _ => {}
            }
        }
    }
    for part in ["registry", "gateway", "nodes", "recordings", "logs"] {
        fs::create_dir_all(directory.join(part)).with_context(name)?;
    }
    Ok(lock)
}

/// The site: made at the first start.
fn site(directory: &Path) -> Result<Site> {
    if directory.join("site.toml").exists() {
        return Site::open(directory);
    }
    let mut site = Site::create(directory, "home")?;
    site.make_member(GATEWAY, Role::Gateway)?;
    site.make_member(REGISTRY, Role::Registry)?;
    site.enrol(examples::PUBLISHER, Role::Publisher).context("the publisher of the examples")?;
    Ok(site)
}

/// What runs.
struct Mesh {
    registry: capmesh_registry::Handle,
    gateway: capmesh_gatewayd::Handle,
    client: Client,
    children: Children,
}

impl Mesh {
    async fn start(up: &Up, site: &Site, progress: &Progress) -> Result<Self> {
        progress.begin("the registry starts");
        let registry = machine::registry(up, site).await?;
        let pushed = machine::push(&registry)?;
        progress.done(&format!("registry at {}, with {pushed} capsules", registry.http()));
        progress.begin("gateway and broker start");
        let gateway = machine::gateway(up, registry.mesh()).await?;
        let page = gateway.addresses().http;
        let client = Client::new(&format!("http://{page}"), None)?;
        progress.done(&format!("gateway and broker, page at http://{page}"));
        progress.begin("nodes start and are adopted");
        let mut children = Children::start(&up.state, up.replay.as_deref())?;
        children.adopt(&client).await?;
        progress.done(&format!("{} nodes, adopted", children.len()));
        Ok(Self { registry, gateway, client, children })
    }

    /// Deploys the pipeline, unless it is there from an earlier start, and waits for its first value.
    async fn deploy(&self, up: &Up, text: String, progress: &Progress) -> Result<()> {
        let mut events =
            self.client.events().await.map_err(|error| crate::commands::explain(&error))?;
        let wish = Deploy { text, file: Some(up.pipeline.clone()), dry_run: false };
        progress.begin("the gateway looks the pipeline's capsules up and places them");
        let deployed =
            self.client.deploy(wish).await.map_err(|error| crate::commands::explain(&error))?;
        let pipeline = &deployed.pipeline;
        progress.done(&format!(
            "pipeline {}: {} capsules placed",
            pipeline.name,
            pipeline.instances.len()
        ));
        progress.begin("nodes fetch and start capsules; no value yet");
        let first = async {
            while let Some(event) =
                events.next().await.map_err(|error| crate::commands::explain(&error))?
            {
                if let Event::Value(value) = event {
                    return Ok(value);
                }
            }
            Err(anyhow!("the gateway has ended"))
        };
        match tokio::time::timeout(FIRST_VALUE, first).await {
            Ok(value) => {
                let value = value?;
                progress.done(&format!("first value: {} {}", value.topic, shown(&value.value)));
            }
            Err(_) => {
                ensure!(!up.check, "no value within {} s", FIRST_VALUE.as_secs());
                progress.done("no value yet; `capmesh doctor` says what is wrong");
            }
        }
        Ok(())
    }

    fn say_where(&self, up: &Up, json: bool) {
        let addresses = self.gateway.addresses();
        let inside = || addresses.mqtt.map(|at| format!("mqtt://{at}"));
        let broker = up.broker.as_ref().map(Target::to_string).or_else(inside).unwrap_or_default();
        if json {
            let at = json!({
                "page": format!("http://{}", addresses.http), "mqtt": broker,
                "topics": "capmesh/home/#", "registry": format!("http://{}", self.registry.http()),
                "nodes": addresses.mesh,
            });
            let _ = writeln!(std::io::stdout(), "{at}");
            return;
        }
        let elsewhere = addresses.http.port() != GATEWAY_PORT;
        let at =
            if elsewhere { format!(" --gateway http://{}", addresses.http) } else { String::new() };
        let capmesh = format!("{}{at}", machine::own_name());
        // The mesh goes on, also if nobody reads this.
        let _ = write!(
            std::io::stdout(),
            "\n  page  http://{}\n  MQTT  {broker}, topics capmesh/home/#\n\n\
             Try, in another terminal:\n  {capmesh} ps -w\n  {capmesh} tap\n  \
             {capmesh} deploy city-air\n\n\
             Ctrl-C ends everything; the next `up` goes on from there.\n",
            addresses.http
        );
    }

    async fn end(self) {
        self.children.end().await;
        self.gateway.shutdown().await;
        self.registry.stop().await;
    }
}

fn shown(value: &serde_json::Map<String, serde_json::Value>) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A port of this machine.
const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
