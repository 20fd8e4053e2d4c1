//! A key-value get through a provider that is a process of its own, and plain requests over a nats-server, in turns.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use trellis_host::config::Native;
use trellis_provider_sdk::{
    ActiveLink, Answer, Args, Body, Call, CallError, Caller, Context, Description, Environment, Factory, Interface,
    Invocation, LinkError, Provider, wire,
};

use crate::calls::in_one_process;
use crate::remote::{Plain, many_at_once, one_by_one};
use crate::world::{BUDGET, Figures, World};

const STORE: &str = "wasi:keyvalue/store";

/// What is written before it is read.
const VALUE: [u8; 64] = [7; 64];

/// Microseconds (median of a round, one in flight) and calls per second (64 in flight), of both.
pub(crate) async fn measure(trellis: &Path, url: &str, rounds: u32) -> anyhow::Result<Figures> {
    let reader: Arc<Mutex<Option<Arc<dyn Caller>>>> = Arc::default();
    let kept = Arc::clone(&reader);
    let factory: Factory = Arc::new(move |environment: Environment| {
        *kept.lock().expect("nobody panics with it") = Some(environment.caller);
        Ok(Arc::new(Reader))
    });
    let keyvalue = (trellis_provider_keyvalue::NAME.to_owned(), trellis_provider_keyvalue::factory());
    let builtins = BTreeMap::from([keyvalue, ("reader".to_owned(), factory)]);
    let native = Native { own: Some(trellis.to_owned()), ..Native::default() };
    let world = World::start_with(in_one_process(), &[], builtins, native).await?;
    world.provide("kv", "process:keyvalue").await?;
    world.provide("reader", "builtin:reader").await?;
    world.link("reader", "kv", STORE).await?;
    let caller = reader.lock().expect("nobody panics with it").take().context("the reader was not made")?;
    until_written(&*caller).await?;
    let plain = Plain::start(url).await?;
    let text = Bytes::from_static(&VALUE);
    let get = || async { keyvalue_call(&*caller, "get", &("default", "key")).await.map(drop) };
    let request = || async { plain.request(text.clone()).await };
    let mut figures = Figures::new();
    for round in 0..=rounds {
        let measured = [
            ("one", one_by_one(get).await?),
            ("one_plain", one_by_one(request).await?),
            ("many", many_at_once(get).await?),
            ("many_plain", many_at_once(request).await?),
        ];
        // The first round warms up.
        for (name, figure) in measured.into_iter().filter(|_| round > 0) {
            figures.entry(name).or_default().push(figure);
        }
    }
    Ok(figures)
}

/// The link may be on its way to the provider.
async fn until_written(caller: &dyn Caller) -> anyhow::Result<()> {
    let value = Bytes::from_static(&VALUE);
    let written = async {
        while keyvalue_call(caller, "set", &("default", "key", &value)).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(BUDGET, written).await.context("nothing can be written")
}

async fn keyvalue_call(caller: &dyn Caller, function: &str, params: &impl serde::Serialize) -> anyhow::Result<Args> {
    let call = Call {
        source: "reader".parse()?,
        link: Default::default(),
        interface: STORE.parse()?,
        function: function.into(),
        signature: None,
        context: Context::root(BUDGET),
        args: wire::encode(params)?,
        body: Body::Empty,
    };
    Ok(caller.call(call).await?.value)
}

/// What calls in the place of an actor.
struct Reader;

#[async_trait]
impl Provider for Reader {
    fn description(&self) -> Description {
        let store: Interface = STORE.parse().expect("the name is well formed");
        Description { name: "reader".into(), serves: Vec::new(), calls: vec![store] }
    }

    async fn link_up(&self, _: &ActiveLink) -> Result<(), LinkError> {
        Ok(())
    }

    async fn link_down(&self, _: &ActiveLink) {}

    async fn call(&self, _: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        Err(CallError::contract("it calls, and is not called"))
    }

    async fn drain(&self, _: std::time::Duration) {}
}
