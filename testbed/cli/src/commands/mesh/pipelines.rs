//! Pipelines: deployed, listed, ended; and what runs where and why.

use super::table::table;
use super::{Mesh, print_json};
use crate::Failure;
use crate::commands::Context;
use anyhow::{Context as _, Result};
use capmesh_client::api::{Change, Deploy as Wish, PipelineState, PlanView};
use clap::Args;
use std::io::Read as _;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(in crate::commands) struct Deploy {
    /// The pipeline (TOML), `-` for standard input, or the name of an example
    file: PathBuf,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Undeploy {
    /// The pipeline's name
    pipeline: String,
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Plan {
    /// Only the rows of this pipeline
    pipeline: Option<String>,
}

pub(in crate::commands) fn deploy(at: &Context, arguments: &Deploy) -> Result<()> {
    let file = &arguments.file;
    let (name, text) = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
        (None, text)
    } else {
        let name = file.display().to_string();
        let text = crate::up::pipeline(&name)?;
        (Some(name), text)
    };
    let wish = Wish { text: text.clone(), file: name, dry_run: arguments.dry_run };
    let mesh = Mesh::new(at)?;
    let said = "the gateway asks the registry for the pipeline's capsules and places them";
    let waiting = mesh.waiting(|| said.to_owned());
    let deployed = mesh.runtime.block_on(mesh.client.deploy(wish));
    drop(waiting);
    let mut deployed = deployed.map_err(|error| Failure::of_gateway(&error, &text))?;
    if at.json {
        return print_json(&[deployed]);
    }
    let name = &deployed.pipeline.name;
    if deployed.dry_run {
        println!("{name} would run so:");
    } else {
        println!("{name} is deployed; `capmesh ps -w` shows it start");
    }
    let of = format!("{name}/");
    deployed.plan.rows.retain(|row| row.path.starts_with(&of));
    print_plan(&deployed.plan);
    Ok(())
}

pub(in crate::commands) fn undeploy(at: &Context, arguments: &Undeploy) -> Result<()> {
    let done = Mesh::new(at)?.ask(|client| client.undeploy(&arguments.pipeline))?;
    if at.json {
        return print_json(&[done]);
    }
    println!("{}", done.message);
    Ok(())
}

pub(in crate::commands) fn ls(at: &Context) -> Result<()> {
    let pipelines = Mesh::new(at)?.ask(|client| client.pipelines())?;
    if at.json {
        return print_json(&pipelines);
    }
    let row = |pipeline: &capmesh_client::api::PipelineView| {
        let running = format!("{} of {}", pipeline.running, pipeline.instances.len());
        let problem = pipeline.problems.first().cloned().unwrap_or_default();
        [pipeline.name.clone(), state(pipeline.state).to_owned(), running, problem]
    };
    let rows: Vec<_> = pipelines.iter().map(row).collect();
    print!("{}", table(["PIPELINE", "STATE", "RUNNING", "PROBLEM"], &rows));
    if pipelines.is_empty() {
        println!("none yet: `capmesh deploy FILE` runs one");
    }
    Ok(())
}

const fn state(state: PipelineState) -> &'static str {
    match state {
        PipelineState::Starting => "starting",
        PipelineState::Running => "running",
        PipelineState::Degraded => "degraded",
        PipelineState::Unplaceable => "unplaceable",
        PipelineState::Ending => "ending",
    }
}

pub(in crate::commands) fn plan(at: &Context, arguments: &Plan) -> Result<()> {
    let mesh = Mesh::new(at)?;
    let mut plan = mesh.ask(|client| client.plan())?;
    if let Some(name) = &arguments.pipeline {
        ensure_deployed(&mesh, name)?;
        plan.rows.retain(|row| row.path.split('/').next().is_some_and(|first| first == name));
    }
    if at.json {
        return print_json(&[plan]);
    }
    print_plan(&plan);
    Ok(())
}

/// A pipeline of this name is there.
pub(super) fn ensure_deployed(mesh: &Mesh, name: &str) -> Result<()> {
    mesh.ask(|client| client.pipeline(name)).map(drop)
}

fn print_plan(plan: &PlanView) {
    for row in &plan.rows {
        let change = match row.change {
            Change::Stays => "stays on",
            Change::Starts => "starts on",
            Change::Moves => "moves to",
            Change::Changes => "changes on",
            Change::Ends => "ends on",
        };
        println!("  {} {change} {}", row.path, row.node);
        for why in &row.why {
            println!("      {why}");
        }
    }
    let proven = if plan.optimal { ", and no plan costs less" } else { "" };
    println!("plan {}: cost {}{proven}", plan.revision, plan.cost);
}
