//! Planning, as cases in files (`cases/*.toml`: what is declared, what is seen, what is to happen) and as properties.

mod case;
mod properties;
mod scene;
mod world;

use std::path::Path;

#[test]
fn every_case_plans_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan/cases");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("the folder of cases").map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    let failed: Vec<String> = files.iter().filter_map(|file| case::run(file).err()).collect();
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
    assert!(files.len() >= 30, "only {} cases in {}", files.len(), folder.display());
}
