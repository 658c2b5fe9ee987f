//! Capsules on one node, by hand.

use super::{Context, command, granted, reach, read};
use crate::operator::{Operator, Request};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use capmesh_capsule::seal::{self, Sealed};
use capmesh_coap::Code;
use capmesh_session::Peer;
use capmesh_wire::cbor::{List, Writer};
use capmesh_wire::control::{Command, Remove as RemoveCommand, Start, Target};
use capmesh_wire::inventory::{InstanceState, InstanceStatus, Status};
use capmesh_wire::plan::{Assignment, Failover};
use capmesh_wire::schema::{FieldType, Fields, Payload, PayloadWriter, Value};
use capmesh_wire::{Digest, Epoch, InstanceId, Name, cbor, content_format, limits, paths};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an instance may take to run after it was started: its capsule is on the node.
const START: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(in crate::commands) struct Install {
    /// The bundle, as `capmesh-capsule build` makes it.
    file: PathBuf,
    /// The node.
    #[arg(long)]
    on: String,
}

pub(super) fn install(at: &Context, arguments: &Install) -> Result<()> {
    let (site, mut operator, node) = reach(at, &arguments.on)?;
    let (sealed, bundle) = open(&arguments.file)?;
    let capsule = sealed.digest();
    send(&mut operator, node, &bundle)?;
    site.keep(&capsule, &bundle)?;
    if at.json {
        println!("{}", json!({ "node": arguments.on, "capsule": hex(&capsule) }));
    } else {
        println!("{} has {}", arguments.on, hex(&capsule));
    }
    Ok(())
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Run {
    /// The bundle, as `capmesh-capsule build` makes it.
    file: PathBuf,
    /// The node.
    #[arg(long)]
    on: String,
    /// The first part of its topics; the last part of the capsule's name by default.
    #[arg(long)]
    pipeline: Option<String>,
    /// The second part of its topics; the last part of the capsule's name by default.
    #[arg(long)]
    name: Option<String>,
    /// A configuration value: KEY=VALUE.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Save the state each so many seconds, for when the node restarts.
    #[arg(long, value_name = "SECONDS")]
    checkpoint: Option<u32>,
}

pub(super) fn run(at: &Context, arguments: &Run) -> Result<()> {
    let (site, mut operator, node) = reach(at, &arguments.on)?;
    let (sealed, bundle) = open(&arguments.file)?;
    let manifest = sealed.manifest().map_err(|error| anyhow!("{error}"))?;
    let capsule = sealed.digest();
    let last = manifest.name.as_str().rsplit('/').next().unwrap_or_default();
    let pipeline = name_of(arguments.pipeline.as_deref().unwrap_or(last))?;
    let name = name_of(arguments.name.as_deref().unwrap_or(last))?;
    let mut buf = [0; limits::PAYLOAD + 16];
    let config = configuration(manifest.capsule.config, &arguments.settings, &mut buf)?;

    send(&mut operator, node, &bundle)?;
    site.keep(&capsule, &bundle)?;
    let instance = instance_of(pipeline, name);
    let epoch = next_epoch(&mut operator, node, instance)?;
    let target = Target { instance, epoch };
    let assignment = Assignment {
        instance,
        epoch,
        capsule,
        pipeline,
        name,
        replica: 0,
        lease_ms: None,
        failover: Failover::Restart,
        checkpoint_ms: arguments.checkpoint.map(|seconds| seconds.saturating_mul(1000)),
        rollback: false,
        config,
        inbound: List::EMPTY,
        outbound: List::EMPTY,
        peers: List::EMPTY,
    };
    let start = Start { target, assignment: Some(assignment), sources: List::EMPTY };
    command(&mut operator, node, &Command::Start(start)).context("the instance is not started")?;
    wait_until_running(&mut operator, node, target)?;

    let outputs = manifest.capsule.outputs.iter();
    let topics: Vec<_> =
        outputs.map(|output| format!("{pipeline}/{name}/{}", output.name)).collect();
    if at.json {
        println!(
            "{}",
            json!({
                "node": arguments.on, "instance": instance.0, "epoch": epoch.0,
                "capsule": hex(&capsule), "topics": topics,
            })
        );
    } else {
        println!("instance {} runs on {}", instance.0, arguments.on);
        for topic in &topics {
            println!("see what it publishes: capmesh direct tap {topic} --on {}", arguments.on);
        }
    }
    Ok(())
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Stop {
    /// The instance's number, or PIPELINE/NAME.
    instance: String,
    /// The node.
    #[arg(long)]
    on: String,
}

pub(super) fn stop(at: &Context, arguments: &Stop) -> Result<()> {
    let instance = match (arguments.instance.parse(), arguments.instance.split_once('/')) {
        (Ok(number), _) => InstanceId(number),
        (_, Some((pipeline, name))) => instance_of(name_of(pipeline)?, name_of(name)?),
        _ => bail!("{:?} is neither a number nor PIPELINE/NAME", arguments.instance),
    };
    let (_, mut operator, node) = reach(at, &arguments.on)?;
    let status = status_of(&mut operator, node, instance)?;
    let status = status.with_context(|| format!("{} does not host it", arguments.on))?;
    let target = Target { instance, epoch: status.epoch };
    command(&mut operator, node, &Command::Stop(target))?;
    let text = format!("instance {} is stopped, its state is gone", instance.0);
    at.say(&json!({ "node": arguments.on, "instance": instance.0 }), &text);
    Ok(())
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Remove {
    /// The capsule's bundle.
    file: PathBuf,
    /// The node.
    #[arg(long)]
    on: String,
}

pub(super) fn remove(at: &Context, arguments: &Remove) -> Result<()> {
    let capsule = open(&arguments.file)?.0.digest();
    let (_, mut operator, node) = reach(at, &arguments.on)?;
    command(&mut operator, node, &Command::Remove(RemoveCommand { capsule }))?;
    let text = format!("{} does not have {} any more", arguments.on, hex(&capsule));
    at.say(&json!({ "node": arguments.on, "capsule": hex(&capsule) }), &text);
    Ok(())
}

/// A capsule whose digests are right, and its bundle.
fn open(file: &Path) -> Result<(Sealed, Vec<u8>)> {
    let bundle = std::fs::read(file).with_context(|| file.display().to_string())?;
    let sealed = seal::open(&bundle).with_context(|| file.display().to_string())?;
    Ok((sealed, bundle))
}

fn send(operator: &mut Operator, node: Peer, bundle: &[u8]) -> Result<()> {
    let request = Request::new(Code::PUT, paths::CAPSULES).body(content_format::BUNDLE, bundle);
    granted(operator.ask(node, &request)?).context("the capsule is not installed")?;
    Ok(())
}

fn name_of(text: &str) -> Result<Name<'_>> {
    Name::new(text).with_context(|| format!("the name {text:?}"))
}

/// The number of the instance that a person calls so: the same each time, so that it can be found
/// again.
fn instance_of(pipeline: Name<'_>, name: Name<'_>) -> InstanceId {
    let digest = Digest::of(format!("{pipeline}/{name}").as_bytes());
    let [a, b, c, d, ..] = *digest.as_bytes();
    InstanceId(u32::from_be_bytes([a, b, c, d]))
}

/// The epoch for the next start of an instance: one more than that of what runs already, which is
/// stopped.
fn next_epoch(operator: &mut Operator, node: Peer, instance: InstanceId) -> Result<Epoch> {
    let Some(status) = status_of(operator, node, instance)? else { return Ok(Epoch(1)) };
    let target = Target { instance, epoch: status.epoch };
    command(operator, node, &Command::Stop(target)).context("the old instance is not stopped")?;
    Ok(Epoch(status.epoch.0 + 1))
}

fn status_of(
    operator: &mut Operator,
    node: Peer,
    instance: InstanceId,
) -> Result<Option<InstanceStatus>> {
    let bytes = read(operator, node, paths::STATUS)?;
    let status: Status<'_> = cbor::decode(&bytes).context("the node's status")?;
    Ok(status.instances.iter().find(|found| found.instance == instance))
}

fn wait_until_running(operator: &mut Operator, node: Peer, target: Target) -> Result<()> {
    let begun = std::time::Instant::now();
    loop {
        let status = status_of(operator, node, target.instance)?;
        match status.filter(|status| status.epoch == target.epoch) {
            Some(status) if status.state == InstanceState::Running => return Ok(()),
            Some(status) if status.state == InstanceState::Failed => {
                let reason = status.reason.map_or("no reason given".into(), |r| r.to_string());
                bail!("the instance failed: {reason}; `capmesh direct logs` may say more");
            }
            _ if begun.elapsed() > START => bail!("the instance does not run after {START:?}"),
            _ => operator.serve_for(Duration::from_millis(50))?,
        }
    }
}

/// The configuration with these settings, `KEY=VALUE` each; `None` if the capsule has none.
fn configuration<'b>(
    fields: Fields<'_>,
    settings: &[String],
    buf: &'b mut [u8],
) -> Result<Option<Payload<'b>>> {
    let mut values = Vec::new();
    for setting in settings {
        let (key, value) =
            setting.split_once('=').with_context(|| format!("{setting:?} is not KEY=VALUE"))?;
        ensure!(
            fields.iter().any(|field| field.name.as_str() == key),
            "the capsule has no setting {key:?}; it has {}",
            fields.iter().map(|field| field.name.to_string()).collect::<Vec<_>>().join(", ")
        );
        values.push((key, value));
    }
    if fields.is_empty() {
        return Ok(None);
    }
    let mut writer = Writer::new(buf);
    let mut payload = PayloadWriter::new(fields, &mut writer)?;
    for field in fields {
        let text = values.iter().rev().find(|(key, _)| *key == field.name.as_str());
        let value = match text {
            Some((_, text)) => parse(field.ty, text).with_context(|| {
                format!("{}={text:?} is not of type {}", field.name, field.ty.name())
            })?,
            None if field.optional => Value::Absent,
            None => bail!("the capsule needs --set {}=VALUE", field.name),
        };
        payload.value(value).with_context(|| format!("the setting {}", field.name))?;
    }
    payload.finish()?;
    let len = writer.finish()?;
    let bytes = buf.get(..len).unwrap_or_default();
    Ok(Some(Payload::new(bytes).map_err(|error| anyhow!("{error}"))?))
}

fn parse(ty: FieldType, text: &str) -> Option<Value<'_>> {
    Some(match ty {
        FieldType::Bool => Value::Bool(text.parse().ok()?),
        FieldType::U8 | FieldType::U16 | FieldType::U32 | FieldType::U64 => {
            Value::Uint(text.parse().ok()?)
        }
        FieldType::I8 | FieldType::I16 | FieldType::I32 | FieldType::I64 => {
            Value::Int(text.parse().ok()?)
        }
        // A single-precision field takes the nearest value that it can hold.
        FieldType::F32 => Value::Float(f64::from(text.parse::<f32>().ok()?)),
        FieldType::F64 => Value::Float(text.parse().ok()?),
        FieldType::Text(_) => Value::Text(text),
        FieldType::Bytes(_) => Value::Bytes(text.as_bytes()),
    })
}

fn hex(digest: &Digest) -> String {
    digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_wire::schema::{Field, Unit};

    #[test]
    fn settings_become_a_payload_in_the_order_of_the_fields() {
        let field = |name, ty, optional| Field {
            name: Name::new(name).unwrap(),
            ty,
            unit: Unit::None,
            optional,
        };
        let list = [
            field("low", FieldType::F64, false),
            field("label", FieldType::Text(8), true),
            field("window", FieldType::U16, true),
        ];
        let fields = List::new(&list).unwrap();
        let mut buf = [0; 64];
        let settings = ["window=5".to_owned(), "low=-1.5".to_owned()];
        let payload = configuration(fields, &settings, &mut buf).unwrap().unwrap();
        let values: Vec<_> = payload.values(fields).unwrap().map(Result::unwrap).collect();
        assert_eq!(values, [Value::Float(-1.5), Value::Absent, Value::Uint(5)]);

        let refused = |settings: &[&str]| {
            let settings: Vec<_> = settings.iter().map(|&s| s.to_owned()).collect();
            configuration(fields, &settings, &mut [0; 64]).unwrap_err().to_string()
        };
        assert!(refused(&[]).contains("--set low=VALUE"));
        assert!(refused(&["hihg=1"]).contains("low, label, window"));
        assert!(refused(&["low=high"]).contains("f64"));
        assert!(refused(&["low=1", "window=70000"]).contains("window"));
        assert!(refused(&["low"]).contains("KEY=VALUE"));
    }

    #[test]
    fn an_instance_has_the_same_number_each_time() {
        let name = |text| Name::new(text).unwrap();
        let one = instance_of(name("air"), name("clean"));
        assert_eq!(one, instance_of(name("air"), name("clean")));
        assert_ne!(one, instance_of(name("air"), name("stats")));
    }
}
