//! Secrets in files of this host: a folder of records that are sealed to the host's key and signed with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;
use trellis_lattice::id::{HostId, LatticeName, SecretName};
use trellis_lattice::secrets::{SealedSecret, SecretRecord};
use trellis_lattice::store::Revision;

use crate::records::{Held, Secrets, View};

/// How often the folder is looked at: a secret that was replaced is seen by then.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The end of a file's name; before it stands the secret's.
const EXTENSION: &str = "json";
/// Far more than a sealed secret takes.
const MAX_FILE_BYTES: u64 = 512 << 10;

/// When each file was written, and how long it is.
type Stamps = BTreeMap<PathBuf, (SystemTime, u64)>;

/// Keeps the view's secrets as the files in `dir` have them. Never returns.
pub(crate) async fn follow(dir: PathBuf, lattice: LatticeName, host: HostId, view: Arc<View>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = Stamps::new();
    loop {
        ticks.tick().await;
        let (dir, lattice, host, before) = (dir.clone(), lattice.clone(), host.clone(), known.clone());
        let look = move || {
            let stamps = stamps(&dir);
            (stamps != before).then(|| (read_all(&stamps, &lattice, &host), stamps))
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(Some((secrets, stamps))) => {
                known = stamps;
                view.set_filed_secrets(secrets);
            }
            Ok(None) => {}
            Err(error) => tracing::error!(error = %error, "files of secrets were not read"),
        }
    }
}

fn stamps(dir: &Path) -> Stamps {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let stamp = |entry: std::fs::DirEntry| {
        let (path, metadata) = (entry.path(), entry.metadata().ok()?);
        let is_record = metadata.is_file() && path.extension().is_some_and(|extension| extension == EXTENSION);
        is_record.then_some((path, (metadata.modified().ok()?, metadata.len())))
    };
    entries.filter_map(stamp).collect()
}

fn read_all(stamps: &Stamps, lattice: &LatticeName, host: &HostId) -> Secrets {
    let mut secrets = Secrets::new();
    for (path, (_, bytes)) in stamps {
        match read(path, *bytes, lattice, host) {
            Ok((name, record)) => drop(secrets.insert(name, Held { record: Arc::new(record), revision: Revision(0) })),
            Err(error) => tracing::warn!(path = %path.display(), error, "file of a secret skipped"),
        }
    }
    secrets
}

fn read(path: &Path, bytes: u64, lattice: &LatticeName, host: &HostId) -> Result<(SecretName, SecretRecord), String> {
    if bytes > MAX_FILE_BYTES {
        return Err(format!("{bytes} bytes are more than a secret takes"));
    }
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name = SecretName::parse(name).map_err(|error| error.to_string())?;
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let sealed: SealedSecret = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let record = sealed.verify(lattice, &name, host.as_str()).map_err(|error| error.to_string())?;
    Ok((name, record))
}
