//! What does not belong to a provider: files, processes, and what whoever started its host left open.

use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::fs::{CWD, MemfdFlags};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Resource, Signal};
use trellis_provider_sdk::StringMap;

use crate::{Report, outcome};

/// Tries all that `config` names: paths to `read` and to `write`, separated by colons, the process `host`, and the
/// folder `outside`.
pub(crate) fn all(config: &StringMap) -> Report {
    let mut report = Report::new();
    let paths = |key: &str| config.get(key).map(String::as_str).unwrap_or_default().to_owned();
    for path in paths("read").split(':').filter(|path| !path.is_empty()) {
        report.insert(format!("read {path}"), read(Path::new(path)));
    }
    for path in paths("write").split(':').filter(|path| !path.is_empty()) {
        report.insert(format!("write {path}"), outcome(std::fs::write(path, "mine")));
    }
    let host = config.get("host").and_then(|pid| Pid::from_raw(pid.parse().ok()?));
    if let Some(host) = host {
        into_process(host, &mut report);
    }
    out_of_bounds(Path::new(&paths("outside")), &mut report);
    own(&mut report);
    report
}

/// A file's bytes or a folder's names.
fn read(path: &Path) -> String {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => outcome(std::fs::read_dir(path)),
        _ => outcome(std::fs::File::open(path).and_then(|mut file| std::io::Read::read(&mut file, &mut [0; 16]))),
    }
}

fn into_process(host: Pid, report: &mut Report) {
    let pid = host.as_raw_nonzero();
    for file in ["mem", "environ", "maps", "fd", "cmdline", "root/etc/shadow", "cwd"] {
        report.insert(format!("host {file}"), read(Path::new(&format!("/proc/{pid}/{file}"))));
    }
    let system = |result: rustix::io::Result<()>| outcome(result.map_err(std::io::Error::from));
    report.insert("host signal".to_owned(), system(rustix::process::kill_process(host, Signal::CONT)));
    let descriptor = rustix::process::pidfd_open(host, PidfdFlags::empty())
        .and_then(|opened| rustix::process::pidfd_getfd(opened, 0, PidfdGetfdFlags::empty()));
    report.insert("host descriptor".to_owned(), system(descriptor.map(drop)));
    // Harmless where it succeeds.
    let limit = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let limited = rustix::process::prlimit(Some(host), Resource::Core, limit);
    report.insert("host limit".to_owned(), system(limited.map(drop)));
}

/// What no provider needs; `outside` is a folder that everybody can write to.
fn out_of_bounds(outside: &Path, report: &mut Report) {
    report.insert("fork".to_owned(), outcome(std::process::Command::new("/bin/true").spawn()));
    report.insert("leave the session".to_owned(), outcome(rustix::process::setsid().map_err(std::io::Error::from)));
    let memory = rustix::fs::memfd_create("hidden", MemfdFlags::empty());
    report.insert("hidden memory".to_owned(), outcome(memory.map_err(std::io::Error::from)));
    report.insert("unix socket".to_owned(), outcome(UnixStream::connect("/run/docker.sock")));
    report.insert("unix listener".to_owned(), outcome(UnixListener::bind(outside.join("socket"))));
    let link = rustix::fs::symlinkat("/etc/shadow", CWD, outside.join("link"));
    report.insert("link elsewhere".to_owned(), outcome(link.map_err(std::io::Error::from)));
}

/// What it has: the network, its folder for temporary files, its environment, arguments and descriptors.
fn own(report: &mut Report) {
    report.insert("own listener".to_owned(), outcome(TcpListener::bind("127.0.0.1:0")));
    let temporary = std::env::temp_dir().join("scratch");
    report.insert("own temporary file".to_owned(), outcome(std::fs::write(temporary, "mine")));
    report.insert("own thread".to_owned(), outcome(std::thread::Builder::new().spawn(|| {})));
    let names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    report.insert("variables".to_owned(), names.join(" "));
    report.insert("arguments".to_owned(), std::env::args().skip(1).collect::<Vec<_>>().join(" "));
}
