//! Finding what somebody meant.

use std::fmt;

/// The longest word, in bytes, that may have been meant as a name: finding out takes its length times
/// that of all names.
const LONGEST: usize = 100;

/// The name among `names` that is nearest to `word`, if one is near enough to have been meant: at
/// most a third of the longer one's letters differ.
#[must_use]
pub fn nearest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    if word.len() > LONGEST {
        return None;
    }
    let limit = |name: &str| word.chars().count().max(name.chars().count()).div_ceil(3);
    names
        .into_iter()
        .map(|name| (distance(word, name), name))
        .filter(|(distance, name)| *distance <= limit(name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The name that was probably meant, or what there is to choose from.
#[must_use]
pub fn hint(word: &str, names: &[&str]) -> Hint {
    match (nearest(word, names.iter().copied()), names) {
        (Some(name), _) => Hint::Nearest(name.to_owned()),
        (None, []) => Hint::Choice("there is none".to_owned()),
        (None, names) => Hint::Choice(format!("there is {}", list(names))),
    }
}

/// What may have been meant. Displays as what follows a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// This name, which exists.
    Nearest(String),
    /// One of these, in words.
    Choice(String),
}

impl Hint {
    /// What is wrong, with this hint.
    #[must_use]
    pub fn after(self, text: String) -> Message {
        Message { text, hint: Some(self) }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nearest(name) => write!(f, "; did you mean `{name}`?"),
            Self::Choice(names) => write!(f, "; {names}"),
        }
    }
}

/// What is wrong, and what may have been meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub(crate) text: String,
    pub(crate) hint: Option<Hint>,
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self { text, hint: None }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// The most names that a hint lists.
const LISTED: usize = 20;

/// `a`, `b` and `c`.
fn list(names: &[&str]) -> String {
    let mut quoted: Vec<String> =
        names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    if names.len() > LISTED {
        quoted.push("others".to_owned());
    }
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// How many letters must be put in, taken out, replaced or swapped with their neighbour to make one
/// word of the other (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (i, letter) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, other) in b.iter().enumerate() {
            let at =
                |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let replace = at(&row, j) + usize::from(letter != *other);
            let take_out = at(&row, j + 1) + 1;
            let put_in = at(&next, j) + 1;
            let is_swap = j > 0 && last == Some(*other) && b.get(j - 1) == Some(&letter);
            let swap = if is_swap { at(&before, j - 1) + 1 } else { usize::MAX };
            next.push(replace.min(take_out).min(put_in).min(swap));
        }
        before = std::mem::replace(&mut row, next);
        last = Some(letter);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_mistakes_are_understood() {
        let names = ["temperature", "humidity", "in"];
        assert_eq!(nearest("temprature", names), Some("temperature"));
        assert_eq!(nearest("humdiity", names), Some("humidity"));
        assert_eq!(nearest("on", names), Some("in"));
        assert_eq!(nearest("pressure", names), None);
    }

    #[test]
    fn distances_count_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("same", "same"), 0);
    }
}
