//! The records as the store told them last, on this host's own disk: what it goes by when it restarts while cut off.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use trellis_lattice::store::{Key, Record, Revision};

use crate::artifact::write_atomically;
use crate::kept;

/// Records by key, all of one prefix.
pub(super) type Known = BTreeMap<Key, Record>;

/// What is on disk; a value is JSON itself, and kept as the text that it is.
#[derive(Default, Serialize, Deserialize)]
struct File {
    links: BTreeMap<String, (u64, String)>,
    configs: BTreeMap<String, (u64, String)>,
    /// Sealed, as in the store.
    #[serde(default)]
    secrets: BTreeMap<String, (u64, String)>,
}

/// The links, configs and secrets in `file`; nothing when it is not there or damaged, which is logged. Blocks.
pub(super) fn read(file: &Path) -> Option<[Known; 3]> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %file.display(), error = %error, "kept records were not read");
            return None;
        }
    };
    match kept::decode::<File>(&bytes) {
        Ok(File { links, configs, secrets }) => Some([links, configs, secrets].map(known)),
        Err(error) => {
            tracing::warn!(path = %file.display(), error, "kept records are damaged and not used");
            None
        }
    }
}

fn known(records: BTreeMap<String, (u64, String)>) -> Known {
    let record = |(key, (revision, value)): (String, (u64, String))| {
        let key = Key::parse(&key).ok()?;
        Some((key.clone(), Record { key, value: value.into(), revision: Revision(revision) }))
    };
    records.into_iter().filter_map(record).collect()
}

fn as_kept(known: &Known) -> BTreeMap<String, (u64, String)> {
    let record = |record: &Record| {
        let value = String::from_utf8(record.value.to_vec()).ok()?;
        Some((record.key.as_str().to_owned(), (record.revision.0, value)))
    };
    known.values().filter_map(record).collect()
}

/// Writes what the store told to `file`, whenever it told something new. Never returns while somebody tells.
pub(super) async fn keep(file: PathBuf, [mut links, mut configs, mut secrets]: [watch::Receiver<Option<Known>>; 3]) {
    loop {
        let is_open = tokio::select! {
            changed = links.changed() => changed.is_ok(),
            changed = configs.changed() => changed.is_ok(),
            changed = secrets.changed() => changed.is_ok(),
        };
        if !is_open {
            return;
        }
        let known = [&mut links, &mut configs, &mut secrets].map(|told| told.borrow_and_update().clone());
        let [Some(links), Some(configs), Some(secrets)] = known else { continue };
        let file = file.clone();
        let write = move || {
            let [links, configs, secrets] = [&links, &configs, &secrets].map(as_kept);
            let all = File { links, configs, secrets };
            write_atomically(&file, &kept::encode(&all))
        };
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = %error, "records were not kept"),
            Err(error) => tracing::error!(error = %error, "keeper of the records broke off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use trellis_lattice::store::{Key, Record, Revision};

    use super::{File, Known, as_kept, kept, read};

    #[test]
    fn what_was_told_last_is_read_back_unless_it_was_damaged() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("records.json");
        assert!(read(&path).is_none(), "nothing was told yet");
        let key = Key::parse("config.http").expect("valid");
        let record = Record { key: key.clone(), value: r#"{"a":"b"}"#.into(), revision: Revision(7) };
        let configs = Known::from([(key, record)]);
        let bytes = kept::encode(&File { configs: as_kept(&configs), ..File::default() });
        std::fs::write(&path, &bytes).expect("written");
        assert_eq!(read(&path), Some([Known::new(), configs, Known::new()]));
        std::fs::write(&path, &bytes[..bytes.len() - 10]).expect("written");
        assert!(read(&path).is_none());
    }
}
