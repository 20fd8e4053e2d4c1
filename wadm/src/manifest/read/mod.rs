//! From a tree of values to a [`Manifest`]: every key is known, every value has the right type.
//!
//! What is wrong is noted, and something harmless put in its place, so that one reading finds all problems. What the
//! values mean together is [`super::validate`]'s.

mod component;
mod extension;
mod fields;
mod scalar;
mod traits;

use self::component::component;
use self::fields::Fields;
pub(super) use self::fields::suggestion;
use self::scalar::{list, strings, text};
use super::document::{Content, Document, Node, shown};
use super::model::{ApiVersion, Application, ApplicationKind, Manifest, Metadata, Policy};
use super::problem::{Place, Problem};

/// What was read, and what was wrong.
pub(super) struct Reading {
    /// Complete if there are no problems.
    pub(super) manifest: Manifest,
    pub(super) problems: Vec<Problem>,
    /// Elements of lists that are missing in `manifest` because they could not be read: where the list begins, and
    /// the index.
    pub(super) skipped: Vec<(Place, usize)>,
}

/// Reads `document`.
pub(super) fn manifest(document: &Document) -> Reading {
    let mut reader = Reader { problems: document.problems.clone(), skipped: Vec::new() };
    let manifest = top(&mut reader, &document.root);
    Reading { manifest, problems: reader.problems, skipped: reader.skipped }
}

/// Notes what is wrong.
struct Reader {
    problems: Vec<Problem>,
    skipped: Vec<(Place, usize)>,
}

impl Reader {
    fn note(&mut self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem { place, message: message.into(), help: help.into() });
    }

    fn expected(&mut self, node: &Node, what: &str) {
        self.note(node.place, format!("expected {what}, found {}", node.kind()), "");
    }
}

fn top(reader: &mut Reader, node: &Node) -> Manifest {
    let nothing = Metadata { name: String::new(), annotations: [].into(), labels: [].into() };
    let no_application = Application { components: Vec::new(), policies: Vec::new() };
    let (api_version, kind) = (ApiVersion::V1Beta1, ApplicationKind::Application);
    let Some(mut fields) = Fields::of(reader, node, "a manifest") else {
        return Manifest { api_version, kind, metadata: nothing, spec: no_application };
    };
    fields.required("apiVersion", |reader, node| constant(reader, node, "core.oam.dev/v1beta1"));
    fields.required("kind", |reader, node| constant(reader, node, "Application"));
    let metadata = fields.required("metadata", metadata).unwrap_or(nothing);
    let spec = fields.required("spec", application).unwrap_or(no_application);
    fields.end();
    Manifest { api_version, kind, metadata, spec }
}

fn constant(reader: &mut Reader, node: &Node, wanted: &'static str) -> Option<()> {
    match &node.content {
        Content::Text(text) if &**text == wanted => Some(()),
        Content::Text(text) => {
            reader.note(node.place, format!("`{}` is not supported", shown(text)), format!("write `{wanted}`"));
            None
        }
        _ => {
            reader.expected(node, &format!("`{wanted}`"));
            None
        }
    }
}

fn metadata(reader: &mut Reader, node: &Node) -> Option<Metadata> {
    let mut fields = Fields::of(reader, node, "metadata")?;
    let name = fields.required("name", text).unwrap_or_default();
    // A manifest that lattice v1 writes again has no empty map here.
    let annotations = fields.optional("annotations", strings).unwrap_or_default();
    let labels = fields.optional("labels", strings).unwrap_or_default();
    fields.end();
    Some(Metadata { name, annotations, labels })
}

fn application(reader: &mut Reader, node: &Node) -> Option<Application> {
    let mut fields = Fields::of(reader, node, "spec")?;
    let components = fields.required("components", |reader, node| list(reader, node, component)).unwrap_or_default();
    let policies = fields.optional("policies", |reader, node| list(reader, node, policy)).unwrap_or_default();
    fields.end();
    Some(Application { components, policies })
}

fn policy(reader: &mut Reader, node: &Node) -> Option<Policy> {
    let mut fields = Fields::of(reader, node, "a policy")?;
    let name = fields.required("name", text).unwrap_or_default();
    let kind = fields.required("type", text).unwrap_or_default();
    let properties = fields.required("properties", strings).unwrap_or_default();
    fields.end();
    Some(Policy { name, kind, properties })
}
