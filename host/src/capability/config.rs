//! wasi:config: the actor's config as it is now. Nothing else of the host is seen.

use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use crate::runtime::{EngineKind, State};

/// The names it goes by; their functions are the same.
const NAMES: [&str; 4] = [
    "wasi:config/store@0.2.0-draft",
    "wasi:config/store@0.2.0-rc.1",
    "wasi:config/runtime@0.2.0-draft",
    "wasi:config/runtime",
];

/// The error of both functions. The config is at hand, so they do not fail.
#[derive(Debug, ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

/// Defines its interfaces.
pub(crate) fn add_to_linker(linker: &mut Linker<State>, _kind: EngineKind) -> wasmtime::Result<()> {
    for name in NAMES {
        let mut interface = linker.instance(name)?;
        interface.func_wrap("get", |store, (key,): (String,)| {
            let config = store.data().scope.guest.config.load();
            Ok((Ok::<_, Error>(config.get(&key).cloned()),))
        })?;
        interface.func_wrap("get-all", |store, (): ()| {
            let config = store.data().scope.guest.config.load();
            let all: Vec<_> = config.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            Ok((Ok::<_, Error>(all),))
        })?;
    }
    Ok(())
}
