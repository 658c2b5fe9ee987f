//! `command`: what an operator sends to a node with any CoAP client.

use super::wires::{self, parse_instance, parse_node};
use super::{Failure, read, run, write};
use crate::codec;
use crate::reading;
use crate::seal::{self, Sealed};
use capmesh_description::{Description, Schema, Value};
use capmesh_wire::cbor::encode;
use capmesh_wire::control::{
    Command, Install, Nothing, Quiesce, Release, Remove, Renew, Run, Start, Target,
};
use capmesh_wire::plan::{Assignment, Failover};
use capmesh_wire::schema::FieldType;
use capmesh_wire::{Bytes, Digest, Epoch, InstanceId, List, Name, NodeId, Payload, limits};
use clap::{Args, Subcommand};
use serde_json::{Map, Value as Json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Write a command to a node as CBOR, for any CoAP client.
///
/// The bytes go to standard output or to --out; POST them to the node's resource `c`, for example:
///
///   capmesh-capsule command -o start.cbor start clean.capsule --instance 7
///   aiocoap-client -m POST --content-format 60 --payload @start.cbor coap://[fe80::1%eth0]/c
///
/// A capsule itself is uploaded with PUT to the resource `x`:
///
///   aiocoap-client -m PUT --content-format 65110 --payload @clean.capsule coap://[fe80::1%eth0]/x
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Where the command goes; standard output if absent.
    #[arg(long, short)]
    out: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Fetch, verify and keep a capsule.
    Install {
        /// The capsule's file or digest.
        capsule: String,
        /// Nodes and registries to ask, nearest first.
        #[arg(long = "source", value_name = "NODE", value_parser = parse_node)]
        sources: Vec<NodeId>,
    },
    /// Forget a capsule that no instance uses.
    Remove {
        /// The capsule's file or digest.
        capsule: String,
    },
    /// Have a place ready for an instance that comes from another node.
    Prepare(Box<StartArguments>),
    /// Run an instance.
    Start(Box<StartArguments>),
    /// End an instance and forget its state.
    Stop(TargetArguments),
    /// Finish the running handler, take the state, and offer it to another node.
    Quiesce {
        #[command(flatten)]
        target: TargetArguments,
        /// The node that it goes to.
        #[arg(long, value_parser = parse_node)]
        to: NodeId,
    },
    /// Take the state and go on.
    Checkpoint(TargetArguments),
    /// Go on after having quiesced.
    Resume(TargetArguments),
    /// Forget an instance that now runs elsewhere.
    Release {
        #[command(flatten)]
        target: TargetArguments,
        /// Where it runs now.
        #[arg(long, value_parser = parse_node)]
        to: NodeId,
    },
    /// Run on: the lease counts from now.
    Renew {
        #[command(flatten)]
        target: TargetArguments,
        /// The lease, in milliseconds.
        #[arg(long)]
        lease_ms: u32,
    },
    /// Run a one-shot capsule.
    Run {
        /// The capsule's file or digest.
        capsule: String,
        /// What it is given, in hexadecimal.
        #[arg(long, default_value = "")]
        arguments: String,
    },
    /// Start the node anew.
    Reboot,
}

#[derive(Debug, Args)]
struct TargetArguments {
    /// The instance's number.
    #[arg(value_parser = parse_instance)]
    instance: InstanceId,
    /// Its epoch, which rises with each move.
    #[arg(long, default_value_t = 1)]
    epoch: u32,
}

impl TargetArguments {
    fn target(&self) -> Target {
        Target { instance: self.instance, epoch: Epoch(self.epoch) }
    }
}

#[derive(Debug, Args)]
struct StartArguments {
    /// The capsule's file or digest. With its file, ports and configuration have names.
    capsule: String,
    /// The instance's number: any that no other instance in the mesh has.
    #[arg(long, value_parser = parse_instance)]
    instance: InstanceId,
    /// Its epoch, which rises with each move.
    #[arg(long, default_value_t = 1)]
    epoch: u32,
    /// The pipeline that it belongs to.
    #[arg(long, default_value = "manual")]
    pipeline: String,
    /// What the pipeline calls it; the last part of the capsule's name, if its file is given.
    #[arg(long)]
    name: Option<String>,
    /// Configuration values, as NAME=VALUE; needs the capsule's file.
    #[arg(long, short, value_name = "NAME=VALUE")]
    config: Vec<String>,
    /// What may come from whom: INPUT=NODE/INSTANCE/OUTPUT, with `:every` behind it if nothing may
    /// be lost.
    #[arg(long = "from", value_name = "WIRE")]
    inbound: Vec<String>,
    /// What goes to whom: OUTPUT=NODE/INSTANCE/INPUT, with `:every` behind it if nothing may be lost,
    /// and `:drop-oldest`, `:drop-newest` or `:pause-producer` for when there is no room.
    #[arg(long = "to", value_name = "WIRE")]
    outbound: Vec<String>,
    /// Whom it asks: PEER=NODE/INSTANCE.
    #[arg(long = "peer", value_name = "PEER=NODE/INSTANCE")]
    peers: Vec<String>,
    /// How long it may run without hearing from who started it, in milliseconds; for ever if absent.
    #[arg(long)]
    lease_ms: Option<u32>,
    /// How often its state is kept, in milliseconds.
    #[arg(long)]
    checkpoint_ms: Option<u32>,
    /// Nodes and registries to ask for the capsule, nearest first.
    #[arg(long = "source", value_name = "NODE", value_parser = parse_node)]
    sources: Vec<NodeId>,
}

/// A capsule as a command names it.
struct Named {
    digest: Digest,
    sealed: Option<(PathBuf, Sealed)>,
}

impl Named {
    fn read(text: &str) -> Result<Self, Failure> {
        if let Ok(digest) = text.parse() {
            return Ok(Self { digest, sealed: None });
        }
        let path = PathBuf::from(text);
        if !path.exists() {
            let why = "neither a digest (sha256: and 64 digits) nor a file that is there";
            return Err(Failure::Given(format!("{text}: {why}")));
        }
        let sealed = seal::open(&read(&path)?).map_err(|error| Failure::given(&path, error))?;
        Ok(Self { digest: sealed.digest(), sealed: Some((path, sealed)) })
    }
}

impl Arguments {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let bytes = bytes(&self.verb)?;
        match &self.out {
            Some(path) => write(path, &bytes),
            None => io::stdout()
                .write_all(&bytes)
                .map_err(|error| Failure::io(Path::new("standard output"), &error)),
        }
    }
}

/// The command, encoded.
fn bytes(verb: &Verb) -> Result<Vec<u8>, Failure> {
    match verb {
        Verb::Install { capsule, sources } => {
            let capsule = Named::read(capsule)?.digest;
            encoded(&Command::Install(Install { capsule, sources: list("--source", sources)? }))
        }
        Verb::Remove { capsule } => {
            encoded(&Command::Remove(Remove { capsule: Named::read(capsule)?.digest }))
        }
        Verb::Prepare(start) => start.encode(prepare),
        Verb::Start(start) => start.encode(self::start),
        Verb::Stop(target) => encoded(&Command::Stop(target.target())),
        Verb::Quiesce { target, to } => {
            encoded(&Command::Quiesce(Quiesce { target: target.target(), to: *to }))
        }
        Verb::Checkpoint(target) => encoded(&Command::Checkpoint(target.target())),
        Verb::Resume(target) => encoded(&Command::Resume(target.target())),
        Verb::Release { target, to } => {
            encoded(&Command::Release(Release { target: target.target(), to: *to }))
        }
        Verb::Renew { target, lease_ms } => encoded(&Command::Renew(Renew {
            target: target.target(),
            lease_ms: *lease_ms,
            since: None,
        })),
        Verb::Run { capsule, arguments } => {
            let capsule = Named::read(capsule)?.digest;
            let arguments = codec::unhex(arguments);
            let arguments = arguments.as_deref().and_then(Bytes::new);
            let arguments = arguments.ok_or_else(|| {
                let most = limits::PAYLOAD;
                Failure::Given(format!("--arguments: not at most {most} bytes in hexadecimal"))
            })?;
            encoded(&Command::Run(Run { capsule, arguments }))
        }
        Verb::Reboot => encoded(&Command::Reboot(Nothing {})),
    }
}

fn prepare(start: Start<'_>) -> Command<'_> {
    Command::Prepare(start)
}

fn start(start: Start<'_>) -> Command<'_> {
    Command::Start(start)
}

fn encoded(command: &Command<'_>) -> Result<Vec<u8>, Failure> {
    let mut buf = [0; 8_192];
    let len = encode(command, &mut buf)
        .map_err(|_| Failure::Given("the command is too long: fewer wires".into()))?;
    Ok(buf.get(..len).unwrap_or_default().to_vec())
}

fn list<'a, T, const MAX: usize>(what: &str, items: &'a [T]) -> Result<List<'a, T, MAX>, Failure> {
    List::new(items).map_err(|_| Failure::Given(format!("{what}: at most {MAX} can be given")))
}

impl StartArguments {
    fn encode(&self, command: for<'a> fn(Start<'a>) -> Command<'a>) -> Result<Vec<u8>, Failure> {
        let named = Named::read(&self.capsule)?;
        let manifest = match &named.sealed {
            None => None,
            Some((path, sealed)) => {
                Some(sealed.manifest().map_err(|error| Failure::given(path, error))?)
            }
        };
        let known = manifest.as_ref().map(|manifest| &manifest.capsule);
        let last = manifest.as_ref().and_then(|m| m.name.as_str().rsplit('/').next());
        let name = self.name.as_deref().or(last).unwrap_or("capsule");
        let described = match (&named.sealed, &manifest) {
            (Some((path, _)), Some(manifest)) => Some(reading::description(manifest, path)),
            _ => None,
        };
        let config = self.config(described.as_ref())?;
        let config = match &config {
            None => None,
            Some(bytes) => Some(
                Payload::new(bytes)
                    .map_err(|error| Failure::Given(format!("--config: not a payload: {error}")))?,
            ),
        };
        let wire = |what: &str, text: &String, error: String| {
            Failure::Given(format!("{what} {text}: {error}"))
        };
        let inbound = all(&self.inbound, |t| {
            wires::inbound(t, known).map_err(|error| wire("--from", t, error))
        })?;
        let outbound = all(&self.outbound, |t| {
            wires::outbound(t, known).map_err(|error| wire("--to", t, error))
        })?;
        let peers =
            all(&self.peers, |t| wires::peer(t, known).map_err(|error| wire("--peer", t, error)))?;
        let legal = |what: &str, text: &str| {
            Failure::Given(format!(
                "--{what} {text}: a name has 1 to 23 small letters, digits and dashes"
            ))
        };
        let assignment = Assignment {
            instance: self.instance,
            epoch: Epoch(self.epoch),
            capsule: named.digest,
            pipeline: Name::new(&self.pipeline).map_err(|_| legal("pipeline", &self.pipeline))?,
            name: Name::new(name).map_err(|_| legal("name", name))?,
            replica: 0,
            lease_ms: self.lease_ms,
            failover: Failover::None,
            checkpoint_ms: self.checkpoint_ms,
            rollback: false,
            config,
            inbound: list("--from", &inbound)?,
            outbound: list("--to", &outbound)?,
            peers: list("--peer", &peers)?,
        };
        encoded(&command(Start {
            target: Target { instance: self.instance, epoch: Epoch(self.epoch) },
            assignment: Some(assignment),
            sources: list("--source", &self.sources)?,
        }))
    }

    /// The configuration as its payload, if there is anything to configure.
    fn config(&self, described: Option<&Description>) -> Result<Option<Vec<u8>>, Failure> {
        let Some(description) = described else {
            return match self.config.first() {
                None => Ok(None),
                Some(text) => Err(Failure::Given(format!(
                    "--config {text}: needs the capsule's file, which says what there is to configure"
                ))),
            };
        };
        let values = run::config(description, &self.config)?;
        if description.config.is_empty() {
            return Ok(None);
        }
        let fields: Vec<_> = description.config.iter().map(|key| key.field.clone()).collect();
        let members = fields.iter().filter_map(|field| {
            Some((field.name.clone(), json(field.ty, values.get(&field.name)?)))
        });
        let members = Json::Object(members.collect::<Map<_, _>>());
        let schema = Schema {
            alias: "config".into(),
            path: PathBuf::new(),
            name: "config".into(),
            version: 0,
            doc: None,
            fields,
        };
        let payload = codec::to_payload(&schema, &members);
        payload.map(Some).map_err(|error| Failure::Given(format!("--config: {error}")))
    }
}

fn all<T>(
    texts: &[String],
    read: impl Fn(&String) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    texts.iter().map(read).collect()
}

/// A configuration value as JSON of its field's type.
fn json(ty: FieldType, value: &Value) -> Json {
    match (ty, value) {
        (_, Value::Bool(value)) => (*value).into(),
        (_, Value::Text(text)) => text.as_str().into(),
        (FieldType::F32 | FieldType::F64, Value::Number(number)) => {
            match number.to_string().as_str() {
                text @ ("NaN" | "inf" | "-inf") => text.into(),
                _ => (*number).into(),
            }
        }
        // As an integer, unless it is none: then its field says so.
        (_, Value::Number(number)) => {
            let text = number.to_string();
            text.parse::<i64>().map_or_else(|_| (*number).into(), Json::from)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_wire::cbor::decode;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn command(line: &str) -> Result<Vec<u8>, Failure> {
        let words = std::iter::once("x").chain(line.split(' '));
        bytes(&Line::try_parse_from(words).unwrap().arguments.verb)
    }

    const DIGEST: &str = "sha256:7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069";

    #[test]
    fn commands_are_what_a_node_decodes() {
        let target = Target { instance: InstanceId(7), epoch: Epoch(2) };
        let to: NodeId = "aaaaaaaaaaaac".parse().unwrap();
        for (line, expected) in [
            ("stop 7 --epoch 2", Command::Stop(target)),
            ("checkpoint 7 --epoch 2", Command::Checkpoint(target)),
            ("quiesce 7 --epoch 2 --to aaaaaaaaaaaac", Command::Quiesce(Quiesce { target, to })),
            (
                "renew 7 --epoch 2 --lease-ms 500",
                Command::Renew(Renew { target, lease_ms: 500, since: None }),
            ),
            ("reboot", Command::Reboot(Nothing {})),
        ] {
            assert_eq!(decode(&command(line).unwrap()), Ok(expected), "{line}");
        }
        let bytes = command(&format!("run {DIGEST} --arguments 00ff")).unwrap();
        let Ok(Command::Run(run)) = decode::<Command<'_>>(&bytes) else { unreachable!() };
        assert_eq!(run.arguments.as_slice(), [0, 255]);
    }

    #[test]
    fn an_instance_is_started_with_its_wires() {
        let wire = "aaaaaaaaaaaac/8/0:every";
        let line = format!(
            "start {DIGEST} --instance 7 --from 1={wire} --to 0={wire} --peer 0=aaaaaaaaaaaac/9"
        );
        let bytes = command(&line).unwrap();
        let Ok(Command::Start(start)) = decode::<Command<'_>>(&bytes) else { unreachable!() };
        let row = start.assignment.unwrap();
        assert_eq!((row.instance, row.epoch), (InstanceId(7), Epoch(1)));
        assert_eq!((row.pipeline.as_str(), row.name.as_str()), ("manual", "capsule"));
        assert_eq!(row.capsule.to_string(), DIGEST);
        assert_eq!((row.inbound.len(), row.outbound.len(), row.peers.len()), (1, 1, 1));
    }

    #[test]
    fn what_cannot_be_commanded_is_explained() {
        for (line, words) in [
            ("remove nothing.capsule".to_owned(), "neither a digest"),
            (format!("start {DIGEST} --instance 7 -c min=1"), "needs the capsule's file"),
            (format!("start {DIGEST} --instance 7 --from in=aaaaaaaaaaaac/8/0"), "--from in="),
            (format!("start {DIGEST} --instance 7 --pipeline Big"), "small letters"),
            (format!("run {DIGEST} --arguments 0"), "hexadecimal"),
        ] {
            let error = command(&line).unwrap_err().to_string();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
