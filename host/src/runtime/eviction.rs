//! The directory of compiled code stays within a size: what was not used for longest goes first.
//!
//! When a file was used is its time of modification, which loading it renews: many file systems keep no access times.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What compiled code may take on disk.
pub(super) const MAX_BYTES: u64 = 2 << 30;

/// A file that was begun so long ago was not finished by whoever began it.
const ABANDONED: Duration = Duration::from_secs(3_600);

struct Entry {
    used: SystemTime,
    bytes: u64,
    path: PathBuf,
}

/// Remembers that the file at `path` was used now. A failure only makes it go sooner.
pub(super) fn touch(path: &Path) {
    let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
}

/// Removes files from `dir` until those with code take at most `limit_bytes`; the one that was used last stays. What
/// cannot be read or removed is left: it costs space only.
pub(super) fn make_room(dir: &Path, limit_bytes: u64) {
    let mut entries = entries(dir);
    entries.sort_by_key(|entry| entry.used);
    let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
    entries.pop();
    for entry in entries {
        if total <= limit_bytes {
            return;
        }
        if fs::remove_file(&entry.path).is_ok() {
            total -= entry.bytes;
            tracing::info!(path = %entry.path.display(), bytes = entry.bytes, "cached code made room");
        }
    }
}

/// The files with code; those that were never finished are removed on the way.
fn entries(dir: &Path) -> Vec<Entry> {
    let mut entries = Vec::new();
    for file in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = file.path();
        let Ok(metadata) = file.metadata() else { continue };
        let Ok(used) = metadata.modified() else { continue };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("code") => entries.push(Entry { used, bytes: metadata.len(), path }),
            Some("new") if used.elapsed().is_ok_and(|age| age > ABANDONED) => _ = fs::remove_file(&path),
            _ => {}
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::{make_room, touch};

    fn file(dir: &Path, name: &str, age: Duration) {
        let path = dir.join(name);
        fs::write(&path, [0; 100]).expect("written");
        let file = File::options().write(true).open(path).expect("opened");
        file.set_modified(SystemTime::now() - age).expect("set");
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("read");
        let mut names: Vec<_> = entries.map(|e| e.expect("read").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let dir = tempfile::tempdir().expect("a directory");
        let minutes = |n: u64| Duration::from_secs(60 * n);
        for (name, age) in
            [("a.code", 40), ("b.code", 30), ("c.code", 20), ("key", 500), ("d.1.new", 1), ("e.1.new", 90)]
        {
            file(dir.path(), name, minutes(age));
        }
        make_room(dir.path(), 300);
        assert_eq!(names(dir.path()), ["a.code", "b.code", "c.code", "d.1.new", "key"], "it fits");
        touch(&dir.path().join("a.code"));
        make_room(dir.path(), 200);
        assert_eq!(names(dir.path()), ["a.code", "c.code", "d.1.new", "key"]);
        make_room(dir.path(), 0);
        assert_eq!(names(dir.path()), ["a.code", "d.1.new", "key"], "the one in use stays");
    }
}
