//! Instances: listed, moved, started anew.

use super::table::{ago, table};
use super::{Mesh, explain, print_json};
use crate::Failure;
use crate::commands::Context;
use anyhow::{Result, bail, ensure};
use capmesh_client::api::{
    Answer, InstanceRef, InstanceView, MigrationState, MigrationView, OnInstance, Request, Which,
};
use clap::Args;
use std::time::{Duration, Instant};

/// How often a migration is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The steps of a migration.
const STEPS: usize = 6;

/// How long a migration is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(in crate::commands) struct Ps {
    /// Only those of this pipeline
    #[arg(long)]
    pipeline: Option<String>,
    /// Only those on this node
    #[arg(long)]
    on: Option<String>,
    /// Look again every second
    #[arg(short, long)]
    watch: bool,
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Migrate {
    /// The instance: PIPELINE/NAME, PIPELINE/NAME/REPLICA, or its number
    instance: InstanceRef,
    /// The node that it goes to
    #[arg(long)]
    to: String,
    /// Do not wait for the end
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Restart {
    /// The instance: PIPELINE/NAME, PIPELINE/NAME/REPLICA, or its number
    instance: InstanceRef,
}

pub(in crate::commands) fn ps(at: &Context, arguments: &Ps) -> Result<()> {
    let mesh = Mesh::new(at)?;
    if let Some(name) = &arguments.pipeline {
        super::pipelines::ensure_deployed(&mesh, name)?;
    }
    loop {
        let which = Which { pipeline: arguments.pipeline.clone(), node: arguments.on.clone() };
        let instances = mesh.ask(|client| client.instances(which))?;
        if at.json {
            print_json(&instances)?;
        } else {
            if arguments.watch {
                // To the upper left, and nothing below it.
                print!("\x1b[H\x1b[J");
            }
            let rows: Vec<_> = instances.iter().map(row).collect();
            let headings =
                ["INSTANCE", "NUMBER", "NODE", "STATE", "EPOCH", "HANDLED", "PUBLISHED", "DROPPED"];
            print!("{}", table(headings, &rows));
            if instances.is_empty() && arguments.on.is_none() && arguments.pipeline.is_none() {
                println!("none yet: `capmesh deploy FILE` runs a pipeline");
            }
        }
        if !arguments.watch {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

pub(super) fn row(instance: &InstanceView) -> [String; 8] {
    let counters = &instance.counters;
    [
        instance.path.clone(),
        instance.instance.to_string(),
        instance.node.clone(),
        state(instance),
        instance.epoch.to_string(),
        counters.handled.to_string(),
        counters.published.to_string(),
        counters.dropped.to_string(),
    ]
}

fn state(instance: &InstanceView) -> String {
    let unheard = if instance.lost { "lost" } else { "unknown" };
    let state = instance.state.map_or(unheard, |state| state.name());
    match instance.reason {
        Some(reason) => format!("{state}: {}", reason.name()),
        None => state.to_owned(),
    }
}

pub(in crate::commands) fn migrate(at: &Context, arguments: &Migrate) -> Result<()> {
    let mesh = Mesh::new(at)?;
    let (instance, to) = (arguments.instance.clone(), arguments.to.as_str());
    let mut migration = mesh.ask(|client| client.migrate(instance, to))?;
    if !arguments.no_wait {
        migration = wait(&mesh, migration)?;
    }
    if at.json {
        return print_json(&[migration]);
    }
    print!("{}: {} -> {}, epoch {}", migration.path, migration.from, migration.to, migration.epoch);
    if let Some(bytes) = migration.snapshot_bytes {
        print!(", {bytes} B of state");
    }
    if let Some(blackout) = migration.blackout_us {
        print!(", {:.1} ms nowhere", Duration::from_micros(blackout).as_secs_f64() * 1e3);
    }
    println!();
    for step in &migration.steps {
        let took = step.took_us.map_or_else(|| "...".to_owned(), |us| ago(us / 1_000));
        println!("  {:<8} {took}", step.step);
    }
    Ok(())
}

/// Looks at a migration until it has ended.
fn wait(mesh: &Mesh, mut migration: MigrationView) -> Result<MigrationView> {
    let begun = Instant::now();
    let waiting = mesh.waiting(|| format!("{} moves", migration.path));
    loop {
        if let (Some(waiting), Some(step)) = (&waiting, migration.steps.last()) {
            let done = migration.steps.iter().filter(|step| step.took_us.is_some()).count();
            waiting.step(done, STEPS, format!("{}: {}", migration.path, step.step));
        }
        match migration.state {
            MigrationState::Done => return Ok(migration),
            MigrationState::Undone => {
                let problem =
                    migration.problem.as_deref().unwrap_or("the gateway does not say why");
                let message = format!("{} runs on {} as before", migration.path, migration.from);
                return Err(Failure::new("undone", message).because(problem).into());
            }
            _ => {}
        }
        ensure!(begun.elapsed() < PATIENCE, "it is still under way; see `capmesh plan`");
        std::thread::sleep(LOOK);
        let all = mesh.runtime.block_on(mesh.client.migrations()).map_err(|e| explain(&e))?;
        let same = |other: &MigrationView| {
            other.instance == migration.instance && other.epoch == migration.epoch
        };
        let Some(now) = all.into_iter().find(same) else { bail!("the gateway has forgotten it") };
        migration = now;
    }
}

pub(in crate::commands) fn restart(at: &Context, arguments: &Restart) -> Result<()> {
    let request = Request::Restart(OnInstance { instance: arguments.instance.clone() });
    let answer = Mesh::new(at)?.ask(|client| client.ask(&request))?;
    match answer {
        Answer::Done(done) if at.json => print_json(&[done])?,
        Answer::Done(done) => println!("{}", done.message),
        _ => bail!("something else was answered"),
    }
    Ok(())
}
