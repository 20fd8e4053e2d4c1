//! The example actors, built by `cargo xtask guests`.

use std::path::PathBuf;

use super::process;

/// The component of the example `name`.
pub(crate) fn path(name: &str) -> PathBuf {
    let target = process::binary().parent().and_then(|profile| profile.parent()).expect("<target>/release").to_owned();
    let path = target.join("guests").join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is missing: `cargo xtask guests` builds it", path.display());
    path
}
