//! The commands, one file for each kind.

mod capsule;
mod direct;
mod mesh;
mod site;

pub(crate) use capsule::Admission;
pub(crate) use mesh::explain;

use crate::progress::Waiting;
use crate::site::Site;
use crate::up::{self, Up};
use anyhow::Result;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use mesh::{doctor, instances, nodes, pipelines, top, watch};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What holds for every command, at the end of the help.
const CONVENTIONS: &str = "\
Results go to standard output, everything else to standard error.

With --json a result is a line of JSON for each thing: for nodes, instances, pipelines, plans, values and \
lines of the log the objects of the gateway's API, for what was merely done {\"message\": ...}. An error is \
one line on standard error, {\"error\": {\"code\", \"message\", \"causes\", \"help\", \"mistakes\"}}, where \
the code never changes and what is empty is left out.

Exit codes:
  0  it worked
  1  it was refused, or did not work
  2  the command line or the configuration is wrong
  3  something it needs is not there: a gateway or registry that answers, a file, a program";

/// Signed WebAssembly capsules on a mesh of sensor nodes.
///
/// `capmesh up` starts a whole mesh on this machine.
#[derive(Debug, Parser)]
#[command(name = "capmesh", version, propagate_version = true, after_long_help = CONVENTIONS)]
pub struct Arguments {
    /// The gateway's API
    #[arg(
        long,
        global = true,
        env = "CAPMESH_GATEWAY_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL",
        help_heading = "Where"
    )]
    gateway: String,
    /// What the gateway wants to be told, if it listens to more than its own machine
    #[arg(
        long,
        global = true,
        env = "CAPMESH_TOKEN",
        hide_env_values = true,
        help_heading = "Where"
    )]
    token: Option<String>,
    /// The site's directory, for `site`, `direct`, `gateway` and `registry`
    #[arg(
        long,
        global = true,
        env = "CAPMESH_SITE",
        default_value = "capmesh-site",
        value_name = "DIR",
        help_heading = "Where"
    )]
    site: PathBuf,
    /// Print JSON, one value a line; errors too
    #[arg(long, global = true, display_order = 900)]
    json: bool,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up(Up),
    /// Be, adopt, look at, empty and revoke nodes
    #[command(subcommand)]
    Node(nodes::Node),
    /// Build, check, sign, try out, push and pull capsules
    #[command(subcommand)]
    Capsule(capsule::Capsule),
    /// Run a pipeline, or change the one of its name
    Deploy(pipelines::Deploy),
    /// End a pipeline and forget it
    Undeploy(pipelines::Undeploy),
    /// List the pipelines
    Ls,
    /// Show what runs where and why
    Plan(pipelines::Plan),
    /// List the instances
    Ps(instances::Ps),
    /// Move an instance to another node with its state
    Migrate(instances::Migrate),
    /// Start an instance afresh, without its state
    Restart(instances::Restart),
    /// Show the messages of a topic as they come
    Tap(watch::Tap),
    /// Show the logs of nodes and gateway
    Logs(watch::Logs),
    /// Show the mesh as it changes
    Top,
    /// Say what is wrong, and what to do about it
    Doctor,
    /// Be a gateway, until interrupted
    Gateway(capmesh_gatewayd::command::Arguments),
    /// Be a capsule registry, until interrupted
    Registry(capmesh_registry::command::Arguments),
    /// Make a site, and say who belongs to it
    #[command(subcommand)]
    Site(site::Site),
    /// Talk to one node over CoAP as the site's operator, with no gateway in between
    #[command(subcommand)]
    Direct(direct::Direct),
    /// Print what a shell needs to complete commands
    Completions {
        /// Which shell
        shell: Shell,
    },
}

impl Verb {
    /// Whether it runs until it is told to end, whoever reads what it prints.
    const fn serves(&self) -> bool {
        matches!(
            self,
            Self::Up(_) | Self::Gateway(_) | Self::Registry(_) | Self::Node(nodes::Node::Run(_))
        )
    }
}

/// Does what the arguments say.
///
/// # Errors
/// If that is not possible, with the reason for people.
pub fn run(arguments: Arguments) -> Result<()> {
    let Arguments { gateway, token, site: directory, json, command } = arguments;
    let at = Context { gateway, token, directory, json };
    if !command.serves() {
        // As other tools do, it ends without a word where nobody reads on (`capmesh ps | head -1`).
        let ends = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_default(signal_hook::consts::SIGPIPE, ends)?;
    }
    match command {
        Verb::Up(up) => up::run(&up, at.json),
        Verb::Node(command) => nodes::run(&at, command),
        Verb::Capsule(command) => capsule::run(&at, command),
        Verb::Deploy(arguments) => pipelines::deploy(&at, &arguments),
        Verb::Undeploy(arguments) => pipelines::undeploy(&at, &arguments),
        Verb::Ls => pipelines::ls(&at),
        Verb::Plan(arguments) => pipelines::plan(&at, &arguments),
        Verb::Ps(arguments) => instances::ps(&at, &arguments),
        Verb::Migrate(arguments) => instances::migrate(&at, &arguments),
        Verb::Restart(arguments) => instances::restart(&at, &arguments),
        Verb::Tap(arguments) => watch::tap(&at, &arguments),
        Verb::Logs(arguments) => watch::logs(&at, &arguments),
        Verb::Top => top::top(&at),
        Verb::Doctor => doctor::doctor(&at),
        Verb::Gateway(mut arguments) => {
            if at.json {
                arguments.log_format.get_or_insert_with(|| "json".to_owned());
            }
            capmesh_gatewayd::command::run(&at.directory, arguments)
        }
        Verb::Registry(arguments) => {
            let arguments = capmesh_registry::command::Arguments { json: at.json, ..arguments };
            capmesh_registry::command::run(&at.directory, arguments, Arc::new(capsule::Admission))
        }
        Verb::Site(command) => site::run(&at, &command),
        Verb::Direct(command) => direct::run(&at, &command),
        Verb::Completions { shell } => {
            let mut command = Arguments::command();
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command, "capmesh", &mut text);
            Ok(std::io::stdout().write_all(&text)?)
        }
    }
}

/// What is the same for every command.
#[derive(Debug)]
struct Context {
    gateway: String,
    token: Option<String>,
    directory: PathBuf,
    json: bool,
}

impl Context {
    /// Says what was done, to people or to a program.
    fn say(&self, json: &serde_json::Value, text: &str) {
        if self.json {
            println!("{json}");
        } else {
            println!("{text}");
        }
    }

    /// Says what is waited for, if it takes its time and people read.
    fn waiting(&self, what: impl Into<String>) -> Option<Waiting> {
        (!self.json).then(|| Waiting::begin(what))
    }

    fn site(&self) -> Result<Site> {
        Site::open(&self.directory)
    }
}
