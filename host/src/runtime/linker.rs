//! What a component is linked to: WASI, the contracts that everyone has built in, and the polyfill for the rest.

use trellis_lattice::contract::Interface;
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{InstancePre, Linker};

use super::compiled::Compiled;
use super::polyfill::Imports;
use super::store::State;
use crate::capability;
use crate::error::{Error, ErrorKind, Result};

/// Which of the two engines a linker is for: host functions that `async func` imports need can only be defined on one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineKind {
    /// Without component-model async: WASI 0.2, and cheaper calls.
    Plain,
    /// With component-model async: WASI 0.3.
    Concurrent,
}

/// The packages of WASI that give a guest nothing of the host but time and randomness.
pub(super) fn is_inert(interface: &Interface) -> bool {
    const INERT: &[&str] = &["cli", "clocks", "filesystem", "io", "random", "sockets"];
    interface.namespace() == "wasi" && INERT.contains(&interface.package())
}

/// A linker with all that is built in.
pub(super) fn built_in(engine: &Engine, kind: EngineKind) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    // wasmtime-wasi takes the resources of streams by way of all that WASI has, which would be made for each request.
    linker.allow_shadowing(true);
    wasmtime_wasi_io::add_to_linker_async(&mut linker)?;
    linker.allow_shadowing(false);
    if kind == EngineKind::Concurrent {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    }
    capability::http::add_to_linker(&mut linker, kind)?;
    capability::keyvalue::add_to_linker(&mut linker, kind)?;
    capability::blobstore::add_to_linker(&mut linker, kind)?;
    capability::config::add_to_linker(&mut linker, kind)?;
    capability::logging::add_to_linker(&mut linker, kind)?;
    capability::secrets::add_to_linker(&mut linker, kind)?;
    capability::bus::add_to_linker(&mut linker, kind)?;
    capability::messaging::add_to_linker(&mut linker, kind)?;
    Ok(linker)
}

/// Links `compiled` to what `built_in` has and, for its custom interfaces, to the router.
///
/// # Errors
/// `Refused`, naming every import that cannot be provided and why.
pub(super) fn link(compiled: &Compiled, built_in: &Linker<State>) -> Result<InstancePre<State>> {
    let imports = custom_imports(compiled)?;
    let linked = if imports.is_empty() {
        built_in.instantiate_pre(compiled.component())
    } else {
        let mut linker = built_in.clone();
        let defined = imports.into_iter().try_for_each(|imports| imports.define(&mut linker, compiled.kind()));
        defined.and_then(|()| linker.instantiate_pre(compiled.component()))
    };
    linked.map_err(|error| {
        let message = format!("an import cannot be provided: {error:#}");
        Error::new(ErrorKind::Refused, message).with_source(error)
    })
}

fn custom_imports(compiled: &Compiled) -> Result<Vec<Imports>> {
    let component = compiled.component();
    let engine = component.engine();
    let (mut custom, mut refused) = (Vec::new(), Vec::new());
    for (name, item) in component.component_type().imports(engine) {
        match (Interface::parse(name), item.ty) {
            (Ok(interface), ComponentItem::ComponentInstance(_)) if capability::builtin(&interface).is_some() => {}
            (Ok(interface), ComponentItem::ComponentInstance(ty)) => match Imports::of(engine, &interface, &ty) {
                Ok(imports) => custom.push(imports),
                Err(reasons) => refused.extend(reasons),
            },
            (_, ComponentItem::Type(_)) => {}
            _ => refused.push(format!("{name}: is not an interface with a package; only those can be linked")),
        }
    }
    if refused.is_empty() {
        return Ok(custom);
    }
    let message = format!("{} imports cannot be provided: {}", refused.len(), refused.join("; "));
    Err(Error::new(ErrorKind::Refused, message))
}
