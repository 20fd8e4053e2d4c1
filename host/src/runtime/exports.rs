//! The functions that a component exports in interfaces, found once and called by index.

use std::sync::Arc;

use trellis_lattice::contract::{Interface, Signature};
use trellis_lattice::error::CallError;
use trellis_lattice::id::EntityId;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex};

use super::declared;
use super::shape::{self, TypedCall};
use super::value::{FuncType, Unsupported};
use crate::capability::is_builtin_export;
use crate::capability::messaging::{self, WireCall};

/// What a component exports.
pub(crate) struct Exports {
    /// As they show in presence; the signature is that of the functions in `functions`.
    interfaces: Vec<(Interface, Option<Signature>)>,
    /// Of each interface, in the same order; none of wasi:http, which has a way of its own.
    functions: Vec<Vec<Function>>,
    /// Exports that are no interface.
    others: Vec<String>,
}

/// A function that can be called by its index.
pub(crate) struct Function {
    pub(crate) name: Arc<str>,
    pub(crate) index: ComponentExportIndex,
    /// wasmtime's own form of the type, for WAVE.
    pub(crate) dynamic: ComponentFunc,
    pub(crate) ty: Result<Typed, Unsupported>,
}

/// The type of a function whose values can travel.
pub(crate) struct Typed {
    pub(crate) ty: Arc<FuncType>,
    pub(crate) signature: Signature,
    /// The way for shapes with byte lists.
    pub(crate) fast: Option<TypedCall>,
    /// The way for messages, which have byte lists in a record.
    pub(crate) message: Option<WireCall>,
}

impl Function {
    /// Whether a call of it gives a value.
    pub(crate) fn has_result(&self) -> bool {
        self.ty.as_ref().is_ok_and(|typed| typed.ty.result.is_some())
    }
}

impl Exports {
    pub(super) fn of(component: &Component) -> Self {
        let mut exports = Self { interfaces: Vec::new(), functions: Vec::new(), others: Vec::new() };
        let engine = component.engine();
        let ty = component.component_type();
        for (name, item) in ty.exports(engine) {
            match (Interface::parse(name), item.ty) {
                (Ok(interface), ComponentItem::ComponentInstance(_)) => exports.add(component, interface),
                _ => exports.others.push(name.to_owned()),
            }
        }
        exports
    }

    fn add(&mut self, component: &Component, interface: Interface) {
        if is_builtin_export(&interface) {
            self.interfaces.push((interface, None));
            self.functions.push(Vec::new());
            return;
        }
        let functions = functions(component, &interface);
        self.interfaces.push((interface, Some(signature(&functions))));
        self.functions.push(functions);
    }

    /// The exported interfaces, with the signature of custom ones.
    pub(crate) fn interfaces(&self) -> &[(Interface, Option<Signature>)] {
        &self.interfaces
    }

    /// Whether there is anything that a call could reach.
    pub(crate) fn is_callable(&self) -> bool {
        let callable = |functions: &Vec<Function>| functions.iter().any(|function| function.ty.is_ok());
        self.interfaces.iter().any(|(interface, _)| is_builtin_export(interface)) || self.functions.iter().any(callable)
    }

    /// All names, for people.
    pub(crate) fn names(&self) -> String {
        let names = self.interfaces.iter().map(|(interface, _)| interface.as_str());
        let names: Vec<_> = names.chain(self.others.iter().map(String::as_str)).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    }

    /// The function that a call to `name` in `interface` is for: the very version first, else a compatible one.
    ///
    /// # Errors
    /// `Contract`, saying what `actor` exports.
    pub(crate) fn find(&self, actor: &EntityId, interface: &Interface, name: &str) -> Result<&Function, CallError> {
        let exact = self.interfaces.iter().position(|(export, _)| export == interface);
        let index = exact
            .or_else(|| self.interfaces.iter().position(|(export, _)| is_compatible(export, interface)))
            .ok_or_else(|| {
            CallError::contract(format!("{actor} does not export {interface}; it exports {}", self.names()))
        })?;
        self.functions[index].iter().find(|function| &*function.name == name).ok_or_else(|| {
            let names: Vec<_> = self.functions[index].iter().map(|function| &*function.name).collect();
            let names = names.join(", ");
            CallError::contract(format!("{interface} of {actor} has no function {name:?}; it has {names}"))
        })
    }
}

fn functions(component: &Component, interface: &Interface) -> Vec<Function> {
    let Some((ComponentItem::ComponentInstance(ty), instance)) = component.get_export(None, interface.as_str()) else {
        return Vec::new();
    };
    let engine = component.engine();
    let function = |(name, item): (&str, wasmtime::component::types::ComponentExtern<'_>)| {
        let ComponentItem::ComponentFunc(dynamic) = item.ty else { return None };
        let index = component.get_export_index(Some(&instance), name)?;
        let ty = FuncType::of(&dynamic).map(|ty| Typed {
            signature: ty.signature(),
            fast: shape::call_of(&ty),
            message: messaging::call_of(interface, name, &ty),
            ty: Arc::new(ty),
        });
        Some(Function { name: name.into(), index, dynamic, ty })
    };
    ty.exports(engine).filter_map(function).collect()
}

/// The signature of an interface with these functions.
fn signature(functions: &[Function]) -> Signature {
    let travelling =
        |function: &Function| Some((Arc::clone(&function.name), function.ty.as_ref().ok()?.ty.to_string()));
    let types: Vec<_> = functions.iter().filter_map(travelling).collect();
    declared::signature(&types.iter().map(|(name, ty)| (&**name, ty.as_str())).collect::<Vec<_>>())
}

/// Whether a caller that was built against `wanted` can use `export`: the same name, and a version that semver calls
/// compatible. Pre-releases are compatible with nothing but themselves.
pub(crate) fn is_compatible(export: &Interface, wanted: &Interface) -> bool {
    if export.without_version() != wanted.without_version() {
        return false;
    }
    match (export.version(), wanted.version()) {
        (Some(export), Some(wanted)) => match (track(export), track(wanted)) {
            (Some(export), Some(wanted)) => export == wanted,
            _ => export == wanted,
        },
        // Whoever names no version takes any; the signature still has to be equal.
        _ => true,
    }
}

/// `1` of `1.2.3`, `0.2` of `0.2.3`, `0.0.3` of itself; `None` for a pre-release.
fn track(version: &str) -> Option<&str> {
    let release = version.split('+').next()?;
    if release.contains('-') {
        return None;
    }
    let mut dots = release.match_indices('.').map(|(at, _)| at);
    let (major, minor) = (dots.next()?, dots.next()?);
    Some(match (&release[..major], &release[major + 1..minor]) {
        ("0", "0") => release,
        ("0", _) => &release[..minor],
        _ => &release[..major],
    })
}

#[cfg(test)]
mod tests {
    use super::{Interface, is_compatible};

    #[test]
    fn versions_match_as_semver_says() {
        let check = |export: &str, wanted: &str, expected| {
            let parse = |version: &str| Interface::parse(&format!("a:b/c{version}")).expect("valid");
            assert_eq!(is_compatible(&parse(export), &parse(wanted)), expected, "{export} for {wanted}");
        };
        check("@1.2.0", "@1.0.3", true);
        check("@1.2.0", "@2.0.0", false);
        check("@0.2.1", "@0.2.0", true);
        check("@0.3.0", "@0.2.0", false);
        check("@0.0.1", "@0.0.2", false);
        check("@0.2.0-draft", "@0.2.0", false);
        check("@0.2.0-draft", "@0.2.0-draft", true);
        check("@1.0.0+a", "@1.1.0+b", true);
        check("", "@1.0.0", true);
        check("@1.0.0", "", true);
        check("", "", true);
    }
}
