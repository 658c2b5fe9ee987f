//! Where two schemas differ.

use capmesh_wire::schema::{Field, FieldType};
use capmesh_wire::{Schema, Unit};

/// How a schema is called.
pub(super) fn shown(schema: &Schema<'_>) -> String {
    format!("`{}` version {}", schema.name(), schema.version())
}

/// The first difference between what comes and what is wanted, in words; `None` if they are equal.
pub(super) fn difference(comes: &Schema<'_>, wanted: &Schema<'_>) -> Option<String> {
    if comes == wanted {
        return None;
    }
    let (mine, theirs) = (comes.fields(), wanted.fields());
    for (mine, theirs) in mine.iter().zip(theirs) {
        if mine.name != theirs.name {
            return Some(format!(
                "the field `{}` comes where `{}` is wanted",
                mine.name, theirs.name
            ));
        }
        if mine != theirs {
            let (name, mine, theirs) = (mine.name, described(&mine), described(&theirs));
            return Some(format!("the field `{name}` comes as {mine} and is wanted as {theirs}"));
        }
    }
    let (count, wanted_count) = (mine.len(), theirs.len());
    if let Some(extra) = mine.get(wanted_count) {
        return Some(format!("the field `{}` comes and is not wanted", extra.name));
    }
    if let Some(lacking) = theirs.get(count) {
        return Some(format!("the field `{}` is wanted and does not come", lacking.name));
    }
    Some("the fields are the same, but not the schema's name and version".to_owned())
}

fn described(field: &Field<'_>) -> String {
    let ty = match field.ty {
        FieldType::Text(max) | FieldType::Bytes(max) => {
            format!("{} of at most {max} bytes", field.ty.name())
        }
        _ => field.ty.name().to_owned(),
    };
    let unit = match field.unit {
        Unit::None => String::new(),
        unit => format!(" in {unit}"),
    };
    format!("{}{ty}{unit}", if field.optional { "optional " } else { "" })
}
