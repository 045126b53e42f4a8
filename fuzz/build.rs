//! The declarations of `downhill.h`, for Rust, and from them the list of its rules.

use std::{env, fs, path::PathBuf};

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{FnArg, ForeignItem, Ident, Item, ItemStruct, Pat, Signature, Type};

fn main() {
    let header = "../include/downhill.h";
    println!("cargo::rerun-if-changed={header}");
    let declarations = bindgen::builder()
        .header(header)
        .allowlist_item("downhill_.*|DOWNHILL_.*")
        .prepend_enum_name(false)
        .layout_tests(false)
        .generate()
        .expect("the header is C; bindgen says above what it misses (libclang, perhaps)")
        .to_string();
    let rules = rules(&syn::parse_file(&declarations).expect("bindgen writes Rust").items);
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for (name, text) in [("abi.rs", declarations), ("rules.rs", rules.to_string())] {
        fs::write(out.join(name), text).expect("cargo's directory can be written to");
    }
}

/// An array of `Rule`, one for each plain step.
fn rules(items: &[Item]) -> TokenStream {
    let functions = items.iter().flat_map(|item| match item {
        Item::ForeignMod(declared) => &declared.items[..],
        _ => &[],
    });
    let rules = functions.filter_map(|function| match function {
        ForeignItem::Fn(function) => rule(&function.sig, items),
        _ => None,
    });
    quote!([#(#rules),*])
}

/// The rule whose plain step this is, if it is one.
fn rule(function: &Signature, items: &[Item]) -> Option<TokenStream> {
    let step = &function.ident;
    let name = step.to_string().strip_prefix("downhill_")?.strip_suffix("_step")?.to_owned();
    let tag = format_ident!("DOWNHILL_RULE_{}", name.to_uppercase());
    let parameters: Vec<(&Ident, &Type)> = function.inputs.iter().map(parameter).collect();
    let structure = items.iter().find_map(|item| match item {
        Item::Struct(structure) if is_of(parameters.last()?.1, &structure.ident.to_string()) => {
            Some(structure)
        }
        _ => None,
    })?;
    let (config, fields) = (&structure.ident, fields(structure));
    let is_state = |name: &Ident| !["n", "w", "g", "t", "config"].iter().any(|other| name == other);
    let states: Vec<&Ident> =
        parameters.iter().map(|(name, _)| *name).filter(|name| is_state(name)).collect();
    let names = states.iter().map(|name| name.to_string());
    let counts_steps = parameters.iter().any(|(name, _)| *name == "t");
    let arguments = parameters.iter().map(|(name, _)| name);
    Some(quote!(Rule {
        name: #name,
        tag: #tag,
        size: size_of::<#config>(),
        fields: &[#(#fields),*],
        states: &[#(#names),*],
        counts_steps: #counts_steps,
        step: |n, w, g, states, t, config| {
            let [#(#states,)* ..] = states;
            let config = config.cast();
            // SAFETY: the caller keeps the contract of this field.
            unsafe { #step(#(#arguments),*) }
        },
    }))
}

/// The hyper-parameters of a configuration, which follow its size and rule.
fn fields(structure: &ItemStruct) -> impl Iterator<Item = TokenStream> {
    let config = &structure.ident;
    structure.fields.iter().skip(2).map(move |field| {
        let name = field.ident.as_ref().expect("C's fields have names");
        let (text, is_number) = (name.to_string(), is_of(&field.ty, "f64"));
        quote!(Field { name: #text, offset: offset_of!(#config, #name), is_number: #is_number })
    })
}

fn parameter(argument: &FnArg) -> (&Ident, &Type) {
    if let FnArg::Typed(argument) = argument
        && let Pat::Ident(name) = &*argument.pat
    {
        return (&name.ident, &argument.ty);
    }
    panic!("C's parameters have names")
}

/// Is it the type of this name, or a pointer to one?
fn is_of(this: &Type, name: &str) -> bool {
    match this {
        Type::Ptr(pointer) => is_of(&pointer.elem, name),
        Type::Path(path) => path.path.is_ident(name),
        _ => false,
    }
}
