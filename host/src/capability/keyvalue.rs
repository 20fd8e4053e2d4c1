//! wasi:keyvalue: each function is a call over the link that the bucket was opened through.

use std::sync::LazyLock;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout_at;
use trellis_interfaces::keyvalue::{self as wire, function};
use trellis_lattice::body::Body;
use trellis_lattice::contract::Interface;
use trellis_lattice::error::{CallError, CallErrorKind};
use trellis_lattice::id::LinkName;
use trellis_lattice::message::invocation::Call;
use trellis_provider_sdk as sdk;
use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::wasi::keyvalue::store::{Error, KeyResponse};
use self::bindings::wasi::keyvalue::{atomics, batch, store};
use crate::runtime::value::Args;
use crate::runtime::{EngineKind, State};

/// Generated from the WIT package.
mod bindings {
    wasmtime::component::bindgen!({
        path: "../interfaces/wit/keyvalue",
        world: "wasi:keyvalue/imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": super::Bucket },
        require_store_data_send: true,
    });
}

static STORE: LazyLock<Interface> = LazyLock::new(|| interface(wire::STORE));
static ATOMICS: LazyLock<Interface> = LazyLock::new(|| interface(wire::ATOMICS));
static BATCH: LazyLock<Interface> = LazyLock::new(|| interface(wire::BATCH));

fn interface(name: &str) -> Interface {
    Interface::parse(name).expect("the name is well formed")
}

/// A bucket as a guest holds it: nothing is open, each call names it again.
#[derive(Debug, Clone)]
#[expect(unreachable_pub, reason = "the generated code exports it")]
pub struct Bucket {
    link: LinkName,
    name: String,
}

/// Defines its interfaces.
pub(crate) fn add_to_linker(linker: &mut Linker<State>, _kind: EngineKind) -> wasmtime::Result<()> {
    store::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    atomics::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    batch::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

/// The outer error ends the guest, the inner one is its own affair.
type Outcome<T> = wasmtime::Result<Result<T, Error>>;

impl State {
    fn bucket(&self, bucket: &Resource<Bucket>) -> wasmtime::Result<Bucket> {
        Ok(self.table.get(bucket)?.clone())
    }

    async fn keyvalue<T: DeserializeOwned>(
        &mut self,
        link: LinkName,
        interface: &Interface,
        function: &str,
        params: &impl Serialize,
    ) -> Outcome<T> {
        let context = self.scope.context.nested();
        let deadline = context.deadline;
        let call = Call {
            source: self.scope.guest.id.clone(),
            link,
            interface: interface.clone(),
            function: function.into(),
            signature: None,
            context,
            args: Args::from(sdk::wire::encode(params)?),
            body: Body::Empty,
        };
        let answer = timeout_at(deadline, self.scope.guest.router.call(call)).await;
        let answer = match answer.unwrap_or_else(|_| Err(CallError::deadline("no answer from the key-value store"))) {
            Ok(answer) => answer,
            Err(error) => return refuse(error),
        };
        let result: Result<T, wire::Error> = sdk::wire::decode(&answer.value.into_provider()?)?;
        Ok(result.map_err(Error::from))
    }
}

/// A call without time or caller left ends the guest; any other failure is for the guest to handle.
fn refuse<T>(error: CallError) -> Outcome<T> {
    match error.kind {
        CallErrorKind::Deadline | CallErrorKind::Cancelled => Err(error.into()),
        CallErrorKind::Denied => Ok(Err(Error::AccessDenied)),
        _ => Ok(Err(Error::Other(error.message))),
    }
}

impl From<wire::Error> for Error {
    fn from(error: wire::Error) -> Self {
        match error {
            wire::Error::NoSuchStore => Self::NoSuchStore,
            wire::Error::AccessDenied => Self::AccessDenied,
            wire::Error::Other(text) => Self::Other(text),
        }
    }
}

impl store::Host for State {
    async fn open(&mut self, identifier: String) -> Outcome<Resource<Bucket>> {
        let bucket = Bucket { link: self.scope.link_for(&STORE), name: identifier };
        Ok(Ok(self.table.push(bucket)?))
    }
}

impl store::HostBucket for State {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Outcome<Option<Vec<u8>>> {
        let Bucket { link, name } = self.bucket(&bucket)?;
        let params = wire::Get { bucket: name, key };
        let value = self.keyvalue::<Option<Bytes>>(link, &STORE, function::GET, &params).await?;
        Ok(value.map(|value| value.map(Vec::from)))
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Outcome<()> {
        let Bucket { link, name } = self.bucket(&bucket)?;
        let params = wire::Set { bucket: name, key, value: value.into() };
        self.keyvalue(link, &STORE, function::SET, &params).await
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Outcome<()> {
        let Bucket { link, name } = self.bucket(&bucket)?;
        self.keyvalue(link, &STORE, function::DELETE, &wire::Delete { bucket: name, key }).await
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Outcome<bool> {
        let Bucket { link, name } = self.bucket(&bucket)?;
        self.keyvalue(link, &STORE, function::EXISTS, &wire::Exists { bucket: name, key }).await
    }

    async fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<u64>) -> Outcome<KeyResponse> {
        let Bucket { link, name } = self.bucket(&bucket)?;
        let params = wire::ListKeys { bucket: name, cursor };
        let page = self.keyvalue::<wire::KeyResponse>(link, &STORE, function::LIST_KEYS, &params).await?;
        Ok(page.map(|wire::KeyResponse { keys, cursor }| KeyResponse { keys, cursor }))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for State {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Outcome<u64> {
        let Bucket { link, name } = self.bucket(&bucket)?;
        let params = wire::Increment { bucket: name, key, delta };
        self.keyvalue(link, &ATOMICS, function::INCREMENT, &params).await
    }
}

impl batch::Host for State {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Outcome<Vec<Option<(String, Vec<u8>)>>> {
        let Bucket { link, name } = self.bucket(&bucket)?;
        let params = wire::GetMany { bucket: name, keys };
        let found = self.keyvalue::<Vec<Option<(String, Bytes)>>>(link, &BATCH, function::GET_MANY, &params).await?;
        let plain = |(key, value): (String, Bytes)| (key, Vec::from(value));
        Ok(found.map(|found| found.into_iter().map(|entry| entry.map(plain)).collect()))
    }

    async fn set_many(&mut self, bucket: Resource<Bucket>, key_values: Vec<(String, Vec<u8>)>) -> Outcome<()> {
        let Bucket { link, name } = self.bucket(&bucket)?;
        let key_values = key_values.into_iter().map(|(key, value)| (key, value.into())).collect();
        self.keyvalue(link, &BATCH, function::SET_MANY, &wire::SetMany { bucket: name, key_values }).await
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Outcome<()> {
        let Bucket { link, name } = self.bucket(&bucket)?;
        self.keyvalue(link, &BATCH, function::DELETE_MANY, &wire::DeleteMany { bucket: name, keys }).await
    }
}
