//! The published schema and the parser know the same keys, and need the same ones.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use trellis_wadm::manifest::{Format, Manifest, Problem, parse};

const SCHEMA: &str = include_str!("../schema/application.schema.json");
const GOOD: [&str; 2] =
    [include_str!("manifests/good/every-trait.yaml"), include_str!("manifests/good/wasmcloud-1.yaml")];

/// An object of a manifest: where it is, and what the schema says of it.
struct Place<'a> {
    pointer: String,
    schema: &'a Value,
}

/// The objects of `value` that `schema` describes by their keys; names of the definitions that were used go to `used`.
fn places<'a>(
    root: &'a Value,
    schema: &'a Value,
    value: &Value,
    pointer: &str,
    used: &mut BTreeSet<&'a str>,
) -> Vec<Place<'a>> {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/definitions/")) {
        used.insert(name);
        return places(root, &root["definitions"][name], value, pointer, used);
    }
    if let (Some(choices), None) = (schema["oneOf"].as_array(), schema.get("properties")) {
        let fits = |choice: &&Value| {
            let kind = &choice["properties"]["type"]["const"];
            if value.is_string() { choice["type"] == "string" } else { kind.is_null() || *kind == value["type"] }
        };
        let choice = choices.iter().find(fits).unwrap_or_else(|| panic!("{pointer} is in the schema"));
        return places(root, choice, value, pointer, used);
    }
    match value {
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.flat_map(|(i, item)| places(root, &schema["items"], item, &format!("{pointer}/{i}"), used)).collect()
        }
        Value::Object(entries) if schema.get("properties").is_some() => {
            let mut found = vec![Place { pointer: pointer.to_owned(), schema }];
            for (key, value) in entries {
                let below = &schema["properties"][key];
                assert!(!below.is_null(), "{pointer}/{key} is in the schema");
                found.extend(places(root, below, value, &format!("{pointer}/{key}"), used));
            }
            found
        }
        _ => Vec::new(),
    }
}

fn problems(value: &Value) -> Vec<Problem> {
    match parse(value.to_string().as_bytes(), Format::Json) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.problems,
    }
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().expect("an object").keys().cloned().collect()
}

/// The keys that the parser knows where `pointer` is.
fn known(whole: &Value, pointer: &str) -> BTreeSet<String> {
    let mut whole = whole.clone();
    whole.pointer_mut(pointer).expect("there")["zzzzzz"] = json!(1);
    let problems = problems(&whole);
    let found = problems.iter().find(|problem| problem.message.starts_with("unknown key `zzzzzz`"));
    let help = &found.unwrap_or_else(|| panic!("an unknown key at {pointer} is refused: {problems:?}")).help;
    help.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether the parser needs `key` where `pointer` is.
fn is_needed(whole: &Value, pointer: &str, key: &str) -> bool {
    let mut whole = whole.clone();
    whole.pointer_mut(pointer).expect("there").as_object_mut().expect("an object").remove(key);
    problems(&whole).iter().any(|problem| problem.message.starts_with(&format!("missing key `{key}`")))
}

#[test]
fn the_published_schema_has_the_keys_of_the_parser() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let mut used = BTreeSet::new();
    for text in GOOD {
        let manifest: Manifest = parse(text.as_bytes(), Format::Yaml).expect("valid");
        let whole = serde_json::to_value(&manifest).expect("has a JSON form");
        for Place { pointer, schema } in places(&schema, &schema, &whole, "", &mut used) {
            let mut expected = keys(&schema["properties"]);
            // Another name for a key is known only where it stands.
            expected.remove("replicas");
            assert_eq!(known(&whole, &pointer), expected, "at {pointer}");
            let required: Vec<&str> =
                schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let value = whole.pointer(&pointer).expect("there");
            for key in keys(value).iter().filter(|_| schema.get("oneOf").is_none()) {
                assert_eq!(is_needed(&whole, &pointer, key), required.contains(&key.as_str()), "{key} at {pointer}");
            }
        }
    }
    let definitions = schema["definitions"].as_object().expect("an object");
    let of_objects = definitions.iter().filter(|(_, definition)| definition.get("properties").is_some());
    let unused: Vec<&String> = of_objects.map(|(name, _)| name).filter(|name| !used.contains(name.as_str())).collect();
    assert!(unused.is_empty(), "the good manifests have everything that the schema has, but {unused:?}");
}
