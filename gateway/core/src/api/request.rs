//! What a gateway is asked and told.

use super::codes::{optional_level, text};
use super::limits;
use super::{InstanceRef, Refusal, RefusalCode};
use capmesh_wire::log::Level;
use capmesh_wire::text::InvalidName;
use capmesh_wire::{CapsuleRef, Claim, Name};
use core::fmt;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

/// What a gateway is asked or told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Request {
    /// Show the site: [`Answer::Site`](super::Answer::Site).
    Site,
    /// List the nodes: [`Answer::Nodes`](super::Answer::Nodes).
    Nodes,
    /// Show a node: [`Answer::Node`](super::Answer::Node).
    Node(OnNode),
    /// List instances: [`Answer::Instances`](super::Answer::Instances).
    Instances(Which),
    /// Show an instance: [`Answer::Instance`](super::Answer::Instance).
    Instance(OnInstance),
    /// List the pipelines: [`Answer::Pipelines`](super::Answer::Pipelines).
    Pipelines,
    /// Show a pipeline, with its text: [`Answer::Pipeline`](super::Answer::Pipeline).
    Pipeline(OnPipeline),
    /// Show what runs where and why: [`Answer::Plan`](super::Answer::Plan).
    Plan,
    /// List the topics with their last values: [`Answer::Topics`](super::Answer::Topics).
    Topics,
    /// Show the end of the log: [`Answer::Log`](super::Answer::Log).
    Log(LogQuery),
    /// List the capsules that are in use or held: [`Answer::Capsules`](super::Answer::Capsules).
    Capsules,
    /// List the migrations that run or ran last:
    /// [`Answer::Migrations`](super::Answer::Migrations).
    Migrations,
    /// Run a pipeline, or change the one of its name: [`Answer::Deployed`](super::Answer::Deployed).
    Deploy(Deploy),
    /// End a pipeline and forget it.
    Undeploy(OnPipeline),
    /// Move an instance: [`Answer::Migration`](super::Answer::Migration), once it has begun.
    Migrate(Migrate),
    /// Start an instance afresh, without its state.
    Restart(OnInstance),
    /// Put nothing new on a node, and move away what is there.
    Drain(OnNode),
    /// Let a node take instances again.
    Undrain(OnNode),
    /// Take a node into the site: [`Answer::Node`](super::Answer::Node).
    Adopt(Adopt),
    /// Take a node off the roster.
    Revoke(OnNode),
    /// Give a node another name.
    Rename(Rename),
    /// Give a node labels and take others.
    Label(Label),
    /// Start a node anew.
    Reboot(OnNode),
    /// Have nodes forget a capsule that no instance uses.
    Remove(Remove),
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnNode {
    /// Its name or id.
    pub node: String,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnInstance {
    /// Its place in its pipeline, or its number.
    pub instance: InstanceRef,
}

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnPipeline {
    /// Its name.
    pub pipeline: String,
}

/// Which instances to list: all that fit what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Which {
    /// Those of this pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// Those on this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// Which lines of the log to show: the newest of all that fit what is there, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogQuery {
    /// Those of this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Those of this instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceRef>,
    /// Those that are at least as serious.
    #[serde(with = "optional_level", skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// At most so many, up to [`limits::LOG_LINES`], which is also what is meant if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<u16>,
}

/// Run a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deploy {
    /// The pipeline, in TOML.
    pub text: String,
    /// The name of the file that it is from, for messages to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Whether only to say what would be done.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub dry_run: bool,
}

/// Move an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migrate {
    /// The instance.
    pub instance: InstanceRef,
    /// The name or id of the node that it goes to.
    pub to: String,
}

/// Take a node into the site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adopt {
    /// What it has printed.
    #[serde(with = "text")]
    pub claim: Claim,
    /// Where it is.
    pub address: SocketAddr,
    /// What it is to be called.
    pub name: String,
    /// Words that pipelines can ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// Give a node another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// Its name or id.
    pub node: String,
    /// Its new name.
    pub name: String,
}

/// Give a node labels and take others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Its name or id.
    pub node: String,
    /// Labels that it gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<String>,
    /// Labels that it loses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// Have nodes forget a capsule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// The capsule: `name:tag`, `name@sha256:...` or a digest.
    pub capsule: String,
    /// The node; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

impl Request {
    /// Reads a request and checks it.
    ///
    /// # Errors
    /// [`RefusalCode::TooLarge`] or [`RefusalCode::Malformed`], with what was found.
    pub fn parse(json: &[u8]) -> Result<Self, Refusal> {
        if json.len() > limits::REQUEST {
            return Err(too_large("the request", limits::REQUEST));
        }
        let request: Self = serde_json::from_slice(json).map_err(not_one)?;
        request.check()?;
        Ok(request)
    }

    /// Reads a request whose operation stands elsewhere: in a topic or in a path. `json` is the object
    /// without `op`, or nothing for a request that says no more.
    ///
    /// # Errors
    /// As [`Request::parse`].
    pub fn parse_op(op: &str, json: &[u8]) -> Result<Self, Refusal> {
        if json.len() > limits::REQUEST {
            return Err(too_large("the request", limits::REQUEST));
        }
        let mut object = match json.trim_ascii() {
            [] => serde_json::Map::new(),
            json => serde_json::from_slice(json).map_err(not_one)?,
        };
        object.insert("op".to_owned(), op.into());
        Self::from_object(object)
    }

    /// Makes a request of a JSON object, and checks it.
    ///
    /// # Errors
    /// As [`Request::parse`].
    pub fn from_object(
        object: serde_json::Map<String, serde_json::Value>,
    ) -> Result<Self, Refusal> {
        let request: Self = serde_json::from_value(object.into()).map_err(not_one)?;
        request.check()?;
        Ok(request)
    }

    /// Whether it changes nothing.
    #[must_use]
    pub const fn is_query(&self) -> bool {
        match self {
            Self::Site
            | Self::Nodes
            | Self::Node(_)
            | Self::Instances(_)
            | Self::Instance(_)
            | Self::Pipelines
            | Self::Pipeline(_)
            | Self::Plan
            | Self::Topics
            | Self::Log(_)
            | Self::Capsules
            | Self::Migrations => true,
            Self::Deploy(Deploy { dry_run, .. }) => *dry_run,
            _ => false,
        }
    }

    /// Checks every grammar and bound, for requests that were not parsed. The work is one pass over
    /// names and lists.
    ///
    /// # Errors
    /// [`RefusalCode::TooLarge`] or [`RefusalCode::Malformed`], with what was found.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Site
            | Self::Nodes
            | Self::Pipelines
            | Self::Plan
            | Self::Topics
            | Self::Capsules
            | Self::Migrations
            | Self::Instance(_)
            | Self::Restart(_) => Ok(()),
            Self::Node(on)
            | Self::Drain(on)
            | Self::Undrain(on)
            | Self::Revoke(on)
            | Self::Reboot(on) => name("node", &on.node),
            Self::Pipeline(on) | Self::Undeploy(on) => name("pipeline", &on.pipeline),
            Self::Instances(which) => {
                optional_name("pipeline", which.pipeline.as_deref())?;
                optional_name("node", which.node.as_deref())
            }
            Self::Log(query) => query.check(),
            Self::Deploy(deploy) => deploy.check(),
            Self::Migrate(migrate) => name("to", &migrate.to),
            Self::Adopt(adopt) => {
                name("name", &adopt.name)?;
                labels("labels", &adopt.labels)
            }
            Self::Rename(rename) => {
                name("node", &rename.node)?;
                name("name", &rename.name)
            }
            Self::Label(label) => {
                name("node", &label.node)?;
                labels("add", &label.add)?;
                labels("remove", &label.remove)
            }
            Self::Remove(remove) => {
                capsule(&remove.capsule)?;
                optional_name("node", remove.node.as_deref())
            }
        }
    }
}

impl LogQuery {
    fn check(&self) -> Result<(), Refusal> {
        optional_name("node", self.node.as_deref())?;
        if self.lines.is_some_and(|lines| lines > limits::LOG_LINES) {
            let most = limits::LOG_LINES;
            return Err(malformed(format_args!("`lines` is more than {most}")));
        }
        Ok(())
    }
}

impl Deploy {
    fn check(&self) -> Result<(), Refusal> {
        if self.text.len() > limits::PIPELINE_TEXT {
            return Err(too_large("the pipeline", limits::PIPELINE_TEXT));
        }
        if self.file.as_ref().is_some_and(|file| file.len() > limits::FILE) {
            return Err(too_large("the name of the file", limits::FILE));
        }
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "to be given to map_err")]
fn not_one(error: serde_json::Error) -> Refusal {
    Refusal::new(RefusalCode::Malformed, "the request is not what it should be")
        .because(error.to_string())
}

fn malformed(message: fmt::Arguments<'_>) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message.to_string())
}

fn too_large(what: &str, bytes: usize) -> Refusal {
    Refusal::new(RefusalCode::TooLarge, format!("{what} is longer than {bytes} bytes"))
}

fn name(key: &str, text: &str) -> Result<(), Refusal> {
    let refuse = |error: InvalidName| malformed(format_args!("`{key}` is not a name: {error}"));
    Name::new(text).map(drop).map_err(refuse)
}

fn optional_name(key: &str, text: Option<&str>) -> Result<(), Refusal> {
    text.map_or(Ok(()), |text| name(key, text))
}

fn labels(key: &str, labels: &[String]) -> Result<(), Refusal> {
    if labels.len() > limits::LABELS {
        let most = limits::LABELS;
        return Err(malformed(format_args!("`{key}` has more than {most} entries")));
    }
    labels.iter().try_for_each(|label| name(key, label))
}

fn capsule(text: &str) -> Result<(), Refusal> {
    if text.parse::<capmesh_wire::Digest>().is_ok() {
        return Ok(());
    }
    let refuse = |error| malformed(format_args!("`capsule` does not name a capsule: {error}"));
    CapsuleRef::try_from(text).map(drop).map_err(refuse)
}
