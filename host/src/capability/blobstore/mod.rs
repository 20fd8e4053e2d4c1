//! wasi:blobstore: each function is a call over the link that the container was opened through. What objects hold
//! streams: from the guest while it writes, to the guest as it reads.

mod container;
mod incoming;
mod names;
mod outgoing;
mod pipe;
mod store;
mod value;

use std::sync::LazyLock;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout_at;
use trellis_interfaces::blobstore::{self as wire};
use trellis_lattice::body::Body;
use trellis_lattice::contract::Interface;
use trellis_lattice::error::{CallError, CallErrorKind};
use trellis_lattice::id::LinkName;
use trellis_lattice::message::invocation::{Answer, Call};
use trellis_provider_sdk as sdk;
use wasmtime::component::{HasSelf, Linker};

use self::bindings::wasi::blobstore as generated;
use crate::runtime::value::Args;
use crate::runtime::{EngineKind, State};

/// Generated from the WIT package.
mod bindings {
    wasmtime::component::bindgen!({
        path: "../interfaces/wit/blobstore",
        world: "wasi:blobstore/imports",
        imports: { default: async | trappable },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:blobstore/container.container": super::container::Container,
            "wasi:blobstore/container.stream-object-names": super::names::Listing,
            "wasi:blobstore/types.outgoing-value": super::outgoing::OutgoingValue,
            "wasi:blobstore/types.incoming-value": super::incoming::IncomingValue,
        },
        require_store_data_send: true,
    });
}

static BLOBSTORE: LazyLock<Interface> =
    LazyLock::new(|| Interface::parse(wire::BLOBSTORE).expect("the name is well formed"));

/// Defines its interfaces.
pub(crate) fn add_to_linker(linker: &mut Linker<State>, _kind: EngineKind) -> wasmtime::Result<()> {
    generated::types::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    generated::container::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    generated::blobstore::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

/// The outer error ends the guest, the inner one is its own affair.
type Outcome<T> = wasmtime::Result<Result<T, String>>;

impl State {
    /// Over which link containers are opened now.
    fn blobstore_link(&self) -> LinkName {
        self.scope.link_for(&BLOBSTORE)
    }

    /// A call over `link`, not yet sent.
    fn blobstore_call(
        &self,
        link: LinkName,
        function: &str,
        params: &impl Serialize,
        body: Body,
    ) -> wasmtime::Result<Call<Args>> {
        Ok(Call {
            source: self.scope.guest.id.clone(),
            link,
            interface: BLOBSTORE.clone(),
            function: function.into(),
            signature: None,
            context: self.scope.context.nested(),
            args: Args::from(sdk::wire::encode(params)?),
            body,
        })
    }

    /// Calls a function whose answer may have a body.
    async fn blobstore_answer<T: DeserializeOwned>(
        &mut self,
        link: LinkName,
        function: &str,
        params: &impl Serialize,
    ) -> Outcome<(T, Body)> {
        let call = self.blobstore_call(link, function, params, Body::Empty)?;
        let answer = timeout_at(call.context.deadline, self.scope.guest.router.call(call)).await;
        told(answer.unwrap_or_else(|_| Err(no_answer())).and_then(read))
    }

    /// Calls a function whose answer is a value.
    async fn blobstore<T: DeserializeOwned>(
        &mut self,
        link: LinkName,
        function: &str,
        params: &impl Serialize,
    ) -> Outcome<T> {
        Ok(self.blobstore_answer(link, function, params).await?.map(|(value, _)| value))
    }
}

fn no_answer() -> CallError {
    CallError::deadline("no answer from the blob store")
}

/// The value of an answer, which may be an error of the contract, and its body.
fn read<T: DeserializeOwned>(answer: Answer<Args>) -> Result<Result<(T, Body), wire::Error>, CallError> {
    let Answer { value, body } = answer;
    let result: Result<T, wire::Error> = sdk::wire::decode(&value.into_provider()?)?;
    Ok(result.map(|value| (value, body)))
}

/// What the guest is told. A call without time or caller left ends it; any other failure is for it to handle.
fn told<T>(result: Result<Result<T, wire::Error>, CallError>) -> Outcome<T> {
    match result {
        Ok(result) => Ok(result),
        Err(error) if matches!(error.kind, CallErrorKind::Deadline | CallErrorKind::Cancelled) => Err(error.into()),
        Err(error) => Ok(Err(error.message)),
    }
}
