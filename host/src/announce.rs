//! What the host tells the lattice by itself: events of lattice v1, in the order in which things happened.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use trellis_lattice::id::{EntityId, HostId, LatticeName};
use trellis_lattice::identity::claims::ActorClaims;
use trellis_lattice::message::command::{ScaleComponent, StringMap};
use trellis_lattice::message::event::{CloudEvent, EventName};
use trellis_lattice::message::link::Link;
use trellis_lattice::subject;
use trellis_lattice::transport::{Message, SharedTransport};
use uuid::Uuid;

/// Events that wait to be sent; more are dropped with a warning, as the bus itself may drop them.
const QUEUE: usize = 1_024;
/// The longest that sending one may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes events in order, without making anyone wait. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Announcer {
    events: mpsc::Sender<Item>,
    _task: Arc<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
enum Item {
    Event(EventName, Value),
    Flush(tokio::sync::oneshot::Sender<()>),
}

impl Announcer {
    /// For `host` in `lattice`.
    pub(crate) fn new(transport: SharedTransport, lattice: LatticeName, host: HostId) -> Self {
        let (events, queue) = mpsc::channel(QUEUE);
        let task = tokio::spawn(publish(transport, lattice, host, queue));
        Self { events, _task: Arc::new(AbortOnDropHandle::new(task)) }
    }

    /// Publishes the event `name` after those before it.
    pub(crate) fn emit(&self, name: EventName, data: Value) {
        if self.events.try_send(Item::Event(name, data)).is_err() {
            tracing::warn!(event = %name, "event was dropped, too many wait to be sent");
        }
    }

    /// Waits until all events so far were sent, at most for a few seconds.
    pub(crate) async fn flush(&self) {
        let (done, sent) = tokio::sync::oneshot::channel();
        let flush = async {
            if self.events.send(Item::Flush(done)).await.is_ok() {
                // An error means that the task ended, and there is nothing left to wait for.
                let _ = sent.await;
            }
        };
        if tokio::time::timeout(SEND_TIMEOUT, flush).await.is_err() {
            tracing::warn!("events could not be sent in time");
        }
    }
}

async fn publish(transport: SharedTransport, lattice: LatticeName, host: HostId, mut queue: mpsc::Receiver<Item>) {
    while let Some(item) = queue.recv().await {
        let (name, data) = match item {
            Item::Event(name, data) => (name, data),
            Item::Flush(done) => {
                // Whoever waited may have left.
                let _ = done.send(());
                continue;
            }
        };
        let time = OffsetDateTime::now_utc().format(&Rfc3339).expect("the current time has an RFC 3339 form");
        let event = CloudEvent::new(name, host.clone(), Uuid::new_v4().to_string(), time, data);
        let payload = serde_json::to_vec(&event).expect("an event has a JSON form");
        let send = transport.publish(Message::new(subject::event(&lattice, name), payload));
        match tokio::time::timeout(SEND_TIMEOUT, send).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(event = %name, error = %error, "event was not sent"),
            Err(_) => tracing::warn!(event = %name, "event was not sent in time"),
        }
    }
}

/// The data of `component_scaled`; `max_instances` 0 means stopped.
pub(crate) fn scaled(host: &HostId, order: &ScaleComponent, claims: Option<&ActorClaims>) -> Value {
    let mut data = json!({
        "annotations": annotations(order.annotations.as_ref()),
        "host_id": host.as_str(),
        "image_ref": order.component_ref,
        "max_instances": order.count,
        "component_id": order.component_id.as_str(),
    });
    if let Some(claims) = claims {
        data["public_key"] = json!(claims.subject);
        data["claims"] = json!({
            "call_alias": claims.call_alias,
            "issuer": claims.issuer.as_str(),
            "name": claims.name,
            "revision": claims.revision.unwrap_or_default().to_string(),
            "tags": claims.tags,
            "version": claims.version,
            "expires_human": claims.expires_at.map_or_else(|| "never".to_owned(), moment),
            "not_before_human": claims.not_before.map_or_else(|| "immediately".to_owned(), moment),
        });
    }
    data
}

/// The data of `component_scale_failed`.
pub(crate) fn scale_failed(host: &HostId, order: &ScaleComponent, error: &str) -> Value {
    let mut data = scaled(host, order, None);
    data["error"] = json!(error);
    data
}

/// The data of `provider_started`.
pub(crate) fn provider_started(host: &HostId, id: &EntityId, reference: &str, notes: Option<&StringMap>) -> Value {
    json!({
        "host_id": host.as_str(),
        "image_ref": reference,
        "provider_id": id.as_str(),
        "annotations": annotations(notes),
    })
}

/// The data of `provider_start_failed`.
pub(crate) fn provider_start_failed(host: &HostId, id: &EntityId, reference: &str, error: &str) -> Value {
    json!({
        "provider_ref": reference,
        "provider_id": id.as_str(),
        "host_id": host.as_str(),
        "link_name": "default",
        "error": error,
    })
}

/// The data of `provider_stopped`.
pub(crate) fn provider_stopped(host: &HostId, id: &EntityId, notes: Option<&StringMap>, reason: &str) -> Value {
    json!({
        "host_id": host.as_str(),
        "provider_id": id.as_str(),
        "annotations": annotations(notes),
        "reason": reason,
        "instance_id": id.as_str(),
        "public_key": id.as_str(),
        "link_name": "default",
    })
}

/// The data of `linkdef_set`, and with `error` of `linkdef_set_failed`.
pub(crate) fn link_set(link: &Link, error: Option<&str>) -> Value {
    let mut data = serde_json::to_value(link).expect("a link has a JSON form");
    if let Some(error) = error {
        data["error"] = json!(error);
    }
    data
}

fn annotations(annotations: Option<&StringMap>) -> Value {
    json!(annotations.cloned().unwrap_or_default())
}

fn moment(unix_seconds: u64) -> String {
    let time = i64::try_from(unix_seconds).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| unix_seconds.to_string())
}
