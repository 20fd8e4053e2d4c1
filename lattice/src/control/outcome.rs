//! What came of a command: the event of its host that is about its subject.

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, ErrorKind, Result};
use crate::id::{EntityId, HostId, LatticeName};
use crate::message::event::{CloudEvent, EventName};
use crate::subject;
use crate::transport::{SharedTransport, Subscription};

/// The event that a command ends with.
#[derive(Debug)]
pub(super) struct Awaited {
    success: EventName,
    failure: Option<EventName>,
    /// Members of the event's data by which it is recognised; `success` must have all, `failure` the first.
    about: Vec<(&'static str, Value)>,
}

impl Awaited {
    pub(super) fn scaled(component: &EntityId, count: u32) -> Self {
        // On first start a host says twice that it scaled: the number tells the next command's event from that.
        let about = vec![("component_id", component.as_str().into()), ("max_instances", count.into())];
        Self { success: EventName::ComponentScaled, failure: Some(EventName::ComponentScaleFailed), about }
    }

    pub(super) fn updated(component: &EntityId, reference: &str) -> Self {
        let about = vec![("component_id", component.as_str().into()), ("image_ref", reference.into())];
        Self { success: EventName::ComponentScaled, failure: Some(EventName::ComponentScaleFailed), about }
    }

    pub(super) fn provider_started(provider: &EntityId) -> Self {
        let about = vec![("provider_id", provider.as_str().into())];
        Self { success: EventName::ProviderStarted, failure: Some(EventName::ProviderStartFailed), about }
    }

    pub(super) fn provider_stopped(provider: &EntityId) -> Self {
        let about = vec![("provider_id", provider.as_str().into())];
        Self { success: EventName::ProviderStopped, failure: None, about }
    }

    pub(super) fn host_stopped() -> Self {
        Self { success: EventName::HostStopped, failure: None, about: Vec::new() }
    }

    /// Whether `event` of `host` is the one, and how it went; `None` for any other event.
    fn judge(&self, event: &CloudEvent, host: &HostId) -> Option<Result<()>> {
        if event.source != *host {
            return None;
        }
        let has = |(member, value): &(&str, Value)| event.data.get(member) == Some(value);
        if event.name() == self.success.as_str() && self.about.iter().all(has) {
            return Some(Ok(()));
        }
        let failure = self.failure?;
        if event.name() != failure.as_str() || !self.about.first().is_some_and(has) {
            return None;
        }
        let why = event.data.get("error").and_then(Value::as_str).unwrap_or("it does not say why");
        Some(Err(Error::new(ErrorKind::Refused, format!("{} on host {host}: {why}", self.what()))))
    }

    /// For people, after what did not happen.
    fn what(&self) -> String {
        let about = self.about.first().and_then(|(_, value)| value.as_str()).unwrap_or_default();
        match self.success {
            EventName::ComponentScaled => format!("actor {about} could not be scaled"),
            EventName::ProviderStarted => format!("provider {about} could not be started"),
            EventName::ProviderStopped => format!("provider {about} was not stopped"),
            _ => "the host did not stop".to_owned(),
        }
    }
}

/// The events of a lattice, from before a command is sent.
pub(super) struct Outcomes(Subscription);

impl Outcomes {
    pub(super) async fn listen(transport: &SharedTransport, lattice: &LatticeName) -> Result<Self> {
        let events = transport.subscribe(subject::events(lattice), None).await?;
        transport.flush().await?;
        Ok(Self(events))
    }

    /// Waits for the event that `awaited` describes.
    ///
    /// # Errors
    /// `Refused` when the host says that it failed, `Timeout` when it says nothing for `patience`.
    pub(super) async fn wait_for(mut self, awaited: &Awaited, host: &HostId, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        loop {
            let message = match timeout_at(until, self.0.next()).await {
                Ok(Some(message)) => message,
                Ok(None) => {
                    let text = format!("the connection closed before host {host} said what came of it");
                    return Err(Error::new(ErrorKind::Disconnected, text));
                }
                Err(_elapsed) => {
                    let text = format!(
                        "{} on host {host} within {} s: it took the command and goes on with it; its log says more",
                        awaited.what(),
                        patience.as_secs()
                    );
                    return Err(Error::new(ErrorKind::Timeout, text));
                }
            };
            let Ok(event) = serde_json::from_slice::<CloudEvent>(&message.payload) else { continue };
            if let Some(outcome) = awaited.judge(&event, host) {
                return outcome;
            }
        }
    }
}
