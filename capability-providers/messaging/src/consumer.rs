//! What an actor sends over its link.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use trellis_interfaces::messaging::{BrokerMessage, Publish, Request, function};
use trellis_provider_sdk::wire::{decode, encode};
use trellis_provider_sdk::{Args, CallError, Head};

use crate::broker::{Broker, Refusal};
use crate::config::ConsumerConfig;
use crate::subject;

/// A link by which an actor sends.
pub(crate) struct Consumer {
    /// Where to.
    pub(crate) broker: Arc<dyn Broker>,
    /// Within what.
    pub(crate) config: ConsumerConfig,
}

impl Consumer {
    /// Carries out one call.
    pub(crate) async fn call(&self, head: &Head, args: &Args) -> Result<Args, CallError> {
        match &*head.function {
            function::PUBLISH => {
                let Publish { message } = decode(args)?;
                encode(&self.publish(head, message).await?.map_err(|refusal| refusal.to_string()))
            }
            function::REQUEST => {
                let request = decode(args)?;
                encode(&self.request(head, request).await?.map_err(|refusal| refusal.to_string()))
            }
            other => Err(CallError::contract(format!("{other} is not a function of wasmcloud:messaging/consumer"))),
        }
    }

    async fn publish(&self, head: &Head, message: BrokerMessage) -> Result<Result<(), Refusal>, CallError> {
        let answers_go = message.reply_to.as_deref().map_or(Ok(()), subject::check);
        if let Err(refusal) = answers_go.map_err(Refusal).and_then(|()| self.may_send_to(&message.subject)) {
            return Ok(Err(refusal));
        }
        let (deadline, patience) = (head.context.deadline, self.config.patience);
        let until = deadline.min(Instant::now() + patience);
        let sent = self.broker.publish(&message, head.id, until);
        within(deadline, patience, sent, "the broker did not take the message").await
    }

    async fn request(&self, head: &Head, request: Request) -> Result<Result<BrokerMessage, Refusal>, CallError> {
        if let Err(refusal) = self.may_send_to(&request.subject) {
            return Ok(Err(refusal));
        }
        let patience = Duration::from_millis(request.timeout_ms.into());
        let answered = self.broker.request(request.subject, request.body);
        within(head.context.deadline, patience, answered, "nobody answered the request").await
    }

    fn may_send_to(&self, subject: &str) -> Result<(), Refusal> {
        subject::check(subject).map_err(Refusal)?;
        let is_granted = match &self.config.publish {
            None => true,
            // Where an answer goes is said by the one who asked.
            Some(patterns) => subject::is_inbox(subject) || patterns.iter().any(|pattern| pattern.matches(subject)),
        };
        if is_granted {
            return Ok(());
        }
        Err(Refusal(format!("subject {subject:?} is not among those that the link's config key \"publish\" allows")))
    }
}

/// The caller's deadline ends the call, its patience ends the attempt.
async fn within<T>(
    deadline: Instant,
    patience: Duration,
    work: impl Future<Output = Result<T, Refusal>>,
    what: &str,
) -> Result<Result<T, Refusal>, CallError> {
    match timeout_at(deadline.min(Instant::now() + patience), work).await {
        Ok(result) => Ok(result),
        Err(_) if Instant::now() >= deadline => Err(CallError::deadline(format!("{what} in time"))),
        Err(_) => Ok(Err(Refusal(format!("{what} within {patience:?}")))),
    }
}
