//! Runs programs as steps of a longer work, and shows that they are alive.

use std::fs::{self, File};
use std::io::IsTerminal;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// How often a running step is looked at.
const TICK: Duration = Duration::from_millis(20);
/// How often a step says that it is alive, where there is no terminal to draw on.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Says what comes now.
pub(crate) fn heading(text: &str) {
    eprintln!("==> {text}");
}

/// Runs a program that shows its own progress.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = describe(command);
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start {name}"))?;
    anyhow::ensure!(status.success(), "`{name}` ended with {status}");
    Ok(())
}

/// Runs a program that is silent or talks too much: its output goes to `log`, and `text` is shown with the time it takes.
/// It is killed at the deadline. The end of the log is part of the error.
pub(crate) fn run_logged(text: &str, command: &mut Command, log: &Path, deadline: Duration) -> Result<()> {
    let name = describe(command);
    let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let errors = output.try_clone().context("cannot share the log")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let pulse = Pulse::start(text);
    let outcome = wait(&mut child, deadline, || pulse.beat())?;
    pulse.finish();
    match outcome {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("`{name}` ended with {status}; the end of {}:\n{}", log.display(), tail(log)),
        None => bail!("`{name}` took more than {} s and was ended; see {}", deadline.as_secs(), log.display()),
    }
}

/// What a program prints, without the line's end; an error if it cannot run or does not succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = describe(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!("`{name}` ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Waits until the child ends (its status) or the deadline has passed (the child is killed, none).
pub(crate) fn wait_until(child: &mut Child, deadline: Duration) -> Result<Option<ExitStatus>> {
    wait(child, deadline, || {})
}

fn wait(child: &mut Child, deadline: Duration, beat: impl Fn()) -> Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::park_timeout(TICK);
        beat();
    }
}

/// Shows that something goes on: a spinner on a terminal, else a line now and then.
struct Pulse {
    text: String,
    started: Instant,
    bar: Option<ProgressBar>,
    said: std::cell::Cell<Instant>,
}

impl Pulse {
    fn start(text: &str) -> Self {
        let started = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("    {spinner} {msg} ({elapsed})").expect("the template is valid");
            ProgressBar::new_spinner().with_style(style).with_message(text.to_owned())
        });
        if bar.is_none() {
            eprintln!("    {text} …");
        }
        Self { text: text.to_owned(), started, bar, said: started.into() }
    }

    fn beat(&self) {
        if let Some(bar) = &self.bar {
            bar.tick();
        } else if self.said.get().elapsed() > HEARTBEAT {
            self.said.set(Instant::now());
            eprintln!("    {} … {} s", self.text, self.started.elapsed().as_secs());
        }
    }

    fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("    {}: {} s", self.text, self.started.elapsed().as_secs());
    }
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args().take(4));
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
