//! Reading links.

use core::fmt;
use core::str::Chars;

/// The bytes are not a link-format document from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLink;

impl fmt::Display for BadLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text is not in the link format of RFC 6690")
    }
}

impl core::error::Error for BadLink {}

/// The links of a document, in order. Iteration ends behind the first error.
///
/// The work is one pass over the text; nothing is copied. The grammar is that of RFC 6690 section 2
/// with one liberty: blanks may stand around `,` and `;`, as they do in documents in the field.
#[derive(Clone, Debug)]
pub struct Links<'a> {
    rest: &'a str,
    first: bool,
}

impl<'a> Links<'a> {
    /// The links in `text`.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self { rest: text, first: true }
    }

    fn link(&mut self) -> Result<Option<Link<'a>>, BadLink> {
        let mut rest = self.rest.trim_ascii_start();
        if !self.first {
            if rest.is_empty() {
                return Ok(None);
            }
            rest = rest.strip_prefix(',').ok_or(BadLink)?.trim_ascii_start();
        } else if rest.is_empty() {
            return Ok(None);
        }
        let (target, rest) =
            rest.strip_prefix('<').and_then(|rest| rest.split_once('>')).ok_or(BadLink)?;
        let mut params = Params { rest };
        while params.try_next()?.is_some() {}
        let len = rest.len() - params.rest.len();
        let link = Link { target, params: rest.get(..len).unwrap_or_default() };
        self.rest = params.rest;
        self.first = false;
        Ok(Some(link))
    }
}

impl<'a> Iterator for Links<'a> {
    type Item = Result<Link<'a>, BadLink>;

    fn next(&mut self) -> Option<Self::Item> {
        let link = self.link();
        if link.is_err() {
            *self = Self::new("");
        }
        link.transpose()
    }
}

/// A link: a target and its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// The target: a URI or a path, as written.
    pub target: &'a str,
    params: &'a str,
}

impl<'a> Link<'a> {
    /// The attributes in order.
    #[must_use]
    pub const fn params(&self) -> Params<'a> {
        Params { rest: self.params }
    }

    /// The first value of the attribute called `name`; empty for one without a value.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<Value<'a>> {
        self.params().find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}

/// The attributes of a link.
#[derive(Clone, Debug)]
pub struct Params<'a> {
    rest: &'a str,
}

impl<'a> Params<'a> {
    /// The next attribute, `None` at the end of the link.
    fn try_next(&mut self) -> Result<Option<(&'a str, Value<'a>)>, BadLink> {
        let Some(rest) = self.rest.trim_ascii_start().strip_prefix(';') else { return Ok(None) };
        let rest = rest.trim_ascii_start();
        let (name, rest) = split(rest, |c| matches!(c, '=' | ';' | ',' | ' ' | '\t'));
        if name.is_empty() || !name.chars().all(is_name_char) {
            return Err(BadLink);
        }
        let (raw, quoted, rest) = match rest.strip_prefix('=') {
            None => ("", false, rest),
            Some(rest) => match rest.strip_prefix('"') {
                None => {
                    let (raw, rest) = split(rest, |c| matches!(c, ';' | ',' | ' ' | '\t'));
                    if raw.is_empty() || raw.contains(['"', '<', '>', '\\']) {
                        return Err(BadLink);
                    }
                    (raw, false, rest)
                }
                Some(rest) => {
                    let end = quoted_end(rest).ok_or(BadLink)?;
                    let (raw, rest) = rest.split_at_checked(end).ok_or(BadLink)?;
                    (raw, true, rest.strip_prefix('"').ok_or(BadLink)?)
                }
            },
        };
        self.rest = rest;
        Ok(Some((name, Value { raw, quoted })))
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.try_next().ok().flatten()
    }
}

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    raw: &'a str,
    quoted: bool,
}

impl<'a> Value<'a> {
    /// The value as written, without its quotes; in a quoted one, `\` stands before what it escapes.
    #[must_use]
    pub const fn raw(&self) -> &'a str {
        self.raw
    }

    /// The characters of the value.
    pub fn chars(&self) -> impl Iterator<Item = char> + use<'a> {
        Unescaped { chars: self.raw.chars(), quoted: self.quoted }
    }

    /// The words of a value that is a list, as those of `rt`, `if` and `ct` are.
    pub fn words(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.raw.split_ascii_whitespace()
    }
}

impl PartialEq<str> for Value<'_> {
    fn eq(&self, other: &str) -> bool {
        self.chars().eq(other.chars())
    }
}

impl PartialEq<&str> for Value<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

struct Unescaped<'a> {
    chars: Chars<'a>,
    quoted: bool,
}

impl Iterator for Unescaped<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self.chars.next()? {
            '\\' if self.quoted => self.chars.next(),
            c => Some(c),
        }
    }
}

/// Splits before the first character that ends a word.
fn split(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    let at = text.find(ends).unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// `parmname` of RFC 5987, with the `*` that may end it.
fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$&+-.^_`|~*".contains(c)
}

/// Where the quoted string that starts here ends.
fn quoted_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| match c {
        _ if escaped => {
            escaped = false;
            None
        }
        '\\' => {
            escaped = true;
            None
        }
        '"' => Some(at),
        _ => None,
    })
}
