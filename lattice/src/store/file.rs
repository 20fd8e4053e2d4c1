//! Files of redb, which are there whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use redb::{Database, DatabaseError};

/// Opens the file at `path`, whose folder must be there, with at most `cache_bytes` of it in memory; or makes it,
/// readable by its owner only. Blocks.
///
/// redb takes a file whose making was broken off, as by a kill, for no file of its own. So it is made under another name
/// and gets its own when it is whole, unless another process was faster.
///
/// # Errors
/// `DatabaseAlreadyOpen` when another process has it open; what the disk or the file is at fault for.
pub fn open(path: &Path, cache_bytes: usize) -> Result<Database, DatabaseError> {
    let builder = || {
        let mut builder = Database::builder();
        builder.set_cache_size(cache_bytes);
        builder
    };
    if !path.try_exists()? {
        let unfinished = path.with_extension(format!("{}.unfinished", uuid::Uuid::new_v4()));
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let named = builder().create_file(made).map(drop).and_then(|()| Ok(name(&unfinished, path)?));
        // It has no such name any more if it was renamed.
        let _ = std::fs::remove_file(&unfinished);
        named?;
    }
    builder().create(path)
}

/// Gives a file its name for good, if nothing else has it.
fn name(unfinished: &Path, path: &Path) -> Result<(), Error> {
    match std::fs::hard_link(unfinished, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        // Not every file system knows second names.
        Err(_) => std::fs::rename(unfinished, path)?,
        Ok(()) => {}
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use redb::{DatabaseError, TableDefinition};

    use super::open;

    const CACHE_BYTES: usize = 1 << 20;
    const TABLE: TableDefinition<'_, u8, u8> = TableDefinition::new("table");
    /// Says to a test where it is to make files until it is killed.
    const FOLDER: &str = "TRELLIS_TEST_STORE_FOLDER";

    fn put(path: &Path, value: u8) -> Result<(), redb::Error> {
        let transaction = open(path, CACHE_BYTES)?.begin_write()?;
        transaction.open_table(TABLE)?.insert(0, value)?;
        Ok(transaction.commit()?)
    }

    #[test]
    fn a_file_is_made_once_for_its_owner_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.redb");
        put(&path, 1).expect("is made");
        put(&path, 2).expect("is there");
        assert_eq!(path.metadata().expect("is there").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
        let first = open(&path, CACHE_BYTES).expect("is free");
        assert!(matches!(open(&path, CACHE_BYTES), Err(DatabaseError::DatabaseAlreadyOpen)));
        drop(first);
    }

    #[test]
    fn of_many_who_make_it_at_once_one_has_it_and_no_work_is_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.redb");
        let opened = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| open(&path, CACHE_BYTES))).collect();
            all.into_iter().map(|one| one.join().expect("no panic")).collect::<Vec<_>>()
        });
        for one in &opened {
            assert!(matches!(one, Ok(_) | Err(DatabaseError::DatabaseAlreadyOpen)), "{one:?}");
        }
        assert_eq!(opened.iter().filter(|one| one.is_ok()).count(), 1);
        drop(opened);
        put(&path, 1).expect("is whole");
    }

    #[test]
    fn a_file_whose_maker_was_killed_can_be_opened() {
        if let Some(folder) = std::env::var_os(FOLDER) {
            // Far more than it comes to, so that one that is not killed ends as well.
            return (0..1_000).for_each(|n| put(&Path::new(&folder).join(format!("{n}.redb")), 1).expect("is made"));
        }
        for nth in 0..10 {
            let folder = tempfile::tempdir().expect("a folder");
            let mut maker = Command::new(std::env::current_exe().expect("this program"))
                .args(["--exact", "store::file::tests::a_file_whose_maker_was_killed_can_be_opened"])
                .env(FOLDER, folder.path())
                .stdout(Stdio::null())
                .spawn()
                .expect("starts");
            let files = || std::fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("one").path());
            let deadline = Instant::now() + Duration::from_secs(20);
            // Each time at another moment of the making of a file.
            while files().count() < 3 + nth {
                assert!(Instant::now() < deadline, "it makes files");
                std::thread::yield_now();
            }
            maker.kill().expect("is there");
            maker.wait().expect("ends");
            for path in files().filter(|path| path.extension().is_some_and(|kind| kind == "redb")) {
                put(&path, 2).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
        }
    }
}
