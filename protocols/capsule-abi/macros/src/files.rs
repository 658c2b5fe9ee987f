//! The files that macros read.

use capmesh_description::Faults;
use proc_macro2::{Span, TokenStream};
use quote::quote;
use std::path::{Path, PathBuf};
use syn::LitStr;
use syn::parse::{Parse, ParseStream};

/// A path, or nothing for `capsule.toml`.
pub(crate) struct OptionalPath(Option<LitStr>);

impl Parse for OptionalPath {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.is_empty() { Ok(Self(None)) } else { input.parse().map(Some).map(Self) }
    }
}

impl OptionalPath {
    pub(crate) fn span(&self) -> Span {
        self.0.as_ref().map_or_else(Span::call_site, LitStr::span)
    }

    pub(crate) fn path(&self) -> PathBuf {
        in_package(&self.0.as_ref().map_or_else(|| "capsule.toml".to_owned(), LitStr::value))
    }
}

/// The place of a file that is named relative to the package's folder.
pub(crate) fn in_package(path: &str) -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    Path::new(&package).join(path)
}

/// A compile error for each fault.
pub(crate) fn errors(faults: &Faults, span: Span) -> syn::Error {
    let mut errors = faults.as_slice().iter().map(|fault| {
        // What is wrong is read before where it is: rustc shows where the macro stands anyway.
        syn::Error::new(span, fault)
    });
    let first = errors.next().unwrap_or_else(|| syn::Error::new(span, "the file is not legal"));
    errors.fold(first, |mut all, error| {
        all.combine(error);
        all
    })
}

/// Has cargo build anew when one of the files changes.
pub(crate) fn watch<'p>(files: impl Iterator<Item = &'p Path>) -> TokenStream {
    let paths = files.filter_map(|path| path.canonicalize().ok()?.to_str().map(str::to_owned));
    let each = paths.map(|path| {
        quote!(
            const _: &[u8] = ::core::include_bytes!(#path);
        )
    });
    quote!(#(#each)*)
}
