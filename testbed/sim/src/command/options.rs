//! What the command is told.

use capmesh_sim::script::{Kind, Shape};
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

const HELP: &str = "\
Runs whole meshes in virtual time: real nodes, gateway and registry, a net, flash and clocks that fail as the
seed says, and checkers that watch. Everything repeats from the seed.

Usage: cargo xtask sim [which seeds] [options]

Which seeds (one at random if nothing is said):
  --seed N         this one
  --seeds A..B     from A up to, but not including, B
  --count N        so many, from a random one on (or from --seed)
  --list FILE      those in a file: a seed a line, then options of its own; # begins a comment
  --seconds S      no new one after so many seconds of real time

Tables instead:
  matrix           migrations: who falls over at which step, and who does not hear whom
  rollout [FILE]   a capsule comes to many nodes on one radio; its plot as SVG to a file
  revocation       a roster comes to 200 nodes without the gateway

What is run:
  --nodes N        nodes of the mesh at the start (20)
  --minutes M      how long things happen, in virtual time (5)
  --capsules N     instances that run at a time (by chance)
  --without KINDS  without some kinds of trouble, separated by commas
  --first N        only the first N actions of the script
  --only LIST      only the actions with these numbers, separated by commas
  --script         show what would happen, and run nothing

How:
  --jobs N         at the same time (1)
  --once           not twice: without the check that a seed repeats
  --keep-going     do not stop at the first failure
  --no-shrink      do not look for the smallest part of a script that fails
  --trace FILE     write everything that happens to a file (of a single seed)
  --quiet          no line of progress

A failure is shown with its seed, the smallest part of its script that still fails, and a timeline of what
happened to the instances in question; the last line is the command that runs it again.

Exit code: 0 if nothing failed, 1 if something did, 2 if the command makes no sense.";

/// What the command is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) seeds: Seeds,
    pub(crate) shape: Shape,
    pub(crate) without: Vec<Kind>,
    pub(crate) first: Option<usize>,
    pub(crate) only: Option<Vec<usize>>,
    pub(crate) shows_script: bool,
    pub(crate) seconds: Option<u64>,
    pub(crate) jobs: usize,
    pub(crate) once: bool,
    pub(crate) keeps_going: bool,
    pub(crate) shrinks: bool,
    pub(crate) trace: Option<PathBuf>,
    pub(crate) is_quiet: bool,
}

/// Which seeds are run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seeds {
    /// So many from this one on; a random one if it is absent.
    From(Option<u64>, u64),
    /// Those of a file.
    List(PathBuf),
}

/// A seed, and how large its run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) shape: Shape,
}

impl fmt::Display for Case {
    /// As it stands in a list, and on the command's line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { nodes, lasts, capsules } = self.shape;
        write!(f, "{} --nodes {nodes} --minutes {}", self.seed, minutes(lasts))?;
        capsules.map_or(Ok(()), |capsules| write!(f, " --capsules {capsules}"))
    }
}

fn minutes(lasts: Duration) -> f64 {
    lasts.as_secs_f64() / 60.0
}

const SHAPE: Shape = Shape { nodes: 20, lasts: Duration::from_secs(300), capsules: None };

/// Nodes of a mesh, at most.
const NODES: u16 = 2_000;

/// Reads them; `None` if only the help was asked for, which is printed.
pub(crate) fn read(mut args: Parser) -> Result<Option<Options>, lexopt::Error> {
    let mut options = Options {
        seeds: Seeds::From(None, 1),
        shape: SHAPE,
        without: Vec::new(),
        first: None,
        only: None,
        shows_script: false,
        seconds: None,
        jobs: 1,
        once: false,
        keeps_going: false,
        shrinks: true,
        trace: None,
        is_quiet: false,
    };
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("seed") => options.seeds = first(&options.seeds, args.value()?.parse()?),
            Arg::Long("seeds") => options.seeds = range(&args.value()?.string()?)?,
            Arg::Long("count") => options.seeds = count(&options.seeds, args.value()?.parse()?),
            Arg::Long("list") => options.seeds = Seeds::List(args.value()?.into()),
            Arg::Long("seconds") => options.seconds = Some(args.value()?.parse()?),
            Arg::Long("without") => options.without = kinds(&args.value()?.string()?)?,
            Arg::Long("first") => options.first = Some(args.value()?.parse()?),
            Arg::Long("only") => options.only = Some(numbers(&args.value()?.string()?)?),
            Arg::Long("script") => options.shows_script = true,
            Arg::Long("jobs") => options.jobs = args.value()?.parse::<usize>()?.max(1),
            Arg::Long("once") => options.once = true,
            Arg::Long("keep-going") => options.keeps_going = true,
            Arg::Long("no-shrink") => options.shrinks = false,
            Arg::Long("trace") => options.trace = Some(args.value()?.into()),
            Arg::Long("quiet") => options.is_quiet = true,
            Arg::Long("help") | Arg::Short('h') => {
                println!("{HELP}");
                return Ok(None);
            }
            Arg::Long(name @ ("nodes" | "minutes" | "capsules")) => {
                let name = name.to_owned();
                shape(&mut options.shape, &name, &args.value()?)?;
            }
            other => return Err(other.unexpected()),
        }
    }
    let is_one = matches!(options.seeds, Seeds::From(_, 1));
    let is_part = options.first.is_some() || options.only.is_some();
    if (options.trace.is_some() || options.shows_script || is_part) && !is_one {
        return Err("--trace, --script, --first and --only are for a single seed".into());
    }
    Ok(Some(options))
}

/// Reads how large a run is, which may also stand in a list.
fn shape(shape: &mut Shape, name: &str, value: &OsString) -> Result<(), lexopt::Error> {
    match name {
        "nodes" => {
            shape.nodes = value.parse()?;
            if !(1..=NODES).contains(&shape.nodes) {
                return Err(format!("--nodes is from 1 to {NODES}").into());
            }
        }
        "minutes" => {
            let minutes: f64 = value.parse()?;
            if !(0.1..=100_000.0).contains(&minutes) {
                return Err("--minutes is from 0.1 to 100000".into());
            }
            shape.lasts = Duration::from_secs_f64(minutes * 60.0);
        }
        "capsules" => shape.capsules = Some(value.parse()?),
        _ => return Err(lexopt::Error::UnexpectedOption(format!("--{name}"))),
    }
    Ok(())
}

fn first(seeds: &Seeds, seed: u64) -> Seeds {
    match seeds {
        Seeds::From(_, count) => Seeds::From(Some(seed), *count),
        Seeds::List(_) => Seeds::From(Some(seed), 1),
    }
}

fn count(seeds: &Seeds, count: u64) -> Seeds {
    match seeds {
        Seeds::From(first, _) => Seeds::From(*first, count),
        Seeds::List(_) => Seeds::From(None, count),
    }
}

fn range(text: &str) -> Result<Seeds, lexopt::Error> {
    let parts = text.split_once("..").and_then(|(first, end)| {
        let (first, end): (u64, u64) = (first.parse().ok()?, end.parse().ok()?);
        (first < end).then_some((first, end))
    });
    let (first, end) = parts.ok_or_else(|| format!("{text:?} is not A..B with A less than B"))?;
    Ok(Seeds::From(Some(first), end - first))
}

fn numbers(text: &str) -> Result<Vec<usize>, lexopt::Error> {
    let number = |number: &str| {
        number.trim().parse().map_err(|_| format!("{number:?} is not a number").into())
    };
    text.split(',').map(number).collect()
}

fn kinds(text: &str) -> Result<Vec<Kind>, lexopt::Error> {
    let kind = |name: &str| {
        let all = || Kind::ALL.map(Kind::name).join(", ");
        Kind::named(name).ok_or_else(|| format!("{name:?} is none of {}", all()).into())
    };
    text.split(',').map(|name| kind(name.trim())).collect()
}

/// The seeds of a list: a seed a line, then options of its own.
pub(crate) fn list(text: &str, usual: Shape) -> Result<Vec<Case>, lexopt::Error> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let case = |line: &str| {
        let mut args = Parser::from_args(line.split_whitespace().map(str::to_owned));
        let mut case = Case { seed: 0, shape: usual };
        while let Some(arg) = args.next()? {
            match arg {
                Arg::Value(seed) => case.seed = seed.parse()?,
                Arg::Long(name) => {
                    let name = name.to_owned();
                    shape(&mut case.shape, &name, &args.value()?)?;
                }
                other => return Err(other.unexpected()),
            }
        }
        Ok(case)
    };
    lines.filter(|line| !line.is_empty()).map(case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Option<Options>, lexopt::Error> {
        read(Parser::from_args(line.split_whitespace().map(str::to_owned)))
    }

    fn seeds(line: &str) -> Seeds {
        of(line).unwrap().unwrap().seeds
    }

    #[test]
    fn seeds_are_said_in_many_ways() {
        assert_eq!(seeds(""), Seeds::From(None, 1));
        assert_eq!(seeds("--seed 7"), Seeds::From(Some(7), 1));
        assert_eq!(seeds("--seeds 7..10"), Seeds::From(Some(7), 3));
        assert_eq!(seeds("--count 5 --seed 7"), Seeds::From(Some(7), 5));
        assert_eq!(seeds("--seed 7 --count 5"), Seeds::From(Some(7), 5));
        assert_eq!(seeds("--list a"), Seeds::List("a".into()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "--seeds 7..7",
            "--seeds 7",
            "--nodes 0",
            "--minutes 0",
            "--without rain",
            "--count 3 --trace x",
            "--list x --script",
            "--bogus",
            "seed",
        ] {
            assert!(of(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_list_has_a_seed_a_line_with_options_of_its_own() {
        let text = "# past failures\n1 # a comment\n\n2 --nodes 3 --minutes 0.5 --capsules 9\n";
        let cases = list(text, SHAPE).unwrap();
        let lasts = Duration::from_secs(30);
        let own = Shape { nodes: 3, lasts, capsules: Some(9) };
        assert_eq!(cases, [Case { seed: 1, shape: SHAPE }, Case { seed: 2, shape: own }]);
        assert_eq!(cases[1].to_string(), "2 --nodes 3 --minutes 0.5 --capsules 9");
        assert!(list("x", SHAPE).is_err());
    }
}
