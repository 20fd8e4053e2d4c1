//! Rules about what the documents say.

use std::path::Path;

use crate::source::{Finding, files, read, report, root};

/// Rule: paths that the documents name exist.
#[test]
fn documents_name_files_that_exist() {
    let mut findings = Vec::new();
    for document in files().iter().filter(|file| file.ends_with(".md") && !file.contains("wit/")) {
        let folder = Path::new(document).parent().unwrap_or(Path::new(""));
        for (line, text) in (1..).zip(read(document).lines()) {
            for path in text.split('`').skip(1).step_by(2).filter(|text| is_path(text)) {
                if !root().join(path).exists() && !root().join(folder).join(path).exists() {
                    findings.push(Finding::new(document, line, format!("{path} does not exist")));
                }
            }
        }
    }
    report("paths that the documents name exist", findings);
}

/// Rule: the README of each provider, of the example and of the template says what happens in faults.
#[test]
fn providers_say_what_they_do_in_faults() {
    let folders = ["capability-providers/", "examples/providers/"];
    let overview = "capability-providers/README.md";
    let is_of_provider = |file: &&String| {
        *file != overview
            && file.ends_with("/README.md")
            && folders.iter().any(|folder| file.starts_with(folder))
            && !file.contains("/sdk/")
    };
    let template = "cli/templates/provider/README.md.template".to_owned();
    let documents: Vec<&String> = files().iter().filter(is_of_provider).chain([&template]).collect();
    assert!(documents.len() > 8, "the READMEs of providers are somewhere else now: {documents:?}");
    let silent = documents.iter().filter(|file| !read(file).contains("\n## Behaviour in faults\n"));
    report(
        "the README of a provider has a section \"Behaviour in faults\"",
        silent.map(|file| Finding::new(file, 1, "no such section".to_owned())).collect(),
    );
}

/// Rule: tests that the documents name exist.
#[test]
fn documents_name_tests_that_exist() {
    let sources: Vec<_> = files().iter().filter(|file| file.ends_with(".rs")).map(|file| read(file)).collect();
    let mut findings = Vec::new();
    for document in files().iter().filter(|file| file.ends_with(".md") && !file.contains("wit/")) {
        for (line, text) in (1..).zip(read(document).lines()) {
            for test in text.split('`').skip(1).step_by(2).filter_map(as_test) {
                let function = format!("fn {test}(");
                if !sources.iter().any(|source| source.contains(&function)) {
                    findings.push(Finding::new(document, line, format!("there is no test {test}")));
                }
            }
        }
    }
    report("tests that the documents name exist", findings);
}

/// The name of the test that a piece of code in a document is, if it is one: tests are called by sentences.
fn as_test(text: &str) -> Option<&str> {
    let name = text.rsplit("::").next()?;
    let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let words = name.split('_').count();
    (is_plain && (words > 5 || words > 2 && text.contains("::"))).then_some(name)
}

/// Whether a piece of code in a document is the path of one of our files.
fn is_path(text: &str) -> bool {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    is_plain && text.contains('/') && [".rs", ".md", ".toml", ".wit"].iter().any(|ending| text.ends_with(ending))
}

#[test]
fn paths_are_told_from_other_names() {
    assert!(is_path("lattice/src/id.rs") && !is_path("wasi:http/types") && !is_path("id.rs"));
}
