//! Lists that borrow: from a slice when they are built, from the encoding when they are read.

use super::{Decode, DecodeError, Encode, Reader, Writer};
use core::fmt;

/// At most `MAX` items of one type; an array on the wire, left out of a record when it is empty.
///
/// A list that was read has been checked from end to end and is decoded again, item by item, as it
/// is iterated over.
#[derive(Clone, Copy)]
pub struct List<'a, T, const MAX: usize>(Repr<'a, T>);

#[derive(Clone, Copy)]
enum Repr<'a, T> {
    Items(&'a [T]),
    Encoded { bytes: &'a [u8], count: usize },
}

/// There are more items than a list may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// How many there may be.
    pub max: usize,
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there may be no more than {} items", self.max)
    }
}

impl core::error::Error for TooMany {}

impl<'a, T, const MAX: usize> List<'a, T, MAX> {
    /// No items.
    pub const EMPTY: Self = Self(Repr::Items(&[]));

    /// The items of a slice.
    ///
    /// # Errors
    /// If there are more than `MAX`.
    pub const fn new(items: &'a [T]) -> Result<Self, TooMany> {
        if items.len() > MAX { Err(TooMany { max: MAX }) } else { Ok(Self(Repr::Items(items))) }
    }

    /// How many items there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Repr::Items(items) => items.len(),
            Repr::Encoded { count, .. } => count,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a, T: Decode<'a> + Copy, const MAX: usize> List<'a, T, MAX> {
    /// The items in order.
    #[must_use]
    pub fn iter(&self) -> Iter<'a, T> {
        Iter(match self.0 {
            Repr::Items(items) => IterRepr::Items(items.iter()),
            Repr::Encoded { bytes, .. } => IterRepr::Encoded(Reader::new(bytes)),
        })
    }

    /// The item at `index`. The work grows with `index` for a list that was read.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T> {
        self.iter().nth(index)
    }
}

/// Iterates over a [`List`].
#[derive(Clone, Debug)]
pub struct Iter<'a, T>(IterRepr<'a, T>);

#[derive(Clone, Debug)]
enum IterRepr<'a, T> {
    Items(core::slice::Iter<'a, T>),
    Encoded(Reader<'a>),
}

impl<'a, T: Decode<'a> + Copy> Iterator for Iter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            IterRepr::Items(items) => items.next().copied(),
            IterRepr::Encoded(reader) if reader.is_at_end() => None,
            IterRepr::Encoded(reader) => Some(T::read(reader)),
        }
    }
}

impl<'a, T: Decode<'a> + Copy, const MAX: usize> IntoIterator for List<'a, T, MAX> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T, const MAX: usize> Default for List<'_, T, MAX> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a, T: Decode<'a> + Copy + PartialEq, const MAX: usize> PartialEq for List<'a, T, MAX> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<'a, T: Decode<'a> + Copy + Eq, const MAX: usize> Eq for List<'a, T, MAX> {}

impl<'a, T: Decode<'a> + Copy + fmt::Debug, const MAX: usize> fmt::Debug for List<'a, T, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Decode<'a>, const MAX: usize> Decode<'a> for List<'a, T, MAX> {
    const ABSENT: Option<Self> = Some(Self::EMPTY);

    fn read(reader: &mut Reader<'a>) -> Self {
        let (bytes, count) = read(reader, MAX, &|reader| {
            T::read(reader);
        });
        Self(Repr::Encoded { bytes, count })
    }
}

/// Checks the items of a list, whatever they are. There is one copy of this for all types.
#[inline(never)]
fn read<'a>(
    reader: &mut Reader<'a>,
    max: usize,
    item: &dyn Fn(&mut Reader<'a>),
) -> (&'a [u8], usize) {
    let count = reader.array();
    let Some(count) = usize::try_from(count).ok().filter(|count| *count <= max) else {
        reader.fail(DecodeError::Bound);
        return (&[], 0);
    };
    let start = reader.position();
    (0..count).for_each(|_| item(reader));
    (reader.since(start), count)
}

impl<T: Encode, const MAX: usize> Encode for List<'_, T, MAX> {
    fn write(&self, writer: &mut Writer<'_>) {
        writer.array(self.len());
        match self.0 {
            Repr::Items(items) => items.iter().for_each(|item| item.write(writer)),
            Repr::Encoded { bytes, .. } => {
                writer.raw(bytes);
            }
        }
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}
