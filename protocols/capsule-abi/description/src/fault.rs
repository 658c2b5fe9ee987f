//! What is wrong with a file, and where.

use crate::nearest::{Hint, Message};
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::DeTable;

/// Something wrong in a file. Displays as `file:line:column: what was meant to stand there`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; 0 if it is about the whole file.
    pub line: usize,
    /// The column in characters, from 1; 0 if it is about the whole file.
    pub column: usize,
    /// How many characters it concerns, of that line; 0 if it is about the whole file.
    pub length: usize,
    /// What is wrong, and what was meant to stand there.
    pub message: String,
    /// What may have been meant, if that is known.
    pub hint: Option<Hint>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| hint.fmt(f))
    }
}

impl std::error::Error for Fault {}

/// One or more faults. Displays as a line for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// The faults, file by file, in the order in which they were found.
    #[must_use]
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Collects what is wrong, so that one run names all of it.
#[derive(Debug, Default)]
pub struct Collector(RefCell<Vec<Fault>>);

impl Collector {
    /// The most faults that are kept: more than anybody reads at a time.
    pub const MOST: usize = 100;

    /// Bytes of a message that are kept: it may quote what a person wrote.
    pub const MESSAGE: usize = 400;

    /// Notes a fault, unless there are [`Collector::MOST`] already.
    pub fn push(&self, mut fault: Fault) {
        if !self.is_full() {
            let end = (0..=Self::MESSAGE).rev().find(|at| fault.message.is_char_boundary(*at));
            if fault.message.len() > Self::MESSAGE {
                fault.message.truncate(end.unwrap_or_default());
                fault.message.push_str(" ...");
            }
            self.0.borrow_mut().push(fault);
        }
    }

    fn is_full(&self) -> bool {
        self.0.borrow().len() >= Self::MOST
    }

    /// The value, if nothing was wrong.
    ///
    /// # Errors
    /// What was wrong.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Faults> {
        let faults = self.0.into_inner();
        match value {
            Some(value) if faults.is_empty() => Ok(value),
            _ => Err(Faults(faults)),
        }
    }
}

/// A file that is being read.
#[derive(Debug)]
pub struct File<'c> {
    /// Its path, as faults show it.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
    collector: &'c Collector,
}

impl<'c> File<'c> {
    /// A file that is not on a disk, or that somebody has read already.
    #[must_use]
    pub fn of(path: &Path, text: String, collector: &'c Collector) -> Self {
        Self { path: path.to_owned(), text, collector }
    }

    /// Reads a file, or notes why not.
    pub fn open(path: &Path, collector: &'c Collector) -> Option<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Some(Self { path: path.to_owned(), text, collector }),
            Err(error) => {
                let message = format!("cannot be read: {error}");
                let (line, column, length) = (0, 0, 0);
                let path = path.to_owned();
                collector.push(Fault { path, line, column, length, message, hint: None });
                None
            }
        }
    }

    /// Parses TOML, or notes all that is wrong with it. Tables are nested no deeper than 80.
    pub fn toml(&self) -> Option<Spanned<DeTable<'_>>> {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        for error in &errors {
            self.fault(&error.span().unwrap_or_default(), error.message());
        }
        errors.is_empty().then_some(table)
    }

    /// Notes a fault at a place of the file.
    pub fn fault(&self, span: &Range<usize>, message: impl Into<Message>) {
        // Finding the place is a pass over the file.
        if self.collector.is_full() {
            return;
        }
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let concerned = self.text.get(span.clone()).unwrap_or_default();
        let concerned = concerned.lines().next().unwrap_or_default();
        let Message { text: message, hint } = message.into();
        self.collector.push(Fault {
            path: self.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            length: concerned.chars().count().max(1),
            message,
            hint,
        });
    }

    /// The path of something that this file names.
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(name)
    }
}
