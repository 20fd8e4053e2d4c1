//! Traits: which one it is, scalers and links. Those that lattice v1 lacks are in [`super::extension`].

use super::component::{configs, secrets};
use super::fields::{Fields, suggestion};
use super::scalar::{list, strings, text, texts, whole};
use super::{Reader, extension};
use crate::manifest::document::{Content, Node, shown};
use crate::manifest::scaler::{LinkEnd, LinkTarget, LinkTrait, Scaler, Spread, Trait};

/// How the properties of each trait are read.
type ReadTrait = fn(&mut Reader, &Node) -> Option<Trait>;

const TRAITS: [(&str, ReadTrait); 10] = [
    ("spreadscaler", |reader, node| scaler(reader, node, "a spreadscaler").map(Trait::SpreadScaler)),
    ("daemonscaler", |reader, node| scaler(reader, node, "a daemonscaler").map(Trait::DaemonScaler)),
    ("link", |reader, node| link(reader, node).map(|link| Trait::Link(Box::new(link)))),
    ("resources", |reader, node| extension::resources(reader, node).map(Trait::Resources)),
    ("readiness", |reader, node| extension::readiness(reader, node).map(Trait::Readiness)),
    ("antiaffinity", |reader, node| extension::anti_affinity(reader, node).map(Trait::AntiAffinity)),
    ("tolerations", |reader, node| extension::tolerations(reader, node).map(Trait::Tolerations)),
    ("rollout", |reader, node| extension::rollout(reader, node).map(Trait::Rollout)),
    ("resilience", |reader, node| extension::resilience(reader, node).map(Trait::Resilience)),
    ("routes", |reader, node| extension::routes(reader, node).map(Trait::Routes)),
];

/// A trait of a component.
pub(super) fn component_trait(reader: &mut Reader, node: &Node) -> Option<Trait> {
    let mut fields = Fields::of(reader, node, "a trait")?;
    let read = fields.required("type", which);
    let read_properties = |reader: &mut Reader, node: &Node| read.and_then(|read| read(reader, node));
    let found = fields.required("properties", read_properties);
    fields.end();
    found
}

fn which(reader: &mut Reader, node: &Node) -> Option<ReadTrait> {
    let name = text(reader, node)?;
    let found = TRAITS.iter().find(|(known, _)| *known == name).map(|(_, read)| *read);
    if found.is_none() {
        let known = TRAITS.map(|(known, _)| known);
        let help = suggestion(&name, &known);
        reader.note(node.place, format!("there is no trait `{}`", shown(&name)), help);
    }
    found
}

fn scaler(reader: &mut Reader, node: &Node, what: &'static str) -> Option<Scaler> {
    let mut fields = Fields::of(reader, node, what)?;
    let key = fields.either("instances", "replicas");
    let instances = fields.required(key, whole).unwrap_or(1);
    let spread = fields.optional("spread", |reader, node| list(reader, node, spread)).unwrap_or_default();
    fields.end();
    Some(Scaler { instances, spread })
}

fn spread(reader: &mut Reader, node: &Node) -> Option<Spread> {
    let mut fields = Fields::of(reader, node, "a spread")?;
    let name = fields.required("name", text).unwrap_or_default();
    let requirements = fields.optional("requirements", strings).unwrap_or_default();
    let weight = fields.optional("weight", whole);
    fields.end();
    Some(Spread { name, requirements, weight })
}

fn link(reader: &mut Reader, node: &Node) -> Option<LinkTrait> {
    let mut fields = Fields::of(reader, node, "a link")?;
    let namespace = fields.required("namespace", text).unwrap_or_default();
    let package = fields.required("package", text).unwrap_or_default();
    let interfaces = fields.required("interfaces", texts).unwrap_or_default();
    let name = fields.optional("name", text);
    let source = fields.optional("source", link_end);
    let target = fields.required("target", link_target).unwrap_or(LinkTarget::Name(String::new()));
    let source_config = fields.optional("source_config", configs).unwrap_or_default();
    let target_config = fields.optional("target_config", configs).unwrap_or_default();
    fields.end();
    Some(LinkTrait { namespace, package, interfaces, name, source, target, source_config, target_config })
}

fn link_end(reader: &mut Reader, node: &Node) -> Option<LinkEnd> {
    let mut fields = Fields::of(reader, node, "a link's source")?;
    let config = fields.optional("config", configs).unwrap_or_default();
    let secrets = fields.optional("secrets", secrets).unwrap_or_default();
    fields.end();
    Some(LinkEnd { config, secrets })
}

fn link_target(reader: &mut Reader, node: &Node) -> Option<LinkTarget> {
    if let Content::Text(name) = &node.content {
        return Some(LinkTarget::Name(name.to_string()));
    }
    let mut fields = Fields::of(reader, node, "a link's target")?;
    let name = fields.required("name", text).unwrap_or_default();
    let config = fields.optional("config", configs).unwrap_or_default();
    let secrets = fields.optional("secrets", secrets).unwrap_or_default();
    fields.end();
    Some(LinkTarget::End { name, config, secrets })
}
