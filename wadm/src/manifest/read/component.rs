//! Components, their configs and secrets.

use super::Reader;
use super::fields::Fields;
use super::scalar::{list, strings, text, word};
use super::traits::component_trait;
use crate::manifest::component::{
    Component, Config, ImageProperties, Kind, Secret, SecretSource, SharedApplication, Source,
};
use crate::manifest::document::Node;

/// An actor or a provider.
pub(super) fn component(reader: &mut Reader, node: &Node) -> Option<Component> {
    let mut fields = Fields::of(reader, node, "a component")?;
    let name = fields.required("name", text).unwrap_or_default();
    let kinds = [("component", Kind::Actor), ("actor", Kind::Actor), ("capability", Kind::Provider)];
    let kind = fields.required("type", |reader, node| word(reader, node, &kinds)).unwrap_or(Kind::Actor);
    let properties = fields.required("properties", properties).unwrap_or_else(|| ImageProperties {
        source: Source::Image(String::new()),
        id: None,
        config: Vec::new(),
        secrets: Vec::new(),
    });
    let traits = fields.optional("traits", |reader, node| list(reader, node, component_trait)).unwrap_or_default();
    fields.end();
    Some(Component { name, kind, properties, traits })
}

fn properties(reader: &mut Reader, node: &Node) -> Option<ImageProperties> {
    let mut fields = Fields::of(reader, node, "properties")?;
    let image = fields.optional("image", text);
    let application = fields.optional("application", shared_application);
    if fields.has("image") == fields.has("application") {
        fields.note("properties need either `image` or `application`, not both and not none", "");
    }
    let id = fields.optional("id", text);
    let config = fields.optional("config", configs).unwrap_or_default();
    let secrets = fields.optional("secrets", secrets).unwrap_or_default();
    fields.end();
    let source = application.map_or_else(|| Source::Image(image.unwrap_or_default()), Source::Shared);
    Some(ImageProperties { source, id, config, secrets })
}

fn shared_application(reader: &mut Reader, node: &Node) -> Option<SharedApplication> {
    let mut fields = Fields::of(reader, node, "an application")?;
    let name = fields.required("name", text).unwrap_or_default();
    let component = fields.required("component", text).unwrap_or_default();
    fields.end();
    Some(SharedApplication { name, component })
}

/// A list of configs.
pub(super) fn configs(reader: &mut Reader, node: &Node) -> Option<Vec<Config>> {
    list(reader, node, |reader, node| {
        let mut fields = Fields::of(reader, node, "a config")?;
        let name = fields.required("name", text).unwrap_or_default();
        let properties = fields.optional("properties", strings);
        fields.end();
        Some(Config { name, properties })
    })
}

/// A list of secrets.
pub(super) fn secrets(reader: &mut Reader, node: &Node) -> Option<Vec<Secret>> {
    list(reader, node, |reader, node| {
        let mut fields = Fields::of(reader, node, "a secret")?;
        let name = fields.required("name", text).unwrap_or_default();
        let properties = fields.required("properties", secret_source);
        fields.end();
        let nowhere = SecretSource { policy: String::new(), key: String::new(), field: None, version: None };
        Some(Secret { name, properties: properties.unwrap_or(nowhere) })
    })
}

fn secret_source(reader: &mut Reader, node: &Node) -> Option<SecretSource> {
    let mut fields = Fields::of(reader, node, "a secret's properties")?;
    let policy = fields.required("policy", text).unwrap_or_default();
    let key = fields.required("key", text).unwrap_or_default();
    let field = fields.optional("field", text);
    let version = fields.optional("version", text);
    fields.end();
    Some(SecretSource { policy, key, field, version })
}
