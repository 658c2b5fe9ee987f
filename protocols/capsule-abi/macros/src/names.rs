//! Names of descriptions as names of Rust.

use proc_macro2::{Ident, Span};

/// `max-age` as `max_age`.
pub(crate) fn snake(name: &str) -> String {
    name.replace('-', "_")
}

/// A value or module: `max_age`; `r#in` for what Rust has taken, `_2nd` for what starts with a digit.
pub(crate) fn value(name: &str) -> Ident {
    let name = legal_start(&snake(name));
    syn::parse_str(&name).unwrap_or_else(|_| {
        syn::parse_str(&format!("r#{name}")).unwrap_or_else(|_| {
            // `self`, `super`, `crate` cannot be raw.
            Ident::new(&format!("{name}_"), Span::call_site())
        })
    })
}

/// A constant: `MAX_AGE`.
pub(crate) fn constant(name: &str) -> Ident {
    Ident::new(&legal_start(&snake(name).to_uppercase()), Span::call_site())
}

/// A type: `MaxAge`.
pub(crate) fn ty(name: &str) -> Ident {
    let capital = |part: &str| {
        let (first, rest) = part.split_at_checked(1).unwrap_or((part, ""));
        first.to_uppercase() + rest
    };
    let name: String = name.split('-').map(capital).collect();
    let name = legal_start(&name);
    Ident::new(if name == "Self" { "Self_" } else { &name }, Span::call_site())
}

fn legal_start(name: &str) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        format!("_{name}")
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_becomes_one_of_rust() {
        assert_eq!(ty("max-age").to_string(), "MaxAge");
        assert_eq!(ty("pm2-5").to_string(), "Pm25");
        assert_eq!(ty("self").to_string(), "Self_");
        assert_eq!(constant("max-age").to_string(), "MAX_AGE");
        assert_eq!(value("in").to_string(), "r#in");
        assert_eq!(value("self").to_string(), "self_");
        assert_eq!(value("2nd-try").to_string(), "_2nd_try");
    }
}
