//! What an image reports of itself: lines `name value`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// Figures by name. What belongs to one step of the image has the step's name before a dot.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Figures(BTreeMap<String, u64>);

impl Figures {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut figures = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (name, value) =
                line.split_once(' ').with_context(|| format!("image says {line:?}"))?;
            let Ok(value) = value.parse() else { bail!("image says {line:?}") };
            figures.insert(name, value);
        }
        if figures.0.is_empty() {
            bail!("the image reported nothing");
        }
        Ok(figures)
    }

    pub(super) fn insert(&mut self, name: &str, value: u64) {
        self.0.insert(name.to_owned(), value);
    }

    pub(super) fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    /// The highest of the figures whose name ends so.
    pub(super) fn highest(&self, suffix: &str) -> u64 {
        let figures = self.0.iter().filter(|(name, _)| name.ends_with(suffix));
        figures.map(|(_, value)| *value).max().unwrap_or(0)
    }

    pub(super) fn print(&self) {
        for (name, value) in &self.0 {
            println!("  {value:>10}  {name}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_lines_of_a_name_and_a_number() {
        let figures = Figures::parse("a.stack 12\n\nb.stack 34\nb.instructions 99\n").unwrap();
        assert_eq!(figures.get("a.stack"), Some(12));
        assert_eq!(figures.highest(".stack"), 34);
        assert_eq!(figures.highest(".none"), 0);
    }

    #[test]
    fn anything_else_is_an_error() {
        for text in ["", "failed: panic\n", "a.stack 12\na b\n", "alone\n"] {
            assert!(Figures::parse(text).is_err(), "{text:?}");
        }
    }
}
