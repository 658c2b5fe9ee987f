//! The most that an image may cost.

use anyhow::{Context, Result, bail};
use toml::Table;

use super::figures::Figures;

/// A figure's name and the most it may be.
type Ceiling = (String, u64);

/// Reads the ceilings of the image.
pub(super) fn parse(text: &str) -> Result<Vec<Ceiling>> {
    let table: Table = text.parse()?;
    let image = table.get("protocols").and_then(|value| value.as_table());
    let image = image.context("there is no [protocols]")?;
    image
        .iter()
        .map(|(name, value)| {
            let value = value.as_integer().and_then(|value| u64::try_from(value).ok());
            Ok((name.clone(), value.with_context(|| format!("{name} is not a size"))?))
        })
        .collect()
}

/// Prints each figure beside its ceiling; returns those that are over it.
pub(super) fn compare(ceilings: &[Ceiling], figures: &Figures) -> Result<Vec<String>> {
    let mut over = Vec::new();
    for (name, ceiling) in ceilings {
        let Some(value) = figures.get(name) else { bail!("the image does not report {name}") };
        let verdict = if value > *ceiling { "OVER" } else { "ok" };
        println!("  {value:>10} of {ceiling:>7}  {name:<24} {verdict}");
        if value > *ceiling {
            over.push(name.clone());
        }
    }
    Ok(over)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_over_its_ceiling_is_named() {
        let ceilings = parse("[protocols]\nflash = 100\n\"a.stack\" = 10\n").unwrap();
        let figures = Figures::parse("flash 100\na.stack 11\n").unwrap();
        assert_eq!(compare(&ceilings, &figures).unwrap(), ["a.stack"]);
    }

    #[test]
    fn a_ceiling_without_a_figure_is_an_error() {
        let ceilings = parse("[protocols]\nflash = 100\n").unwrap();
        assert!(compare(&ceilings, &Figures::default()).is_err());
    }

    #[test]
    fn a_ceiling_is_a_size() {
        assert!(parse("[protocols]\nflash = -1\n").is_err());
        assert!(parse("[protocols]\nflash = \"1\"\n").is_err());
        assert!(parse("flash = 1\n").is_err());
    }
}
