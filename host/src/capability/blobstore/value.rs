//! wasi:blobstore/types: values on their way, as resources.

use bytes::Bytes;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use super::generated::types::{Host, HostIncomingValue, HostOutgoingValue};
use super::incoming::{IncomingValue, Reader};
use super::outgoing::OutgoingValue;
use super::{Outcome, told};
use crate::runtime::State;

/// The largest value that a guest gets as one list.
const WHOLE_BYTES: usize = 16 << 20;

impl Host for State {}

impl HostOutgoingValue for State {
    async fn new_outgoing_value(&mut self) -> wasmtime::Result<Resource<OutgoingValue>> {
        Ok(self.table.push(OutgoingValue::new())?)
    }

    async fn outgoing_value_write_body(
        &mut self,
        value: Resource<OutgoingValue>,
    ) -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
        let Some(writer) = self.table.get_mut(&value)?.take_writer() else { return Ok(Err(())) };
        let stream: DynOutputStream = Box::new(writer);
        Ok(Ok(self.table.push(stream)?))
    }

    async fn finish(&mut self, value: Resource<OutgoingValue>) -> Outcome<()> {
        let value = self.table.delete(value)?;
        told(value.finish(self.scope.context.deadline).await)
    }

    async fn drop(&mut self, value: Resource<OutgoingValue>) -> wasmtime::Result<()> {
        self.table.delete(value)?;
        Ok(())
    }
}

impl HostIncomingValue for State {
    async fn incoming_value_consume_sync(&mut self, value: Resource<IncomingValue>) -> Outcome<Vec<u8>> {
        let IncomingValue { size, body } = self.table.delete(value)?;
        if size > WHOLE_BYTES as u64 {
            let message = format!("{size} bytes are too many for one list; consume the value as a stream");
            return Ok(Err(message));
        }
        let collected = tokio::time::timeout_at(self.scope.context.deadline, body.collect(WHOLE_BYTES)).await;
        let collected = collected.unwrap_or_else(|_| Err(super::no_answer()));
        told(collected.map(|bytes: Bytes| Ok(bytes.into())))
    }

    async fn incoming_value_consume_async(
        &mut self,
        value: Resource<IncomingValue>,
    ) -> Outcome<Resource<DynInputStream>> {
        let value = self.table.delete(value)?;
        let stream: DynInputStream = Box::new(Reader::of(value.body));
        Ok(Ok(self.table.push(stream)?))
    }

    async fn size(&mut self, value: Resource<IncomingValue>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&value)?.size)
    }

    async fn drop(&mut self, value: Resource<IncomingValue>) -> wasmtime::Result<()> {
        self.table.delete(value)?;
        Ok(())
    }
}
