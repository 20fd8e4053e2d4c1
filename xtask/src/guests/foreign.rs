//! `cargo xtask guests --foreign`: actors in JavaScript and Python, built by the tools that their authors use.
//!
//! The tools come from npm and PyPI into the cache, once a machine; what they build goes beside the other guests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::environment::Environment;
use crate::step;
use crate::workspace::Workspace;

const COMPONENTIZE_JS: &str = "@bytecodealliance/componentize-js@0.23.0";
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";

/// How long an install or a build may take on a slow machine.
const DEADLINE: Duration = Duration::from_secs(600);

/// Builds `foreign-javascript.wasm` and `foreign-python.wasm`, unless they are newer than their sources.
///
/// # Errors
/// If npm or python3 is missing (it says which), or a tool fails (the end of its log is in the error).
pub(crate) fn build(workspace: &Workspace, environment: &Environment) -> Result<Vec<PathBuf>> {
    step::heading("guests: actors built by other tools");
    fs::create_dir_all(workspace.guests())?;
    let tools = environment.cache_dir.join("foreign");
    let built = [javascript(workspace, &tools)?, python(workspace, &tools)?];
    Ok(built.into())
}

fn javascript(workspace: &Workspace, tools: &Path) -> Result<PathBuf> {
    let job = Job::new(workspace, "javascript", "hello.js")?;
    if job.is_fresh() {
        return Ok(job.output);
    }
    let home = tools.join("javascript");
    let tool = home.join("node_modules/.bin/componentize-js");
    if !tool.exists() {
        fs::create_dir_all(&home)?;
        let mut npm = Command::new("npm");
        npm.current_dir(&home).args(["install", "--no-fund", "--no-audit", "--prefix", ".", COMPONENTIZE_JS]);
        step::run_logged("npm installs componentize-js", &mut npm, &home.join("npm.log"), DEADLINE)
            .context("the JavaScript actor needs Node.js 20 or newer with npm")?;
    }
    let mut componentize = Command::new(tool);
    componentize.arg("hello.js").args(["--wit", "wit", "-n", "hello", "-o", "out.wasm"]);
    job.run("componentize-js builds the JavaScript actor", componentize)
}

fn python(workspace: &Workspace, tools: &Path) -> Result<PathBuf> {
    let job = Job::new(workspace, "python", "hello.py")?;
    if job.is_fresh() {
        return Ok(job.output);
    }
    let home = tools.join("python");
    let tool = home.join("bin/componentize-py");
    if !tool.exists() {
        fs::create_dir_all(tools)?;
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(&home);
        step::run_logged("python3 makes an environment", &mut venv, &tools.join("venv.log"), DEADLINE)
            .context("the Python actor needs python3 with venv (Debian: python3-venv)")?;
        let mut pip = Command::new(home.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", COMPONENTIZE_PY]);
        step::run_logged("pip installs componentize-py", &mut pip, &tools.join("pip.log"), DEADLINE)?;
    }
    let mut componentize = Command::new(tool);
    componentize.args(["-d", "wit", "-w", "hello", "componentize", "hello", "-o", "out.wasm"]);
    job.run("componentize-py builds the Python actor", componentize)
}

/// One actor: its source, and a folder to build it in that holds its world and WASI's packages.
struct Job {
    source: PathBuf,
    folder: PathBuf,
    output: PathBuf,
}

impl Job {
    fn new(workspace: &Workspace, language: &str, source: &str) -> Result<Self> {
        let examples = workspace.root().join("examples");
        let home = examples.join("foreign").join(language);
        let folder = workspace.target().join("guest-build").join(language);
        let packages = folder.join("wit/deps");
        fs::create_dir_all(&packages).with_context(|| format!("cannot make {}", packages.display()))?;
        for package in fs::read_dir(examples.join("wit/wasi-0.2/deps"))? {
            let package = package?;
            if package.file_type()?.is_file() {
                fs::copy(package.path(), packages.join(package.file_name()))?;
            }
        }
        fs::copy(home.join("world.wit"), folder.join("wit/world.wit"))?;
        fs::copy(home.join(source), folder.join(source))?;
        let output = workspace.guests().join(format!("foreign-{language}.wasm"));
        Ok(Self { source: home.join(source), folder, output })
    }

    fn is_fresh(&self) -> bool {
        let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
        changed(&self.output).is_some_and(|built| changed(&self.source).is_some_and(|written| written < built))
    }

    fn run(self, text: &str, mut tool: Command) -> Result<PathBuf> {
        let log = self.folder.join("build.log");
        step::run_logged(text, tool.current_dir(&self.folder), &log, DEADLINE)?;
        fs::rename(self.folder.join("out.wasm"), &self.output)?;
        Ok(self.output)
    }
}
