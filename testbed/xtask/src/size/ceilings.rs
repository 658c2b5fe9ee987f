//! The most that an image may cost.

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use super::figures::Figures;

/// The most that a figure may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ceiling {
    figure: String,
    most: u64,
    /// What is aimed at, where that is not reached yet.
    goal: Option<u64>,
}

/// Reads the ceilings of the image: `figure = most`, or `figure = { ceiling = most, goal = aim }`.
pub(super) fn parse(text: &str, image: &str) -> Result<Vec<Ceiling>> {
    let table: Table = text.parse()?;
    let ceilings = table.get(image).and_then(Value::as_table);
    ceilings.with_context(|| format!("there is no [{image}]"))?.iter().map(ceiling).collect()
}

fn ceiling((figure, value): (&String, &Value)) -> Result<Ceiling> {
    let size = |value: Option<&Value>| {
        let value = value.and_then(Value::as_integer).and_then(|value| u64::try_from(value).ok());
        value.with_context(|| format!("{figure} is not a size"))
    };
    let (most, goal) = match value.get("ceiling") {
        None => (size(Some(value))?, None),
        most => (size(most)?, value.get("goal").map(|goal| size(Some(goal))).transpose()?),
    };
    Ok(Ceiling { figure: figure.clone(), most, goal })
}

/// Prints each figure beside its ceiling; returns those that are over it.
pub(super) fn compare(ceilings: &[Ceiling], figures: &Figures) -> Result<Vec<String>> {
    let mut over = Vec::new();
    for Ceiling { figure, most, goal } in ceilings {
        let Some(value) = figures.get(figure) else { bail!("the image does not report {figure}") };
        let verdict = if value > *most { "OVER" } else { "ok" };
        print!("  {value:>10} of {most:>7}  {figure:<24} {verdict}");
        match goal {
            Some(goal) if value > *goal => println!(" (goal {goal}, not reached)"),
            Some(goal) => println!(" (goal {goal}, reached)"),
            None => println!(),
        }
        if value > *most {
            over.push(figure.clone());
        }
    }
    Ok(over)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_over_its_ceiling_is_named() {
        let ceilings = parse("[protocols]\nflash = 100\n\"a.stack\" = 10\n", "protocols").unwrap();
        let figures = Figures::parse("flash 100\na.stack 11\n").unwrap();
        assert_eq!(compare(&ceilings, &figures).unwrap(), ["a.stack"]);
    }

    #[test]
    fn a_ceiling_without_a_figure_is_an_error() {
        let ceilings = parse("[protocols]\nflash = 100\n", "protocols").unwrap();
        assert!(compare(&ceilings, &Figures::default()).is_err());
    }

    #[test]
    fn a_goal_that_is_not_reached_is_no_failure() {
        let ceilings =
            parse("[protocols]\nflash = { ceiling = 100, goal = 50 }\n", "protocols").unwrap();
        let below = Figures::parse("flash 100\n").unwrap();
        assert!(compare(&ceilings, &below).unwrap().is_empty());
        let above = Figures::parse("flash 101\n").unwrap();
        assert_eq!(compare(&ceilings, &above).unwrap(), ["flash"]);
    }

    #[test]
    fn a_ceiling_is_a_size() {
        assert!(parse("[protocols]\nflash = -1\n", "protocols").is_err());
        assert!(parse("[protocols]\nflash = \"1\"\n", "protocols").is_err());
        assert!(parse("[protocols]\nflash = { goal = 1 }\n", "protocols").is_err());
        assert!(parse("flash = 1\n", "protocols").is_err());
    }
}
