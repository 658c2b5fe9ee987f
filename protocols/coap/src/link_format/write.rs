//! Writing links, those that the filters let through.

use core::fmt::{self, Write};

/// What a link says of its resource. The default says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// `rt`: what kind of thing the resource is, in words separated by blanks (RFC 6690 section 3.1).
    pub resource_type: &'a str,
    /// `if`: how to use it, in words separated by blanks (RFC 6690 section 3.2).
    pub interface: &'a str,
    /// `ct`: the Content-Formats that it comes in (RFC 7252 section 7.2.1).
    pub content_formats: &'a [u16],
    /// `title`: for people to read (RFC 8288).
    pub title: &'a str,
    /// `sz`: the most bytes that its representation takes (RFC 6690 section 3.3).
    pub size: Option<u32>,
    /// `obs`: whether it is worth observing (RFC 7641 section 6).
    pub observable: bool,
    /// Any other attributes; one with an empty value is written as its name alone.
    pub other: &'a [(&'a str, &'a str)],
}

/// The value of an attribute on its way to a filter or a document.
enum Text<'a> {
    /// Words, or a text that is one if the flag is not set.
    Quoted(&'a str, bool),
    Number(u32),
    Numbers(&'a [u16]),
    Nothing,
}

impl Attributes<'_> {
    /// Calls `take` with the name and the value of each attribute that is set, until it says to stop.
    fn any(&self, take: &mut dyn FnMut(&str, Text<'_>) -> bool) -> bool {
        let texts = [
            ("rt", self.resource_type, true),
            ("if", self.interface, true),
            ("title", self.title, false),
        ];
        for (name, value, words) in texts {
            if !value.is_empty() && take(name, Text::Quoted(value, words)) {
                return true;
            }
        }
        for (name, value) in self.other {
            let text = if value.is_empty() { Text::Nothing } else { Text::Quoted(value, true) };
            if take(name, text) {
                return true;
            }
        }
        !self.content_formats.is_empty() && take("ct", Text::Numbers(self.content_formats))
            || self.size.is_some_and(|size| take("sz", Text::Number(size)))
            || self.observable && take("obs", Text::Nothing)
    }
}

/// A query to `.well-known/core` (RFC 6690 section 4.1): `name=value`, where the value may end in
/// `*`, or a name alone, which asks for links that have the attribute at all.
///
/// Attributes that are lists match if one of their words does. `href` is the target.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    name: &'a str,
    value: &'a str,
    prefix: bool,
}

impl<'a> Filter<'a> {
    /// The filter that the value of a Uri-Query option means.
    #[must_use]
    pub fn parse(query: &'a str) -> Self {
        let (name, value) = query.split_once('=').unwrap_or((query, "*"));
        match value.strip_suffix('*') {
            Some(value) => Self { name, value, prefix: true },
            None => Self { name, value, prefix: false },
        }
    }

    /// Whether a link to the path of these segments is to be shown.
    #[must_use]
    pub fn matches(&self, path: &[&str], attributes: &Attributes<'_>) -> bool {
        if self.name == "href" {
            return self.matches_target(path);
        }
        attributes.any(&mut |name, value| name == self.name && self.matches_value(&value))
    }

    fn matches_value(&self, value: &Text<'_>) -> bool {
        let number = |number| self.matches_text(decimal(number, &mut [0; 10]));
        match *value {
            Text::Nothing => self.matches_text(""),
            Text::Number(value) => number(value),
            Text::Numbers(values) => values.iter().any(|value| number(u32::from(*value))),
            Text::Quoted(text, words) => {
                self.matches_text(text)
                    || words && text.split_ascii_whitespace().any(|word| self.matches_text(word))
            }
        }
    }

    fn matches_text(&self, text: &str) -> bool {
        if self.prefix { text.starts_with(self.value) } else { text == self.value }
    }

    fn matches_target(&self, path: &[&str]) -> bool {
        let mut wanted = self.value.chars();
        let spelled = spell(path, &mut |c| match wanted.next() {
            None if self.prefix => Ok(()),
            next if next == Some(c) => Ok(()),
            _ => Err(fmt::Error),
        });
        spelled.is_ok() && wanted.next().is_none()
    }
}

/// Writes links to `out`, one behind the other, that match all the filters.
pub struct LinkWriter<'a> {
    out: &'a mut dyn Write,
    filter: &'a mut dyn FnMut(&[&str], &Attributes<'_>) -> bool,
    empty: bool,
}

impl<'a> LinkWriter<'a> {
    /// Writes to `out` the links for which `filter(path, attributes)` holds.
    pub fn new(
        out: &'a mut dyn Write,
        filter: &'a mut dyn FnMut(&[&str], &Attributes<'_>) -> bool,
    ) -> Self {
        Self { out, filter, empty: true }
    }

    /// Writes a link to the path of these segments, one of which may itself be a path. Characters
    /// that a URI must not have are percent-encoded.
    ///
    /// # Errors
    /// What the output says.
    pub fn link(&mut self, path: &[&str], attributes: &Attributes<'_>) -> fmt::Result {
        if !(self.filter)(path, attributes) {
            return Ok(());
        }
        self.out.write_str(if self.empty { "<" } else { ",<" })?;
        self.empty = false;
        spell(path, &mut |c| self.out.write_char(c))?;
        self.out.write_char('>')?;
        let mut result = Ok(());
        attributes.any(&mut |name, value| {
            result = self.attribute(name, &value);
            result.is_err()
        });
        result
    }

    fn attribute(&mut self, name: &str, value: &Text<'_>) -> fmt::Result {
        self.out.write_char(';')?;
        self.out.write_str(name)?;
        match *value {
            Text::Nothing => Ok(()),
            Text::Number(number) => self.number('=', number),
            Text::Numbers([number]) => self.number('=', u32::from(*number)),
            Text::Numbers(numbers) => {
                self.out.write_char('=')?;
                for (at, number) in numbers.iter().enumerate() {
                    self.number(if at == 0 { '"' } else { ' ' }, u32::from(*number))?;
                }
                self.out.write_char('"')
            }
            Text::Quoted(text, _) => self.quoted(text),
        }
    }

    /// Whether no link has been written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.empty
    }

    fn number(&mut self, before: char, number: u32) -> fmt::Result {
        self.out.write_char(before)?;
        self.out.write_str(decimal(number, &mut [0; 10]))
    }

    fn quoted(&mut self, value: &str) -> fmt::Result {
        self.out.write_str("=\"")?;
        for c in value.chars() {
            if matches!(c, '"' | '\\') {
                self.out.write_char('\\')?;
            }
            self.out.write_char(c)?;
        }
        self.out.write_char('"')
    }
}

impl fmt::Debug for LinkWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkWriter").field("empty", &self.empty).finish_non_exhaustive()
    }
}

/// Gives the characters of a path as a URI has them, one after the other: a slash before each
/// segment, percent-encoded where RFC 3986 section 3.3 wants it. Stops at the first error.
fn spell(path: &[&str], take: &mut dyn FnMut(char) -> fmt::Result) -> fmt::Result {
    for segment in path {
        take('/')?;
        for byte in segment.bytes() {
            if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
                take(char::from(byte))?;
                continue;
            }
            take('%')?;
            for nibble in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(nibble), 16).unwrap_or_default();
                take(digit.to_ascii_uppercase())?;
            }
        }
    }
    Ok(())
}

/// A number in digits, without the formatting machinery.
fn decimal(mut value: u32, digits: &mut [u8; 10]) -> &str {
    let mut at = digits.len();
    for place in digits.iter_mut().rev() {
        let [digit, ..] = (value % 10).to_le_bytes();
        *place = b'0' + digit;
        value /= 10;
        at -= 1;
        if value == 0 {
            break;
        }
    }
    digits.get(at..).and_then(|digits| core::str::from_utf8(digits).ok()).unwrap_or_default()
}
