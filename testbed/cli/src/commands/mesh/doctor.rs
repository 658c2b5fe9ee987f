//! What is wrong, and what to do about it.

use super::Mesh;
use super::table::ago;
use crate::commands::Context;
use anyhow::{Result, bail};
use capmesh_client::api::{NodeState, NodeView, PipelineView, RegistryView, SiteView};
use serde_json::json;

/// A thing that was looked at.
struct Finding {
    what: String,
    /// What is wrong and what to do, if something is.
    trouble: Option<String>,
}

pub(in crate::commands) fn doctor(at: &Context) -> Result<()> {
    let mesh = Mesh::new(at)?;
    let site = mesh.ask(|client| client.site())?;
    let nodes = mesh.ask(|client| client.nodes())?;
    let pipelines = mesh.ask(|client| client.pipelines())?;
    let mut findings = of_site(&site);
    findings.extend(nodes.iter().map(of_node));
    findings.extend(pipelines.iter().map(of_pipeline));
    for finding in &findings {
        let trouble = finding.trouble.as_deref();
        if at.json {
            println!("{}", json!({ "what": finding.what, "trouble": trouble }));
        } else {
            println!("{:<5} {}", if trouble.is_some() { "BAD" } else { "ok" }, finding.what);
            trouble.iter().for_each(|text| println!("      {text}"));
        }
    }
    match findings.iter().filter(|finding| finding.trouble.is_some()).count() {
        0 => Ok(()),
        1 => bail!("one thing is not as it should be"),
        count => bail!("{count} things are not as they should be"),
    }
}

fn of_site(site: &SiteView) -> Vec<Finding> {
    let mqtt = &site.mqtt;
    let broker = if !mqtt.connected {
        Some(format!(
            "not connected; {} messages wait. Is the broker of the gateway's `mqtt.broker` there?",
            mqtt.waiting
        ))
    } else if mqtt.waiting > mqtt.most / 2 {
        Some(format!(
            "{} of {} places in the outbox are taken: it is slow",
            mqtt.waiting, mqtt.most
        ))
    } else {
        None
    };
    let gateway = format!("gateway {} {}, up {}", site.gateway, site.version, ago(site.uptime_ms));
    let key = (!site.has_site_key)
        .then(|| "the site's key is not there: nodes cannot be adopted or revoked here".to_owned());
    vec![
        Finding { what: gateway, trouble: key },
        Finding { what: format!("broker, {} messages so far", mqtt.published), trouble: broker },
        of_registry(&site.registry),
    ]
}

fn of_registry(registry: &RegistryView) -> Finding {
    let heard =
        registry.heard_ms.map_or_else(|| "never".to_owned(), |ms| format!("{} ago", ago(ms)));
    let trouble = if registry.known == 0 {
        Some("there is none: start one with `capmesh registry`, and name its address as `registry` in the gateway's configuration".to_owned())
    } else if !registry.answers && registry.heard_ms.is_some() {
        Some(format!("last heard {heard}; is it running where the gateway's `registry` says?"))
    } else if !registry.answers {
        Some(
            "it has not answered yet; is it running where the gateway's `registry` says?"
                .to_owned(),
        )
    } else if !registry.missing.is_empty() {
        let missing = registry.missing.join(", ");
        Some(format!("it lacks {missing}, in use: push it again, or no other node can take over"))
    } else {
        None
    };
    Finding { what: format!("registry, heard {heard}"), trouble }
}

fn of_node(node: &NodeView) -> Finding {
    let seen = || node.seen_ms.map_or_else(|| "never".into(), |ms| format!("{} ago", ago(ms)));
    let trouble = match node.state {
        NodeState::Online | NodeState::Revoked => None,
        NodeState::Joining => Some("it has not been heard yet; is it running?".to_owned()),
        NodeState::Suspect | NodeState::Offline => {
            let at = node.address.map(|address| format!(", and at {address}")).unwrap_or_default();
            Some(format!("last heard {}; is it running{at}?", seen()))
        }
    };
    Finding { what: format!("node {}", node.name), trouble }
}

fn of_pipeline(pipeline: &PipelineView) -> Finding {
    let running = format!("{} of {}", pipeline.running, pipeline.instances.len());
    let trouble = (!pipeline.problems.is_empty()).then(|| pipeline.problems.join("; "));
    Finding { what: format!("pipeline {}, {running} instances run", pipeline.name), trouble }
}
