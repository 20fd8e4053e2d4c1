//! The manifest itself: header, metadata, policies.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::manifest::component::Component;

/// An application as its author writes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The one version there is.
    pub api_version: ApiVersion,
    /// The one kind there is.
    pub kind: ApplicationKind,
    /// Name and annotations.
    pub metadata: Metadata,
    /// What it is made of.
    pub spec: Application,
}

/// The version of the manifest's dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ApiVersion {
    /// OAM v1beta1.
    #[serde(rename = "core.oam.dev/v1beta1")]
    V1Beta1,
}

/// The kind of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ApplicationKind {
    /// An application.
    Application,
}

/// Name and annotations of an application.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metadata {
    /// Letters, digits, `-` and `_` only.
    pub name: String,
    /// `version`, `description` and `experimental.wasmcloud.dev/shared` have a meaning.
    pub annotations: BTreeMap<String, String>,
    /// For people.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What an application is made of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Application {
    /// Actors and providers.
    pub components: Vec<Component>,
    /// Where secrets come from, and how calls behave.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
}

/// The type of a policy that says where secrets come from.
pub(crate) const SECRET_POLICY: &str = "policy.secret.wasmcloud.dev/v1alpha1";

/// The type of a policy that says how calls over the links behave that name it; its properties are the keys of
/// [`trellis_lattice::policy::KEYS`].
pub(crate) const RESILIENCE_POLICY: &str = "policy.resilience.trellis.dev/v1alpha1";

/// A policy: where secrets come from, or how calls behave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// What secrets, or the trait `resilience`, refer to.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its settings.
    pub properties: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::Manifest;
    use crate::manifest::{Kind, LinkTarget, Trait};

    fn parse(text: &str) -> Result<Manifest, serde_json::Error> {
        serde_json::from_str(text)
    }

    const HELLO: &str = r#"{
        "apiVersion": "core.oam.dev/v1beta1", "kind": "Application",
        "metadata": { "name": "hello", "annotations": { "version": "v0.0.1" } },
        "spec": { "components": [
            { "name": "hello", "type": "actor", "properties": { "image": "file://hello.wasm" },
              "traits": [{ "type": "spreadscaler", "properties": { "replicas": 3 } }] },
            { "name": "httpserver", "type": "capability", "properties": { "image": "builtin:http-server" },
              "traits": [{ "type": "link", "properties": { "target": { "name": "hello" }, "namespace": "wasi",
                "package": "http", "interfaces": ["incoming-handler"],
                "source": { "config": [{ "name": "default-http", "properties": { "address": "0.0.0.0:8080" } }] } } }] }
        ] }
    }"#;

    #[test]
    fn a_manifest_of_wasmcloud_1_parses_with_its_aliases() {
        let manifest = parse(HELLO).expect("valid");
        let [actor, server] = &manifest.spec.components[..] else { panic!("two components") };
        assert_eq!(actor.kind, Kind::Actor);
        assert!(matches!(&actor.traits[..], [Trait::SpreadScaler(scaler)] if scaler.instances == 3));
        let [Trait::Link(link)] = &server.traits[..] else { panic!("a link") };
        assert!(matches!(&link.target, LinkTarget::End { name, .. } if name == "hello"));
    }

    #[test]
    fn what_is_written_parses_again() {
        let manifest = parse(HELLO).expect("valid");
        let text = serde_json::to_string(&manifest).expect("has a JSON form");
        assert_eq!(parse(&text).expect("valid"), manifest);
    }

    #[test]
    fn unknown_keys_and_a_wrong_version_are_refused_by_name() {
        let unknown = parse(&HELLO.replace(r#""kind": "Application","#, r#""kind": "Application", "sepc": 1,"#));
        assert!(unknown.expect_err("unknown key").to_string().contains("sepc"));
        let version = parse(&HELLO.replace("v1beta1", "v9"));
        assert!(version.expect_err("unknown version").to_string().contains("v9"));
    }

    #[test]
    fn an_image_and_a_shared_application_exclude_each_other() {
        let both = HELLO.replace(
            r#""image": "file://hello.wasm""#,
            r#""image": "x", "application": { "name": "a", "component": "b" }"#,
        );
        assert!(parse(&both).expect_err("both").to_string().contains("either `image` or `application`"));
    }
}
