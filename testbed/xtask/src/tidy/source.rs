//! What a program can tell from the source text of one file.

use std::ops::RangeInclusive;

use anyhow::{Context, Result};
use proc_macro2::{Span, TokenStream, TokenTree};
use syn::{
    Attribute, ImplItem, Item, ItemMod, Signature,
    spanned::Spanned,
    visit::{self, Visit},
};

/// Lines of a file that is read in one sitting, tests not counted.
const FILE_LINES: usize = 600;
/// Lines of a function that fits a screen, from its `fn` to its closing brace.
const FUNCTION_LINES: usize = 70;

/// The feature of what tests of other crates use, as it stands in a `cfg`.
const FOR_TESTS: &str = concat!('"', "test-util", '"');

/// What a file is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Program text.
    Code,
    /// Program text of a state machine without std and I/O.
    Core {
        /// Whether it is the crate's first file.
        root: bool,
        /// Whether it may allocate.
        heap: bool,
    },
}

/// A parsed file.
pub(super) struct Source {
    lines: usize,
    file: syn::File,
    tokens: TokenStream,
    found: Found,
}

/// What a walk through the items finds.
#[derive(Default)]
struct Found {
    /// Lines of items that only tests see.
    tests: Vec<RangeInclusive<usize>>,
    /// `#[cfg(test)] mod name;`
    test_modules: Vec<String>,
    /// Name, first line and length of each function that is not a test's.
    functions: Vec<(String, usize, usize)>,
}

impl Source {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let file = syn::parse_file(text).context("does not parse")?;
        let tokens = text.parse().map_err(|error| anyhow::anyhow!("does not parse: {error}"))?;
        let mut found = Found::default();
        found.visit_file(&file);
        Ok(Self { lines: text.lines().count(), file, tokens, found })
    }

    /// Names of modules in files of their own that only tests see.
    pub(super) fn test_modules(&self) -> &[String] {
        &self.found.test_modules
    }

    /// Whether the file begins with documentation.
    pub(super) fn has_docs(&self) -> bool {
        self.file.attrs.iter().any(|attribute| attribute.path().is_ident("doc"))
    }

    /// Every fault with its line.
    pub(super) fn faults(&self, role: Role) -> Vec<(usize, String)> {
        let mut faults = Vec::new();
        self.check_lengths(&mut faults);
        if let Role::Core { root, heap } = role {
            if root && !self.file.attrs.iter().any(|attribute| attribute.path().is_ident("no_std"))
            {
                faults.push((1, "a core's crate must be #![no_std]".into()));
            }
            self.check_words(self.tokens.clone(), heap, &mut faults);
        }
        faults
    }

    fn check_lengths(&self, faults: &mut Vec<(usize, String)>) {
        let tests: usize = self.found.tests.iter().map(|lines| lines.clone().count()).sum();
        let lines = self.lines.saturating_sub(tests);
        if lines > FILE_LINES {
            faults.push((1, format!("{lines} lines without tests, more than {FILE_LINES}")));
        }
        for (name, line, length) in &self.found.functions {
            if *length > FUNCTION_LINES {
                let text = format!("fn {name} has {length} lines, more than {FUNCTION_LINES}");
                faults.push((*line, text));
            }
        }
    }

    /// Words that have no place in a core, outside of its tests.
    fn check_words(&self, tokens: TokenStream, heap: bool, faults: &mut Vec<(usize, String)>) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.check_words(group.stream(), heap, faults),
                TokenTree::Ident(ident) => {
                    let line = ident.span().start().line;
                    if let Some(why) = unwelcome(&ident.to_string(), heap)
                        && !self.found.tests.iter().any(|lines| lines.contains(&line))
                    {
                        faults.push((line, format!("`{ident}` in a core: {why}")));
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }
}

/// Why a word has no place in a core.
fn unwelcome(word: &str, heap: bool) -> Option<&'static str> {
    Some(match word {
        "HashMap" | "HashSet" => "its order differs from run to run; use an ordered or fixed table",
        "std" => "it runs where there is no std",
        "alloc" if !heap => "it runs where there is no allocator",
        "async" | "await" => "it is a state machine: handle, poll, poll_timeout",
        _ => return None,
    })
}

impl Found {
    fn function(&mut self, signature: &Signature, end: Span) {
        let start = signature.span().start().line;
        let length = (end.end().line + 1).saturating_sub(start);
        self.functions.push((signature.ident.to_string(), start, length));
    }

    /// Whether only tests see what these attributes stand before; notes its lines if so.
    fn is_test(&mut self, attributes: &[Attribute], whole: Span) -> bool {
        let is_test = attributes.iter().any(is_cfg_test);
        if is_test {
            self.tests.push(whole.start().line..=whole.end().line);
        }
        is_test
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item(&mut self, item: &'ast Item) {
        if self.is_test(attributes(item), item.span()) {
            if let Item::Mod(ItemMod { ident, content: None, .. }) = item {
                self.test_modules.push(ident.to_string());
            }
            return;
        }
        if let Item::Fn(function) = item {
            self.function(&function.sig, function.block.span());
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if let ImplItem::Fn(function) = item {
            if self.is_test(&function.attrs, function.span()) {
                return;
            }
            self.function(&function.sig, function.block.span());
        }
        visit::visit_impl_item(self, item);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.function(&function.sig, block.span());
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]`, `#[cfg(feature = "test-util")]`, or a `cfg` that needs one of these among other
/// things.
fn is_cfg_test(attribute: &Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    list.path.is_ident("cfg") && needs_test(list.tokens.clone())
}

fn needs_test(tokens: TokenStream) -> bool {
    let mut all = false;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if ident == "test" => return true,
            TokenTree::Ident(ident) => all = ident == "all",
            TokenTree::Literal(literal) if literal.to_string() == FOR_TESTS => return true,
            TokenTree::Group(group) if all && needs_test(group.stream()) => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORE: Role = Role::Core { root: false, heap: false };

    fn faults(role: Role, text: &str) -> Vec<(usize, String)> {
        Source::parse(text).unwrap().faults(role)
    }

    #[test]
    fn a_long_file_is_a_fault_but_its_tests_do_not_count() {
        let line = "static A: u8 = 1;\n";
        assert!(faults(Role::Code, &line.repeat(FILE_LINES)).is_empty());
        let long = faults(Role::Code, &line.repeat(FILE_LINES + 1));
        assert_eq!(long[0], (1, "601 lines without tests, more than 600".into()));
        let tests = format!("{}#[cfg(test)]\nmod t {{\n{}}}\n", line.repeat(590), line.repeat(50));
        assert!(faults(Role::Code, &tests).is_empty());
    }

    #[test]
    fn a_long_function_is_a_fault_wherever_it_stands() {
        let body = "    f();\n".repeat(FUNCTION_LINES - 1);
        let long = format!("fn f() {{\n{body}}}\n");
        assert_eq!(faults(Role::Code, &long)[0].1, "fn f has 71 lines, more than 70");
        let method = format!("impl A {{\n{long}}}\n");
        assert_eq!(faults(Role::Code, &method)[0].0, 2);
        let provided = format!("trait A {{\n{long}}}\n");
        assert_eq!(faults(Role::Code, &provided).len(), 1);
        let nested = format!("mod a {{ mod b {{\n{long}}} }}\n");
        assert_eq!(faults(Role::Code, &nested).len(), 1);
        // Documentation and attributes are not the function's lines; tests are not held to this.
        let documented = format!("/// A.\n#[inline]\nfn f() {{\n{}}}\n", "f();\n".repeat(68));
        assert!(faults(Role::Code, &documented).is_empty());
        assert!(faults(Role::Code, &format!("#[cfg(test)]\nmod t {{\n{long}}}\n")).is_empty());
    }

    #[test]
    fn a_core_has_no_hash_map_no_std_no_alloc_and_no_async() {
        for text in [
            "use std::fmt;",
            "use std::collections::HashMap;",
            "extern crate std;",
            "extern crate alloc;",
            "async fn f() {}",
            "fn f() { let a = m!(HashSet::new()); }",
        ] {
            assert!(!faults(CORE, text).is_empty(), "{text}");
            assert!(faults(Role::Code, text).is_empty(), "{text}");
        }
        assert!(
            faults(CORE, "use core::fmt; // std::HashMap\n/// HashMap\nfn standard() {}")
                .is_empty()
        );
    }

    #[test]
    fn a_core_with_a_heap_may_allocate_and_has_still_no_std() {
        let heap = Role::Core { root: false, heap: true };
        assert!(faults(heap, "extern crate alloc;\nuse alloc::vec::Vec;").is_empty());
        assert!(!faults(heap, "extern crate std;").is_empty());
    }

    #[test]
    fn tests_of_a_core_may_use_std() {
        for text in [
            "#[cfg(test)]\nextern crate std;",
            "#[cfg(all(test, unix))]\nmod t { use std::fmt; }",
            "#[cfg(feature = \"test-util\")]\nmod t { use std::fmt; }",
            "impl A { #[cfg(test)]\nfn f() { std::f() } }",
        ] {
            assert!(faults(CORE, text).is_empty(), "{text}");
        }
        assert!(!faults(CORE, "#[cfg(not(test))]\nuse std::fmt;").is_empty());
        assert!(!faults(CORE, "#[cfg(feature = \"std\")]\nuse std::fmt;").is_empty());
    }

    #[test]
    fn a_cores_crate_says_no_std() {
        let root = Role::Core { root: true, heap: false };
        assert_eq!(faults(root, "//! A.").len(), 1);
        assert!(faults(root, "//! A.\n#![no_std]").is_empty());
        assert!(faults(CORE, "//! A.").is_empty());
    }

    #[test]
    fn docs_and_test_modules_are_found() {
        let source = Source::parse("//! A.\n#[cfg(test)]\nmod tests;\nmod other;").unwrap();
        assert!(source.has_docs());
        assert_eq!(source.test_modules(), ["tests"]);
        assert!(!Source::parse("/// A.\nmod other;").unwrap().has_docs());
    }
}
