//! Actors that export wasi:keyvalue/watcher, in any version: a fresh instance for each change.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use trellis_interfaces::keyvalue::{DRAFT_2, OnDelete, OnSet, WATCHER, function};
use trellis_lattice::body::Body;
use trellis_lattice::error::CallError;
use trellis_lattice::id::LinkName;
use trellis_lattice::message::invocation::{Answer, Head};
use trellis_provider_sdk as sdk;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, InstancePre, Lower, Resource};

use super::Bucket;
use crate::runtime::value::Args;
use crate::runtime::{State, Template, call_error};

/// The versions that an actor may export.
const VERSIONS: [&str; 2] = ["0.2.0-draft", DRAFT_2];

/// Calls the watcher of one actor.
pub(crate) struct Watcher {
    pre: InstancePre<State>,
    template: Arc<Template>,
    on_set: ComponentExportIndex,
    on_delete: ComponentExportIndex,
}

impl Watcher {
    /// The watcher of a component that exports one.
    pub(crate) fn of(pre: &InstancePre<State>, template: Arc<Template>) -> Option<Self> {
        let component = pre.component();
        let name = |version| format!("{WATCHER}@{version}");
        let interface = VERSIONS.iter().find_map(|version| component.get_export_index(None, name(version)))?;
        let on_set = component.get_export_index(Some(&interface), function::ON_SET)?;
        let on_delete = component.get_export_index(Some(&interface), function::ON_DELETE)?;
        Some(Self { pre: pre.clone(), template, on_set, on_delete })
    }

    /// Tells it of a change. The bucket that it is given is opened over its link named `default`.
    ///
    /// # Errors
    /// `Contract` for a function that is none of a watcher; what the guest's execution ends with.
    pub(crate) async fn call(&self, head: Head, args: Args) -> Result<Answer<Args>, CallError> {
        let args = args.into_provider()?;
        let told = match &*head.function {
            function::ON_SET => {
                let OnSet { bucket, key, value } = decode(&args)?;
                self.tell(head, &self.on_set, bucket, |bucket| (bucket, key, Vec::from(value))).await
            }
            function::ON_DELETE => {
                let OnDelete { bucket, key } = decode(&args)?;
                self.tell(head, &self.on_delete, bucket, |bucket| (bucket, key)).await
            }
            other => return Err(CallError::contract(format!("{other:?} is no function of {WATCHER}"))),
        };
        told.map_err(|error| call_error(self.template.guest(), &error))?;
        Ok(Answer { value: Args::from(sdk::wire::encode(&())?), body: Body::Empty })
    }

    async fn tell<P>(
        &self,
        head: Head,
        function: &ComponentExportIndex,
        bucket: String,
        params: impl FnOnce(Resource<Bucket>) -> P,
    ) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lower + Send + Sync,
    {
        let mut store = self.template.store(head.context);
        let bucket = store.data_mut().table.push(Bucket { link: LinkName::default(), name: bucket })?;
        let instance = self.pre.instantiate_async(&mut store).await?;
        let function = instance.get_typed_func::<P, ()>(&mut store, function)?;
        function.call_async(&mut store, params(bucket)).await
    }
}

fn decode<T: DeserializeOwned>(args: &sdk::Args) -> Result<T, CallError> {
    sdk::wire::decode(args)
}
