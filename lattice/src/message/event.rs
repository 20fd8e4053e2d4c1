//! Events of lattice v1: CloudEvents 1.0 as structured JSON.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::HostId;

/// The 17 events of lattice v1, and two of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as lattice v1 names them")]
pub enum EventName {
    HostStarted,
    HostStopped,
    HostHeartbeat,
    ComponentScaled,
    ComponentScaleFailed,
    ProviderStarted,
    ProviderStartFailed,
    ProviderStopped,
    HealthCheckPassed,
    HealthCheckFailed,
    HealthCheckStatus,
    LinkdefSet,
    LinkdefSetFailed,
    LinkdefDeleted,
    ConfigSet,
    ConfigDeleted,
    LabelsChanged,
    /// Ours: links of a provider stand otherwise than before, which the host's inventory says.
    ProviderLinksChanged,
    /// Ours: an actor became ready or is not any more, which the host's inventory says.
    ComponentReadinessChanged,
}

impl EventName {
    /// As on the wire, without prefix.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HostStarted => "host_started",
            Self::HostStopped => "host_stopped",
            Self::HostHeartbeat => "host_heartbeat",
            Self::ComponentScaled => "component_scaled",
            Self::ComponentScaleFailed => "component_scale_failed",
            Self::ProviderStarted => "provider_started",
            Self::ProviderStartFailed => "provider_start_failed",
            Self::ProviderStopped => "provider_stopped",
            Self::HealthCheckPassed => "health_check_passed",
            Self::HealthCheckFailed => "health_check_failed",
            Self::HealthCheckStatus => "health_check_status",
            Self::LinkdefSet => "linkdef_set",
            Self::LinkdefSetFailed => "linkdef_set_failed",
            Self::LinkdefDeleted => "linkdef_deleted",
            Self::ConfigSet => "config_set",
            Self::ConfigDeleted => "config_deleted",
            Self::LabelsChanged => "labels_changed",
            Self::ProviderLinksChanged => "provider_links_changed",
            Self::ComponentReadinessChanged => "component_readiness_changed",
        }
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An event as it is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloudEvent {
    /// A UUID.
    pub id: String,
    /// `1.0`.
    pub specversion: String,
    /// `com.wasmcloud.lattice.<name>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The host that says so.
    pub source: HostId,
    /// `application/json`.
    pub datacontenttype: String,
    /// RFC 3339.
    pub time: String,
    /// What happened; its shape depends on the name.
    pub data: Value,
}

impl CloudEvent {
    /// The event `name` of `source` at `time` (RFC 3339) with `id` (a UUID).
    pub fn new(name: EventName, source: HostId, id: String, time: String, data: Value) -> Self {
        Self {
            id,
            specversion: "1.0".to_owned(),
            kind: format!("com.wasmcloud.lattice.{name}"),
            source,
            datacontenttype: "application/json".to_owned(),
            time,
            data,
        }
    }

    /// The name without its prefix.
    pub fn name(&self) -> &str {
        self.kind.strip_prefix("com.wasmcloud.lattice.").unwrap_or(&self.kind)
    }
}
