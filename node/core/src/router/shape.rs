//! What a schema asks of a payload.

use alloc::boxed::Box;
use capmesh_wire::schema::{Field, Fields};
use capmesh_wire::{Name, Payload, Schema, SchemaTag};

/// A schema without its names: what a payload is checked against, and the tag that batches carry.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) tag: SchemaTag,
    fields: Box<[Field<'static>]>,
    /// The longest payload, in bytes.
    pub(super) longest: usize,
}

impl Shape {
    /// The work is one pass over the fields, which are hashed for the tag.
    pub(super) fn of(schema: &Schema<'_>) -> Option<Self> {
        // Names make no difference to what fits; this one borrows from nothing.
        let name = Name::new("x").ok()?;
        let fields = schema.fields().iter().map(|field| Field { name, ..field }).collect();
        Some(Self { tag: schema.id().tag(), fields, longest: schema.max_payload_len() })
    }

    /// Whether a payload has the values that the schema asks for. The work is one pass over them.
    pub(super) fn fits(&self, payload: Payload<'_>) -> bool {
        let Ok(fields) = Fields::new(&self.fields) else { return false };
        payload.values(fields).is_ok_and(|mut values| values.all(|value| value.is_ok()))
    }
}
