//! `run`.

use super::{Failure, read};
use crate::assemble;
use crate::load::{self, Happening};
use crate::module::{self, Hints, Packed};
use crate::reading;
use crate::rehearsal::{Rehearsal, Trapped};
use crate::script::{self, Step, What};
use crate::{codec, seal};
use capmesh_description::{Description, Value};
use capmesh_runtime::{Effect, Event};
use capmesh_wire::bundle::MAGIC;
use clap::Args;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;

/// Run a capsule on this machine, on its own, in the runtime that nodes have.
///
/// Reads what happens to it as lines of JSON, from a file or from standard input, and prints what it
/// does as lines of JSON. Time is virtual and passes only where a line says so: {"wait": 2.5}.
///
///   {"input": "reading", "value": {"value": 21.5}}     a message on an input
///   {"sensor": "air", "value": {"value": 21.5}}        a sensor's next sample
///   {"source": "button", "value": 1}                   a digital input changes
///   {"timer": "tick"}                                  a timer runs out now
///   {"service": "limit", "method": "PUT", "value": {}} somebody asks
///   {"reply": 0, "status": "2.05", "value": {}}        an answer to the capsule's request 0
///   {"run": "00ff"}                                    a one-shot capsule, with these bytes
///
/// With --generate messages are made up from the schemas instead.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Run {
    /// The capsule's folder or capsule.toml (it is built first), or a built .capsule.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The file with what happens; standard input if absent.
    #[arg(long, short)]
    input: Option<PathBuf>,
    /// Make up what happens, for so many virtual seconds.
    #[arg(long, value_name = "SECONDS", conflicts_with = "input")]
    generate: Option<u32>,
    /// Configuration values, as NAME=VALUE; what is not given has the capsule's default.
    #[arg(long, short, value_name = "NAME=VALUE")]
    config: Vec<String>,
    /// At the end, say how many handlers ran, their fuel and the RAM.
    #[arg(long)]
    stats: bool,
}

impl Run {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let (description, packed) = self.capsule()?;
        let config = config(&description, &self.config)?;
        let rehearsal = Rehearsal::alone(&packed, &description, &config)
            .map_err(|refusal| Failure::given(&self.path, refusal))?;
        let mut stage = Stage { description: &description, rehearsal, asked: BTreeMap::new() };
        stage.handle(&Event::Start, None)?;
        if let Some(seconds) = self.generate {
            stage.generate(seconds)?;
        } else if let Some(path) = &self.input {
            let text = read(path)?;
            stage.play(text.as_slice(), &path.display().to_string())?;
        } else {
            stage.play(io::stdin().lock(), "standard input")?;
        }
        if self.stats {
            let (seen, ram) = (stage.rehearsal.seen(), stage.rehearsal.ram());
            eprintln!(
                "{} handlers, {} fuel, at most {} in one; {} messages out; {} bytes of RAM at most",
                seen.handlers, seen.fuel, seen.most_fuel, seen.published, ram.peak
            );
        }
        Ok(())
    }

    fn capsule(&self) -> Result<(Description, Packed), Failure> {
        if !self.path.is_dir() && self.path.exists() {
            let bytes = read(&self.path)?;
            if bytes.starts_with(&MAGIC) {
                let sealed = seal::open(&bytes).map_err(|e| Failure::given(&self.path, e))?;
                let manifest = sealed.manifest().map_err(|e| Failure::given(&self.path, e))?;
                let description = reading::description(&manifest, &self.path);
                let packed = module::pack(sealed.module(), Hints::default())
                    .map_err(|fault| Failure::given(&self.path, fault))?;
                return Ok((description, packed));
            }
        }
        let description = assemble::describe(&self.path)?;
        let (_, packed) = assemble::pack(&description)?;
        Ok((description, packed))
    }
}

/// The configuration that was given, checked against what there is to configure.
pub(super) fn config(
    description: &Description,
    given: &[String],
) -> Result<BTreeMap<String, Value>, Failure> {
    use capmesh_wire::schema::FieldType;
    let mut config = BTreeMap::new();
    for text in given {
        let wrong = |why: &str| Failure::Given(format!("--config {text}: {why}"));
        let (name, value) = text.split_once('=').ok_or_else(|| wrong("not NAME=VALUE"))?;
        let key = description.config.iter().find(|key| key.field.name == name);
        let key = key.ok_or_else(|| {
            let names = description.config.iter().map(|key| key.field.name.as_str());
            let meant = capmesh_description::nearest(name, names);
            wrong(&match meant {
                Some(meant) => format!("there is no such value; is it `{meant}`?"),
                None => "there is no such value".to_owned(),
            })
        })?;
        let value = match key.field.ty {
            FieldType::Text(max) if value.len() <= usize::from(max) => Value::Text(value.into()),
            FieldType::Text(max) => return Err(wrong(&format!("longer than {max} bytes"))),
            FieldType::Bool => {
                Value::Bool(value.parse().map_err(|_| wrong("neither true nor false"))?)
            }
            _ => Value::Number(value.parse().map_err(|_| wrong("not a number"))?),
        };
        config.insert(name.to_owned(), value);
    }
    let missing = description
        .config
        .iter()
        .find(|key| !key.field.optional && !config.contains_key(&key.field.name));
    match missing {
        None => Ok(config),
        Some(key) => {
            let name = &key.field.name;
            Err(Failure::Given(format!("`{name}` has no default: give --config {name}=VALUE")))
        }
    }
}

struct Stage<'d> {
    description: &'d Description,
    rehearsal: Rehearsal,
    /// The schema of the answer to each request that waits for one.
    asked: BTreeMap<u32, Option<usize>>,
}

/// Timers that may run out while one line's time passes: one that sets itself to nothing would go on
/// for ever.
const MOST_TIMERS: usize = 1_000_000;

impl Stage<'_> {
    fn handle(&mut self, event: &Event<'_>, service: Option<usize>) -> Result<(), Failure> {
        let (description, asked) = (self.description, &mut self.asked);
        let mut lines = Vec::new();
        let result = self.rehearsal.handle(event, &mut |at, effect| {
            note(description, asked, &effect);
            lines.extend(script::line(description, at, &effect, service));
        });
        print(&lines)?;
        result.map_err(|trapped| ended(&trapped))
    }

    fn pass(&mut self, micros: u64) -> Result<(), Failure> {
        let then = self.rehearsal.now().saturating_add(micros);
        let (description, asked) = (self.description, &mut self.asked);
        let mut lines = Vec::new();
        let result = self.rehearsal.pass(then, MOST_TIMERS, &mut |at, effect| {
            note(description, asked, &effect);
            lines.extend(script::line(description, at, &effect, None));
        });
        print(&lines)?;
        result.map(drop).map_err(|trapped| ended(&trapped))
    }

    fn happen(&mut self, happening: &Happening) -> Result<(), Failure> {
        let service = match happening {
            Happening::Sample(sensor, record) => {
                self.rehearsal.sample(*sensor, record);
                return Ok(());
            }
            Happening::Request(service, ..) => usize::try_from(*service).ok(),
            _ => None,
        };
        match happening.event() {
            Some(event) => self.handle(&event, service),
            None => Ok(()),
        }
    }

    fn generate(&mut self, seconds: u32) -> Result<(), Failure> {
        let end = u64::from(seconds) * 1_000_000;
        let (schedule, _) = load::generate(self.description);
        for (at, happening) in schedule.iter().take_while(|(at, _)| *at <= end) {
            self.pass(at.saturating_sub(self.rehearsal.now()))?;
            self.happen(happening)?;
        }
        self.pass(end.saturating_sub(self.rehearsal.now()))
    }

    fn play(&mut self, lines: impl BufRead, from: &str) -> Result<(), Failure> {
        for (number, line) in (1..).zip(lines.lines()) {
            let line = line.map_err(|error| Failure::Machine(format!("{from}: {error}")))?;
            let bad = |why| Failure::Given(format!("{from}, line {number}: {why}"));
            let Some(Step { wait, what }) = script::step(self.description, &line).map_err(bad)?
            else {
                continue;
            };
            if wait > 0 {
                self.pass(wait)?;
            }
            match what {
                None => {}
                Some(What::Happening(happening)) => self.happen(&happening)?,
                Some(What::Reply(number, status, value)) => {
                    let schema = self.asked.remove(&number).ok_or_else(|| {
                        bad(format!("the capsule has no request {number} that waits for an answer"))
                    })?;
                    let schema = schema.and_then(|schema| self.description.schemas.get(schema));
                    let payload = match (schema, value) {
                        (_, None) => Vec::new(),
                        (None, Some(_)) => return Err(bad("the answer carries nothing".into())),
                        (Some(schema), Some(value)) => codec::to_record(schema, &value)
                            .map_err(|error| bad(error.to_string()))?,
                    };
                    self.handle(&Event::Reply { number, status, payload: &payload }, None)?;
                }
            }
        }
        Ok(())
    }
}

/// Remembers what a request's answer will be.
fn note(description: &Description, asked: &mut BTreeMap<u32, Option<usize>>, effect: &Effect<'_>) {
    if let Effect::Request { peer, resource, number, .. } = effect {
        let index = |number: &u32| usize::try_from(*number).unwrap_or(usize::MAX);
        let peer = description.peers.get(index(peer));
        let service = peer.and_then(|peer| peer.services.get(index(resource)));
        asked.insert(*number, service.and_then(|service| service.response));
    }
}

fn ended(trapped: &Trapped) -> Failure {
    Failure::Given(trapped.to_string())
}

fn print(lines: &[serde_json::Value]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for line in lines {
        // Who reads this may have stopped.
        writeln!(out, "{line}").map_err(|error| Failure::Machine(format!("output: {error}")))?;
    }
    Ok(())
}
