//! wasmcloud:messaging: what a guest sends is a call over its link, and what it is sent is a call of its `handler`.
//!
//! Both ways are typed, because the body of a message is a list of bytes.

use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout_at;
use trellis_interfaces::messaging::{self as wire, CONSUMER, HANDLER, TYPES, function};
use trellis_lattice::body::Body;
use trellis_lattice::contract::Interface;
use trellis_lattice::error::{CallError, CallErrorKind};
use trellis_lattice::message::invocation::Call;
use trellis_provider_sdk as sdk;
use wasmtime::component::{ComponentExportIndex, ComponentType, InstancePre, Lift, Linker, Lower};
use wasmtime::{Store, StoreContextMut};

use crate::runtime::value::{Args, FuncType};
use crate::runtime::{EngineKind, State};

/// The type of `handle-message` in canonical text.
const HANDLE_MESSAGE_TYPE: &str = "func(msg: record{subject: string, body: list<u8>, reply-to: option<string>}) \
                                   -> result<_, string>";

static CONSUMER_INTERFACE: LazyLock<Interface> =
    LazyLock::new(|| Interface::parse(CONSUMER).expect("the name is well formed"));
static HANDLER_INTERFACE: LazyLock<Interface> =
    LazyLock::new(|| Interface::parse(HANDLER).expect("the name is well formed"));

/// A message as guests have it.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
struct BrokerMessage {
    subject: String,
    body: Bytes,
    #[component(name = "reply-to")]
    reply_to: Option<String>,
}

impl From<wire::BrokerMessage> for BrokerMessage {
    fn from(wire::BrokerMessage { subject, body, reply_to }: wire::BrokerMessage) -> Self {
        Self { subject, body, reply_to }
    }
}

impl From<BrokerMessage> for wire::BrokerMessage {
    fn from(BrokerMessage { subject, body, reply_to }: BrokerMessage) -> Self {
        Self { subject, body, reply_to }
    }
}

/// Defines its interfaces.
pub(crate) fn add_to_linker(linker: &mut Linker<State>, _kind: EngineKind) -> wasmtime::Result<()> {
    linker.instance(TYPES)?;
    let mut consumer = linker.instance(CONSUMER)?;
    consumer.func_wrap_async(function::REQUEST, |mut store, (subject, body, timeout_ms): (String, Bytes, u32)| {
        Box::new(async move {
            let params = wire::Request { subject, body, timeout_ms };
            let answer = send::<wire::BrokerMessage>(&mut store, function::REQUEST, &params).await?;
            Ok((answer.map(BrokerMessage::from),))
        })
    })?;
    consumer.func_wrap_async(function::PUBLISH, |mut store, (message,): (BrokerMessage,)| {
        Box::new(async move {
            let params = wire::Publish { message: message.into() };
            Ok((send::<()>(&mut store, function::PUBLISH, &params).await?,))
        })
    })
}

/// The outer error ends the guest, the inner one is its own affair.
async fn send<T: DeserializeOwned>(
    store: &mut StoreContextMut<'_, State>,
    function: &str,
    params: &impl Serialize,
) -> wasmtime::Result<Result<T, String>> {
    let scope = &store.data().scope;
    let guest = Arc::clone(&scope.guest);
    let context = scope.context.nested();
    let deadline = context.deadline;
    let call = Call {
        source: guest.id.clone(),
        link: scope.link_for(&CONSUMER_INTERFACE),
        interface: CONSUMER_INTERFACE.clone(),
        function: function.into(),
        signature: None,
        context,
        args: Args::from(sdk::wire::encode(params)?),
        body: Body::Empty,
    };
    let answer = timeout_at(deadline, guest.router.call(call)).await;
    match answer.unwrap_or_else(|_| Err(CallError::deadline("no answer from the messaging provider"))) {
        Ok(answer) => Ok(sdk::wire::decode(&answer.value.into_provider()?)?),
        Err(error) if [CallErrorKind::Deadline, CallErrorKind::Cancelled].contains(&error.kind) => Err(error.into()),
        Err(error) => Ok(Err(error.message)),
    }
}

/// Calls an export in a fresh instance, with parameters and a result as they travel.
pub(crate) type WireCall = for<'a> fn(
    &'a InstancePre<State>,
    Store<State>,
    &'a ComponentExportIndex,
    Bytes,
) -> Pin<Box<dyn Future<Output = wasmtime::Result<Bytes>> + Send + 'a>>;

/// How the export `name` of `interface` is called, if it is `handle-message`.
pub(crate) fn call_of(interface: &Interface, name: &str, ty: &FuncType) -> Option<WireCall> {
    let is_handler = interface.without_version() == HANDLER_INTERFACE.without_version();
    let is_it = is_handler && name == function::HANDLE_MESSAGE && ty.to_string() == HANDLE_MESSAGE_TYPE;
    let call: WireCall = handle_message;
    is_it.then_some(call)
}

fn handle_message<'a>(
    pre: &'a InstancePre<State>,
    mut store: Store<State>,
    index: &'a ComponentExportIndex,
    params: Bytes,
) -> Pin<Box<dyn Future<Output = wasmtime::Result<Bytes>> + Send + 'a>> {
    Box::pin(async move {
        let wire::HandleMessage { message } = sdk::wire::decode(&sdk::Args::Wire(params))?;
        let instance = pre.instantiate_async(&mut store).await?;
        let function = instance.get_typed_func::<(BrokerMessage,), (Result<(), String>,)>(&mut store, index)?;
        let (result,) = function.call_async(&mut store, (message.into(),)).await?;
        Ok(Args::from(sdk::wire::encode(&result)?).into_wire()?)
    })
}
