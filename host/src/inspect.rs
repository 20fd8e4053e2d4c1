//! What a component needs and offers, read from its bytes without compiling it: for whoever has to know before it runs
//! whether callers and targets fit together.

use std::collections::BTreeMap;

use trellis_lattice::contract::{Interface, Signature};

use crate::capability::{builtin, is_builtin_export};
use crate::error::Result;
use crate::runtime::{declared, is_compatible};

/// What a component imports and exports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contracts {
    /// What it calls, without what the host answers by itself and without interfaces of nothing but types.
    pub imports: Vec<Contract>,
    /// What can be called of it.
    pub exports: Vec<Contract>,
}

/// An interface as one component has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// Its name.
    pub interface: Interface,
    /// Of all its functions, as presence tells it; `None` for what everyone has built in.
    pub signature: Option<Signature>,
    /// The types of its functions by name, without those whose values cannot travel. A caller names only those that it
    /// calls. Empty for what everyone has built in.
    pub functions: BTreeMap<String, String>,
}

/// Why a call by an import would fail at its target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The target does not have the interface, or has it in a version that is not compatible.
    #[error("it does not export {interface}; it exports {exports}")]
    Interface {
        /// What is called.
        interface: Interface,
        /// What the target has, for people.
        exports: String,
    },
    /// The interface of the target lacks a function.
    #[error("{interface} has no function {function} there")]
    Function {
        /// Of the target.
        interface: Interface,
        /// The function.
        function: String,
    },
    /// A function has another type.
    #[error("{interface} has {function} as {found}, and it is called as {wanted}")]
    Type {
        /// Of the target.
        interface: Interface,
        /// The function.
        function: String,
        /// Its type for the caller.
        wanted: String,
        /// Its type at the target.
        found: String,
    },
}

/// What the component in `bytes` imports and exports.
///
/// # Errors
/// `Component` when they are no component.
pub fn contracts(bytes: &[u8]) -> Result<Contracts> {
    let declared = declared::read(bytes)?;
    let imports = declared.imports.into_iter().filter(|(interface, functions)| is_called(interface, functions));
    let exports = declared.exports.into_iter();
    Ok(Contracts {
        imports: imports
            .map(|(interface, functions)| Contract::new(interface, functions, |name| builtin(name).is_some()))
            .collect(),
        exports: exports.map(|(interface, functions)| Contract::new(interface, functions, is_builtin_export)).collect(),
    })
}

/// Whether an import leads out of the host.
fn is_called(interface: &Interface, functions: &declared::Functions) -> bool {
    match builtin(interface) {
        Some(need) => need == crate::capability::Need::Link,
        None => !functions.is_empty(),
    }
}

impl Contract {
    fn new(interface: Interface, functions: declared::Functions, is_builtin: impl Fn(&Interface) -> bool) -> Self {
        if is_builtin(&interface) {
            return Self { interface, signature: None, functions: BTreeMap::new() };
        }
        let functions: BTreeMap<String, String> =
            functions.into_iter().filter_map(|(name, ty)| Some((name, ty.ok()?.to_string()))).collect();
        let lines: Vec<_> = functions.iter().map(|(name, ty)| (name.as_str(), ty.as_str())).collect();
        Self { signature: Some(declared::signature(&lines)), interface, functions }
    }

    /// What stands against calls by this import to a component that exports `exports`.
    pub fn mismatches(&self, exports: &[Self]) -> Vec<Mismatch> {
        if self.signature.is_none() {
            return self.builtin_mismatch(exports).into_iter().collect();
        }
        let is = |matches: fn(&Interface, &Interface) -> bool| {
            exports.iter().find(|export| matches(&export.interface, &self.interface))
        };
        let Some(export) = is(|one, other| one == other).or_else(|| is(is_compatible)) else {
            return vec![self.no_interface(exports)];
        };
        let interface = &export.interface;
        let mismatch = |(function, wanted): (&String, &String)| match export.functions.get(function) {
            Some(found) if found == wanted => None,
            Some(found) => Some(Mismatch::Type {
                interface: interface.clone(),
                function: function.clone(),
                wanted: wanted.clone(),
                found: found.clone(),
            }),
            None => Some(Mismatch::Function { interface: interface.clone(), function: function.clone() }),
        };
        self.functions.iter().filter_map(mismatch).collect()
    }

    /// What answers to an import that is built in is an export of the same package that is built in as well.
    fn builtin_mismatch(&self, exports: &[Self]) -> Option<Mismatch> {
        let package = |interface: &Interface| (interface.namespace().to_owned(), interface.package().to_owned());
        let answers = |export: &&Self| {
            is_builtin_export(&export.interface) && package(&export.interface) == package(&self.interface)
        };
        exports.iter().find(answers).is_none().then(|| self.no_interface(exports))
    }

    fn no_interface(&self, exports: &[Self]) -> Mismatch {
        let names: Vec<_> = exports.iter().map(|export| export.interface.as_str()).collect();
        let exports = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        Mismatch::Interface { interface: self.interface.clone(), exports }
    }
}

#[cfg(test)]
mod tests {
    use super::{Contract, Mismatch, contracts};

    /// A component that has `side` (`import` or `export`) of `demo:greet/greeter@VERSION` with `person` as a record.
    fn component(side: &str, version: &str, person: &str, more: &str) -> super::Contracts {
        let interface = format!("demo:greet/greeter@{version}");
        let items = |export: &str| {
            format!(
                r#"(type $p {person}) ({export} "person" (type $q (eq $p)))
                   ({export} "greet" (func (param "who" $q) (result string))) {more}"#
            )
        };
        let text = match side {
            "import" => format!(r#"(component (import "{interface}" (instance {})))"#, items("export")),
            _ => format!(
                r#"(component (import "inner" (instance $i {})) (export "{interface}" (instance $i)))"#,
                items("export")
            ),
        };
        contracts(&wat::parse_str(&text).expect("is text")).expect("a component")
    }

    fn check(export: (&str, &str, &str), expected: &[&str]) {
        let (version, person, more) = export;
        let caller = component("import", "1.0.0", NAMED, "");
        let target = component("export", version, person, more);
        let found = caller.imports[0].mismatches(&target.exports);
        let found: Vec<String> = found.iter().map(Mismatch::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found}");
        }
    }

    const NAMED: &str = r#"(record (field "name" string))"#;
    const AGED: &str = r#"(record (field "name" string) (field "age" u32))"#;
    const MORE: &str = r#"(export "part" (func (param "who" $q)))"#;

    #[test]
    fn what_has_the_called_functions_with_the_same_types_fits() {
        check(("1.0.0", NAMED, ""), &[]);
        check(("1.3.0", NAMED, MORE), &[]);
    }

    #[test]
    fn another_record_and_another_version_do_not() {
        check(("1.0.0", AGED, ""), &["greet as func(who: record{name: string, age: u32})"]);
        check(("2.0.0", NAMED, ""), &["does not export demo:greet/greeter@1.0.0; it exports demo:greet/greeter@2.0.0"]);
    }

    #[test]
    fn a_function_that_is_gone_is_named() {
        let caller = component("import", "1.0.0", NAMED, MORE);
        let target = component("export", "1.0.0", NAMED, "");
        let found = caller.imports[0].mismatches(&target.exports);
        assert!(matches!(&found[..], [Mismatch::Function { function, .. }] if function == "part"), "{found:?}");
    }

    #[test]
    fn what_is_built_in_fits_what_answers_to_it() {
        let contract =
            |name: &str| Contract { interface: name.parse_interface(), signature: None, functions: Default::default() };
        let out = contract("wasi:http/outgoing-handler@0.2.3");
        assert_eq!(out.mismatches(&[contract("wasi:http/incoming-handler@0.2.1")]), []);
        assert_eq!(out.mismatches(&[]).len(), 1);
    }

    trait Parse {
        fn parse_interface(&self) -> super::Interface;
    }

    impl Parse for str {
        fn parse_interface(&self) -> super::Interface {
            super::Interface::parse(self).expect("valid")
        }
    }

    #[test]
    fn bytes_that_are_no_component_are_refused() {
        assert!(contracts(b"hello").is_err());
        assert!(contracts(&wat::parse_str("(module)").expect("is text")).is_err());
    }
}
