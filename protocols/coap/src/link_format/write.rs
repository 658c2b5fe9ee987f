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

impl<'a> Attributes<'a> {
    /// The attributes whose values are text, with their names.
    fn texts(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let named =
            [("rt", self.resource_type), ("if", self.interface), ("title", self.title)].into_iter();
        named.filter(|(_, value)| !value.is_empty()).chain(self.other.iter().copied())
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
        let mut digits = [0; 10];
        match self.name {
            "href" => self.matches_bytes(target(path)),
            "ct" => attributes
                .content_formats
                .iter()
                .any(|format| self.matches_text(decimal(u32::from(*format), &mut digits))),
            "sz" => {
                attributes.size.is_some_and(|size| self.matches_text(decimal(size, &mut digits)))
            }
            "obs" => attributes.observable && self.matches_text(""),
            name => attributes.texts().filter(|(n, _)| *n == name).any(|(name, value)| {
                let mut words = value.split_ascii_whitespace();
                self.matches_text(value) || name != "title" && words.any(|w| self.matches_text(w))
            }),
        }
    }

    fn matches_text(&self, text: &str) -> bool {
        self.matches_bytes(text.bytes())
    }

    fn matches_bytes(&self, mut bytes: impl Iterator<Item = u8>) -> bool {
        self.value.bytes().all(|wanted| bytes.next() == Some(wanted))
            && (self.prefix || bytes.next().is_none())
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
        for byte in target(path) {
            self.out.write_char(char::from(byte))?;
        }
        self.out.write_char('>')?;
        for (name, value) in attributes.texts() {
            self.name(name)?;
            if !value.is_empty() {
                self.quoted(value)?;
            }
        }
        let mut digits = [0; 10];
        if let [first, rest @ ..] = attributes.content_formats {
            self.name("ct")?;
            self.out.write_str(if rest.is_empty() { "=" } else { "=\"" })?;
            self.out.write_str(decimal(u32::from(*first), &mut digits))?;
            for format in rest {
                self.out.write_char(' ')?;
                self.out.write_str(decimal(u32::from(*format), &mut digits))?;
            }
            self.out.write_str(if rest.is_empty() { "" } else { "\"" })?;
        }
        if let Some(size) = attributes.size {
            self.name("sz")?;
            self.out.write_char('=')?;
            self.out.write_str(decimal(size, &mut digits))?;
        }
        if attributes.observable {
            self.name("obs")?;
        }
        Ok(())
    }

    /// Whether no link has been written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.empty
    }

    fn name(&mut self, name: &str) -> fmt::Result {
        self.out.write_char(';')?;
        self.out.write_str(name)
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

/// The bytes of a path as a URI has them: a slash before each segment, percent-encoded where
/// RFC 3986 section 3.3 wants it.
fn target<'a>(path: &'a [&'a str]) -> impl Iterator<Item = u8> + use<'a> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let hex = |nibble: u8| HEX.get(usize::from(nibble & 15)).copied().unwrap_or(b'0');
    path.iter().flat_map(move |segment| {
        core::iter::once([b'/', 0, 0])
            .chain(segment.bytes().map(move |byte| match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => [byte, 0, 0],
                b'/' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')'
                | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' => [byte, 0, 0],
                byte => [b'%', hex(byte >> 4), hex(byte)],
            }))
            .flatten()
            .filter(|byte| *byte != 0)
    })
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
