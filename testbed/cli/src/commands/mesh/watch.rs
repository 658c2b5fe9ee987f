//! Values and logs as they come.

use super::{Mesh, explain};
use crate::Failure;
use crate::commands::Context;
use anyhow::Result;
use capmesh_client::api::{Event, InstanceRef, LogLine, LogQuery, TopicView, ValueView};
use capmesh_description::nearest;
use clap::Args;
use std::collections::BTreeMap;

#[derive(Debug, Args)]
pub(in crate::commands) struct Tap {
    /// The topic: PIPELINE/CAPSULE/OUTPUT; all topics without it
    topic: Option<String>,
    /// End after so many messages
    #[arg(short = 'n', long)]
    count: Option<u64>,
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Logs {
    /// Only the log of this node
    #[arg(long)]
    on: Option<String>,
    /// Only what this instance says
    #[arg(long)]
    instance: Option<InstanceRef>,
    /// How many lines to begin with
    #[arg(short = 'n', long, default_value = "50")]
    lines: u16,
    /// Go on with those to come
    #[arg(short, long)]
    follow: bool,
}

pub(in crate::commands) fn tap(at: &Context, arguments: &Tap) -> Result<()> {
    let mesh = Mesh::new(at)?;
    if let Some(topic) = &arguments.topic {
        let topics = mesh.ask(|client| client.topics())?;
        if !topics.iter().any(|known| known.topic == *topic) {
            return Err(unknown(topic, &topics).into());
        }
    }
    mesh.runtime.block_on(async {
        let mut events = mesh.client.events().await.map_err(|error| explain(&error))?;
        let mut left = arguments.count;
        let mut waiting = mesh.waiting(|| "no value yet".to_owned());
        // The newest of each producer is told at first, and may be told again as it comes.
        let mut last = BTreeMap::new();
        while left != Some(0) {
            let event = events.next().await.map_err(|error| explain(&error))?;
            let Event::Value(value) = event.ok_or_else(ended)? else { continue };
            let is_wanted = arguments.topic.as_ref().is_none_or(|topic| *topic == value.topic);
            let producer = (value.topic.clone(), value.instance);
            let number = (value.epoch, value.seq);
            if is_wanted && last.insert(producer, number) != Some(number) {
                drop(waiting.take());
                print_value(at, &value)?;
                left = left.map(|left| left - 1);
            }
        }
        Ok(())
    })
}

/// Nothing comes any more.
fn ended() -> Failure {
    Failure::new("no-gateway", "the gateway has ended")
}

fn unknown(topic: &str, topics: &[TopicView]) -> Failure {
    let names: Vec<_> = topics.iter().map(|known| known.topic.as_str()).collect();
    let failure = Failure::new("unknown-topic", format!("{topic:?} does not pass the gateway"));
    match (names.as_slice(), nearest(topic, names.iter().copied())) {
        ([], _) => failure.help("a pipeline's [bridge] says which topics do"),
        (_, Some(meant)) => failure.help(format!("did you mean {meant}?")),
        (names, None) => failure.help(format!("what does: {}", names.join(", "))),
    }
}

fn print_value(at: &Context, value: &ValueView) -> Result<()> {
    if at.json {
        println!("{}", serde_json::to_string(value)?);
    } else {
        println!("{} {}", value.topic, serde_json::to_string(&value.value)?);
    }
    Ok(())
}

pub(in crate::commands) fn logs(at: &Context, arguments: &Logs) -> Result<()> {
    let mesh = Mesh::new(at)?;
    mesh.runtime.block_on(async {
        // Listening begins before the old lines are asked for, so that none falls in between.
        let mut events = match arguments.follow {
            true => Some(mesh.client.events().await.map_err(|error| explain(&error))?),
            false => None,
        };
        let query = LogQuery {
            node: arguments.on.clone(),
            instance: arguments.instance.clone(),
            level: None,
            lines: Some(arguments.lines),
        };
        let mut last = None;
        for line in mesh.client.log(query).await.map_err(|error| explain(&error))? {
            print_line(at, &line)?;
            last = Some(line);
        }
        let Some(events) = &mut events else { return Ok(()) };
        loop {
            let event = events.next().await.map_err(|error| explain(&error))?;
            let Event::Log(line) = event.ok_or_else(ended)? else { continue };
            if last.as_ref() != Some(&line) && is_asked_for(arguments, &line) {
                print_line(at, &line)?;
            }
        }
    })
}

fn is_asked_for(arguments: &Logs, line: &LogLine) -> bool {
    let on = arguments.on.as_ref().is_none_or(|node| line.node.as_ref() == Some(node));
    let of = arguments.instance.as_ref().is_none_or(|wanted| {
        let said = line.instance.as_ref().and_then(|path| path.parse::<InstanceRef>().ok());
        match (wanted, said) {
            (
                InstanceRef::Place { pipeline, name, replica },
                Some(InstanceRef::Place { pipeline: p, name: n, replica: r }),
            ) => *pipeline == p && *name == n && (replica.is_none() || *replica == r),
            (wanted, said) => said.as_ref() == Some(wanted),
        }
    });
    on && of
}

fn print_line(at: &Context, line: &LogLine) -> Result<()> {
    if at.json {
        println!("{}", serde_json::to_string(line)?);
        return Ok(());
    }
    let who = line.node.as_deref().unwrap_or("gateway");
    let instance = line.instance.as_deref().map(|path| format!(" {path}")).unwrap_or_default();
    let at = line.at.map(|at| format!("{} ", time_of_day(at))).unwrap_or_default();
    println!("{at}{who}{instance} {}: {}", line.level.name(), line.text);
    Ok(())
}

/// The time of day (UTC) that is in milliseconds since 1970: `13:05:09Z`.
fn time_of_day(at: u64) -> String {
    let seconds = at / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_have_two_digits_each() {
        assert_eq!(time_of_day(1_700_000_000_123), "22:13:20Z");
        assert_eq!(time_of_day(86_400_000 + 61_000), "00:01:01Z");
    }
}
