//! Whether what a manifest says makes sense: names that are unique and exist, numbers within bounds.
//!
//! Finds everything at once. A finding has a path; which place in the text that is, is [`super::parse`]'s.

mod component;
mod config;
mod link;
mod policy;
mod scaler;

use std::collections::BTreeSet;

use super::document::shown;
use super::model::{Manifest, Metadata};
use crate::intent::AppName;

const MAX_COMPONENTS: usize = 1_000;
const SHARED: &str = "experimental.wasmcloud.dev/shared";

/// Something that makes no sense.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) path: Path,
    pub(super) message: String,
    /// The way out.
    pub(super) help: String,
}

/// The way from the root of a manifest to a value.
#[derive(Debug, Clone, Default)]
pub(super) struct Path(pub(super) Vec<Step>);

/// A step down.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Of a map.
    Key(String),
    /// Of a list.
    Index(usize),
}

impl Path {
    fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

/// Everything that makes no sense in `manifest`.
pub(super) fn findings(manifest: &Manifest) -> Vec<Finding> {
    let mut check = Check { manifest, findings: Vec::new() };
    check.metadata(&manifest.metadata);
    check.policies();
    check.components();
    check.configs();
    check.findings
}

/// One examination of a manifest.
struct Check<'a> {
    manifest: &'a Manifest,
    findings: Vec<Finding>,
}

impl<'a> Check<'a> {
    fn note(&mut self, path: Path, message: impl Into<String>, help: impl Into<String>) {
        self.findings.push(Finding { path, message: message.into(), help: help.into() });
    }

    fn app(&self) -> &'a str {
        &self.manifest.metadata.name
    }

    /// Notes every name after the first that is the same.
    fn unique<'n>(&mut self, what: &str, names: impl Iterator<Item = (Path, &'n str)>) {
        let mut seen = BTreeSet::new();
        for (path, name) in names {
            if !seen.insert(name) {
                self.note(path, format!("{what} `{}` is there twice", shown(name)), "give each a name of its own");
            }
        }
    }

    fn metadata(&mut self, metadata: &Metadata) {
        let path = Path::default().key("metadata");
        if AppName::parse(&metadata.name).is_err() {
            let message = format!("application name `{}` is not valid", shown(&metadata.name));
            self.note(path.key("name"), message, "use 1 to 64 letters, digits, `-` and `_`");
        }
        self.labels(&path.key("labels"), metadata.labels.keys());
        self.labels(&path.key("annotations"), metadata.annotations.keys());
        let path = path.key("annotations");
        if let Some(version) = metadata.annotations.get("version") {
            self.version(path.key("version"), version);
        }
        if let Some(shared) = metadata.annotations.get(SHARED)
            && !matches!(shared.as_str(), "true" | "false")
        {
            self.note(
                path.key(SHARED),
                format!("`{}` says neither yes nor no", shown(shared)),
                r#"write "true" or "false""#,
            );
        }
    }

    fn version(&mut self, path: Path, version: &str) {
        if version == "latest" {
            let help = "it means the version that was put last; use another name";
            self.note(path, "no version can be called `latest`", help);
        } else if !is_version(version) {
            let message = format!("version `{}` is not valid", shown(version));
            self.note(path, message, "use 1 to 64 letters, digits, `.`, `-`, `_` and `+`");
        }
    }

    fn labels<'n>(&mut self, path: &Path, keys: impl Iterator<Item = &'n String>) {
        for key in keys.filter(|key| !is_label_key(key)) {
            let help = "use `name` or `domain/name` of letters, digits, `-`, `_` and `.`";
            self.note(path.key(key), format!("key `{}` is not valid", shown(key)), help);
        }
    }

    fn components(&mut self) {
        let path = Path::default().key("spec").key("components");
        let components = &self.manifest.spec.components;
        if components.is_empty() {
            self.note(path, "an application without components", "add at least one");
            return;
        }
        if components.len() > MAX_COMPONENTS {
            let message = format!("{} components are over {MAX_COMPONENTS}", components.len());
            self.note(path, message, "split the application");
            return;
        }
        let names = components.iter().enumerate();
        self.unique("component", names.map(|(i, component)| (path.index(i).key("name"), component.name.as_str())));
        for (i, component) in components.iter().enumerate() {
            self.component(&path.index(i), component);
        }
        self.entity_ids(&path);
        self.shares(&path);
    }
}

fn is_version(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_+".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// `name` or `domain/name`.
fn is_label_key(text: &str) -> bool {
    let is_part = |part: &str, longest: usize| {
        let is_edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        part.len() <= longest
            && is_edge(part.bytes().next())
            && is_edge(part.bytes().last())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    match text.split_once('/') {
        Some((domain, name)) => is_part(domain, 253) && is_part(name, 63),
        None => is_part(text, 63),
    }
}
