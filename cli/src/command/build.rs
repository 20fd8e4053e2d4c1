//! `trellis build`: `cargo build` for wasm32-wasip2, then signing.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use crate::command::sign::{self, Claims};
use crate::context::Context;

const TARGET: &str = "wasm32-wasip2";

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The package in a workspace [default: that of the current directory]
    #[arg(long, short, value_name = "NAME")]
    package: Option<String>,
    /// Where the signed component goes [default: <name>.signed.wasm where cargo put the component]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    claims: Claims,
}

pub(crate) fn run(context: &Context, arguments: &Build) -> anyhow::Result<()> {
    if !Path::new("Cargo.toml").exists() {
        bail!("there is no Cargo.toml here: run `trellis build` in the directory of a Rust actor");
    }
    let component = compile(arguments.package.as_deref())?;
    let out = arguments.out.clone().unwrap_or_else(|| component.with_extension("signed.wasm"));
    sign::sign_file(context, &component, &out, &arguments.claims)
}

/// Runs cargo, whose own messages go to standard error, and returns the component that it made.
fn compile(package: Option<&str>) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    if let Some(package) = package {
        cargo.args(["--package", package]);
    }
    let mut child = cargo
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("run cargo: install Rust from https://rustup.rs")?;
    let stdout = child.stdout.take().expect("stdout is piped");
    let mut components: Vec<PathBuf> =
        BufReader::new(stdout).lines().map_while(Result::ok).flat_map(|line| components_in(&line)).collect();
    let status = child.wait().context("wait for cargo")?;
    if !status.success() {
        bail!("cargo build failed; if it misses the target, run `rustup target add {TARGET}`");
    }
    components.dedup();
    match &components[..] {
        [component] => Ok(component.clone()),
        [] => bail!("cargo made no component: an actor is a library with crate-type = [\"cdylib\"], or a binary"),
        _ => bail!("cargo made {} components; name the package of one with --package", components.len()),
    }
}

/// The components that one line of cargo's messages names.
fn components_in(line: &str) -> Vec<PathBuf> {
    let message: Value = serde_json::from_str(line).unwrap_or_default();
    if message["reason"] != "compiler-artifact" {
        return Vec::new();
    }
    let files = message["filenames"].as_array().map(Vec::as_slice).unwrap_or_default();
    files.iter().filter_map(Value::as_str).filter(|file| file.ends_with(".wasm")).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    #[test]
    fn components_are_found_in_what_cargo_says() {
        let line = r#"{"reason":"compiler-artifact","filenames":["/t/hello.wasm","/t/hello.d"]}"#;
        assert_eq!(super::components_in(line), [PathBuf::from("/t/hello.wasm")]);
        for other in ["", "x", r#"{"reason":"build-finished"}"#, r#"{"reason":"compiler-artifact"}"#] {
            assert!(super::components_in(other).is_empty());
        }
    }
}
