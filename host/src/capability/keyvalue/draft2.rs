//! Version 0.2.0-draft2: numbers have a sign, and there is compare-and-swap.

use std::sync::LazyLock;

use trellis_interfaces::keyvalue::{self as wire, Snapshot, Swapped, function};
use trellis_lattice::contract::Interface;
use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::wasi::keyvalue::atomics::CasError;
use self::bindings::wasi::keyvalue::store::{Error, KeyResponse};
use self::bindings::wasi::keyvalue::{atomics, batch, store};
use super::{Bucket, interface, plain};
use crate::runtime::State;

/// Generated from the WIT package.
mod bindings {
    wasmtime::component::bindgen!({
        path: "../interfaces/wit/keyvalue-0.2.0-draft2",
        world: "wasi:keyvalue/imports",
        imports: {
            "wasi:keyvalue/store.open": trappable,
            "wasi:keyvalue/store.[drop]bucket": trappable,
            default: async | trappable,
        },
        with: {
            "wasi:keyvalue/store.bucket": crate::capability::keyvalue::Bucket,
            "wasi:keyvalue/atomics.cas": super::Cas,
        },
        require_store_data_send: true,
    });
}

static STORE: LazyLock<Interface> = LazyLock::new(|| interface(wire::STORE_2));
static ATOMICS: LazyLock<Interface> = LazyLock::new(|| interface(wire::ATOMICS_2));
static BATCH: LazyLock<Interface> = LazyLock::new(|| interface(wire::BATCH_2));

/// What a guest has seen of a key. Its value stays here until it asks.
#[expect(unreachable_pub, reason = "the generated code exports it")]
#[derive(Debug)]
pub struct Cas {
    bucket: Bucket,
    key: String,
    seen: Option<Snapshot>,
}

/// The outer error ends the guest, the inner one is its own affair.
type Outcome<T> = wasmtime::Result<Result<T, Error>>;

/// Defines its interfaces.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    store::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    atomics::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    batch::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
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
    fn open(&mut self, identifier: String) -> Outcome<Resource<Bucket>> {
        let bucket = Bucket { link: self.scope.link_for(&STORE), name: identifier };
        Ok(Ok(self.table.push(bucket)?))
    }
}

impl store::HostBucket for State {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Outcome<Option<Vec<u8>>> {
        let value = self.value_of(&bucket, &STORE, &key).await?;
        Ok(value.map_err(Error::from))
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Outcome<()> {
        let params = |bucket| wire::Set { bucket, key, value: value.into() };
        self.on_bucket(&bucket, (&STORE, function::SET), params).await
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Outcome<()> {
        self.on_bucket(&bucket, (&STORE, function::DELETE), |bucket| wire::Delete { bucket, key }).await
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Outcome<bool> {
        self.on_bucket(&bucket, (&STORE, function::EXISTS), |bucket| wire::Exists { bucket, key }).await
    }

    async fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<String>) -> Outcome<KeyResponse> {
        let Ok(cursor) = cursor.map(|cursor| cursor.parse()).transpose() else {
            return Ok(Err(Error::Other("that cursor is none of a page of keys".to_owned())));
        };
        let params = |bucket| wire::ListKeys { bucket, cursor };
        let page: Result<_, _> = self.on_bucket(&bucket, (&STORE, function::LIST_KEYS), params).await?;
        let told = |cursor: Option<u64>| cursor.map(|cursor| cursor.to_string());
        Ok(page.map(|wire::KeyResponse { keys, cursor }| KeyResponse { keys, cursor: told(cursor) }))
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for State {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: i64) -> Outcome<i64> {
        let params = |bucket| wire::IncrementBy { bucket, key, delta };
        self.on_bucket(&bucket, (&ATOMICS, function::INCREMENT), params).await
    }

    async fn swap(&mut self, cas: Resource<Cas>, value: Vec<u8>) -> wasmtime::Result<Result<(), CasError>> {
        let Cas { bucket, key, seen } = self.table.delete(cas)?;
        let version = seen.map(|seen| seen.version);
        let params = wire::Swap { bucket: bucket.name.clone(), key: key.clone(), version, value: value.into() };
        match self.keyvalue(bucket.link.clone(), &ATOMICS, function::SWAP, &params).await? {
            Ok(Swapped::Done) => Ok(Ok(())),
            Ok(Swapped::Stale(seen)) => Ok(Err(CasError::CasFailed(self.table.push(Cas { bucket, key, seen })?))),
            Err(error) => Ok(Err(CasError::StoreError(error.into()))),
        }
    }
}

impl atomics::HostCas for State {
    async fn new(&mut self, bucket: Resource<Bucket>, key: String) -> Outcome<Resource<Cas>> {
        let bucket = self.bucket(&bucket)?;
        let params = wire::CasNew { bucket: bucket.name.clone(), key: key.clone() };
        match self.keyvalue(bucket.link.clone(), &ATOMICS, function::CAS_NEW, &params).await? {
            Ok(seen) => Ok(Ok(self.table.push(Cas { bucket, key, seen })?)),
            Err(error) => Ok(Err(error.into())),
        }
    }

    async fn current(&mut self, cas: Resource<Cas>) -> Outcome<Option<Vec<u8>>> {
        let seen = &self.table.get(&cas)?.seen;
        Ok(Ok(seen.as_ref().map(|seen| seen.value.to_vec())))
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}

impl batch::Host for State {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Outcome<Vec<Option<(String, Vec<u8>)>>> {
        let params = |bucket| wire::GetMany { bucket, keys };
        let found: Result<_, _> = self.on_bucket(&bucket, (&BATCH, function::GET_MANY), params).await?;
        Ok(found.map(plain))
    }

    async fn set_many(&mut self, bucket: Resource<Bucket>, key_values: Vec<(String, Vec<u8>)>) -> Outcome<()> {
        let key_values = key_values.into_iter().map(|(key, value)| (key, value.into())).collect();
        self.on_bucket(&bucket, (&BATCH, function::SET_MANY), |bucket| wire::SetMany { bucket, key_values }).await
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Outcome<()> {
        self.on_bucket(&bucket, (&BATCH, function::DELETE_MANY), |bucket| wire::DeleteMany { bucket, keys }).await
    }
}
