//! One call of a function in a custom interface: a fresh instance, the call, and what comes of it.

use std::sync::Arc;

use futures::future::BoxFuture;
use trellis_lattice::body::Body;
use trellis_lattice::error::CallError;
use trellis_lattice::message::invocation::{Answer, Context, Encoding, Head};
use wasmtime::component::Val;

use super::{Actor, Permit};
use crate::router::Outcome;
use crate::runtime::value::{Args, Part, wave};
use crate::runtime::{Function, Typed, call_error};

impl Actor {
    /// Calls the function that `head` names. Dropping the future ends the guest's execution.
    pub(super) fn call_function(self: Arc<Self>, head: Head, args: Args, permit: Permit) -> Outcome<'static> {
        Box::pin(async move {
            let _permit = permit;
            let function = self.component.functions().find(self.id(), &head.interface, &head.function)?;
            let typed = function.ty.as_ref().map_err(|reason| {
                let id = self.id();
                CallError::contract(format!("{} in {} of {id} {reason}", function.name, head.interface))
            })?;
            self.check_signature(&head, typed)?;
            let value = match (args, head.encoding) {
                (Args::Wave(text), _) => self.call_wave(function, head.context, &text).await?,
                (Args::Wire(bytes), Encoding::Wave) => {
                    let text = std::str::from_utf8(&bytes);
                    let text = text.map_err(|_| CallError::contract("arguments in WAVE are not UTF-8"))?;
                    self.call_wave(function, head.context, text).await?
                }
                (args, Encoding::Pack) => self.call_values(function, typed, head.context, args).await?,
                (_, Encoding::Wave) => return Err(CallError::contract("arguments that are said to be WAVE are not")),
            };
            Ok(Answer { value, body: Body::Empty })
        })
    }

    /// Arrays alone would swap fields that were reordered: both ends must say the same.
    fn check_signature(&self, head: &Head, typed: &Typed) -> Result<(), CallError> {
        match head.signature {
            Some(signature) if signature != typed.signature => Err(CallError::contract(format!(
                "{} in {} has another type in {} ({signature}) than in {} ({}): build both against the same WIT",
                head.function,
                head.interface,
                head.source,
                self.id(),
                typed.signature
            ))),
            _ => Ok(()),
        }
    }

    /// What is awaited here is boxed, so that no call carries the size of another way.
    async fn call_values(
        &self,
        function: &Function,
        typed: &Typed,
        context: Context,
        args: Args,
    ) -> Result<Args, CallError> {
        if let Some(call) = typed.fast {
            let params = typed.ty.flat_params(args)?;
            let result = call(&self.pre, self.template.store(context), &function.index, params).await;
            return result.map(|result| Args::flat(Part::Result(result))).map_err(|error| self.fault(&error));
        }
        if let Some(call) = typed.message {
            let params = args.into_wire()?;
            let result = call(&self.pre, self.template.store(context), &function.index, params).await;
            return result.map(Args::Wire).map_err(|error| self.fault(&error));
        }
        let params = typed.ty.params(args)?;
        let result = self.call_dynamic(function, context, params).await.map_err(|error| self.fault(&error))?;
        Ok(Args::component(Part::Result(result), &typed.ty))
    }

    async fn call_wave(&self, function: &Function, context: Context, text: &str) -> Result<Args, CallError> {
        let params = wave::parse(text, &function.dynamic)?;
        let result = self.call_dynamic(function, context, params).await.map_err(|error| self.fault(&error))?;
        wave::print(result.as_ref()).map(Args::Wave)
    }

    fn call_dynamic<'a>(
        &'a self,
        function: &'a Function,
        context: Context,
        params: Vec<Val>,
    ) -> BoxFuture<'a, wasmtime::Result<Option<Val>>> {
        let mut store = self.template.store(context);
        Box::pin(async move {
            let instance = self.pre.instantiate_async(&mut store).await?;
            let export = instance.get_func(&mut store, function.index).expect("was found in this component");
            let mut result = [Val::Bool(false)];
            let results = if function.has_result() { &mut result[..] } else { &mut [] };
            export.call_async(&mut store, &params, results).await?;
            let [result] = result;
            Ok(function.has_result().then_some(result))
        })
    }

    fn fault(&self, error: &wasmtime::Error) -> CallError {
        call_error(&self.guest, error)
    }
}
