//! Constants from a capsule's description.

use crate::files::{self, OptionalPath};
use crate::{names, record};
use capmesh_description::{Config, Description, Peer, Port, Service, Value};
use capmesh_wire::schema::FieldType;
use proc_macro2::{Literal, TokenStream};
use quote::quote;
use std::collections::BTreeSet;

pub(crate) fn expand(path: &OptionalPath) -> syn::Result<TokenStream> {
    let description =
        Description::read(&path.path()).map_err(|faults| files::errors(&faults, path.span()))?;
    let watch = files::watch(description.files());
    // Two names of one schema are one type.
    let mut seen = BTreeSet::new();
    let schemas = description.schemas.iter().filter(|schema| seen.insert(&schema.path));
    let records = schemas.map(record::record);
    let modules = [
        ports(&description, "inputs", "Where messages arrive.", "Input", &description.inputs),
        ports(&description, "outputs", "Where messages leave.", "Output", &description.outputs),
        ports(
            &description,
            "sensors",
            "The sensors that it reads.",
            "Sensor",
            &description.sensors,
        ),
        actuators(&description),
        named(
            "sources",
            "The digital inputs whose changes it hears of.",
            "Source",
            &description.sources,
        ),
        named("timers", "Its timers.", "Timer", &description.timers),
        services(&description),
        peers(&description),
        config(&description),
    ];
    Ok(quote!(#watch #(#records)* #(#modules)*))
}

/// A module, unless there is nothing in it.
fn module(name: &str, doc: &str, items: &[TokenStream]) -> TokenStream {
    if items.is_empty() {
        return TokenStream::new();
    }
    let name = names::value(name);
    quote! {
        #[doc = #doc]
        pub mod #name {
            #(#items)*
        }
    }
}

fn doc(doc: Option<&String>, name: &str) -> String {
    doc.cloned().unwrap_or_else(|| format!("`{name}`."))
}

/// The type of a schema, as a module within the one of the types sees it. `depth` modules within.
fn schema_type(description: &Description, schema: usize, depth: usize) -> TokenStream {
    let name = description.schemas.get(schema).map_or("", |schema| schema.name.as_str());
    let name = names::ty(name);
    let up = std::iter::repeat_n(quote!(super::), depth);
    quote!(#(#up)*#name)
}

fn body_type(description: &Description, schema: Option<usize>, depth: usize) -> TokenStream {
    schema.map_or(quote!(()), |schema| schema_type(description, schema, depth))
}

fn numbered<T>(items: &[T]) -> impl Iterator<Item = (Literal, &T)> {
    (0..=u32::MAX).map(Literal::u32_unsuffixed).zip(items)
}

fn ports(
    description: &Description,
    module_name: &str,
    about: &str,
    kind: &str,
    ports: &[Port],
) -> TokenStream {
    let kind = names::ty(kind);
    let items: Vec<TokenStream> = numbered(ports)
        .map(|(number, port)| {
            let name = names::constant(&port.name);
            let doc = doc(port.doc.as_ref(), &port.name);
            let ty = schema_type(description, port.schema, 1);
            quote! {
                #[doc = #doc]
                pub const #name: ::capmesh_sdk::#kind<#ty> = ::capmesh_sdk::#kind::new(#number);
            }
        })
        .collect();
    module(module_name, about, &items)
}

fn actuators(description: &Description) -> TokenStream {
    let items: Vec<TokenStream> = numbered(&description.actuators)
        .map(|(number, actuator)| {
            let name = names::constant(&actuator.name);
            let doc =
                format!("{} Unit: {}.", doc(actuator.doc.as_ref(), &actuator.name), actuator.unit);
            quote! {
                #[doc = #doc]
                pub const #name: ::capmesh_sdk::Actuator = ::capmesh_sdk::Actuator::new(#number);
            }
        })
        .collect();
    module("actuators", "What it sets.", &items)
}

fn named(
    module_name: &str,
    about: &str,
    kind: &str,
    items: &[capmesh_description::Named],
) -> TokenStream {
    let kind = names::ty(kind);
    let items: Vec<TokenStream> = numbered(items)
        .map(|(number, item)| {
            let name = names::constant(&item.name);
            let doc = doc(item.doc.as_ref(), &item.name);
            quote! {
                #[doc = #doc]
                pub const #name: ::capmesh_sdk::#kind = ::capmesh_sdk::#kind::new(#number);
            }
        })
        .collect();
    module(module_name, about, &items)
}

fn services(description: &Description) -> TokenStream {
    let items: Vec<TokenStream> = numbered(&description.services)
        .map(|(number, service)| {
            let name = names::constant(&service.name);
            let doc = doc(service.doc.as_ref(), &service.name);
            let request = body_type(description, service.request, 1);
            let response = body_type(description, service.response, 1);
            quote! {
                #[doc = #doc]
                pub const #name: ::capmesh_sdk::Service<#request, #response> =
                    ::capmesh_sdk::Service::new(#number);
            }
        })
        .collect();
    module("services", "What it can be asked.", &items)
}

/// Whether replies must be told apart.
pub(crate) fn has_many_resources(description: &Description) -> bool {
    description.peers.iter().map(|peer| peer.services.len()).sum::<usize>() > 1
}

fn peers(description: &Description) -> TokenStream {
    let many = has_many_resources(description);
    let resource = |peer: &Literal, (number, service): (Literal, &Service)| {
        let name = names::constant(&service.name);
        let doc = doc(service.doc.as_ref(), &service.name);
        let request = body_type(description, service.request, 2);
        let response = body_type(description, service.response, 2);
        quote! {
            #[doc = #doc]
            pub const #name: ::capmesh_sdk::Resource<#request, #response> =
                ::capmesh_sdk::Resource::new(#peer, #number, #many);
        }
    };
    let peer = |(number, peer): (Literal, &Peer)| {
        let resources: Vec<TokenStream> =
            numbered(&peer.services).map(|service| resource(&number, service)).collect();
        module(&peer.name, &doc(peer.doc.as_ref(), &peer.name), &resources)
    };
    let items: Vec<TokenStream> = numbered(&description.peers).map(peer).collect();
    module("peers", "The capsules that it asks.", &items)
}

fn config(description: &Description) -> TokenStream {
    let items: Vec<TokenStream> = numbered(&description.config)
        .map(|(number, config)| {
            let name = names::constant(&config.field.name);
            let doc = record::field_doc(&config.field);
            let ty = record::field_type(config.field.ty);
            let default = match default(config) {
                Some(default) => quote!(::core::option::Option::Some(#default)),
                None => quote!(::core::option::Option::None),
            };
            quote! {
                #[doc = #doc]
                pub const #name: ::capmesh_sdk::Config<#ty> =
                    ::capmesh_sdk::Config::new(#number, #default);
            }
        })
        .collect();
    module("config", "The values that a pipeline can set.", &items)
}

/// A default as a literal of its type.
fn default(config: &Config) -> Option<TokenStream> {
    Some(match config.default.as_ref()? {
        Value::Bool(value) => quote!(#value),
        Value::Text(text) => {
            let ty = record::field_type(config.field.ty);
            quote!(<#ty>::literal(#text))
        }
        // Without a suffix a literal takes any type that it fits; floats need their point.
        Value::Number(number) if matches!(config.field.ty, FieldType::F32 | FieldType::F64) => {
            let literal = Literal::f64_unsuffixed(number.abs());
            if *number < 0.0 { quote!(-#literal) } else { quote!(#literal) }
        }
        Value::Number(number) => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "it was read as a whole number of 32 bits"
            )]
            let whole = Literal::i64_unsuffixed((*number as i64).abs());
            if *number < 0.0 { quote!(-#whole) } else { quote!(#whole) }
        }
    })
}
