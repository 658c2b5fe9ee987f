//! How much flash an image takes, and which crate takes how much of it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

/// What the images consist of besides what is measured.
pub(super) const MEASURING: &str = "(measuring)";

/// An image's use of flash.
pub(super) struct Image {
    flash: u64,
    by_crate: BTreeMap<String, u64>,
}

impl Image {
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let file = object::File::parse(bytes).context("not an ELF file")?;
        let in_flash: BTreeMap<_, _> = file
            .sections()
            .filter(|section| is_in_flash(section.kind()))
            .map(|section| (section.index().0, section.size()))
            .collect();
        let flash = in_flash.values().sum();
        let mut by_crate = BTreeMap::new();
        // Symbols of equal functions that were folded into one have one address.
        let mut seen = BTreeMap::new();
        for symbol in file.symbols() {
            let kind = matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Data);
            let placed =
                symbol.section_index().is_some_and(|index| in_flash.contains_key(&index.0));
            if kind && placed && seen.insert(symbol.address(), ()).is_none() {
                let name = crate_of(symbol.name().unwrap_or_default());
                *by_crate.entry(name).or_insert(0) += symbol.size();
            }
        }
        let named: u64 = by_crate.values().sum();
        by_crate.insert("(constants without a name)".into(), u64::saturating_sub(flash, named));
        Ok(Self { flash, by_crate })
    }

    /// Bytes of code, constants and initial values.
    pub(super) fn whole(&self) -> u64 {
        self.flash
    }

    /// The same without what measures.
    pub(super) fn flash(&self) -> u64 {
        self.flash - self.by_crate.get(MEASURING).copied().unwrap_or(0)
    }

    /// All of it by the crate that it belongs to.
    pub(super) fn by_crate(&self) -> BTreeMap<String, u64> {
        self.by_crate.clone()
    }
}

const fn is_in_flash(kind: SectionKind) -> bool {
    matches!(
        kind,
        SectionKind::Text
            | SectionKind::ReadOnlyData
            | SectionKind::ReadOnlyString
            | SectionKind::Data
    )
}

/// The crate that a symbol is from: the first in its path. For a method of a trait that is the
/// crate of the type it was implemented for. The image's own code is what measures, but for the calls
/// of an application, which have in them what was inlined.
fn crate_of(symbol: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(symbol));
    let path = name.trim_start_matches(['<', '&', '(', '[', '*', ' ']);
    let path = path.trim_start_matches("mut ").trim_start_matches("dyn ");
    match path.split_once("::") {
        Some(("protocols", rest)) if rest.starts_with("node::") => "protocols::node".to_owned(),
        Some(("footprint" | "node" | "node_footprint" | "protocols" | "runtime", _)) => {
            MEASURING.to_owned()
        }
        Some((name, _)) if is_name(name) => name.to_owned(),
        _ => "(runtime)".to_owned(),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_belongs_to_the_first_crate_in_its_path() {
        for (symbol, expected) in [
            ("_ZN12capmesh_coap8endpoint4poll17h0123456789abcdefE", "capmesh_coap"),
            (
                "_ZN54_$LT$p256..Scalar$u20$as$u20$core..ops..arith..Mul$GT$3mul17h0123456789abcdefE",
                "p256",
            ),
            ("_RNvCs1234_7mycrate4main", "mycrate"),
            (
                "_RNvMs1_NtCseFaUR4RDPxo_14capmesh_oscore7contextNtB5_7Context6cipher",
                "capmesh_oscore",
            ),
            ("_ZN9protocols4node4poll17h0123456789abcdefE", "protocols::node"),
            ("_ZN9protocols4pair5carry17h0123456789abcdefE", MEASURING),
            ("_ZN9footprint6report17h0123456789abcdefE", MEASURING),
            ("_ZN7runtime7message17h0123456789abcdefE", MEASURING),
            ("__aeabi_memcpy", "(runtime)"),
            ("", "(runtime)"),
        ] {
            assert_eq!(crate_of(symbol), expected, "{symbol}");
        }
    }

    #[test]
    fn what_is_no_elf_file_is_an_error() {
        assert!(Image::read(b"no image").is_err());
    }
}
