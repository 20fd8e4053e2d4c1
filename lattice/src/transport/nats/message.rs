//! Our messages as the client's, and the reverse.

use async_nats::HeaderMap;
use async_nats::message::OutboundMessage;

use super::super::{Headers, Message, Status};
use crate::error::{Error, ErrorKind, Result};
use crate::subject::Subject;

/// As the client sends it.
pub(super) fn outbound(message: Message) -> Result<OutboundMessage> {
    let headers = if message.headers.is_empty() { None } else { Some(outbound_headers(message.headers)?) };
    Ok(OutboundMessage {
        subject: message.subject.as_str().into(),
        reply: message.reply.map(|reply| reply.as_str().into()),
        payload: message.payload,
        headers,
    })
}

fn outbound_headers(headers: Headers) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let malformed = || Error::new(ErrorKind::Malformed, format!("header {name:?} is not valid"));
        let key: async_nats::HeaderName = name.parse().map_err(|_error| malformed())?;
        let value: async_nats::HeaderValue = value.parse().map_err(|_error| malformed())?;
        map.append(key, value);
    }
    Ok(map)
}

/// As we hand it on; `None` for what has a subject that we would not send ourselves.
pub(super) fn inbound(subscribed: &Subject, message: async_nats::Message) -> Option<Message> {
    let subject = if message.subject.as_str() == subscribed.as_str() {
        subscribed.clone()
    } else {
        Subject::from_wire(&message.subject).ok()?
    };
    let reply = message.reply.map(|reply| Subject::from_wire(&reply)).transpose().ok()?;
    let headers = message.headers.as_ref().map(inbound_headers).unwrap_or_default();
    let is_unheard = message.status == Some(async_nats::StatusCode::NO_RESPONDERS);
    let status = is_unheard.then_some(Status::NoResponders);
    Some(Message { subject, reply, headers, payload: message.payload, status })
}

/// The client keeps values of one name in order, names in none: they are sorted, so that the result is determined.
fn inbound_headers(map: &HeaderMap) -> Headers {
    let mut headers: Headers = map
        .iter()
        .flat_map(|(name, values)| values.iter().map(|value| (name.to_string(), value.as_str().to_owned())))
        .collect();
    headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    headers
}
