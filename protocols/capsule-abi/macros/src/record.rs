//! Types from schemas.

use crate::{files, names};
use capmesh_description::{Field, Place, Schema};
use capmesh_wire::schema::{FieldType, Unit};
use proc_macro2::{Literal, TokenStream};
use quote::quote;
use syn::LitStr;

/// What `schema!` makes.
pub(crate) fn from_file(path: &LitStr) -> syn::Result<TokenStream> {
    let place = files::in_package(&path.value());
    let schema = Schema::read(&place).map_err(|faults| files::errors(&faults, path.span()))?;
    let watch = files::watch(std::iter::once(place.as_path()));
    let record = record(&schema);
    Ok(quote!(#watch #record))
}

/// The struct, and how it is read from and written to a record.
pub(crate) fn record(schema: &Schema) -> TokenStream {
    let name = names::ty(&schema.name);
    let doc = schema.doc.clone().unwrap_or_else(|| format!("A message `{}`.", schema.name));
    let layout = schema.layout();
    let fields = schema.fields.iter().map(|field| {
        let (name, ty, doc) = (names::value(&field.name), optional_type(field), field_doc(field));
        quote!(#[doc = #doc] pub #name: #ty)
    });
    let len = Literal::usize_unsuffixed(layout.len);
    let reads = layout.places.iter().map(read);
    let writes = layout.places.iter().map(write);
    quote! {
        #[doc = #doc]
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct #name { #(#fields),* }

        impl ::capmesh_sdk::Record for #name {
            type Bytes = [u8; #len];
            const ZERO: [u8; #len] = [0; #len];

            #[inline(always)]
            fn from_record(record: &[u8; #len]) -> Self {
                Self { #(#reads),* }
            }

            #[inline(always)]
            fn to_record(&self) -> [u8; #len] {
                let mut record = [0; #len];
                #(#writes)*
                record
            }
        }
    }
}

fn read(place: &Place<'_>) -> TokenStream {
    let name = names::value(&place.field.name);
    let (at, size) = (Literal::usize_unsuffixed(place.at), Literal::usize_unsuffixed(place.size));
    let value = quote!(::capmesh_sdk::generated::get(record, #at, #size));
    match place.presence {
        None => quote!(#name: #value),
        Some(presence) => {
            let presence = Literal::usize_unsuffixed(presence);
            quote!(#name: if ::capmesh_sdk::generated::get::<bool>(record, #presence, 1) {
                ::core::option::Option::Some(#value)
            } else {
                ::core::option::Option::None
            })
        }
    }
}

fn write(place: &Place<'_>) -> TokenStream {
    let name = names::value(&place.field.name);
    let (at, size) = (Literal::usize_unsuffixed(place.at), Literal::usize_unsuffixed(place.size));
    match place.presence {
        None => quote!(::capmesh_sdk::generated::put(&mut record, #at, #size, &self.#name);),
        Some(presence) => {
            let presence = Literal::usize_unsuffixed(presence);
            quote!(if let ::core::option::Option::Some(value) = &self.#name {
                ::capmesh_sdk::generated::put(&mut record, #presence, 1, &true);
                ::capmesh_sdk::generated::put(&mut record, #at, #size, value);
            })
        }
    }
}

/// A field's type in Rust, `Option` left out.
pub(crate) fn field_type(ty: FieldType) -> TokenStream {
    match ty {
        FieldType::Text(max) => {
            let max = Literal::u8_unsuffixed(max);
            quote!(::capmesh_sdk::Text<#max>)
        }
        FieldType::Bytes(max) => {
            let max = Literal::u8_unsuffixed(max);
            quote!(::capmesh_sdk::Bytes<#max>)
        }
        scalar => {
            let name = proc_macro2::Ident::new(scalar.name(), proc_macro2::Span::call_site());
            quote!(#name)
        }
    }
}

fn optional_type(field: &Field) -> TokenStream {
    let ty = field_type(field.ty);
    if field.optional { quote!(::core::option::Option<#ty>) } else { ty }
}

/// A field's documentation, with its unit.
pub(crate) fn field_doc(field: &Field) -> String {
    let doc = field.doc.clone().unwrap_or_else(|| format!("The field `{}`.", field.name));
    if field.unit == Unit::None { doc } else { format!("{doc} Unit: {}.", field.unit) }
}
