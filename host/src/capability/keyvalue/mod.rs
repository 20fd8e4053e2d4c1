//! wasi:keyvalue: each function is a call over the link that the bucket was opened through. One file for each version,
//! and one for the actors that export what is called when a key changes.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use trellis_interfaces::keyvalue as wire;
use trellis_lattice::body::Body;
use trellis_lattice::contract::Interface;
use trellis_lattice::error::{CallError, CallErrorKind};
use trellis_lattice::id::LinkName;
use trellis_lattice::message::invocation::Call;
use trellis_provider_sdk as sdk;
use wasmtime::component::{Linker, Resource};

use crate::runtime::value::Args;
use crate::runtime::{EngineKind, State};

mod draft;
mod draft2;
mod watcher;

pub(crate) use watcher::Watcher;

/// A bucket as a guest holds it: nothing is open, each call names it again.
#[derive(Debug, Clone)]
#[expect(unreachable_pub, reason = "the generated code exports it")]
pub struct Bucket {
    link: LinkName,
    name: String,
}

/// Defines the interfaces of all versions.
pub(crate) fn add_to_linker(linker: &mut Linker<State>, _kind: EngineKind) -> wasmtime::Result<()> {
    draft::add_to_linker(linker)?;
    draft2::add_to_linker(linker)
}

fn interface(name: &str) -> Interface {
    Interface::parse(name).expect("the name is well formed")
}

impl State {
    fn bucket(&self, bucket: &Resource<Bucket>) -> wasmtime::Result<Bucket> {
        Ok(self.table.get(bucket)?.clone())
    }

    /// Calls for a bucket with the parameters that its name makes complete. The outer error ends the guest, the inner
    /// one is its own affair, in the form of its version.
    async fn on_bucket<P: Serialize, T: DeserializeOwned, E: From<wire::Error>>(
        &mut self,
        bucket: &Resource<Bucket>,
        (interface, function): (&Interface, &str),
        params: impl FnOnce(String) -> P,
    ) -> wasmtime::Result<Result<T, E>> {
        let Bucket { link, name } = self.bucket(bucket)?;
        Ok(self.keyvalue(link, interface, function, &params(name)).await?.map_err(E::from))
    }

    /// The value of a key; called so often that its names are not copied. Errors as above.
    async fn value_of(
        &mut self,
        bucket: &Resource<Bucket>,
        interface: &Interface,
        key: &str,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, wire::Error>> {
        let Bucket { link, name } = self.bucket(bucket)?;
        let params = wire::Get { bucket: &name, key };
        let value: Result<Option<Bytes>, _> = self.keyvalue(link, interface, wire::function::GET, &params).await?;
        Ok(value.map(|value| value.map(Vec::from)))
    }

    /// The outer error ends the guest, the inner one is its own affair.
    async fn keyvalue<T: DeserializeOwned>(
        &mut self,
        link: LinkName,
        interface: &Interface,
        function: &str,
        params: &impl Serialize,
    ) -> wasmtime::Result<Result<T, wire::Error>> {
        let call = Call {
            source: self.scope.guest.id.clone(),
            link,
            interface: interface.clone(),
            function: function.into(),
            signature: None,
            context: self.scope.context.nested(),
            args: Args::from(sdk::wire::encode(params)?),
            body: Body::Empty,
        };
        match self.scope.guest.router.call(call).await {
            Ok(answer) => Ok(sdk::wire::decode(&answer.value.into_provider()?)?),
            Err(error) => refuse(error),
        }
    }
}

/// A call without time or caller left ends the guest; any other failure is for the guest to handle.
fn refuse<T>(error: CallError) -> wasmtime::Result<Result<T, wire::Error>> {
    match error.kind {
        CallErrorKind::Deadline | CallErrorKind::Cancelled => Err(error.into()),
        CallErrorKind::Denied => Ok(Err(wire::Error::AccessDenied)),
        _ => Ok(Err(wire::Error::Other(error.message))),
    }
}

/// What `get-many` found, as a guest gets it.
fn plain(found: Vec<Option<(String, Bytes)>>) -> Vec<Option<(String, Vec<u8>)>> {
    found.into_iter().map(|entry| entry.map(|(key, value)| (key, value.into()))).collect()
}
