//! What a process keeps on the disk: measured from time to time, since the system bounds single files only.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::confined::temporary_dir;

/// How often it is measured.
const LOOK: Duration = Duration::from_secs(2);
/// Of its time, measuring takes one part in so many.
const SHARE: u32 = 50;
/// What a block is, in bytes, whatever the file system's are.
const BLOCK: u64 = 512;
/// Folders in folders are followed so far; the system's longest path has hardly more.
const MAX_DEPTH: usize = 2_048;

/// Measures what a process keeps, for as long as it is there.
pub(super) struct Watch {
    over: watch::Receiver<Option<u64>>,
    limit_bytes: u64,
    _task: AbortOnDropHandle<()>,
}

impl Watch {
    /// Measures `data_dir` and what is temporary beside it.
    pub(super) fn start(data_dir: &Path, limit_bytes: u64) -> Self {
        let (found, over) = watch::channel(None);
        let folders = [data_dir.to_owned(), temporary_dir(data_dir)];
        let task = AbortOnDropHandle::new(tokio::spawn(measure(folders, limit_bytes, found)));
        Self { over, limit_bytes, _task: task }
    }

    /// Waits until there is more than there may be; says so. Cancel safe.
    pub(super) async fn over(&mut self) -> String {
        // The task may have panicked: what cannot be measured is not over.
        if self.over.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
        let limit_mebibytes = self.limit_bytes >> 20;
        format!(
            "it keeps more than {limit_mebibytes} MiB on the disk and was killed; more is allowed by --provider-disk"
        )
    }
}

async fn measure(folders: [PathBuf; 2], limit_bytes: u64, found: watch::Sender<Option<u64>>) {
    loop {
        let (began, measured) = (Instant::now(), folders.clone());
        let used = tokio::task::spawn_blocking(move || measured.iter().map(|folder| used(folder)).sum::<u64>());
        let Ok(used) = used.await else { return };
        if used > limit_bytes {
            found.send_replace(Some(used));
            return;
        }
        sleep(LOOK.max(began.elapsed() * SHARE)).await;
    }
}

/// The bytes that the files below `folder` take. What cannot be read, or is just being removed, counts for nothing.
fn used(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let (mut bytes, mut folders) = (0, vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            // Of the link itself where it is one: what it leads to is not the process's.
            let Ok(metadata) = entry.metadata() else { continue };
            bytes += metadata.blocks() * BLOCK;
            if metadata.is_dir() && folder.components().count() < MAX_DEPTH {
                folders.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Watch, used};

    #[test]
    fn what_lies_below_counts_and_what_links_lead_to_does_not() {
        let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        std::fs::create_dir_all(folder.path().join("a/b")).expect("made");
        let before = used(folder.path());
        std::fs::write(folder.path().join("a/b/c"), vec![1; 100_000]).expect("written");
        std::fs::write(other.path().join("d"), vec![1; 1_000_000]).expect("written");
        std::os::unix::fs::symlink(other.path(), folder.path().join("e")).expect("linked");
        let more = used(folder.path()) - before;
        assert!((100_000..500_000).contains(&more), "{more}");
    }

    #[tokio::test]
    async fn more_than_is_allowed_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("made");
        std::fs::write(data.join("c"), vec![1; 3 << 20]).expect("written");
        let reason = Watch::start(&data, 2 << 20).over().await;
        assert!(reason.contains("2 MiB") && reason.contains("--provider-disk"), "{reason}");
    }
}
