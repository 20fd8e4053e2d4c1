//! Taking all there is: threads, memory, disk, descriptors.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::{Report, outcome};

/// How long what was taken is kept, so that others have to do without it.
const KEPT: Duration = Duration::from_secs(3);
/// More of anything is not tried.
const MANY: usize = 100_000;

/// Takes what `what` says until no more is given.
pub(crate) fn one(what: &str, directory: &Path) -> Report {
    let (count, end) = match what {
        "threads" => threads(),
        "memory" => memory(),
        "disk" => disk(directory),
        _ => files(),
    };
    Report::from([("count".to_owned(), count.to_string()), ("end".to_owned(), end)])
}

fn threads() -> (usize, String) {
    for count in 0..MANY {
        let started = std::thread::Builder::new().stack_size(64 << 10).spawn(|| std::thread::park_timeout(KEPT));
        if let Err(error) = started {
            std::thread::park_timeout(KEPT);
            return (count, outcome::<()>(Err(error)));
        }
    }
    (MANY, "done".to_owned())
}

/// In mebibytes. Most often it is killed before it can say how many.
fn memory() -> (usize, String) {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    for count in 0..MANY {
        let mut more = Vec::new();
        if more.try_reserve_exact(1 << 20).is_err() {
            std::thread::park_timeout(KEPT);
            return (count, "OutOfMemory".to_owned());
        }
        more.resize(1 << 20, 1);
        taken.push(more);
    }
    (taken.len(), "done".to_owned())
}

/// In mebibytes, in files of 8 MiB each, none of which is too large.
fn disk(directory: &Path) -> (usize, String) {
    let piece = vec![1; 1 << 20];
    let mut file = None;
    for count in 0..MANY {
        if count % 8 == 0 {
            file = std::fs::File::create(directory.join(format!("{count}.junk"))).ok();
        }
        let Some(file) = &mut file else { return (count, "no file".to_owned()) };
        if let Err(error) = file.write_all(&piece) {
            return (count, outcome::<()>(Err(error)));
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    (MANY, "done".to_owned())
}

fn files() -> (usize, String) {
    let mut taken = Vec::new();
    for count in 0..MANY {
        match std::fs::File::open("/dev/null") {
            Ok(file) => taken.push(file),
            Err(error) => {
                std::thread::park_timeout(KEPT);
                return (count, outcome::<()>(Err(error)));
            }
        }
    }
    (taken.len(), "done".to_owned())
}
