//! Lines for the node's log, put together without `core::fmt`, which would be larger than most
//! capsules.
//!
//! [`log!`](crate::log!) is how capsules write them.

use crate::node;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warning,
    /// Something happened.
    Info,
    /// For who looks for a fault.
    Debug,
}

impl Level {
    /// The contract's number.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Error => 0,
            Self::Warning => 1,
            Self::Info => 2,
            Self::Debug => 3,
        }
    }
}

/// Bytes of a line. What is longer is cut.
pub const LINE: usize = 128;

/// Writes a text that is ready.
pub fn text(level: Level, text: &str) {
    node::log(level.number(), text.as_bytes());
}

/// Writes a line that `with` puts together.
pub fn line(level: Level, with: impl FnOnce(&mut Line<'_>)) {
    node::with_line(|buffer| {
        let mut line = Line { buffer, len: 0 };
        with(&mut line);
        let Line { buffer, len } = line;
        node::log(level.number(), buffer.get(..len).unwrap_or_default());
    });
}

/// A line that is being put together.
#[derive(Debug)]
pub struct Line<'b> {
    buffer: &'b mut [u8; LINE],
    len: usize,
}

impl Line<'_> {
    /// Appends text, of which the end is cut if it does not fit.
    pub fn text(&mut self, text: &str) {
        let room = LINE - self.len;
        let mut end = text.len().min(room);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        for byte in text.as_bytes().iter().take(end) {
            self.push(*byte);
        }
        if end < text.len() {
            // Nothing may follow what was cut.
            self.close();
        }
    }

    /// Appends a character of ASCII.
    #[inline(never)]
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.buffer.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// Fills the rest of the line, so that nothing else gets in.
    fn close(&mut self) {
        while self.len < LINE {
            self.push(b'.');
        }
    }

    /// Appends a whole number.
    pub fn whole(&mut self, negative: bool, mut magnitude: u64) {
        if negative {
            self.push(b'-');
        }
        let mut digits = [0; 20];
        let mut count = 0;
        for place in &mut digits {
            *place = b'0' + digit(magnitude % 10);
            magnitude /= 10;
            count += 1;
            if magnitude == 0 {
                break;
            }
        }
        for place in digits.iter().take(count).rev() {
            self.push(*place);
        }
    }

    /// Appends a number with so many decimals, 9 at most, rounded half up.
    #[inline(never)]
    pub fn decimal(&mut self, value: f64, decimals: u8) {
        let magnitude = value.abs();
        // Beyond this, and for what is no number, digits would be wrong.
        if magnitude.is_nan() || magnitude >= 9.0e9 {
            self.text(if value.is_nan() {
                "nan"
            } else if value < 0.0 {
                "-huge"
            } else {
                "huge"
            });
            return;
        }
        let scale = 10_u64.pow(u32::from(decimals.min(9)));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "in range, and positive"
        )]
        let scaled = {
            // 9e9 times 1e9 fits 64 bits.
            #[expect(clippy::cast_precision_loss, reason = "at most 1e9, which a double holds")]
            let scale = scale as f64;
            (magnitude * scale + 0.5) as u64
        };
        self.whole(value < 0.0 && scaled > 0, scaled / scale);
        if decimals > 0 {
            self.push(b'.');
            let mut rest = scaled % scale;
            let mut place = scale / 10;
            while place > 0 {
                self.push(b'0' + digit(rest / place));
                rest %= place;
                place /= 10;
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a digit is below 10")]
const fn digit(value: u64) -> u8 {
    value as u8
}

/// What [`log!`](crate::log!) can show.
pub trait Show {
    /// Appends the value. `decimals` is what stands behind the `.` in `{:.2}`.
    fn show(&self, line: &mut Line<'_>, decimals: Option<u8>);
}

impl<T: Show + ?Sized> Show for &T {
    fn show(&self, line: &mut Line<'_>, decimals: Option<u8>) {
        (**self).show(line, decimals);
    }
}

impl Show for str {
    fn show(&self, line: &mut Line<'_>, _: Option<u8>) {
        line.text(self);
    }
}

impl<const MAX: usize> Show for crate::Text<MAX> {
    fn show(&self, line: &mut Line<'_>, _: Option<u8>) {
        line.text(self.as_str());
    }
}

impl Show for bool {
    fn show(&self, line: &mut Line<'_>, _: Option<u8>) {
        line.text(if *self { "true" } else { "false" });
    }
}

macro_rules! show_whole {
    ($($type:ty),*) => {$(
        impl Show for $type {
            fn show(&self, line: &mut Line<'_>, _: Option<u8>) {
                let value = i64::from(*self);
                line.whole(value < 0, value.unsigned_abs());
            }
        }
    )*};
}

show_whole!(u8, u16, u32, i8, i16, i32, i64);

impl Show for u64 {
    fn show(&self, line: &mut Line<'_>, _: Option<u8>) {
        line.whole(false, *self);
    }
}

impl Show for usize {
    fn show(&self, line: &mut Line<'_>, _: Option<u8>) {
        line.whole(false, *self as u64);
    }
}

/// Decimals of a number for which none are asked.
const DECIMALS: u8 = 3;

impl Show for f64 {
    fn show(&self, line: &mut Line<'_>, decimals: Option<u8>) {
        line.decimal(*self, decimals.unwrap_or(DECIMALS));
    }
}

impl Show for f32 {
    fn show(&self, line: &mut Line<'_>, decimals: Option<u8>) {
        f64::from(*self).show(line, decimals);
    }
}
