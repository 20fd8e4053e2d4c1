//! A component that can be instantiated: its names, and what it imports and exports.

use trellis_lattice::contract::{Interface, Signature};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::exports::Exports;
use super::linker::{self, EngineKind};

/// A component that can be instantiated; shared by all actors with that digest.
pub struct Compiled {
    digest: String,
    imports: Vec<Interface>,
    component: Component,
    kind: EngineKind,
    exports: Exports,
}

impl Compiled {
    pub(super) fn new(component: Component, kind: EngineKind, digest: String) -> Self {
        let ty = component.component_type();
        let called =
            ty.imports(component.engine()).filter(|(_, item)| has_something_to_call(component.engine(), &item.ty));
        let imports = called.filter_map(|(name, _)| Interface::parse(name).ok());
        let imports = imports.filter(|interface| !linker::is_inert(interface)).collect();
        let exports = Exports::of(&component);
        Self { digest, imports, component, kind, exports }
    }

    /// Hex of the SHA-256 of the component's bytes.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The interfaces it imports, without the inert parts of WASI (io, clocks, random, cli, filesystem, sockets) and
    /// those that hold only types.
    pub fn imports(&self) -> &[Interface] {
        &self.imports
    }

    /// The interfaces it exports, with the signature of custom ones.
    pub fn exports(&self) -> &[(Interface, Option<Signature>)] {
        self.exports.interfaces()
    }

    pub(crate) fn component(&self) -> &Component {
        &self.component
    }

    pub(crate) fn kind(&self) -> EngineKind {
        self.kind
    }

    pub(crate) fn functions(&self) -> &Exports {
        &self.exports
    }
}

/// An interface of nothing but types needs neither grant nor link.
fn has_something_to_call(engine: &Engine, item: &ComponentItem) -> bool {
    let ComponentItem::ComponentInstance(interface) = item else { return true };
    let mut items = interface.exports(engine);
    items.any(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_) | ComponentItem::Resource(_)))
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled").field("digest", &self.digest).field("kind", &self.kind).finish_non_exhaustive()
    }
}
