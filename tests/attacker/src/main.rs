//! A provider that means harm, as a process. Its config says how, by `attack`; what came of it stands in `report.json`
//! in its directory, as a map of attempts: what the system said to each, or `done`.

#![forbid(unsafe_code)]

mod exhaust;
mod forge;
mod reach;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use trellis_provider_sdk::{
    ActiveLink, Answer, Args, CallError, Description, Environment, Invocation, LinkError, Provider, async_trait,
};

/// What was tried, and what came of it.
type Report = BTreeMap<String, String>;

fn main() -> ExitCode {
    trellis_provider_sdk::run(Attacker::make)
}

struct Attacker;

impl Attacker {
    fn make(environment: Environment) -> Result<Self, LinkError> {
        let attack = environment.config.get("attack").cloned().unwrap_or_default();
        match &*attack {
            "reach" => write(&environment.data_dir, &reach::all(&environment.config)),
            "forge" => {
                tokio::spawn(async move { write(&environment.data_dir, &forge::all(&environment).await) });
            }
            "threads" | "memory" | "disk" | "files" => {
                let attack = attack.clone();
                std::thread::spawn(move || {
                    write(&environment.data_dir, &Report::from([("begun".to_owned(), "done".to_owned())]));
                    let report = exhaust::one(&attack, &environment.data_dir);
                    write(&environment.data_dir, &report);
                });
            }
            "crash" => std::process::exit(3),
            _ => {}
        }
        Ok(Self)
    }
}

/// What an attempt came to.
fn outcome<T>(result: std::io::Result<T>) -> String {
    result.map_or_else(|error| format!("{:?}", error.kind()), |_| "done".to_owned())
}

/// A reader sees the report whole or not at all.
fn write(directory: &Path, report: &Report) {
    let text = serde_json::to_string(report).expect("text is JSON");
    let written = std::fs::write(directory.join("report.new"), text)
        .and_then(|()| std::fs::rename(directory.join("report.new"), directory.join("report.json")));
    if let Err(error) = written {
        eprintln!("the report cannot be written: {error}");
    }
}

#[async_trait]
impl Provider for Attacker {
    fn description(&self) -> Description {
        let serves = ["wasi:keyvalue/store", "wasi:keyvalue/atomics"].map(|name| name.parse().expect("valid"));
        Description { name: "attacker".into(), serves: serves.into(), calls: Vec::new() }
    }

    async fn link_up(&self, _: &ActiveLink) -> Result<(), LinkError> {
        Ok(())
    }

    async fn link_down(&self, _: &ActiveLink) {}

    /// It never answers.
    async fn call(&self, _: Invocation<Args>) -> Result<Answer<Args>, CallError> {
        std::future::pending().await
    }

    async fn drain(&self, _: Duration) {}
}
