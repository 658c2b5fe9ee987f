//! `log!`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Expr, Ident, LitStr, Token};

/// `level, "text", arguments`.
pub(crate) struct Line {
    level: Ident,
    text: LitStr,
    arguments: Vec<Expr>,
}

impl Parse for Line {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let level = input.parse().map_err(|error| {
            syn::Error::new(error.span(), "expected a level: error, warning, info or debug")
        })?;
        input.parse::<Token![,]>()?;
        let text = input.parse()?;
        let mut arguments = Vec::new();
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
            arguments =
                Punctuated::<Expr, Token![,]>::parse_terminated(input)?.into_iter().collect();
        }
        Ok(Self { level, text, arguments })
    }
}

/// A part of a line.
enum Part {
    Text(String),
    /// A value, with the decimals that are asked for.
    Value(Expr, Option<u8>),
}

pub(crate) fn expand(line: &Line) -> syn::Result<TokenStream> {
    let level = match line.level.to_string().as_str() {
        "error" => quote!(Error),
        "warning" => quote!(Warning),
        "info" => quote!(Info),
        "debug" => quote!(Debug),
        other => {
            let levels = ["error", "warning", "info", "debug"];
            let hint = capmesh_description::nearest(other, levels)
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let message = format!("`{other}` is not a level: error, warning, info or debug{hint}");
            return Err(syn::Error::new(line.level.span(), message));
        }
    };
    let level = quote!(::capmesh_sdk::log::Level::#level);
    let parts = parts(line)?;
    if let [Part::Text(text)] = parts.as_slice() {
        return Ok(quote!(::capmesh_sdk::log::text(#level, #text)));
    }
    let (mut names, mut values, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Text(text) => writes.push(quote!(line.text(#text);)),
            Part::Value(value, decimals) => {
                let name = format_ident!("value{index}");
                let decimals = match decimals {
                    Some(decimals) => quote!(::core::option::Option::Some(#decimals)),
                    None => quote!(::core::option::Option::None),
                };
                writes.push(quote!(::capmesh_sdk::log::Show::show(#name, line, #decimals);));
                names.push(name);
                values.push(value);
            }
        }
    }
    // Values are evaluated before the line's buffer is lent: one of them may write a line itself.
    Ok(quote! {
        match (#(&#values,)*) {
            (#(#names,)*) => ::capmesh_sdk::log::line(#level, |line| { #(#writes)* }),
        }
    })
}

fn parts(line: &Line) -> syn::Result<Vec<Part>> {
    let fault = |message: &str| syn::Error::new(line.text.span(), message);
    let whole = line.text.value();
    let mut arguments = line.arguments.iter();
    let (mut parts, mut text, mut rest) = (Vec::new(), String::new(), whole.as_str());
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
            text.push_str(from.get(..1).unwrap_or_default());
            rest = after;
            continue;
        }
        let (inside, after) =
            from.strip_prefix('{').and_then(|from| from.split_once('}')).ok_or_else(|| {
                fault("a brace without its pair; write `{{` or `}}` for one of its own")
            })?;
        rest = after;
        let (value, decimals) = match inside.split_once(':') {
            None => (inside, None),
            Some((value, format)) => {
                let decimals = format.strip_prefix('.').and_then(|digits| digits.parse().ok());
                let decimals = decimals.filter(|decimals| *decimals <= 9);
                let message = "only decimals can be given: `{:.2}`, 9 at most";
                (value, Some(decimals.ok_or_else(|| fault(message))?))
            }
        };
        let value = if value.trim().is_empty() {
            arguments.next().cloned().ok_or_else(|| fault("there are more `{}` than arguments"))?
        } else {
            line.text.parse_in(value)?
        };
        if !text.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut text)));
        }
        parts.push(Part::Value(value, decimals));
    }
    text.push_str(rest);
    if !text.is_empty() || parts.is_empty() {
        parts.push(Part::Text(text));
    }
    match arguments.next() {
        Some(extra) => Err(syn::Error::new_spanned(extra, "there is no `{}` for this argument")),
        None => Ok(parts),
    }
}

/// Parses a part of the text as code with the text's span.
trait ParseIn {
    fn parse_in(&self, code: &str) -> syn::Result<Expr>;
}

impl ParseIn for LitStr {
    fn parse_in(&self, code: &str) -> syn::Result<Expr> {
        let literal = Self::new(code, self.span());
        match literal.parse::<Expr>()? {
            value @ (Expr::Path(_) | Expr::Field(_)) => Ok(value),
            _ => Err(syn::Error::new(
                self.span(),
                format!("`{code}` is neither a variable nor a field: give it as an argument"),
            )),
        }
    }
}
