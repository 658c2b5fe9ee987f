//! A table of a file, and typed access to what it holds.

use crate::fault::File;
use crate::nearest::hint;
use capmesh_wire::text::Name;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A text and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'a> {
    pub(crate) text: &'a str,
    start: usize,
    end: usize,
}

impl Word<'_> {
    pub(crate) const fn span(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// A table that is being read. A key that nobody may write there is a fault at once.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    pub(crate) file: &'a File<'a>,
    table: &'a DeTable<'a>,
    /// Where the table stands.
    pub(crate) span: Range<usize>,
    /// How messages call it: `` `[[input]]` ``.
    what: &'a str,
}

const NAME: &str = "a name: 1 to 23 of `a-z`, `0-9` and, between them, `-`";

impl<'a> Section<'a> {
    pub(crate) fn new(
        file: &'a File<'a>,
        table: &'a DeTable<'a>,
        span: Range<usize>,
        what: &'a str,
        keys: &[&str],
    ) -> Self {
        for (key, _) in table {
            let name = key.get_ref().as_ref();
            if !keys.contains(&name) {
                let hint = hint(name, keys);
                file.fault(&key.span(), format!("{what} has no `{name}`{hint}"));
            }
        }
        Self { file, table, span, what }
    }

    fn expected(&self, value: &Spanned<DeValue<'_>>, key: &str, expected: &str) {
        let found = value.get_ref().type_str();
        let message = format!("`{key}` of {} is to be {expected}, not this {found}", self.what);
        self.file.fault(&value.span(), message);
    }

    fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    /// Notes that something is missing.
    pub(crate) fn missing(&self, key: &str, expected: &str) {
        self.file.fault(&self.span, format!("{} lacks `{key}`: {expected}", self.what));
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Where a key's value stands, or else the table.
    pub(crate) fn span_of(&self, key: &str) -> Range<usize> {
        self.get(key).map_or(self.span.clone(), Spanned::span)
    }

    pub(crate) fn word(&self, key: &str, expected: &str) -> Option<Word<'a>> {
        let value = self.get(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.expected(value, key, expected);
            return None;
        };
        Some(Word { text, start: value.span().start, end: value.span().end })
    }

    pub(crate) fn required_word(&self, key: &str, expected: &str) -> Option<Word<'a>> {
        if !self.has(key) {
            self.missing(key, expected);
        }
        self.word(key, expected)
    }

    /// The section's name, which must keep the grammar.
    pub(crate) fn name(&self) -> Option<Word<'a>> {
        let word = self.required_word("name", NAME)?;
        if let Err(error) = Name::new(word.text) {
            self.file.fault(&word.span(), format!("`{}` is not {NAME}: {error}", word.text));
            return None;
        }
        Some(word)
    }

    pub(crate) fn doc(&self) -> Option<String> {
        self.word("doc", "a sentence").map(|word| word.text.to_owned())
    }

    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        let value = self.get(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.expected(value, key, "`true` or `false`");
        }
        flag
    }

    /// A whole number of type `N`.
    pub(crate) fn whole<N: TryFrom<i64>>(&self, key: &str, expected: &str) -> Option<N> {
        let value = self.get(key)?;
        let Some(integer) = value.get_ref().as_integer() else {
            self.expected(value, key, expected);
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|number| N::try_from(number).ok());
        if number.is_none() {
            let message = format!("`{key}` of {} is to be {expected}", self.what);
            self.file.fault(&value.span(), message);
        }
        number
    }

    /// A number, with or without a fraction.
    pub(crate) fn number(&self, key: &str, expected: &str) -> Option<f64> {
        let value = self.get(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .ok()
                .and_then(|number| number.to_string().parse().ok()),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.expected(value, key, expected);
        }
        number
    }

    pub(crate) fn words(&self, key: &str, expected: &str) -> Option<Vec<Word<'a>>> {
        let value = self.get(key)?;
        let Some(array) = value.get_ref().as_array() else {
            self.expected(value, key, expected);
            return None;
        };
        let mut words = Vec::new();
        for item in array {
            match item.get_ref().as_str() {
                Some(text) => {
                    words.push(Word { text, start: item.span().start, end: item.span().end });
                }
                None => self.expected(item, key, expected),
            }
        }
        Some(words)
    }

    /// The table under a key.
    pub(crate) fn table(&self, key: &str, what: &'a str, keys: &[&str]) -> Option<Section<'a>> {
        let (table, span) = self.any_table(key)?;
        Some(Section::new(self.file, table, span, what, keys))
    }

    /// The words under a key, whatever they are called, in the order in which they are written.
    pub(crate) fn map(&self, key: &str, expected: &str) -> Vec<(Word<'a>, Word<'a>)> {
        let Some((table, _)) = self.any_table(key) else { return Vec::new() };
        let mut words = Vec::new();
        for (name, value) in table {
            let name =
                Word { text: name.get_ref(), start: name.span().start, end: name.span().end };
            match value.get_ref().as_str() {
                Some(text) => {
                    let span = value.span();
                    words.push((name, Word { text, start: span.start, end: span.end }));
                }
                None => self.expected(value, name.text, expected),
            }
        }
        words.sort_by_key(|(name, _)| name.start);
        words
    }

    fn any_table(&self, key: &str) -> Option<(&'a DeTable<'a>, Range<usize>)> {
        let value = self.get(key)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.expected(value, key, &format!("the table `[{key}]`"));
        }
        Some((table?, value.span()))
    }

    /// The tables under a key, which must not be more than `most`.
    pub(crate) fn tables(
        &self,
        key: &str,
        what: &'a str,
        keys: &[&str],
        most: usize,
    ) -> Vec<Section<'a>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.expected(value, key, &format!("a list: write {what}, once for each"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (count, item) in array.iter().enumerate() {
            if count == most {
                let message = format!("there may be no more than {most} {what}");
                self.file.fault(&item.span(), message);
            }
            match item.get_ref().as_table() {
                Some(table) => {
                    sections.push(Section::new(self.file, table, item.span(), what, keys));
                }
                None => self.expected(item, key, &format!("a list of tables: {what}")),
            }
        }
        sections
    }
}

/// Finds names that are given twice.
#[derive(Debug, Default)]
pub(crate) struct Distinct<'a>(RefCell<BTreeSet<&'a str>>);

impl<'a> Distinct<'a> {
    pub(crate) fn check(&self, section: &Section<'a>, word: Option<Word<'a>>) -> Option<Word<'a>> {
        let word = word?;
        if !self.0.borrow_mut().insert(word.text) {
            let message = format!("there is another {} named `{}`", section.what, word.text);
            section.file.fault(&word.span(), message);
            return None;
        }
        Some(word)
    }
}
