//! Reads the repository for the house rules: its files, and its Rust files as lines, tokens and shape.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A place where a rule is broken.
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    text: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, text: String) -> Self {
        Self { path: path.to_owned(), line, text }
    }
}

pub(crate) fn report(rule: &str, findings: Vec<Finding>) {
    let lines: Vec<String> =
        findings.iter().map(|finding| format!("{}:{}: {}", finding.path, finding.line, finding.text)).collect();
    assert!(lines.is_empty(), "rule: {rule}\n{}", lines.join("\n"));
}

/// One Rust file, as text, as tokens and as far as its shape matters here.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) lines: Vec<String>,
    pub(crate) tokens: Vec<(usize, String)>,
    pub(crate) shape: Shape,
}

impl Source {
    pub(crate) fn parse(path: &str, text: String) -> Self {
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path} is not Rust: {error}"));
        let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path} has no tokens: {error}"));
        let mut shape = Shape::default();
        shape.visit_file(&parsed);
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        Self { path: path.to_owned(), lines: text.lines().map(str::to_owned).collect(), tokens, shape }
    }

    pub(crate) fn is_test(&self, line: usize) -> bool {
        is_test_file(&self.path) || self.shape.tests.iter().any(|range| range.contains(&line))
    }

    /// Where a name stands outside tests and comments.
    pub(crate) fn naming<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Finding> + 'a {
        let found = self.tokens.iter().filter(move |(line, token)| token == name && !self.is_test(*line));
        found.map(move |(line, _)| Finding::new(&self.path, *line, format!("{name} is named")))
    }

    /// The lines where these tokens follow each other outside tests.
    pub(crate) fn sequences(&self, wanted: &[&str]) -> Vec<usize> {
        let windows = self.tokens.windows(wanted.len());
        let found = windows.filter(|window| window.iter().zip(wanted).all(|((_, have), want)| have == want));
        found.map(|window| window[0].0).filter(|line| !self.is_test(*line)).collect()
    }

    /// String literals outside tests and comments, without their quotes.
    pub(crate) fn literals(&self) -> impl Iterator<Item = (usize, &str)> {
        let literals = self.tokens.iter().filter(|(line, token)| token.starts_with('"') && !self.is_test(*line));
        literals.map(|(line, token)| (*line, token.trim_matches('"')))
    }

    /// Lines that are not blank and not a comment only.
    pub(crate) fn code_lines(&self, range: RangeInclusive<usize>) -> usize {
        let lines = range.filter_map(|line| self.lines.get(line - 1)).map(|line| line.trim());
        lines.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
    }
}

/// Lines of tests, functions and attributes of a file.
#[derive(Default)]
pub(crate) struct Shape {
    tests: Vec<RangeInclusive<usize>>,
    pub(crate) functions: Vec<Function>,
    pub(crate) attributes: Vec<Attribute>,
}

pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) tokens: String,
    pub(crate) line: usize,
}

impl Shape {
    fn function(&mut self, attributes: &[syn::Attribute], signature: &syn::Signature, block: &syn::Block) {
        let (first, last) = (signature.fn_token.span.start().line, block.brace_token.span.close().end().line);
        self.note_test(attributes, last);
        self.functions.push(Function { name: signature.ident.to_string(), first, last });
    }

    /// Remembers lines that belong to tests: from the attribute that says so to the item's end.
    fn note_test(&mut self, attributes: &[syn::Attribute], last: usize) {
        if let Some(attribute) = attributes.iter().find(|attribute| is_test_attribute(attribute)) {
            self.tests.push(attribute.pound_token.span.start().line..=last);
        }
    }
}

impl<'ast> Visit<'ast> for Shape {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.attrs, &item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if let Some((brace, _)) = &item.content {
            self.note_test(&item.attrs, brace.span.close().end().line);
        }
        visit::visit_item_mod(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.note_test(&item.attrs, item.brace_token.span.close().end().line);
        visit::visit_item_impl(self, item);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let name = attribute.path().segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        let tokens = match &attribute.meta {
            syn::Meta::List(list) => list.tokens.to_string(),
            _ => String::new(),
        };
        self.attributes.push(Attribute { name, tokens, line: attribute.pound_token.span.start().line });
    }
}

fn is_test_attribute(attribute: &syn::Attribute) -> bool {
    let is_cfg_test = attribute.path().is_ident("cfg")
        && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test");
    is_cfg_test || attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
}

/// All tokens with their lines; the brackets are tokens, doc comments are none.
fn flatten(stream: TokenStream, into: &mut Vec<(usize, String)>) {
    for tree in stream {
        let line = tree.span().start().line;
        let TokenTree::Group(group) = tree else {
            into.push((line, tree.to_string()));
            continue;
        };
        if group.stream().into_iter().next().is_some_and(|first| first.to_string() == "doc") {
            continue;
        }
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::None => ("", ""),
        };
        into.push((line, open.to_owned()));
        flatten(group.stream(), into);
        into.push((group.span_close().end().line, close.to_owned()));
    }
}

pub(crate) fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs")
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace")
}

/// Our files, relative to the root, without what is built and what others have written.
pub(crate) fn files() -> &'static [String] {
    static FILES: OnceLock<Vec<String>> = OnceLock::new();
    FILES.get_or_init(|| {
        let mut found = Vec::new();
        walk(root(), &mut found);
        let mut files: Vec<String> = found
            .iter()
            .map(|path| path.strip_prefix(root()).expect("it is below the root").display().to_string())
            .collect();
        files.sort();
        files
    })
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("the folder is readable").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_foreign = ["target", ".git", "node_modules"].contains(&name.as_str()) || path.ends_with("wit/deps");
        if path.is_dir() && !is_foreign {
            walk(&path, found);
        } else if path.is_file() && is_text(&name) {
            found.push(path);
        }
    }
}

fn is_text(name: &str) -> bool {
    [".rs", ".md", ".toml", ".lock", ".wit", ".json", ".yaml", ".yml", ".sh"]
        .iter()
        .any(|ending| name.ends_with(ending))
        || name == "run"
}

pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

pub(crate) fn sources() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(|| {
        files().iter().filter(|file| file.ends_with(".rs")).map(|file| Source::parse(file, read(file))).collect()
    })
}
