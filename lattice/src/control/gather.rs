//! One request, many answers: all that come until it is quiet.

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::Patience;
use crate::error::Result;
use crate::subject::{self, Subject};
use crate::transport::{Message, SharedTransport};

/// More answers than this are not waited for.
const MAX_REPLIES: usize = 10_000;

/// Publishes `request` and collects the answers: none if nobody listens, else until `patience.gather` is over or
/// `patience.quiet` has passed since the last one.
pub(super) async fn replies(
    transport: &SharedTransport,
    subject: Subject,
    request: Bytes,
    patience: Patience,
) -> Result<Vec<Bytes>> {
    let inbox = subject::one_time_inbox(rand::random());
    let mut answers = transport.subscribe(inbox.clone(), None).await?;
    transport.publish(Message::new(subject, request).with_reply(inbox)).await?;
    let end = Instant::now() + patience.gather;
    let mut until = end;
    let mut replies = Vec::new();
    while replies.len() < MAX_REPLIES {
        let Ok(Some(answer)) = timeout_at(until, answers.next()).await else { break };
        if answer.status.is_some() {
            break;
        }
        replies.push(answer.payload);
        until = end.min(Instant::now() + patience.quiet);
    }
    Ok(replies)
}
