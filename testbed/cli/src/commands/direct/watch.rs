//! What goes on: instances, messages, logs.

use super::{Context, operator, reach, read};
use crate::show::{self, Schemas};
use anyhow::{Context as _, Result};
use capmesh_wire::inventory::Status;
use capmesh_wire::log::LogLine;
use capmesh_wire::message::Batch;
use capmesh_wire::{Role, cbor, paths};
use clap::Args;
use serde_json::json;
use std::time::Duration;

/// How long to wait for something new before looking whether the node still knows of us.
const PATIENCE: Duration = Duration::from_secs(3600);

#[derive(Debug, Args)]
pub(in crate::commands) struct Ps {
    /// The node; all of them by default.
    #[arg(long)]
    on: Option<String>,
}

pub(super) fn ps(at: &Context, arguments: &Ps) -> Result<()> {
    let site = at.site()?;
    let mut operator = operator(&site)?;
    let names = match &arguments.on {
        Some(name) => vec![name.clone()],
        None => {
            let nodes = site.members().into_iter();
            nodes.filter(|m| m.role == Role::Node && m.address.is_some()).map(|m| m.name).collect()
        }
    };
    if !at.json {
        println!(
            "{:<16} {:>10} {:>5} {:<11} {:>9} {:>9} {:>7} {:>8} reason",
            "node", "instance", "epoch", "state", "handled", "published", "dropped", "restarts"
        );
    }
    for name in names {
        let (id, address) = site.node(&name)?;
        let node = operator.member(id, address)?;
        let bytes = match read(&mut operator, node, paths::STATUS) {
            Ok(bytes) => bytes,
            Err(error) => {
                eprintln!("{name}: {error:#}");
                continue;
            }
        };
        let status: Status<'_> = cbor::decode(&bytes).context("the node's status")?;
        for i in status.instances {
            let reason = i.reason.map(|reason| reason.to_string());
            if at.json {
                println!(
                    "{}",
                    json!({
                        "node": name, "instance": i.instance.0, "epoch": i.epoch.0,
                        "state": i.state.name(), "handled": i.handled, "published": i.published,
                        "dropped": i.dropped, "restarts": i.restarts, "inbox": i.inbox,
                        "outbox": i.outbox, "fuel_per_second": i.fuel_per_second, "reason": reason,
                    })
                );
            } else {
                println!(
                    "{name:<16} {:>10} {:>5} {:<11} {:>9} {:>9} {:>7} {:>8} {}",
                    i.instance.0,
                    i.epoch.0,
                    i.state.name(),
                    i.handled,
                    i.published,
                    i.dropped,
                    i.restarts,
                    reason.unwrap_or_default()
                );
            }
        }
    }
    Ok(())
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Tap {
    /// The topic: PIPELINE/CAPSULE/OUTPUT.
    topic: String,
    /// The node that produces it.
    #[arg(long)]
    on: String,
    /// End after so many messages.
    #[arg(long)]
    count: Option<u64>,
}

pub(super) fn tap(at: &Context, arguments: &Tap) -> Result<()> {
    let (site, mut operator, node) = reach(at, &arguments.on)?;
    let schemas = Schemas::of(&site.bundles()?);
    let path = format!("{}/{}", paths::TOPICS, arguments.topic.trim_matches('/'));
    let (first, observation) = operator.observe(node, &path)?;
    let mut state = Some(first);
    let (mut shown, mut last) = (0, None);
    loop {
        if let Some(response) = state {
            let body = super::granted(response)?;
            if !body.is_empty() {
                let batch: Batch<'_> = cbor::decode(&body).context("the node's message")?;
                for message in batch.numbered() {
                    if last.is_some_and(|last| message.seq <= last) {
                        continue;
                    }
                    if at.json {
                        println!("{}", show::message(&batch, &message, &schemas));
                    } else {
                        println!("{}", show::message_line(&batch, &message, &schemas));
                    }
                    last = Some(message.seq);
                    shown += 1;
                    if arguments.count.is_some_and(|count| shown >= count) {
                        return Ok(());
                    }
                }
            }
        }
        state = operator.next(node, &observation, &path, PATIENCE)?;
    }
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Logs {
    /// The node.
    #[arg(long)]
    on: String,
    /// Go on showing what is logged.
    #[arg(short, long)]
    follow: bool,
}

pub(super) fn logs(at: &Context, arguments: &Logs) -> Result<()> {
    let (_, mut operator, node) = reach(at, &arguments.on)?;
    let mut last = None;
    if !arguments.follow {
        let bytes = read(&mut operator, node, paths::LOG)?;
        print_log(at, &bytes, &mut last);
        return Ok(());
    }
    let (first, observation) = operator.observe(node, paths::LOG)?;
    let mut state = Some(first);
    loop {
        if let Some(response) = state {
            print_log(at, &super::granted(response)?, &mut last);
        }
        state = operator.next(node, &observation, paths::LOG, PATIENCE)?;
    }
}

/// Prints the lines behind `last`. The log is a CBOR sequence (RFC 8742) of lines.
fn print_log(at: &Context, bytes: &[u8], last: &mut Option<u32>) {
    let mut reader = cbor::Reader::new(bytes);
    while !reader.is_at_end() {
        let line: LogLine<'_> = cbor::Decode::read(&mut reader);
        if reader.status().is_err() {
            return;
        }
        if last.is_some_and(|last| line.number <= last) {
            continue;
        }
        *last = Some(line.number);
        let instance = line.instance.map(|instance| instance.0);
        if at.json {
            let (level, text) = (line.level.name(), line.text.as_str());
            println!(
                "{}",
                json!({
                    "number": line.number, "micros": line.at.micros, "instance": instance,
                    "level": level, "text": text,
                })
            );
        } else {
            let who = instance.map_or_else(|| "node".into(), |instance| format!("#{instance}"));
            let seconds = line.at.micros / 1_000_000;
            println!("{seconds:>11} {:<7} {who:<11} {}", line.level.name(), line.text.as_str());
        }
    }
}
