//! wasi:config: the actor's config as it is now, and by name the texts among its secrets. Nothing else of the host is
//! seen.

use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use crate::error::ErrorKind;
use crate::runtime::{EngineKind, State};
use crate::setup::Setup;

/// The names it goes by; their functions are the same.
const NAMES: [&str; 4] = [
    "wasi:config/store@0.2.0-draft",
    "wasi:config/store@0.2.0-rc.1",
    "wasi:config/runtime@0.2.0-draft",
    "wasi:config/runtime",
];

/// The error of both functions. The config is at hand; a secret may be refused.
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
        interface
            .func_wrap("get", |store, (key,): (String,)| Ok((get(&store.data().scope.guest.setup.load(), &key),)))?;
        interface.func_wrap("get-all", |store, (): ()| {
            let config = store.data().scope.guest.setup.load().config();
            let all: Vec<_> = config.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            Ok((Ok::<_, Error>(all),))
        })?;
    }
    Ok(())
}

/// The value of `key`; a secret of that name stands in for a key that is not there, and is never among all of them.
fn get(setup: &Setup, key: &str) -> Result<Option<String>, Error> {
    if let Some(value) = setup.config().get(key) {
        return Ok(Some(value.clone()));
    }
    match setup.secret(key) {
        Ok(value) => Ok(value.as_text().map(|text| text.reveal().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::Upstream(error.to_string())),
    }
}
