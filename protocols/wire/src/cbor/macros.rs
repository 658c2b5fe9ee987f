//! How types are laid out on the wire.

use super::{DecodeError, Reader};

/// A number that this version has no name for: a newer peer's. It can only come from decoding, so
/// that it never stands for a number that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unrecognised(u8);

impl Unrecognised {
    pub(crate) const fn new(code: u8) -> Self {
        Self(code)
    }

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }
}

/// Runs a check of a value whose parts were all read.
pub(crate) fn check(reader: &mut Reader<'_>, check: impl FnOnce() -> Result<(), DecodeError>) {
    if reader.status().is_ok()
        && let Err(error) = check()
    {
        reader.fail(error);
    }
}

/// A struct that is a map: `key => field: type`. An optional `check path` names a function that says
/// whether the fields go together.
macro_rules! record {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(<$a:lifetime>)? $(check $check:path)? {
            $($(#[$field_meta:meta])* $key:literal => $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis struct $name $(<$a>)? {
            $($(#[$field_meta])* $vis $field: $type,)*
        }

        $crate::cbor::macros::decode_impl!($name $(<$a>)?, reader, {
            let mut fields = $crate::cbor::Fields::new(reader);
            let value = Self { $($field: fields.take($key),)* };
            fields.finish();
            $($crate::cbor::macros::check(reader, || $check(&value));)?
            value
        });

        impl $(<$a>)? $crate::cbor::Encode for $name $(<$a>)? {
            fn write(&self, writer: &mut $crate::cbor::Writer<'_>) {
                use $crate::cbor::Encode;
                $(debug_assert!($check(self).is_ok(), "{self:?} is not legal");)?
                writer.map(0 $(+ usize::from(!Encode::is_absent(&self.$field)))*);
                $(if !Encode::is_absent(&self.$field) {
                    writer.uint($key);
                    Encode::write(&self.$field, writer);
                })*
            }
        }
    };
}

/// A struct that is an array.
macro_rules! tuple {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(<$a:lifetime>)? $(check $check:path)? {
            $($(#[$field_meta:meta])* $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis struct $name $(<$a>)? {
            $($(#[$field_meta])* $vis $field: $type,)*
        }

        impl $(<$a>)? $name $(<$a>)? {
            const ELEMENTS: u8 = 0 $(+ { let _ = stringify!($field); 1 })*;
        }

        $crate::cbor::macros::decode_impl!($name $(<$a>)?, reader, {
            let extra = reader.tuple(Self::ELEMENTS);
            let value = Self { $($field: $crate::cbor::Decode::read(reader),)* };
            reader.skip_items(extra);
            $($crate::cbor::macros::check(reader, || $check(&value));)?
            value
        });

        impl $(<$a>)? $crate::cbor::Encode for $name $(<$a>)? {
            fn write(&self, writer: &mut $crate::cbor::Writer<'_>) {
                $(debug_assert!($check(self).is_ok(), "{self:?} is not legal");)?
                writer.array(usize::from(Self::ELEMENTS));
                $($crate::cbor::Encode::write(&self.$field, writer);)*
            }
        }
    };
}

/// An enum that is a number, with a name for people.
macro_rules! codes {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $($(#[$variant_meta:meta])* $variant:ident = $code:literal, $text:literal;)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name {
            $($(#[$variant_meta])* $variant,)*
            /// A newer peer's, unknown to this version.
            Unknown($crate::cbor::Unrecognised),
        }

        impl $name {
            /// Every value that this version knows, in the order of their codes.
            $vis const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The value with this code.
            #[must_use]
            $vis const fn from_code(code: u8) -> Self {
                match code {
                    $($code => Self::$variant,)*
                    _ => Self::Unknown($crate::cbor::Unrecognised::new(code)),
                }
            }

            /// The code on the wire.
            #[must_use]
            $vis const fn code(self) -> u8 {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Unknown(unknown) => unknown.code(),
                }
            }

            /// The name in files, on the command line and in logs.
            #[must_use]
            $vis const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown(_) => "unknown",
                }
            }

            /// The value with this name.
            #[must_use]
            $vis fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self {
                    Self::Unknown(unknown) => write!(f, "unknown {}", unknown.code()),
                    known => f.write_str(known.name()),
                }
            }
        }

        impl<'de> $crate::cbor::Decode<'de> for $name {
            fn read(reader: &mut $crate::cbor::Reader<'de>) -> Self {
                Self::from_code($crate::cbor::Decode::read(reader))
            }
        }

        impl $crate::cbor::Encode for $name {
            fn write(&self, writer: &mut $crate::cbor::Writer<'_>) {
                $crate::cbor::Encode::write(&self.code(), writer);
            }
        }
    };
}

/// An enum that is an array of a number and a body of the variant's type. A number that this version
/// does not know keeps its number and loses its body.
macro_rules! union {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident<$a:lifetime> {
            $($(#[$variant_meta:meta])* $variant:ident = $code:literal, $body:ty;)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name<$a> {
            $($(#[$variant_meta])* $variant($body),)*
            /// A newer peer's, unknown to this version.
            Unknown($crate::cbor::Unrecognised),
        }

        impl<$a> $crate::cbor::Decode<$a> for $name<$a> {
            fn read(reader: &mut $crate::cbor::Reader<$a>) -> Self {
                use $crate::cbor::Decode;
                let extra = reader.tuple(2);
                let value = match u8::read(reader) {
                    $($code => Self::$variant(<$body as Decode>::read(reader)),)*
                    code => {
                        reader.skip_items(1);
                        Self::Unknown($crate::cbor::Unrecognised::new(code))
                    }
                };
                reader.skip_items(extra);
                value
            }
        }

        impl<$a> $crate::cbor::Encode for $name<$a> {
            fn write(&self, writer: &mut $crate::cbor::Writer<'_>) {
                writer.array(2);
                match self {
                    $(Self::$variant(body) => {
                        writer.uint($code);
                        $crate::cbor::Encode::write(body, writer);
                    })*
                    Self::Unknown(unknown) => {
                        writer.uint(u64::from(unknown.code())).null();
                    }
                }
            }
        }
    };
}

/// `impl Decode` with the lifetime that the type borrows with, if it has one.
macro_rules! decode_impl {
    ($name:ident, $reader:ident, $body:block) => {
        impl<'de> $crate::cbor::Decode<'de> for $name {
            fn read($reader: &mut $crate::cbor::Reader<'de>) -> Self $body
        }
    };
    ($name:ident<$a:lifetime>, $reader:ident, $body:block) => {
        impl<$a> $crate::cbor::Decode<$a> for $name<$a> {
            fn read($reader: &mut $crate::cbor::Reader<$a>) -> Self $body
        }
    };
}

pub(crate) use {codes, decode_impl, record, tuple, union};
