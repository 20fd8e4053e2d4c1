//! wasmcloud:messaging 0.2.0 as it travels.
//!
//! The parameters of a function are the fields of the type with its name, in order; its result is a
//! `Result<T, String>` with the `T` that is said there.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// `types`, with its version.
pub const TYPES: &str = "wasmcloud:messaging/types@0.2.0";

/// `consumer`, with its version: what actors call.
pub const CONSUMER: &str = "wasmcloud:messaging/consumer@0.2.0";

/// `handler`, with its version: what actors export.
pub const HANDLER: &str = "wasmcloud:messaging/handler@0.2.0";

/// Names of functions.
pub mod function {
    /// [`super::Request`].
    pub const REQUEST: &str = "request";
    /// [`super::Publish`].
    pub const PUBLISH: &str = "publish";
    /// [`super::HandleMessage`].
    pub const HANDLE_MESSAGE: &str = "handle-message";
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerMessage {
    /// What it is about, in tokens that dots separate.
    pub subject: String,
    /// The payload, `list<u8>`.
    pub body: Bytes,
    /// Where an answer is expected, if one is.
    pub reply_to: Option<String>,
}

/// `consumer.request`; the answer, a [`BrokerMessage`], comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Where it goes.
    pub subject: String,
    /// The payload.
    pub body: Bytes,
    /// How long to wait for the answer.
    pub timeout_ms: u32,
}

/// `consumer.publish`; nothing comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The message.
    pub message: BrokerMessage,
}

/// `handler.handle-message`; nothing comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandleMessage {
    /// The message.
    pub message: BrokerMessage,
}

#[cfg(test)]
mod tests {
    use super::{BrokerMessage, HandleMessage};
    use bytes::Bytes;

    #[test]
    fn a_message_is_an_array_and_its_body_is_binary() {
        let message = BrokerMessage { subject: "a".into(), body: Bytes::from_static(&[0, 255]), reply_to: None };
        let bytes = rmp_serde::to_vec(&HandleMessage { message: message.clone() }).expect("encodes");
        assert_eq!(bytes, [0x91, 0x93, 0xa1, b'a', 0xc4, 2, 0, 255, 0xc0]);
        assert_eq!(rmp_serde::from_slice::<HandleMessage>(&bytes).expect("decodes").message, message);
    }
}
