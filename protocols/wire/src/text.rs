//! Names, topics and other bounded text and bytes.

use crate::cbor::{Decode, DecodeError, Encode, Reader, Writer};
use crate::digest::Digest;
use crate::limits;
use core::fmt;

/// Text that breaks the grammar of what it was to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidName {
    /// There is nothing, or nothing between two separators.
    Empty,
    /// It is longer than this many bytes.
    TooLong(usize),
    /// A character that may not stand where it does, at this byte.
    Character(usize),
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name or a part of it is empty"),
            Self::TooLong(max) => write!(f, "it is longer than {max} bytes"),
            Self::Character(at) => write!(
                f,
                "the character at byte {at} is none of a-z, 0-9 and (within a name) the hyphen"
            ),
        }
    }
}

impl core::error::Error for InvalidName {}

/// Checks `text`: parts of `a-z`, `0-9` and, between those, `-`, separated by `separator`.
fn check(text: &str, max: usize, separator: Option<u8>) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::Empty);
    }
    if text.len() > max {
        return Err(InvalidName::TooLong(max));
    }
    // The start counts as a separator: no hyphen may follow it, and no end.
    let mut after_letter = false;
    let mut after_separator = true;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => (after_letter, after_separator) = (true, false),
            b'-' if after_letter => after_letter = false,
            _ if Some(byte) == separator && after_separator => return Err(InvalidName::Empty),
            _ if Some(byte) == separator && after_letter => {
                (after_letter, after_separator) = (false, true);
            }
            _ => return Err(InvalidName::Character(at)),
        }
    }
    match (after_letter, after_separator) {
        (true, _) => Ok(()),
        (false, true) => Err(InvalidName::Empty),
        (false, false) => Err(InvalidName::Character(text.len() - 1)),
    }
}

/// Whether no two of at most [`limits::FIELDS_OF_SCHEMA`] names are equal. There is one copy of this
/// for all lists; its work grows with the square of that small number.
#[inline(never)]
pub(crate) fn are_distinct<'a>(names: &mut dyn Iterator<Item = Name<'a>>) -> bool {
    let mut seen = [""; limits::FIELDS_OF_SCHEMA];
    for (count, name) in names.enumerate() {
        let (before, after) = seen.split_at_mut(count.min(limits::FIELDS_OF_SCHEMA));
        match after.first_mut() {
            Some(place) if !before.contains(&name.0) => *place = name.0,
            _ => return false,
        }
    }
    true
}

/// Reads text and checks it.
#[inline(never)]
fn read<'a>(reader: &mut Reader<'a>, max: usize, separator: Option<u8>) -> &'a str {
    let text = reader.text();
    match check(text, max, separator) {
        Ok(()) => {}
        Err(InvalidName::TooLong(_)) => reader.fail(DecodeError::Bound),
        Err(_) => reader.fail(DecodeError::Value),
    }
    text
}

macro_rules! names {
    ($($(#[$meta:meta])* $name:ident, $max:expr, $separator:expr;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name<'a>(&'a str);

        impl<'a> $name<'a> {
            /// Checks `text`.
            ///
            /// # Errors
            /// What breaks the grammar.
            pub fn new(text: &'a str) -> Result<Self, InvalidName> {
                check(text, $max, $separator)?;
                Ok(Self(text))
            }

            /// The text.
            #[must_use]
            pub const fn as_str(&self) -> &'a str {
                self.0
            }
        }

        impl<'a> TryFrom<&'a str> for $name<'a> {
            type Error = InvalidName;

            fn try_from(text: &'a str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.0)
            }
        }

        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.0, f)
            }
        }

        impl<'a> Decode<'a> for $name<'a> {
            fn read(reader: &mut Reader<'a>) -> Self {
                Self(read(reader, $max, $separator))
            }
        }

        impl Encode for $name<'_> {
            fn write(&self, writer: &mut Writer<'_>) {
                writer.text(self.0);
            }
        }
    )*};
}

names! {
    /// A name: 1 to 23 characters of `a-z`, `0-9` and, neither first nor last nor twice in a row,
    /// `-`. It can stand in a topic, in a URI and in a file's name as it is.
    Name, limits::NAME, None;
    /// A routing name: one to three (or more, while they fit 71 bytes) [`Name`]s separated by `/`,
    /// usually `pipeline/capsule/output`. There are no wildcards.
    Topic, limits::TOPIC, Some(b'/');
    /// A capsule's name in the registry: [`Name`]s separated by `/`, 47 bytes at most.
    CapsuleName, limits::CAPSULE_NAME, Some(b'/');
}

impl<'a> Topic<'a> {
    /// The names that it consists of.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = Name<'a>> + use<'a> {
        self.0.split('/').map(Name)
    }
}

/// How a person names a capsule: `city/clean:1` by tag, or `city/clean@sha256:...` by digest.
///
/// Nodes are only ever told digests; the registry says which one a tag stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapsuleRef<'a> {
    /// Its name in the registry.
    pub name: CapsuleName<'a>,
    /// Which of the capsules with that name.
    pub version: CapsuleVersion<'a>,
}

/// Which of the capsules with one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapsuleVersion<'a> {
    /// The one that the tag stands for today.
    Tag(Tag<'a>),
    /// This one.
    Digest(Digest),
}

/// A tag: as a [`Name`], but with `.` allowed where `-` is (`1.4.2-rc1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag<'a>(&'a str);

impl<'a> Tag<'a> {
    /// Checks `text`.
    ///
    /// # Errors
    /// What breaks the grammar.
    pub fn new(text: &'a str) -> Result<Self, InvalidName> {
        check(text, limits::NAME, Some(b'.'))?;
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.0
    }
}

impl fmt::Display for Tag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl<'a> Decode<'a> for Tag<'a> {
    fn read(reader: &mut Reader<'a>) -> Self {
        Self(read(reader, limits::NAME, Some(b'.')))
    }
}

impl Encode for Tag<'_> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.text(self.0);
    }
}

/// Text that is not a [`CapsuleRef`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidRef {
    /// Neither a tag nor a digest follows the name.
    NoVersion,
    /// The name is not one.
    Name(InvalidName),
    /// What follows the colon is not a tag.
    Tag(InvalidName),
    /// What follows the `@` is not a digest.
    Digest,
}

impl fmt::Display for InvalidRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVersion => f.write_str("a tag (`:1`) or a digest (`@sha256:...`) is missing"),
            Self::Name(error) => write!(f, "in the name, {error}"),
            Self::Tag(error) => write!(f, "in the tag, {error}"),
            Self::Digest => f.write_str("`@` is not followed by a digest (`sha256:...`)"),
        }
    }
}

impl core::error::Error for InvalidRef {}

impl<'a> TryFrom<&'a str> for CapsuleRef<'a> {
    type Error = InvalidRef;

    fn try_from(text: &'a str) -> Result<Self, InvalidRef> {
        let (name, version) = if let Some((name, digest)) = text.split_once('@') {
            (name, CapsuleVersion::Digest(digest.parse().map_err(|_| InvalidRef::Digest)?))
        } else {
            let (name, tag) = text.split_once(':').ok_or(InvalidRef::NoVersion)?;
            (name, CapsuleVersion::Tag(Tag::new(tag).map_err(InvalidRef::Tag)?))
        };
        Ok(Self { name: CapsuleName::new(name).map_err(InvalidRef::Name)?, version })
    }
}

impl fmt::Display for CapsuleRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            CapsuleVersion::Tag(tag) => write!(f, "{}:{}", self.name, tag.0),
            CapsuleVersion::Digest(digest) => write!(f, "{}@{digest}", self.name),
        }
    }
}

/// At most `MAX` bytes of UTF-8, for people to read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a, const MAX: usize>(&'a str);

impl<'a, const MAX: usize> Text<'a, MAX> {
    /// The start of `text`, cut between two characters if it is too long.
    #[must_use]
    pub fn cut(text: &'a str) -> Self {
        let end = (0..=MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        Self(text.get(..end).unwrap_or(text))
    }

    /// The text.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.0
    }
}

impl<const MAX: usize> fmt::Display for Text<'_, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl<const MAX: usize> fmt::Debug for Text<'_, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

impl<'a, const MAX: usize> Decode<'a> for Text<'a, MAX> {
    fn read(reader: &mut Reader<'a>) -> Self {
        let text = reader.text();
        if text.len() > MAX {
            reader.fail(DecodeError::Bound);
        }
        Self(text)
    }
}

impl<const MAX: usize> Encode for Text<'_, MAX> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.text(self.0);
    }
}

/// At most `MAX` bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes<'a, const MAX: usize>(&'a [u8]);

impl<'a, const MAX: usize> Bytes<'a, MAX> {
    /// Checks the length of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > MAX { None } else { Some(Self(bytes)) }
    }

    /// The bytes.
    #[must_use]
    pub const fn as_slice(&self) -> &'a [u8] {
        self.0
    }
}

impl<const MAX: usize> fmt::Debug for Bytes<'_, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x?}", self.0)
    }
}

impl<'a, const MAX: usize> Decode<'a> for Bytes<'a, MAX> {
    fn read(reader: &mut Reader<'a>) -> Self {
        let bytes = reader.bytes();
        if bytes.len() > MAX {
            reader.fail(DecodeError::Bound);
        }
        Self(bytes)
    }
}

impl<const MAX: usize> Encode for Bytes<'_, MAX> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.bytes(self.0);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn grammar_of_a_name() {
        for good in ["a", "n03", "city-air", "0", "a-b-c", "abcdefghijklmnopqrstuvw"] {
            assert_eq!(Name::new(good).map(|name| name.as_str()), Ok(good));
        }
        for (bad, error) in [
            ("", InvalidName::Empty),
            ("-a", InvalidName::Character(0)),
            ("a-", InvalidName::Character(1)),
            ("a--b", InvalidName::Character(2)),
            ("aB", InvalidName::Character(1)),
            ("a/b", InvalidName::Character(1)),
            ("a.b", InvalidName::Character(1)),
            ("ä", InvalidName::Character(0)),
            ("abcdefghijklmnopqrstuvwx", InvalidName::TooLong(23)),
        ] {
            assert_eq!(Name::new(bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn grammar_of_a_topic() {
        let topic = Topic::new("city-air/clean/readings").unwrap();
        assert!(topic.segments().map(|name| name.as_str()).eq(["city-air", "clean", "readings"]));
        for (bad, error) in [
            ("/a", InvalidName::Empty),
            ("a/", InvalidName::Empty),
            ("a//b", InvalidName::Empty),
            ("a/-b", InvalidName::Character(2)),
            ("a-/b", InvalidName::Character(2)),
            ("a/+", InvalidName::Character(2)),
            ("a/b#", InvalidName::Character(3)),
        ] {
            assert_eq!(Topic::new(bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn references_by_tag_and_by_digest() {
        let digest = Digest::of(b"");
        for text in ["city/clean:1", "clean:1.4.2-rc1", &std::format!("city/clean@{digest}")] {
            assert_eq!(CapsuleRef::try_from(text).unwrap().to_string(), text);
        }
        for (bad, error) in [
            ("city/clean", InvalidRef::NoVersion),
            ("city/clean:", InvalidRef::Tag(InvalidName::Empty)),
            (":1", InvalidRef::Name(InvalidName::Empty)),
            ("City:1", InvalidRef::Name(InvalidName::Character(0))),
            ("city@sha256:00", InvalidRef::Digest),
        ] {
            assert_eq!(CapsuleRef::try_from(bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(Text::<4>::cut("abc").as_str(), "abc");
        assert_eq!(Text::<4>::cut("abcde").as_str(), "abcd");
        assert_eq!(Text::<4>::cut("abcä").as_str(), "abc");
        assert_eq!(Text::<0>::cut("ä").as_str(), "");
    }
}
