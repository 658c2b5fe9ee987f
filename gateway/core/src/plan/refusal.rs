//! What has no place, and why.

use super::Site;
use crate::catalog::{Demands, Mistake};
use capmesh_placement::{Lack, Obstacle, Resources, Unplaceable};
use std::fmt;

/// Something that is wanted and cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The pipelines that it is about.
    pub pipelines: Vec<String>,
    /// The capsules that it is about: `pipeline/capsule`.
    pub capsules: Vec<String>,
    /// What sort it is: of the first thing that is lacking.
    pub kind: RefusalKind,
    /// What the capsules need together, if that is known.
    pub needs: Option<Resources>,
    /// The node that lacks least.
    pub best: Option<String>,
    /// What that node lacks.
    pub lacks: Vec<String>,
    /// What is wrong with the text, each with its place; empty if it is not that.
    pub mistakes: Vec<Mistake>,
    /// All of it in a sentence; one for each line of mistakes.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

/// A sort of refusal, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalKind {
    /// The pipeline does not fit its capsules or the nodes: see its mistakes.
    Mistakes,
    /// There are no nodes.
    NoNodes,
    /// It fits no node, however empty.
    DoesNotFit,
    /// It does not fit beside what else there is.
    NoRoom,
    /// No node has the sensor, with the others that it needs.
    Sensor,
    /// No node has the actuator.
    Actuator,
    /// No node has the label.
    Label,
    /// No node offers that version of the contract with capsules.
    Abi,
    /// All nodes that would do are being drained.
    Draining,
    /// Every node that would do has refused its capsule.
    Refused,
    /// The node that somebody wants it on will not do.
    Pinned,
    /// It is to be together with something and apart from it.
    Contradiction,
}

impl RefusalKind {
    /// Its name: `does-not-fit`, `no-room`, ...
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mistakes => "mistakes",
            Self::NoNodes => "no-nodes",
            Self::DoesNotFit => "does-not-fit",
            Self::NoRoom => "no-room",
            Self::Sensor => "unknown-sensor",
            Self::Actuator => "unknown-actuator",
            Self::Label => "no-label",
            Self::Abi => "abi",
            Self::Draining => "draining",
            Self::Refused => "refused",
            Self::Pinned => "pinned",
            Self::Contradiction => "contradiction",
        }
    }
}

impl Refusal {
    /// A pipeline with mistakes.
    #[must_use]
    pub fn mistakes(pipeline: &str, mistakes: Vec<Mistake>) -> Self {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        Self {
            pipelines: vec![pipeline.to_owned()],
            capsules: Vec::new(),
            kind: RefusalKind::Mistakes,
            needs: None,
            best: None,
            lacks: Vec::new(),
            mistakes,
            message: lines.join("\n"),
        }
    }

    /// What placement says; `capsules` are those that are left out because of it.
    pub(super) fn of(site: &Site<'_>, why: &Unplaceable, capsules: Vec<String>) -> Self {
        let mut pipelines: Vec<String> = capsules
            .iter()
            .filter_map(|capsule| capsule.split_once('/'))
            .map(|(pipeline, _)| pipeline.to_owned())
            .collect();
        pipelines.dedup();
        let (kind, needs, best, lacks) = match why {
            Unplaceable::NoNodes | Unplaceable::UnknownCapsule { .. } => {
                (RefusalKind::NoNodes, None, None, Vec::new())
            }
            Unplaceable::Contradiction { .. } => {
                (RefusalKind::Contradiction, None, None, Vec::new())
            }
            Unplaceable::NoNode { needs, best, lacks, .. } => {
                let kind = lacks.first().map_or(RefusalKind::DoesNotFit, kind_of);
                let lacks = lacks.iter().map(obstacle).collect();
                (kind, Some(*needs), Some(best.clone()), lacks)
            }
            Unplaceable::NoRoom { needs, best, lacks, .. } => {
                let lacks = lacks.iter().map(|lack| format!("is short of {lack}")).collect();
                (RefusalKind::NoRoom, Some(*needs), Some(best.clone()), lacks)
            }
        };
        let message = message(site, why, &capsules, needs.as_ref(), best.as_deref(), &lacks);
        let mistakes = Vec::new();
        Self { pipelines, capsules, kind, needs, best, lacks, mistakes, message }
    }
}

fn message(
    site: &Site<'_>,
    why: &Unplaceable,
    capsules: &[String],
    needs: Option<&Resources>,
    best: Option<&str>,
    lacks: &[String],
) -> String {
    let names = capsules.join(", ");
    let needs = needs.map(|needs| {
        format!(
            "{} bytes of flash, {} of RAM, {} fuel a second",
            needs.flash, needs.ram, needs.fuel
        )
    });
    let needs = needs.unwrap_or_default();
    let best = best.unwrap_or_default();
    match why {
        Unplaceable::NoNodes if site.nodes.is_empty() => {
            format!("{names}: there are no nodes; adopt one first")
        }
        Unplaceable::NoNodes => format!("{names}: no node is there"),
        Unplaceable::NoNode { .. } => format!(
            "{names} does not fit on any node: it needs {needs}; the best, `{best}`, {}",
            lacks.join(" and ")
        ),
        Unplaceable::NoRoom { .. } if lacks.is_empty() => format!(
            "{names} has no place beside the others: `{best}` has room, but no path for its wires, or \
             what it must be apart from is there"
        ),
        Unplaceable::NoRoom { .. } => format!(
            "{names} has no place beside the others: it needs {needs}; the best, `{best}`, {}",
            lacks.join(" and ")
        ),
        Unplaceable::Contradiction { .. } | Unplaceable::UnknownCapsule { .. } => why.to_string(),
    }
}

const fn kind_of(obstacle: &Obstacle) -> RefusalKind {
    match obstacle {
        Obstacle::Draining => RefusalKind::Draining,
        Obstacle::Abi(_) => RefusalKind::Abi,
        Obstacle::Sensor(_) => RefusalKind::Sensor,
        Obstacle::Actuator(_) => RefusalKind::Actuator,
        Obstacle::Label(_) => RefusalKind::Label,
        Obstacle::Resource(_) => RefusalKind::DoesNotFit,
        Obstacle::Refused => RefusalKind::Refused,
        Obstacle::Pinned(_) => RefusalKind::Pinned,
    }
}

/// An obstacle in words that people know.
pub(super) fn obstacle(obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::Sensor(word) if word.starts_with('~') => {
            format!("has no digital input `{}`", Demands::shown(word))
        }
        Obstacle::Sensor(word) => format!("has no such sensor `{}`", Demands::shown(word)),
        Obstacle::Actuator(word) => format!("has no such actuator `{}`", Demands::shown(word)),
        Obstacle::Resource(Lack::Instances(_)) => "can host no more instances".to_owned(),
        other => other.to_string(),
    }
}
