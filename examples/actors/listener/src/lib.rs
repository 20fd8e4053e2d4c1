//! Handles messages: one that wants an answer gets it, any other is said to have been seen on `seen.<its subject>`.
//!
//! What it publishes is safe with the broker before it says that the message was handled. Should either fail, a durable
//! subscription delivers the message again.

use exports::wasmcloud::messaging::handler::Guest;
use wasmcloud::messaging::consumer;
use wasmcloud::messaging::types::BrokerMessage;

wit_bindgen::generate!({
    world: "demo:listener/listener",
    path: ["../../../interfaces/wit/messaging", "wit"],
    generate_all,
});

struct Listener;

impl Guest for Listener {
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        let text = String::from_utf8(message.body).map_err(|_| "the message is not text".to_owned())?;
        let (subject, answer) = match message.reply_to {
            Some(reply_to) => (reply_to, format!("Hello, {text}!")),
            None => (format!("seen.{}", message.subject), text),
        };
        consumer::publish(&BrokerMessage { subject, body: answer.into_bytes(), reply_to: None })
    }
}

export!(Listener);
