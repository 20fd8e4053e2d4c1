//! Manifests as files: those in `manifests/good` are read, those in `manifests/bad` are refused with exactly the
//! problems that stand in the file of the same name that ends in `.expected`.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::{Just, ProptestConfig, any, prop, prop_oneof, proptest};
use proptest::strategy::Strategy;
use trellis_wadm::manifest::{Format, Manifest, Problems, parse};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(folder);
    let entries = fs::read_dir(&folder).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml" || extension == "json"));
    files.sort();
    assert!(!files.is_empty(), "manifests are in {}", folder.display());
    files
}

fn read(file: &Path) -> Result<Manifest, Problems> {
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    parse(&fs::read(file).expect("readable"), if is_json { Format::Json } else { Format::Unknown })
}

#[test]
fn bad_manifests_are_refused_with_all_their_problems() {
    let mut wrong = Vec::new();
    for file in files("bad") {
        let name = file.file_name().expect("a file").to_string_lossy().into_owned();
        let Err(problems) = read(&file) else { panic!("{name} is refused") };
        let found = format!("{}\n", problems.in_file(&name));
        let expected = fs::read_to_string(file.with_added_extension("expected")).unwrap_or_default();
        if found != expected {
            wrong.push(format!("== {name}, expected:\n{expected}== found:\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn good_manifests_are_read_and_written_as_json_mean_the_same() {
    for file in files("good") {
        let manifest = read(&file).unwrap_or_else(|problems| panic!("{}:\n{problems}", file.display()));
        let json = serde_json::to_vec(&manifest).expect("has a JSON form");
        assert_eq!(parse(&json, Format::Json).as_ref(), Ok(&manifest), "{}", file.display());
    }
}

#[test]
fn texts_that_would_take_much_time_or_memory_are_refused() {
    let laughs = (1..10).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, i| {
        format!("{text}a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(", "))
    });
    let half = 512 * 1024;
    for (name, text, expected) in [
        ("billion laughs", laughs, "more than 40000 values"),
        ("deep lists", "[".repeat(30_000), "nested deeper than 32"),
        ("deeper lists", "[".repeat(half), "more than 40000 values"),
        ("deep maps", format!("x: {}", "{a: ".repeat(30_000)), "nested deeper than 32"),
        ("deep block lists", "- ".repeat(half), "nested deeper than 32"),
        ("deep keys", "? ".repeat(half), ""),
        ("deep JSON", format!("{{\"a\": {}", "[".repeat(half)), "nested deeper than 32"),
        ("many values", format!("[{}]", "1,".repeat(half - 2)), "more than 40000 values"),
        ("nearly too many values", format!("[{}]", "1,".repeat(39_000)), "expected a manifest"),
        ("many keys", (0..100_001).map(|i| format!("k{i}:\n")).collect(), "more than 40000 values"),
        ("many documents", "---\na\n".repeat(half / 4), "a second document"),
        ("a huge text", format!("kind: \"{}\"", "x".repeat(half)), "is not supported"),
        ("a huge key", format!("{}: 1", "x".repeat(half)), ""),
        ("a huge manifest", " ".repeat(1024 * 1024 + 1), "over 1048576"),
        ("open quotes", format!("a: \"{}", "\\\"".repeat(half / 2)), "not valid YAML"),
        ("many anchors", (0..60_000).map(|i| format!("- &a{i} x\n")).collect(), "more than 40000 values"),
        ("many colons", ": ".repeat(half), ""),
        ("many tags", "!a ".repeat(half / 2), ""),
        ("many percents", "%".repeat(half), ""),
        ("many dashes", "-\n".repeat(half), "more than 40000 values"),
        ("many brackets", "[]\n".repeat(half / 2), ""),
    ] {
        let problems = parse(text.as_bytes(), Format::Unknown).expect_err(name).to_string();
        assert!(problems.contains(expected), "{name}: {problems}");
        assert!(problems.len() < 64 * 1024, "{name}: what is wrong is said in {} bytes", problems.len());
    }
}

#[test]
fn what_is_not_utf_8_is_refused_at_its_place() {
    let problems = parse(b"kind: Application\nname: \xff\n", Format::Yaml).expect_err("no text");
    assert_eq!(problems.to_string(), "2:7: not UTF-8: save the file as UTF-8");
}

const GOOD: &str = include_str!("manifests/good/every-trait.yaml");

/// A good manifest with something done to it.
fn damaged() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(String::new()),
        prop::sample::select(vec![
            "*a", "&a ", "<<: ", "!!str ", "- ", ": ", "{", "}", "[", "\"", "\n", "  ", "~", "0x1", "é"
        ])
        .prop_map(str::to_owned),
        prop::sample::select(GOOD.lines().collect::<Vec<_>>()).prop_map(|line| format!("\n{line}\n")),
    ];
    let change = (0..GOOD.len(), 0_usize..40, piece);
    prop::collection::vec(change, 1..6).prop_map(|changes| {
        let mut text = GOOD.to_owned();
        for (start, length, piece) in changes {
            let bound = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let (start, end) = (bound(start), bound(start + length));
            text.replace_range(start..end, &piece);
        }
        text
    })
}

fn check_places(text: &str, format: Format) {
    let Err(problems) = parse(text.as_bytes(), format) else { return };
    assert!(!problems.problems.is_empty());
    let lines = text.split('\n').count();
    for problem in &problems.problems {
        let line = usize::try_from(problem.place.line).expect("fits");
        assert!((1..=lines + 1).contains(&line), "{problem:?} is in the text of {lines} lines");
        assert!(problem.place.column >= 1 && !problem.message.is_empty(), "{problem:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_manifest_is_read_or_refused_at_places_in_it(text in damaged()) {
        check_places(&text, Format::Yaml);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes, Format::Unknown);
        check_places(&String::from_utf8_lossy(&bytes), Format::Json);
    }

    #[test]
    fn what_is_written_as_json_is_read_again_wherever_white_space_stands(indent in 0_usize..5) {
        let manifest = parse(GOOD.as_bytes(), Format::Yaml).expect("valid");
        let json = serde_json::to_string_pretty(&manifest).expect("has a JSON form");
        let text = json.replace("  ", &" \t\r\n"[..indent.min(4)]);
        assert_eq!(parse(text.as_bytes(), Format::Json), Ok(manifest));
    }
}
