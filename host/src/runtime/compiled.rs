//! A component that can be instantiated: its names, and what it imports and exports.

use trellis_lattice::contract::{Interface, Signature};
use wasmtime::component::Component;

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
        let imports = ty.imports(component.engine()).filter_map(|(name, _)| Interface::parse(name).ok());
        let imports = imports.filter(|interface| !linker::is_inert(interface)).collect();
        let exports = Exports::of(&component);
        Self { digest, imports, component, kind, exports }
    }

    /// Hex of the SHA-256 of the component's bytes.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The interfaces it imports, the inert parts of WASI (io, clocks, random, cli, filesystem, sockets) left out.
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

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled").field("digest", &self.digest).field("kind", &self.kind).finish_non_exhaustive()
    }
}
