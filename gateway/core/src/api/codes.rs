//! Vocabulary of the wire as text in JSON.

use core::fmt::Display;
use core::str::FromStr;
use serde::{Deserialize, Deserializer, Serializer, de};

/// What has one textual form: ids, digests.
pub(super) mod text {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer, de};

    pub(in crate::api) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(in crate::api) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// As [`text`], for what may be absent.
pub(super) mod optional_text {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer, de};

    pub(in crate::api) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::api) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
    }
}

/// A code of the wire by its name. A name that this version does not know is kept as an unknown code.
macro_rules! named {
    ($($module:ident $ty:ty;)*) => {$(
        pub(super) mod $module {
            use serde::{Deserialize, Deserializer, Serializer};

            pub(in crate::api) fn serialize<S: Serializer>(
                value: &$ty,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(value.name())
            }

            pub(in crate::api) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<$ty, D::Error> {
                let name = String::deserialize(deserializer)?;
                Ok(<$ty>::from_name(&name).unwrap_or(<$ty>::from_code(u8::MAX)))
            }
        }
    )*};
}

named! {
    capsule_state capmesh_wire::inventory::CapsuleState;
    delivery capmesh_wire::plan::Delivery;
    level capmesh_wire::log::Level;
    link_kind capmesh_wire::inventory::LinkKind;
    overflow capmesh_wire::plan::Overflowing;
    unit capmesh_wire::Unit;
}

/// As [`named`], for what may be absent.
macro_rules! optional_named {
    ($($module:ident $ty:ty;)*) => {$(
        pub(super) mod $module {
            use serde::{Deserialize, Deserializer, Serializer};

            pub(in crate::api) fn serialize<S: Serializer>(
                value: &Option<$ty>,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                match value {
                    Some(value) => serializer.serialize_str(value.name()),
                    None => serializer.serialize_none(),
                }
            }

            pub(in crate::api) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Option<$ty>, D::Error> {
                let name = Option::<String>::deserialize(deserializer)?;
                Ok(name.map(|name| {
                    <$ty>::from_name(&name).unwrap_or(<$ty>::from_code(u8::MAX))
                }))
            }
        }
    )*};
}

optional_named! {
    optional_instance_state capmesh_wire::inventory::InstanceState;
    optional_reason capmesh_wire::ErrorCode;
}

/// As the module `level`, for what may be absent; a name that is none is refused.
pub(super) mod optional_level {
    use super::{Deserialize, Deserializer, Serializer, de};
    use capmesh_wire::log::Level;

    pub(in crate::api) fn serialize<S: Serializer>(
        value: &Option<Level>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::level::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::api) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Level>, D::Error> {
        let name = Option::<String>::deserialize(deserializer)?;
        let level = |name: String| {
            Level::from_name(&name).ok_or_else(|| {
                de::Error::custom("a level is one of error, warning, info and debug")
            })
        };
        name.map(level).transpose()
    }
}
