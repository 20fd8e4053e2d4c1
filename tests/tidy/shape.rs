//! Rules about the shape of files and functions, and what may not be left in them.

use crate::source::{Finding, Source, read, report, sources};

/// Lines of a file without its tests stay below this.
const FILE_LINES: usize = 400;
/// Lines of code of a function stay below this.
const FUNCTION_LINES: usize = 60;
/// Lines of code of the example of a provider stay below this.
const EXAMPLE_LINES: usize = 60;

/// Rule: a file has fewer than 400 lines without its tests.
#[test]
fn files_are_short() {
    report("files have fewer than 400 lines without tests", sources().iter().filter_map(long_file).collect());
}

fn long_file(source: &Source) -> Option<Finding> {
    let lines = (1..=source.lines.len()).filter(|line| !source.is_test(*line)).count();
    (lines >= FILE_LINES).then(|| Finding::new(&source.path, 1, format!("{lines} lines")))
}

/// Rule: a function has fewer than 60 lines of code.
#[test]
fn functions_are_short() {
    report("functions have fewer than 60 lines", sources().iter().flat_map(long_functions).collect());
}

fn long_functions(source: &Source) -> Vec<Finding> {
    let functions = source.shape.functions.iter().filter(|function| !source.is_test(function.first));
    let counted = functions.map(|function| (function, source.code_lines(function.first..=function.last)));
    let long = counted.filter(|(_, lines)| *lines >= FUNCTION_LINES);
    long.map(|(function, lines)| {
        Finding::new(&source.path, function.first, format!("{} has {lines} lines", function.name))
    })
    .collect()
}

/// Rule: the example of a provider is as short as the documents say.
#[test]
fn the_example_of_a_provider_is_short() {
    let example = "examples/providers/dice/src/main.rs";
    let source = sources().iter().find(|source| source.path == example).expect("the example is there");
    let lines = product_lines(source);
    let finding = (lines >= EXAMPLE_LINES).then(|| Finding::new(example, 1, format!("{lines} lines")));
    report("the example of a provider has fewer than 60 lines of code", finding.into_iter().collect());
}

/// Lines of code that are no test.
fn product_lines(source: &Source) -> usize {
    (1..=source.lines.len()).filter(|line| !source.is_test(*line)).map(|line| source.code_lines(line..=line)).sum()
}

/// Rule: a file begins with `//!`: what lives here, and what does not.
#[test]
fn modules_begin_with_what_lives_there() {
    let findings = sources().iter().filter(|source| !source.lines.first().is_some_and(|line| line.starts_with("//! ")));
    report(
        "a module begins with //!",
        findings.map(|source| Finding::new(&source.path, 1, "no //!".to_owned())).collect(),
    );
}

/// Rule: files are named after a concept.
#[test]
fn files_are_named_after_concepts() {
    let vague = ["helpers.rs", "helper.rs", "utils.rs", "util.rs", "common.rs", "misc.rs", "types.rs"];
    // Here types are the concept: those of functions in WIT.
    let exception = "host/src/runtime/value/types.rs";
    let is_vague = |source: &&Source| {
        source.path != exception && vague.iter().any(|name| source.path.ends_with(&format!("/{name}")))
    };
    let findings = sources().iter().filter(is_vague);
    report(
        "a file is named after a concept",
        findings.map(|source| Finding::new(&source.path, 1, "a vague name".to_owned())).collect(),
    );
}

/// Rule: every crate but host forbids unsafe code; host has one exception from the lint that denies it.
#[test]
fn unsafe_code_is_forbidden() {
    let mut findings = Vec::new();
    for source in sources() {
        // By its text: what lies in `tests/` counts as tests, whose tokens are not looked at.
        let is_forbidden = read(&source.path).contains("#![forbid(unsafe_code)]");
        if is_crate_root(&source.path) && !is_forbidden {
            findings.push(Finding::new(&source.path, 1, "#![forbid(unsafe_code)] is missing".to_owned()));
        }
        let exceptions = usize::from(source.path == "host/src/runtime/precompiled.rs");
        let allowed = ["allow", "expect"].iter().flat_map(|level| source.sequences(&[level, "(", "unsafe_code"]));
        let excess = allowed.skip(exceptions);
        findings.extend(excess.map(|line| Finding::new(&source.path, line, "unsafe code is allowed".to_owned())));
    }
    report("#![forbid(unsafe_code)] stands in every crate but host, which has one exception", findings);
}

/// Rule: a lint's exception is `#[expect(lint, reason = "…")]`.
#[test]
fn exceptions_have_reasons() {
    report("an exception is #[expect(lint, reason = \"…\")]", sources().iter().flat_map(bare_exceptions).collect());
}

fn bare_exceptions(source: &Source) -> Vec<Finding> {
    let attributes = source.shape.attributes.iter();
    let bare = attributes.filter(|attribute| {
        attribute.name == "allow" || (attribute.name == "expect" && !attribute.tokens.contains("reason"))
    });
    bare.map(|attribute| Finding::new(&source.path, attribute.line, format!("#[{}] without a reason", attribute.name)))
        .collect()
}

/// Rule: a test is run or removed, never ignored.
#[test]
fn no_test_is_ignored() {
    let findings = sources().iter().flat_map(|source| {
        let ignored = source.shape.attributes.iter().filter(|attribute| attribute.name == "ignore");
        ignored.map(|attribute| Finding::new(&source.path, attribute.line, "#[ignore]".to_owned()))
    });
    report("no test is ignored", findings.collect());
}

/// Rule: nothing is left for later in the code: no notes, no unfinished functions, no empty modules.
#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let words = [["TO", "DO"], ["FIX", "ME"], ["todo", "!("], ["unimplemented", "!("], ["//! To", " come"]]
        .map(|parts| parts.concat());
    let mut findings = Vec::new();
    for source in sources() {
        for (line, text) in (1..).zip(&source.lines) {
            if let Some(word) = words.iter().find(|word| text.contains(word.as_str())) {
                findings.push(Finding::new(&source.path, line, format!("{word} is left")));
            }
        }
    }
    report("nothing is left for later", findings);
}

fn is_crate_root(path: &str) -> bool {
    let is_root = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
    // wit-bindgen writes unsafe code into the actors; host is denied it by the workspace's lints, with one exception.
    is_root && !path.starts_with("examples/") && !path.starts_with("host/")
}

#[test]
fn rules_find_the_shapes_that_they_look_for() {
    let body = "    step();\n".repeat(FUNCTION_LINES);
    let source = Source::parse(
        "lattice/src/lib.rs",
        format!("//! A.\nfn long() {{\n{body}}}\n#[allow(dead_code)]\nfn short() {{}}\n"),
    );
    assert_eq!(long_functions(&source).len(), 1);
    assert_eq!(bare_exceptions(&source).len(), 1);
    let source = Source::parse("a.rs", format!("//! A.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(FILE_LINES)));
    assert!(long_file(&source).is_none());
    assert!(long_file(&Source::parse("a.rs", "//! A.\n".repeat(FILE_LINES))).is_some());
    let source = "//! A.\n\nfn a() {}\n// Why.\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
    assert_eq!(product_lines(&Source::parse("a.rs", source.to_owned())), 1);
}
