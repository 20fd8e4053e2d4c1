//! What people are told: messages come in, notices are kept for each person, and a timer writes a digest into the log,
//! where a bank would send it.
//!
//! Messages come at least once. A notice is kept under the id that it came with, so that one that comes again takes the
//! place of itself.

use demo::bank::types::Fault;
use exports::demo::bank::notifications::{self, Notice};
use exports::trellis::timer::handler::{self as timer, Tick};
use exports::wasmcloud::messaging::handler as messages;
use wasi::keyvalue::store::{self, Bucket, Error};
use wasi::logging::logging::{Level, log};
use wasmcloud::messaging::types::BrokerMessage;

wit_bindgen::generate!({
    world: "demo:bank-notifications/notifications",
    path: [
        "../../wit/wasi-0.2",
        "../../../interfaces/wit/logging",
        "../../../interfaces/wit/messaging",
        "../../../interfaces/wit/timer",
        "../wit",
        "wit",
    ],
    generate_all,
});

/// The bucket whose keys are the names of all who have notices.
const PEOPLE: &str = "people";

/// A message, as `payments` writes it.
#[derive(serde::Deserialize)]
struct Message {
    id: String,
    user: String,
    text: String,
}

struct Notifications;

impl messages::Guest for Notifications {
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        match serde_json::from_slice::<Message>(&message.body) {
            Ok(message) => keep(&message).map_err(|error| error.to_string()),
            // Tried again it would be no better, and would be in the way of others.
            Err(error) => {
                log(Level::Error, "notifications", &format!("a message on {} is no notice: {error}", message.subject));
                Ok(())
            }
        }
    }
}

impl notifications::Guest for Notifications {
    fn notices(user: String) -> Result<Vec<Notice>, Fault> {
        all(&user).map_err(|error| Fault::Unavailable(format!("the notices: {error}")))
    }
}

impl timer::Guest for Notifications {
    fn fire(_: Tick) -> Result<(), String> {
        for user in keys(&store::open(PEOPLE).map_err(text)?).map_err(text)? {
            let count = keys(&notices_of(&user).map_err(text)?).map_err(text)?.len();
            log(Level::Info, "notifications", &format!("digest: {user} has {count} notices"));
        }
        Ok(())
    }
}

fn text(error: Error) -> String {
    error.to_string()
}

fn keep(message: &Message) -> Result<(), Error> {
    notices_of(&message.user)?.set(&message.id, message.text.as_bytes())?;
    store::open(PEOPLE)?.set(&message.user, b"")
}

fn all(user: &str) -> Result<Vec<Notice>, Error> {
    let bucket = notices_of(user)?;
    let mut notices = Vec::new();
    for id in keys(&bucket)? {
        if let Some(text) = bucket.get(&id)? {
            notices.push(Notice { id, text: String::from_utf8_lossy(&text).into_owned() });
        }
    }
    Ok(notices)
}

fn notices_of(user: &str) -> Result<Bucket, Error> {
    store::open(&format!("of-{user}"))
}

/// All keys of a bucket, each once.
fn keys(bucket: &Bucket) -> Result<Vec<String>, Error> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = bucket.list_keys(cursor)?;
        keys.extend(page.keys);
        match page.cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    // Pages of some stores overlap.
    keys.sort();
    keys.dedup();
    Ok(keys)
}

export!(Notifications);
