//! Typed ways in and out of guests for the common functions that pass byte lists: as dynamic values, each byte of a
//! list would be a value.
//!
//! A shape is a pair of parameter and result types; every pair is code of its own, hence the short lists.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::{
    Accessor, ComponentExportIndex, ComponentNamedList, InstancePre, Lift, LinkerInstance, Lower,
};
use wasmtime::{Store, StoreContextMut};

use super::polyfill::{Form, Import};
use super::store::State;
use super::value::{Flat, FuncType, Leaf, Type};

/// Calls an export of the shape in a fresh instance.
pub(crate) type TypedCall = for<'a> fn(
    &'a InstancePre<State>,
    Store<State>,
    &'a ComponentExportIndex,
    Vec<Flat>,
) -> Pin<Box<dyn Future<Output = wasmtime::Result<Option<Flat>>> + Send + 'a>>;

/// Defines an import of the shape.
pub(super) type TypedDefine = fn(&mut LinkerInstance<'_, State>, Arc<Import>, Form) -> wasmtime::Result<()>;

/// How an export of type `ty` is called, if it is of one of the shapes.
pub(super) fn call_of(ty: &FuncType) -> Option<TypedCall> {
    find(ty).map(|shape| shape.call)
}

/// How an import of type `ty` is defined, if it is of one of the shapes.
pub(super) fn define_of(ty: &FuncType) -> Option<TypedDefine> {
    find(ty).map(|shape| shape.define)
}

fn find(ty: &FuncType) -> Option<&'static Shape> {
    SHAPES.iter().find(|shape| (shape.params)(&ty.params) && (shape.result)(ty.result.as_ref()))
}

struct Shape {
    params: fn(&[(String, Type)]) -> bool,
    result: fn(Option<&Type>) -> bool,
    call: TypedCall,
    define: TypedDefine,
}

const fn shape<P: Parameters, R: Outcome>() -> Shape {
    Shape { params: P::are, result: R::is, call: call::<P, R>, define: define::<P, R> }
}

/// One shape for each of a list of results.
macro_rules! shapes {
    ($($params:ty => [$($result:ty),+ $(,)?]),+ $(,)?) => { &[$($(shape::<$params, $result>()),+),+] };
}

static SHAPES: &[Shape] = shapes! {
    (Bytes,) => [
        (), (Bytes,), (String,), (u32,), (u64,), (bool,),
        (Option<Bytes>,), (Result<Bytes, String>,), (Result<(), String>,),
    ],
    (String, Bytes) => [
        (), (Bytes,), (String,), (u64,), (bool,),
        (Option<Bytes>,), (Result<Bytes, String>,), (Result<(), String>,),
    ],
    (Bytes, Bytes) => [(), (Bytes,), (bool,), (Result<Bytes, String>,), (Result<(), String>,)],
    (String, String, Bytes) => [(), (Bytes,), (Result<Bytes, String>,), (Result<(), String>,)],
    (u32, Bytes) => [(), (Bytes,), (Result<Bytes, String>,), (Result<(), String>,)],
    (u64, Bytes) => [(), (Bytes,), (Result<Bytes, String>,), (Result<(), String>,)],
    () => [(Bytes,), (Option<Bytes>,), (Result<Bytes, String>,)],
    (String,) => [(), (String,), (Bytes,), (Option<Bytes>,), (Result<Bytes, String>,), (Result<Option<Bytes>, String>,)],
    (String, String) => [(Bytes,), (Option<Bytes>,), (Result<Bytes, String>,), (Result<Option<Bytes>, String>,)],
    (u32,) => [(Bytes,), (Option<Bytes>,), (Result<Bytes, String>,)],
    (u64,) => [(Bytes,), (Option<Bytes>,), (Result<Bytes, String>,)],
};

fn call<'a, P: Parameters, R: Outcome>(
    pre: &'a InstancePre<State>,
    mut store: Store<State>,
    index: &'a ComponentExportIndex,
    params: Vec<Flat>,
) -> Pin<Box<dyn Future<Output = wasmtime::Result<Option<Flat>>> + Send + 'a>> {
    Box::pin(async move {
        let params = P::from_flat(params).ok_or_else(mismatch)?;
        let instance = pre.instantiate_async(&mut store).await?;
        let function = instance.get_typed_func::<P, R>(&mut store, index)?;
        let result = function.call_async(&mut store, params).await?;
        Ok(result.into_flat())
    })
}

fn define<P: Parameters, R: Outcome>(
    linker: &mut LinkerInstance<'_, State>,
    import: Arc<Import>,
    form: Form,
) -> wasmtime::Result<()> {
    let name = Arc::clone(&import.function);
    match form {
        Form::Plain => linker.func_wrap_async(&name, move |store: StoreContextMut<'_, State>, params: P| {
            let call = import.flat_call(&store.data().scope, params.into_flat());
            Box::new(async move { R::from_flat(call.await?).ok_or_else(mismatch) })
        }),
        Form::Concurrent => linker.func_wrap_concurrent(&name, move |accessor: &Accessor<State>, params: P| {
            let call = accessor.with(|mut access| import.flat_call(&access.get().scope, params.into_flat()));
            Box::pin(async move { R::from_flat(call.await?).ok_or_else(mismatch) })
        }),
    }
}

fn mismatch() -> wasmtime::Error {
    wasmtime::Error::msg("a flat value is of another shape than the function it was checked against")
}

/// A list of parameters.
trait Parameters: ComponentNamedList + Lift + Lower + Send + Sync + 'static {
    fn are(types: &[(String, Type)]) -> bool;
    fn into_flat(self) -> Vec<Flat>;
    fn from_flat(flat: Vec<Flat>) -> Option<Self>
    where
        Self: Sized;
}

impl Parameters for () {
    fn are(types: &[(String, Type)]) -> bool {
        types.is_empty()
    }
    fn into_flat(self) -> Vec<Flat> {
        Vec::new()
    }
    fn from_flat(flat: Vec<Flat>) -> Option<Self> {
        flat.is_empty().then_some(())
    }
}

macro_rules! parameters {
    ($count:literal: $($leaf:ident $index:tt),+) => {
        impl<$($leaf: Leaf),+> Parameters for ($($leaf,)+) {
            fn are(types: &[(String, Type)]) -> bool {
                types.len() == $count && $($leaf::is(&types[$index].1))&&+
            }
            fn into_flat(self) -> Vec<Flat> {
                vec![$(self.$index.into_flat()),+]
            }
            fn from_flat(flat: Vec<Flat>) -> Option<Self> {
                let mut flat = flat.into_iter();
                let params = ($($leaf::from_flat(flat.next()?)?,)+);
                flat.next().is_none().then_some(params)
            }
        }
    };
}

parameters!(1: A 0);
parameters!(2: A 0, B 1);
parameters!(3: A 0, B 1, C 2);

/// A result, or none.
trait Outcome: ComponentNamedList + Lift + Lower + Send + Sync + 'static {
    fn is(ty: Option<&Type>) -> bool;
    fn into_flat(self) -> Option<Flat>;
    fn from_flat(flat: Option<Flat>) -> Option<Self>
    where
        Self: Sized;
}

impl Outcome for () {
    fn is(ty: Option<&Type>) -> bool {
        ty.is_none()
    }
    fn into_flat(self) -> Option<Flat> {
        None
    }
    fn from_flat(flat: Option<Flat>) -> Option<Self> {
        flat.is_none().then_some(())
    }
}

impl<T: Leaf> Outcome for (T,) {
    fn is(ty: Option<&Type>) -> bool {
        ty.is_some_and(T::is)
    }
    fn into_flat(self) -> Option<Flat> {
        Some(self.0.into_flat())
    }
    fn from_flat(flat: Option<Flat>) -> Option<Self> {
        T::from_flat(flat?).map(|value| (value,))
    }
}
