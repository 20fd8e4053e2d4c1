//! wasmcloud:secrets: an actor reads the secrets that it was granted. What it holds was opened when it asked.

use trellis_lattice::secret::SecretValue as Value;
use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::wasmcloud::secrets::store::{SecretValue, SecretsError};
use self::bindings::wasmcloud::secrets::{reveal, store};
use crate::error::{Error, ErrorKind};
use crate::runtime::{EngineKind, State};

/// Generated from the WIT package.
mod bindings {
    wasmtime::component::bindgen!({
        path: "../interfaces/wit/secrets",
        world: "wasmcloud:secrets/imports",
        imports: { default: trappable },
        with: { "wasmcloud:secrets/store.secret": super::Held },
    });
}

/// A secret as a guest holds it.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated code exports it")]
pub struct Held(Value);

/// Defines its interfaces.
pub(crate) fn add_to_linker(linker: &mut Linker<State>, _kind: EngineKind) -> wasmtime::Result<()> {
    store::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    reveal::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl store::Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Resource<Held>, SecretsError>> {
        match self.scope.guest.setup.load().secret(&key) {
            Ok(value) => Ok(Ok(self.table.push(Held(value))?)),
            Err(error) => Ok(Err(told(&error))),
        }
    }
}

impl store::HostSecret for State {
    fn drop(&mut self, secret: Resource<Held>) -> wasmtime::Result<()> {
        self.table.delete(secret)?;
        Ok(())
    }
}

impl reveal::Host for State {
    fn reveal(&mut self, secret: Resource<Held>) -> wasmtime::Result<SecretValue> {
        Ok(match &self.table.get(&secret)?.0 {
            Value::Text(text) => SecretValue::String(text.reveal().to_owned()),
            Value::Bytes(bytes) => SecretValue::Bytes(bytes.reveal().to_vec()),
        })
    }
}

fn told(error: &Error) -> SecretsError {
    match error.kind() {
        ErrorKind::NotFound => SecretsError::NotFound,
        _ => SecretsError::Upstream(error.to_string()),
    }
}
