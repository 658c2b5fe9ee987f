//! Where the fields of a schema are in a record.

use crate::{Field, Schema};
use capmesh_wire::schema::FieldType;

/// A schema's record: what crosses the boundary between capsule and node, laid out as a C compiler
/// does (see [`capmesh_wire::schema`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout<'s> {
    /// The record's length in bytes, padding included.
    pub len: usize,
    /// The largest alignment of its fields.
    pub align: usize,
    /// Its fields in order.
    pub places: Vec<Place<'s>>,
}

/// Where a field is, in bytes from the record's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'s> {
    /// The field.
    pub field: &'s Field,
    /// The byte that says whether an optional field is there.
    pub presence: Option<usize>,
    /// Where its value starts: for text and bytes, with the byte that counts.
    pub at: usize,
    /// How long its value is.
    pub size: usize,
}

/// Size and alignment of a value within a record, in bytes.
const fn size_and_align(ty: FieldType) -> (usize, usize) {
    match ty {
        FieldType::Bool | FieldType::U8 | FieldType::I8 => (1, 1),
        FieldType::U16 | FieldType::I16 => (2, 2),
        FieldType::U32 | FieldType::I32 | FieldType::F32 => (4, 4),
        FieldType::U64 | FieldType::I64 | FieldType::F64 => (8, 8),
        FieldType::Text(max) | FieldType::Bytes(max) => (1 + max as usize, 1),
    }
}

impl Schema {
    /// Lays the schema's record out.
    #[must_use]
    pub fn layout(&self) -> Layout<'_> {
        let (mut end, mut largest) = (0_usize, 1);
        let mut places = Vec::new();
        for field in &self.fields {
            let (size, align) = size_and_align(field.ty);
            let presence = field.optional.then_some(end);
            let at = (end + usize::from(field.optional)).next_multiple_of(align);
            places.push(Place { field, presence, at, size });
            end = at + size;
            largest = largest.max(align);
        }
        Layout { len: end.next_multiple_of(largest), align: largest, places }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use capmesh_wire::schema::Unit;

    /// Records are the wire's business: what is said here of their lengths and places is compared
    /// with what it writes.
    #[test]
    fn places_are_those_of_the_wire() {
        let types = [
            FieldType::Bool,
            FieldType::U8,
            FieldType::I16,
            FieldType::U32,
            FieldType::F64,
            FieldType::Text(3),
            FieldType::Bytes(4),
            FieldType::F32,
        ];
        // Every pair and triple of types, with every choice of what is optional.
        for code in 0..types.len().pow(3) * 8 {
            let (choice, optional) = (code / 8, code % 8);
            let fields: Vec<Field> = (0..3)
                .map(|i| Field {
                    name: ["a", "b", "c"][i].to_owned(),
                    ty: types[choice / types.len().pow(u32::try_from(i).unwrap()) % types.len()],
                    unit: Unit::None,
                    optional: optional >> i & 1 == 1,
                    doc: None,
                })
                .collect();
            let schema = Schema {
                alias: "s".into(),
                path: "s".into(),
                name: "s".into(),
                version: 1,
                doc: None,
                fields,
            };
            let layout = schema.layout();
            let len = schema.with_wire(|schema| schema.record_len()).unwrap();
            assert_eq!(layout.len, len, "{:?}", schema.fields);
            for place in &layout.places {
                assert!(place.at + place.size <= len);
                check_value(&schema, place, len);
            }
        }
    }

    /// A value of ones at its place is read by the wire as that field and no other.
    fn check_value(schema: &Schema, place: &Place<'_>, len: usize) {
        use capmesh_wire::cbor::Writer;
        let mut record = vec![0; len];
        if let Some(presence) = place.presence {
            record[presence] = 1;
        }
        record[place.at] = 1;
        let encode = |record: &[u8]| {
            let mut buf = [0; 64];
            let mut writer = Writer::new(&mut buf);
            schema.with_wire(|schema| schema.write_record(record, &mut writer)).unwrap().unwrap();
            writer.written().to_vec()
        };
        assert_ne!(encode(&record), encode(&vec![0; len]), "{:?}", place.field);
        // Without what says that it is there, the rest of it is not looked at.
        if let Some(presence) = place.presence {
            record[presence] = 0;
            assert_eq!(encode(&record), encode(&vec![0; len]), "{:?}", place.field);
        }
    }
}
