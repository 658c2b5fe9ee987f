//! A table of a file, and typed access to what it holds.

use crate::fault::File;
use crate::nearest::hint;
use capmesh_wire::text::Name;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// A text and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a> {
    /// The text.
    pub text: &'a str,
    start: usize,
    end: usize,
}

impl<'a> Word<'a> {
    /// The word that stands in `span`.
    #[must_use]
    pub const fn new(text: &'a str, span: &Range<usize>) -> Self {
        Self { text, start: span.start, end: span.end }
    }

    /// Where it stands, in bytes of the file.
    #[must_use]
    pub const fn span(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// A table that is being read. A key that nobody may write there is a fault at once.
#[derive(Debug)]
pub struct Section<'a> {
    /// The file that it is in.
    pub file: &'a File<'a>,
    table: &'a DeTable<'a>,
    /// Where the table stands.
    pub span: Range<usize>,
    /// How messages call it: `` `[[input]]` ``.
    what: &'a str,
}

const NAME: &str = "a name: 1 to 23 of `a-z`, `0-9` and, between them, `-`";

impl<'a> Section<'a> {
    /// The table `table` of `file`, which messages call `what`, and in which only `keys` may stand.
    pub fn new(
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
                file.fault(&key.span(), hint.after(format!("{what} has no `{name}`")));
            }
        }
        Self { file, table, span, what }
    }

    /// Notes that a value is of another type than `expected`.
    pub fn expected(&self, value: &Spanned<DeValue<'_>>, key: &str, expected: &str) {
        let found = value.get_ref().type_str();
        let message = format!("`{key}` of {} is to be {expected}, not this {found}", self.what);
        self.file.fault(&value.span(), message);
    }

    /// What stands under a key, whatever it is.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    /// Notes that something is missing.
    pub fn missing(&self, key: &str, expected: &str) {
        self.file.fault(&self.span, format!("{} lacks `{key}`: {expected}", self.what));
    }

    /// Whether the key is there.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Where a key's value stands, or else the table.
    #[must_use]
    pub fn span_of(&self, key: &str) -> Range<usize> {
        self.get(key).map_or(self.span.clone(), Spanned::span)
    }

    /// The text under a key; messages say that it is to be `expected`.
    pub fn word(&self, key: &str, expected: &str) -> Option<Word<'a>> {
        let value = self.get(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.expected(value, key, expected);
            return None;
        };
        Some(Word::new(text, &value.span()))
    }

    /// The text under a key that must be there.
    pub fn required_word(&self, key: &str, expected: &str) -> Option<Word<'a>> {
        if !self.has(key) {
            self.missing(key, expected);
        }
        self.word(key, expected)
    }

    /// The section's name, which must keep the grammar.
    #[must_use]
    pub fn name(&self) -> Option<Word<'a>> {
        let word = self.required_word("name", NAME)?;
        if let Err(error) = Name::new(word.text) {
            self.file.fault(&word.span(), format!("`{}` is not {NAME}: {error}", word.text));
            return None;
        }
        Some(word)
    }

    /// The sentence under `doc`.
    #[must_use]
    pub fn doc(&self) -> Option<String> {
        self.word("doc", "a sentence").map(|word| word.text.to_owned())
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &str) -> Option<bool> {
        let value = self.get(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.expected(value, key, "`true` or `false`");
        }
        flag
    }

    /// A whole number of type `N`.
    pub fn whole<N: TryFrom<i64>>(&self, key: &str, expected: &str) -> Option<N> {
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
    pub fn number(&self, key: &str, expected: &str) -> Option<f64> {
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

    /// A list of texts.
    pub fn words(&self, key: &str, expected: &str) -> Option<Vec<Word<'a>>> {
        let value = self.get(key)?;
        let Some(array) = value.get_ref().as_array() else {
            self.expected(value, key, expected);
            return None;
        };
        let mut words = Vec::new();
        for item in array {
            match item.get_ref().as_str() {
                Some(text) => words.push(Word::new(text, &item.span())),
                None => self.expected(item, key, expected),
            }
        }
        Some(words)
    }

    /// The table under a key.
    #[must_use]
    pub fn table(&self, key: &str, what: &'a str, keys: &[&str]) -> Option<Section<'a>> {
        let (table, span) = self.any_table(key)?;
        Some(Section::new(self.file, table, span, what, keys))
    }

    /// What is under a key, whatever it is called, in the order in which it is written.
    #[must_use]
    pub fn entries(&self, key: &str) -> Vec<(Word<'a>, &'a Spanned<DeValue<'a>>)> {
        let Some((table, _)) = self.any_table(key) else { return Vec::new() };
        let entry = |(name, value): (&'a Spanned<DeString<'a>>, _)| {
            (Word::new(name.get_ref(), &name.span()), value)
        };
        let mut entries: Vec<_> = table.iter().map(entry).collect();
        entries.sort_by_key(|(name, _)| name.start);
        entries
    }

    /// The words under a key, whatever they are called, in the order in which they are written.
    #[must_use]
    pub fn map(&self, key: &str, expected: &str) -> Vec<(Word<'a>, Word<'a>)> {
        let mut words = Vec::new();
        for (name, value) in self.entries(key) {
            match value.get_ref().as_str() {
                Some(text) => words.push((name, Word::new(text, &value.span()))),
                None => self.expected(value, name.text, expected),
            }
        }
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
    pub fn tables(&self, key: &str, what: &'a str, keys: &[&str], most: usize) -> Vec<Section<'a>> {
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
pub struct Distinct<'a>(RefCell<BTreeSet<&'a str>>);

impl<'a> Distinct<'a> {
    /// The word, if it is the first of its text; else a fault.
    pub fn check(&self, section: &Section<'a>, word: Option<Word<'a>>) -> Option<Word<'a>> {
        let word = word?;
        if !self.0.borrow_mut().insert(word.text) {
            let message = format!("there is another {} named `{}`", section.what, word.text);
            section.file.fault(&word.span(), message);
            return None;
        }
        Some(word)
    }
}
