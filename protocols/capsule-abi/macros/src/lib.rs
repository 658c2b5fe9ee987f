//! The macros of `capmesh-sdk`, which documents them: nobody depends on this crate directly.
//!
//! - [`schema!`] and [`describe!`] turn TOML files into types and typed constants;
//! - [`macro@capsule`] turns an impl block into handlers, checked against the same files;
//! - [`log!`] puts lines together without `core::fmt`.
//!
//! Faults of the files become compile errors with the file's line and column.

mod describe;
mod files;
mod handlers;
mod log;
mod names;
mod record;

use proc_macro::TokenStream;
use quote::quote;
use syn::{ItemImpl, LitStr, parse_macro_input};

/// Makes a type of a schema file: `schema!("temperature.toml")`. The path is relative to the
/// package's folder.
///
/// The type is a plain struct with a public field for each field of the schema: `Option` if it may
/// be absent, `Text<MAX>` and `Bytes<MAX>` for texts and bytes.
#[proc_macro]
pub fn schema(input: TokenStream) -> TokenStream {
    let path = parse_macro_input!(input as LitStr);
    record::from_file(&path).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Makes types and constants of a capsule's description: `describe!("capsule.toml")`, or
/// `describe!()` for that file in the package's folder.
///
/// - a type for each schema, as `schema!` does;
/// - the modules `inputs`, `outputs`, `sensors`, `actuators`, `sources`, `timers`, `services`,
///   `peers` and `config`, as far as the description has them, with a constant for each name:
///   `outputs::WARMEST`, `peers::store::PUT`, `config::MAX_AGE` (for `max-age`).
#[proc_macro]
pub fn describe(input: TokenStream) -> TokenStream {
    let path = parse_macro_input!(input as files::OptionalPath);
    describe::expand(&path).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Makes a capsule of an impl block: `#[capsule]`, or `#[capsule("path/to/capsule.toml")]`.
///
/// The attributes of handlers are listed in the documentation of `capmesh-sdk`. Each must name
/// something that the description has, and everything in the description that calls for a handler
/// must have one.
#[proc_macro_attribute]
pub fn capsule(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let path = parse_macro_input!(attribute as files::OptionalPath);
    let mut block = parse_macro_input!(item as ItemImpl);
    let made = handlers::expand(&path, &mut block);
    let made = made.unwrap_or_else(|error| error.to_compile_error());
    // The block comes out as well if something is wrong, so that the rest of it is still checked.
    quote!(#block #made).into()
}

/// Writes a line to the node's log: `log!(info, "{} of {total}, {mean:.2}", count)`.
///
/// The levels are `error`, `warning`, `info` and `debug`. Numbers, `bool`, `str` and `Text` can be
/// shown; `{:.2}` gives the decimals of a float, of which there are 3 if nothing is said. In braces
/// may stand a variable, a field (`{reading.value}`) or nothing, which takes the next argument. A
/// line has at most 128 bytes; the end of a longer one is cut.
#[proc_macro]
pub fn log(input: TokenStream) -> TokenStream {
    let line = parse_macro_input!(input as log::Line);
    log::expand(&line).unwrap_or_else(|error| error.to_compile_error()).into()
}

#[cfg(test)]
mod tests;
