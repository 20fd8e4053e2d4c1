//! Statements in the blob store. What is there is replaced as a whole, or stays.

use crate::demo::bank::types::Fault;
use crate::wasi::blobstore::blobstore;
use crate::wasi::blobstore::container::Container;
use crate::wasi::blobstore::types::{IncomingValue, OutgoingValue};

/// The container; the link says where it is.
const CONTAINER: &str = "statements";

/// One blocking write takes so much at most.
const PIECE_BYTES: usize = 4_096;

/// The statement of that name, if it is kept.
pub(crate) fn read(name: &str) -> Result<Option<String>, Fault> {
    let container = container()?;
    if !container.has_object(name).map_err(away)? {
        return Ok(None);
    }
    let value = container.get_data(name, 0, u64::MAX).map_err(away)?;
    let bytes = IncomingValue::incoming_value_consume_sync(value).map_err(away)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Keeps a statement under that name.
pub(crate) fn write(name: &str, text: &str) -> Result<(), Fault> {
    let value = OutgoingValue::new_outgoing_value();
    let stream = value.outgoing_value_write_body().expect("the stream is taken once");
    container()?.write_data(name, &value).map_err(away)?;
    // A store that takes no more says why at the end.
    let _ = text.as_bytes().chunks(PIECE_BYTES).try_for_each(|piece| stream.blocking_write_and_flush(piece));
    drop(stream);
    OutgoingValue::finish(value).map_err(away)
}

/// The container, made when it is used first.
fn container() -> Result<Container, Fault> {
    blobstore::get_container(CONTAINER).or_else(|_| blobstore::create_container(CONTAINER)).map_err(away)
}

fn away(reason: String) -> Fault {
    Fault::Unavailable(format!("the blob store: {reason}"))
}
