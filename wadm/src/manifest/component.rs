//! Components of an application: actors and providers, where they come from, their configs and secrets.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::manifest::scaler::Trait;

/// An actor or a provider.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Component {
    /// Its name in this application.
    pub name: String,
    /// Which of the two.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Where it comes from, its configs and secrets.
    pub properties: ImageProperties,
    /// How it is scaled and linked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub traits: Vec<Trait>,
}

/// Whether a component is an actor or a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Kind {
    /// A WebAssembly component.
    #[serde(rename = "component")]
    Actor,
    /// A capability provider.
    #[serde(rename = "capability")]
    Provider,
}

/// Properties of an actor or a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "RawProperties")]
pub struct ImageProperties {
    /// Where it comes from.
    pub source: Source,
    /// Its id in the lattice; made from the names when absent.
    pub id: Option<String>,
    /// Its configs.
    pub config: Vec<Config>,
    /// Its secrets.
    pub secrets: Vec<Secret>,
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, an OCI reference, or `builtin:<name>`.
    Image(String),
    /// A component of another application that shares it.
    Shared(SharedApplication),
}

/// A component of another application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SharedApplication {
    /// The application.
    pub name: String,
    /// The component in it.
    pub component: String,
}

/// A config; without properties it is managed elsewhere and must exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Its name in this application.
    pub name: String,
    /// Its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<BTreeMap<String, String>>,
}

/// A reference to a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Secret {
    /// The name under which it is read.
    pub name: String,
    /// Where it is.
    pub properties: SecretSource,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretSource {
    /// The policy that names the backend.
    pub policy: String,
    /// The key in the backend.
    pub key: String,
    /// A field of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// A version of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

#[derive(Serialize)]
struct RawProperties {
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<SharedApplication>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    config: Vec<Config>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<Secret>,
}

impl From<ImageProperties> for RawProperties {
    fn from(properties: ImageProperties) -> Self {
        let (image, application) = match properties.source {
            Source::Image(image) => (Some(image), None),
            Source::Shared(application) => (None, Some(application)),
        };
        Self { image, application, id: properties.id, config: properties.config, secrets: properties.secrets }
    }
}
