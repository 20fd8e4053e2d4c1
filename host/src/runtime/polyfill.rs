//! Custom interfaces that a component imports: every function becomes a call by the router.

use std::sync::Arc;

use trellis_lattice::body::Body;
use trellis_lattice::contract::{Interface, Signature};
use trellis_lattice::message::invocation::Call;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Accessor, LinkerInstance, Val};
use wasmtime::{Engine, StoreContextMut};

use super::linker::EngineKind;
use super::shape;
use super::store::{Scope, State};
use super::value::{Args, Flat, FuncType, Part};

/// How a function is defined: wasmtime wants the form that the import's type has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `func`: the guest's only task waits.
    Plain,
    /// `async func`: other tasks of the guest go on.
    Concurrent,
}

/// A function of a custom interface that a component imports.
pub(super) struct Import {
    pub(super) interface: Interface,
    pub(super) function: Arc<str>,
    ty: Arc<FuncType>,
    signature: Signature,
}

/// The functions of one custom interface that a component imports.
pub(super) struct Imports {
    interface: Interface,
    functions: Vec<(Arc<Import>, Form)>,
}

impl Imports {
    /// The functions of `interface`, whose type is `ty`.
    ///
    /// # Errors
    /// Each reason why one of them cannot be provided.
    pub(super) fn of(
        engine: &Engine,
        interface: &Interface,
        ty: &wasmtime::component::types::ComponentInstance,
    ) -> Result<Self, Vec<String>> {
        let mut refused = Vec::new();
        let mut functions = Vec::new();
        for (name, item) in ty.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(func) => match Import::of(interface, name, &func) {
                    Ok(import) => functions.push(import),
                    Err(reason) => refused.push(format!("{interface}: function {name} {reason}")),
                },
                ComponentItem::Resource(_) => refused.push(format!(
                    "{interface}: resource {name} cannot be passed between actors; only built-in interfaces have any"
                )),
                _ => {}
            }
        }
        let interface = interface.clone();
        if refused.is_empty() { Ok(Self { interface, functions }) } else { Err(refused) }
    }

    /// Defines them.
    pub(super) fn define(
        self,
        linker: &mut wasmtime::component::Linker<State>,
        kind: EngineKind,
    ) -> wasmtime::Result<()> {
        let mut instance = linker.instance(self.interface.as_str())?;
        self.functions.into_iter().try_for_each(|(import, form)| {
            debug_assert!(form == Form::Plain || kind == EngineKind::Concurrent, "the plain engine has no async types");
            match shape::define_of(&import.ty) {
                Some(define) => define(&mut instance, import, form),
                None => define_dynamic(&mut instance, import, form),
            }
        })
    }
}

impl Import {
    fn of(interface: &Interface, name: &str, func: &ComponentFunc) -> Result<(Arc<Self>, Form), String> {
        let ty = FuncType::of(func).map_err(|error| error.to_string())?;
        let import =
            Self { interface: interface.clone(), function: name.into(), signature: ty.signature(), ty: Arc::new(ty) };
        Ok((Arc::new(import), if func.async_() { Form::Concurrent } else { Form::Plain }))
    }

    fn call(&self, scope: &Scope, args: Args) -> Call<Args> {
        Call {
            source: scope.guest.id.clone(),
            link: scope.link_for(&self.interface),
            interface: self.interface.clone(),
            function: Arc::clone(&self.function),
            signature: Some(self.signature),
            context: scope.context.nested(),
            args,
            body: Body::Empty,
        }
    }

    /// Calls it with flat values. The future does not borrow the store.
    pub(super) fn flat_call(
        self: &Arc<Self>,
        scope: &Scope,
        params: Vec<Flat>,
    ) -> impl Future<Output = wasmtime::Result<Option<Flat>>> + Send + use<> {
        let call = self.call(scope, Args::flat(Part::Params(params)));
        let (guest, ty) = (Arc::clone(&scope.guest), Arc::clone(&self.ty));
        async move {
            let answer = guest.router.call(call).await?;
            Ok(ty.flat_result(answer.value)?)
        }
    }

    /// Calls it with dynamic values. The future does not borrow the store.
    fn dynamic_call(
        self: &Arc<Self>,
        scope: &Scope,
        params: &[Val],
    ) -> impl Future<Output = wasmtime::Result<Option<Val>>> + Send + use<> {
        let call = self.call(scope, Args::component(Part::Params(params.to_vec()), &self.ty));
        let (guest, ty) = (Arc::clone(&scope.guest), Arc::clone(&self.ty));
        async move {
            let answer = guest.router.call(call).await?;
            Ok(ty.result(answer.value)?)
        }
    }
}

fn define_dynamic(linker: &mut LinkerInstance<'_, State>, import: Arc<Import>, form: Form) -> wasmtime::Result<()> {
    let name = Arc::clone(&import.function);
    match form {
        Form::Plain => linker.func_new_async(&name, move |store: StoreContextMut<'_, State>, _, params, results| {
            let call = import.dynamic_call(&store.data().scope, params);
            Box::new(async move { give(call.await?, results) })
        }),
        Form::Concurrent => linker.func_new_concurrent(&name, move |accessor: &Accessor<State>, _, params, results| {
            let call = accessor.with(|mut access| import.dynamic_call(&access.get().scope, params));
            Box::pin(async move { give(call.await?, results) })
        }),
    }
}

fn give(result: Option<Val>, results: &mut [Val]) -> wasmtime::Result<()> {
    match (result, results) {
        (Some(value), [result]) => *result = value,
        (None, []) => {}
        _ => return Err(wasmtime::Error::msg("the function has another number of results than its type says")),
    }
    Ok(())
}
