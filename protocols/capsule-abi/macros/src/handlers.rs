//! `#[capsule]`: what an impl block's handlers are called for.

use crate::describe::has_many_resources;
use crate::files::{self, OptionalPath};
use crate::names;
use capmesh_description::{Description, nearest};
use proc_macro2::{Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, LitStr, Token};

/// The attributes of handlers.
const KINDS: [&str; 7] = ["start", "on", "timer", "event", "request", "reply", "run"];

/// `name` or `peer.service`, of which each part is an identifier or, with its hyphens, a string.
struct Target {
    parts: Vec<String>,
    span: Span,
}

impl Parse for Target {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut parts = Vec::new();
        let span = input.span();
        loop {
            parts.push(if input.peek(LitStr) {
                names::snake(&input.parse::<LitStr>()?.value())
            } else {
                input.call(Ident::parse_any)?.unraw().to_string()
            });
            if input.parse::<Option<Token![.]>>()?.is_none() {
                return Ok(Self { parts, span });
            }
        }
    }
}

/// A method, and one thing that it handles.
struct Handler {
    kind: &'static str,
    /// Its numbers in the manifest: none, one, or those of peer and service.
    numbers: Vec<u32>,
    method: ImplItemFn,
    span: Span,
}

pub(crate) fn expand(path: &OptionalPath, block: &mut ItemImpl) -> syn::Result<TokenStream> {
    // Handlers' attributes go in any case: rustc knows none of them.
    let methods = take_attributes(block);
    let description =
        Description::read(&path.path()).map_err(|faults| files::errors(&faults, path.span()))?;
    let mut errors = Errors(None);
    if let Some((_, trait_path, _)) = &block.trait_ {
        errors.push(trait_path.span(), "#[capsule] goes on the capsule's own impl block");
    }
    let handlers = handlers(&description, methods, &mut errors);
    check_complete(&description, block, &handlers, &mut errors);
    if let Some(error) = errors.0 {
        return Err(error);
    }
    let implementation = implementation(&description, block, &handlers);
    let exports = exports(&description, block, &handlers);
    let watch = files::watch(description.files());
    Ok(quote!(#watch #implementation #exports))
}

/// Collects what is wrong.
struct Errors(Option<syn::Error>);

impl Errors {
    fn push(&mut self, span: Span, message: impl std::fmt::Display) {
        let error = syn::Error::new(span, message);
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }
}

fn kind_of(attribute: &Attribute) -> Option<&'static str> {
    KINDS.into_iter().find(|kind| attribute.path().is_ident(kind))
}

/// Takes the handlers' attributes off their methods.
fn take_attributes(block: &mut ItemImpl) -> Vec<(ImplItemFn, Vec<Attribute>)> {
    let mut methods = Vec::new();
    for item in &mut block.items {
        let ImplItem::Fn(method) = item else { continue };
        let (taken, kept) = method.attrs.drain(..).partition(|a| kind_of(a).is_some());
        method.attrs = kept;
        methods.push((method.clone(), taken));
    }
    methods
}

fn handlers(
    description: &Description,
    methods: Vec<(ImplItemFn, Vec<Attribute>)>,
    errors: &mut Errors,
) -> Vec<Handler> {
    let mut handlers: Vec<Handler> = Vec::new();
    for (method, attributes) in methods {
        for attribute in &attributes {
            let Some(kind) = kind_of(attribute) else { continue };
            for (numbers, span) in targets(description, kind, attribute, errors) {
                let same = |other: &&Handler| other.kind == kind && other.numbers == numbers;
                if let Some(other) = handlers.iter().find(same) {
                    let name = &other.method.sig.ident;
                    errors.push(span, format!("`{name}` handles this already"));
                }
                check_arguments(kind, &method, errors);
                handlers.push(Handler { kind, numbers, method: method.clone(), span });
            }
        }
    }
    handlers
}

/// The numbers of what an attribute names.
fn targets(
    description: &Description,
    kind: &str,
    attribute: &Attribute,
    errors: &mut Errors,
) -> Vec<(Vec<u32>, Span)> {
    if matches!(kind, "start" | "run") {
        if let Err(error) = attribute.meta.require_path_only() {
            errors.push(error.span(), format!("#[{kind}] takes no name"));
        }
        return vec![(Vec::new(), attribute.span())];
    }
    let parse = Punctuated::<Target, Token![,]>::parse_terminated;
    let parsed = attribute.meta.require_list().and_then(|list| list.parse_args_with(parse));
    let targets = match parsed {
        Ok(targets) => targets,
        Err(error) => {
            let what = what_of(kind);
            errors.push(error.span(), format!("expected the name of {what}: #[{kind}(name)]"));
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for target in targets {
        match number(description, kind, &target) {
            Ok(numbers) => found.push((numbers, target.span)),
            Err(message) => errors.push(target.span, message),
        }
    }
    found
}

fn what_of(kind: &str) -> &'static str {
    match kind {
        "on" => "an input",
        "timer" => "a timer",
        "event" => "a source",
        "request" => "a service",
        _ => "a peer and its service",
    }
}

/// The names of what a kind of handler is for, in the order of their numbers.
fn names_of<'d>(description: &'d Description, kind: &str) -> Vec<&'d str> {
    match kind {
        "on" => description.inputs.iter().map(|port| port.name.as_str()).collect(),
        "timer" => description.timers.iter().map(|timer| timer.name.as_str()).collect(),
        "event" => description.sources.iter().map(|source| source.name.as_str()).collect(),
        "request" => description.services.iter().map(|service| service.name.as_str()).collect(),
        "reply" => description.peers.iter().map(|peer| peer.name.as_str()).collect(),
        _ => Vec::new(),
    }
}

fn number(description: &Description, kind: &str, target: &Target) -> Result<Vec<u32>, String> {
    let find = |names: &[&str], name: &str, what: &str| {
        let names: Vec<String> = names.iter().map(|name| names::snake(name)).collect();
        let number = (0..).zip(&names).find(|(_, known)| *known == name).map(|(number, _)| number);
        number.ok_or_else(|| {
            let near = nearest(name, names.iter().map(String::as_str));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            format!("`{name}` is not {what} in {}{hint}", description.path.display())
        })
    };
    match (kind, target.parts.as_slice()) {
        ("reply", [peer, service]) => {
            let number = find(&names_of(description, kind), peer, "a peer")?;
            let peer = usize::try_from(number).ok().and_then(|i| description.peers.get(i));
            let services = peer.map_or(&[][..], |peer| &peer.services);
            let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
            Ok(vec![number, find(&names, service, "what is asked of that peer")?])
        }
        ("reply", _) => Err("expected a peer and its service: #[reply(peer.service)]".to_owned()),
        (_, [name]) => Ok(vec![find(&names_of(description, kind), name, what_of(kind))?]),
        _ => Err(format!("expected {}: one name", what_of(kind))),
    }
}

/// Checks how many arguments a handler takes; their types are rustc's to check.
fn check_arguments(kind: &str, method: &ImplItemFn, errors: &mut Errors) {
    let (wanted, example) = match kind {
        "start" | "timer" => (0, "(&mut self)"),
        "on" => (1, "(&mut self, message: T)"),
        "event" => (1, "(&mut self, value: f64)"),
        "request" => (1, "(&mut self, request: Request<T>) -> Result<R, Status>"),
        "reply" => (1, "(&mut self, reply: Reply<T>)"),
        _ => (1, "(&mut self, arguments: A) -> Result<R, Status>"),
    };
    let mut inputs = method.sig.inputs.iter();
    let has_self = matches!(inputs.next(), Some(FnArg::Receiver(_)));
    if !has_self || inputs.count() != wanted {
        let name = &method.sig.ident;
        let message = format!("a handler of #[{kind}] is `fn {name}{example}`");
        errors.push(method.sig.span(), message);
    }
}

/// Checks that nothing of the description is left without a handler, and that there is a `new`.
fn check_complete(
    description: &Description,
    block: &ItemImpl,
    handlers: &[Handler],
    errors: &mut Errors,
) {
    let span = block.self_ty.span();
    for kind in ["on", "timer", "event", "request"] {
        for (number, name) in (0..).zip(names_of(description, kind)) {
            let handles = |handler: &Handler| handler.kind == kind && handler.numbers == [number];
            if !handlers.iter().any(handles) {
                let what = what_of(kind);
                let name = names::snake(name);
                let message =
                    format!("nothing handles {what} of the description: #[{kind}({name})]");
                errors.push(span, message);
            }
        }
    }
    let is_new = |item: &ImplItem| match item {
        ImplItem::Fn(method) => {
            method.sig.ident == "new"
                && method.sig.constness.is_some()
                && method.sig.inputs.is_empty()
        }
        _ => false,
    };
    if !block.items.iter().any(is_new) {
        errors.push(span, "a capsule has `const fn new() -> Self`: the state of a fresh instance");
    }
}

/// The type of a handler's argument, for errors to stand there.
fn argument_span(handler: &Handler) -> Span {
    match handler.method.sig.inputs.iter().nth(1) {
        Some(FnArg::Typed(argument)) => argument.ty.span(),
        _ => handler.span,
    }
}

/// The call of a handler.
fn call(handler: &Handler) -> TokenStream {
    let name = &handler.method.sig.ident;
    let span = argument_span(handler);
    let outcome = quote!(::capmesh_sdk::generated::Outcome::settle);
    match handler.kind {
        "start" | "timer" => quote!(#outcome(self.#name());),
        "on" => {
            let message = quote_spanned!(span=> ::capmesh_sdk::generated::message());
            quote!(#outcome(self.#name(#message));)
        }
        "event" => quote!(#outcome(self.#name(value));),
        "request" => quote! {
            ::capmesh_sdk::generated::answer(method, len, |request| self.#name(request));
        },
        "reply" => {
            let reply = quote_spanned! {span=>
                ::capmesh_sdk::generated::reply(request, status, len)
            };
            quote!(#outcome(self.#name(#reply));)
        }
        _ => quote!(::capmesh_sdk::generated::run(len, |arguments| self.#name(arguments));),
    }
}

/// The calls of all handlers of a kind, told apart by the number in `by`.
fn dispatch(handlers: &[Handler], kind: &str, by: &TokenStream) -> Option<TokenStream> {
    let of_kind: Vec<&Handler> = handlers.iter().filter(|handler| handler.kind == kind).collect();
    match of_kind.as_slice() {
        [] => None,
        // The node knows no other number.
        [only] => Some(call(only)),
        many => {
            let arms = many.iter().map(|handler| {
                let numbers = handler.numbers.iter().map(|number| Literal::u32_unsuffixed(*number));
                let call = call(handler);
                quote!((#(#numbers,)*) => { #call })
            });
            Some(quote!(match #by { #(#arms)* _ => {} }))
        }
    }
}

/// A function of the contract that this capsule exports.
struct Export {
    name: TokenStream,
    parameters: TokenStream,
    arguments: TokenStream,
    body: TokenStream,
}

fn exports_of(description: &Description, handlers: &[Handler]) -> Vec<Export> {
    let mut exports = Vec::new();
    let mut add = |name, parameters, arguments, body: Option<TokenStream>| {
        exports.extend(body.map(|body| Export { name, parameters, arguments, body }));
    };
    add(quote!(start), quote!(), quote!(), dispatch(handlers, "start", &quote!(())));
    add(
        quote!(message),
        quote!(input: u32, len: u32),
        quote!(input, len),
        // Messages are of their schema's length: the node has seen to it.
        dispatch(handlers, "on", &quote!((input,))).map(|body| quote!(let _ = (input, len); #body)),
    );
    add(
        quote!(timer),
        quote!(timer: u32),
        quote!(timer),
        dispatch(handlers, "timer", &quote!((timer,))).map(|body| quote!(let _ = timer; #body)),
    );
    add(
        quote!(event),
        quote!(source: u32, value: f64),
        quote!(source, value),
        dispatch(handlers, "event", &quote!((source,))).map(|body| quote!(let _ = source; #body)),
    );
    add(
        quote!(request),
        quote!(resource: u32, method: u32, len: u32),
        quote!(resource, method, len),
        dispatch(handlers, "request", &quote!((resource,)))
            .map(|body| quote!(let _ = resource; #body)),
    );
    add(
        quote!(reply),
        quote!(request: u32, status: u32, len: u32),
        quote!(request, status, len),
        reply(description, handlers),
    );
    add(quote!(run), quote!(len: u32), quote!(len), dispatch(handlers, "run", &quote!(())));
    exports
}

/// Replies say only which request they answer: where there are several resources, the SDK knows
/// which one it went to.
fn reply(description: &Description, handlers: &[Handler]) -> Option<TokenStream> {
    if !has_many_resources(description) {
        return dispatch(handlers, "reply", &quote!(()));
    }
    let arms = handlers.iter().filter(|handler| handler.kind == "reply").map(|handler| {
        let numbers = handler.numbers.iter().map(|number| Literal::u32_unsuffixed(*number));
        let call = call(handler);
        quote!(::core::option::Option::Some((#(#numbers),*)) => { #call })
    });
    Some(quote! {
        let _ = (status, len);
        match ::capmesh_sdk::generated::Pending::take(request) { #(#arms)* _ => {} }
    })
}

fn implementation(
    description: &Description,
    block: &ItemImpl,
    handlers: &[Handler],
) -> TokenStream {
    let ty = &block.self_ty;
    let version = match description.state {
        Some(state) => {
            let version = state.version;
            quote!(::core::option::Option::Some(#version))
        }
        None => quote!(::core::option::Option::None),
    };
    let methods = exports_of(description, handlers).into_iter().map(|export| {
        let Export { name, parameters, body, .. } = export;
        quote!(#[inline(always)] fn #name(&mut self, #parameters) { #body })
    });
    quote! {
        #[automatically_derived]
        impl ::capmesh_sdk::Capsule for #ty {
            const FRESH: Self = <#ty>::new();
            const STATE_VERSION: ::core::option::Option<u16> = #version;
            #(#methods)*
        }
    }
}

/// What a node calls. There is one capsule in a module, so a second `#[capsule]` fails to link.
fn exports(description: &Description, block: &ItemImpl, handlers: &[Handler]) -> TokenStream {
    let ty = &block.self_ty;
    let functions = exports_of(description, handlers).into_iter().map(|export| {
        let Export { name, parameters, arguments, .. } = export;
        quote! {
            #[unsafe(no_mangle)]
            extern "C" fn #name(#parameters) {
                // SAFETY: Handlers do not nest, and nobody else can name the static.
                <#ty as ::capmesh_sdk::Capsule>::#name(unsafe { STATE.lend() }, #arguments);
            }
        }
    });
    let version = description.state.map(|state| {
        let version = Literal::u32_unsuffixed(u32::from(state.version));
        quote! {
            #[unsafe(no_mangle)]
            extern "C" fn state_version() -> u32 {
                #version
            }
        }
    });
    quote! {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            static STATE: ::capmesh_sdk::generated::State<#ty> =
                ::capmesh_sdk::generated::State::new(<#ty as ::capmesh_sdk::Capsule>::FRESH);
            #(#functions)*
            #version
        };
    }
}
