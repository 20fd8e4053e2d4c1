//! What hosts tell by events: that something happened, and why something did not. Never what is.

use serde_json::Value;
use trellis_lattice::id::{EntityId, HostId};
use trellis_lattice::message::event::{CloudEvent, EventName};

/// An event of a host, as far as it matters here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) host: HostId,
    pub(crate) news: News,
}

/// What it says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum News {
    /// An actor runs with that many instances at most; 0 when it was stopped.
    Scaled { actor: EntityId, count: u32 },
    /// An actor could not be scaled.
    ScaleFailed { actor: EntityId, reason: String },
    /// A provider runs.
    ProviderStarted(EntityId),
    /// A provider could not be started.
    ProviderFailed { provider: EntityId, reason: String },
    /// A provider was stopped.
    ProviderStopped(EntityId),
    /// Something else: worth asking the host what it runs.
    Other,
}

impl Told {
    /// Reads an event; `None` when it is none, or says nothing that could matter.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let event: CloudEvent = serde_json::from_slice(payload).ok()?;
        let news = news(event.name(), &event.data)?;
        Some(Self { host: event.source, news })
    }
}

fn news(name: &str, data: &Value) -> Option<News> {
    let is = |candidate: EventName| candidate.as_str() == name;
    let id = |member: &str| EntityId::parse(data.get(member)?.as_str()?).ok();
    let reason = || {
        let text = data.get("error").and_then(Value::as_str).unwrap_or("the host does not say why");
        text.chars().take(MAX_REASON).collect::<String>()
    };
    Some(if is(EventName::ComponentScaled) {
        let count = u32::try_from(data.get("max_instances")?.as_u64()?).ok()?;
        News::Scaled { actor: id("component_id")?, count }
    } else if is(EventName::ComponentScaleFailed) {
        News::ScaleFailed { actor: id("component_id")?, reason: reason() }
    } else if is(EventName::ProviderStarted) {
        News::ProviderStarted(id("provider_id")?)
    } else if is(EventName::ProviderStartFailed) {
        News::ProviderFailed { provider: id("provider_id")?, reason: reason() }
    } else if is(EventName::ProviderStopped) {
        News::ProviderStopped(id("provider_id")?)
    } else if OTHERS.into_iter().any(is) {
        News::Other
    } else {
        return None;
    })
}

/// After these it is worth asking.
const OTHERS: [EventName; 7] = [
    EventName::LabelsChanged,
    EventName::HealthCheckPassed,
    EventName::HealthCheckFailed,
    EventName::LinkdefSet,
    EventName::LinkdefSetFailed,
    EventName::ProviderLinksChanged,
    EventName::ComponentReadinessChanged,
];

/// The longest reason that is kept, in characters.
const MAX_REASON: usize = 1_024;

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trellis_lattice::identity::key::{Key, KeyKind};
    use trellis_lattice::message::event::{CloudEvent, EventName};

    use super::{News, Told};

    fn check(name: EventName, data: serde_json::Value, expected: Option<&News>) {
        let host = Key::generate(KeyKind::Host).public().parse().expect("a host");
        let event = CloudEvent::new(name, host, String::new(), String::new(), data);
        let told = Told::parse(&serde_json::to_vec(&event).expect("JSON"));
        assert_eq!(told.map(|told| told.news).as_ref(), expected);
    }

    #[test]
    fn failures_are_told_with_their_reason_and_nonsense_is_not() {
        let actor = "a".parse().expect("valid");
        let failed = News::ScaleFailed { actor, reason: "not found".to_owned() };
        let data = json!({"component_id": "a", "error": "not found"});
        check(EventName::ComponentScaleFailed, data, Some(&failed));
        check(EventName::ComponentScaleFailed, json!({"component_id": "a.b"}), None);
        check(EventName::HostHeartbeat, json!({}), None);
        check(EventName::LabelsChanged, json!({}), Some(&News::Other));
        assert_eq!(Told::parse(b"x"), None);
    }
}
