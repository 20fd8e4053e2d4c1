//! Containers as folders below the root and objects as files below those. All of it blocks.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use trellis_provider_sdk::CallError;

use super::handle::{Folder, Kind};
use crate::failure::{Failure, Result};
use crate::name::ObjectName;
use crate::store::{Container, Object};

/// The folder for what is not yet an object, or no longer. No container has such a name.
const STAGING: &str = ".staging";
/// What lies there for so long is of a process that was killed.
const STALE: Duration = Duration::from_hours(24);
/// How often a folder that was made for an object may be removed, because it is empty, before the object is in it.
const RACES: usize = 100;

/// The folder that all is below.
pub(super) struct Root {
    folder: Folder,
    path: PathBuf,
}

/// The error of an operation on the disk.
pub(super) fn fault(error: impl Into<io::Error>) -> Failure {
    let error = error.into();
    CallError::provider(format!("the folder of the blob store failed: {error}")).into()
}

fn seconds(time: io::Result<SystemTime>) -> u64 {
    let since = time.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

/// When an object came to be: each write makes a new file.
pub(super) fn made_at(metadata: &Metadata) -> u64 {
    seconds(metadata.modified())
}

impl Root {
    /// Opens `path`, and removes what processes that were killed left.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let root = Self { folder: Folder::at(path)?, path: path.to_owned() };
        if let Some(staging) = root.folder.folder(STAGING)? {
            root.sweep(&staging)?;
        }
        Ok(root)
    }

    fn sweep(&self, staging: &Folder) -> io::Result<()> {
        for entry in staging.entries()? {
            let (name, kind) = entry?;
            let path = self.path.join(STAGING).join(&name);
            let age = path.symlink_metadata().and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
            if !matches!(age, Ok(Ok(age)) if age > STALE) {
                continue;
            }
            match kind {
                Kind::Folder => std::fs::remove_dir_all(path)?,
                Kind::File => staging.remove_file(&name)?,
            }
        }
        Ok(())
    }

    /// The folder for what is not yet an object.
    pub(super) fn staging(&self) -> Result<Folder> {
        let staging = self.folder.make(STAGING).map_err(fault)?;
        staging.ok_or_else(|| Failure::Refused(format!("{STAGING} in the folder of the blob store is no folder")))
    }

    /// The folder that the folder of a container is in; none when there is none.
    fn above(&self, container: &Container) -> Result<Option<Folder>> {
        let prefix: Vec<&str> = container.prefix.iter().map(|prefix| prefix.as_str()).collect();
        self.folder.descend(&prefix).map_err(fault)
    }

    /// The folder of a container; none when there is none.
    pub(super) fn find(&self, container: &Container) -> Result<Option<Folder>> {
        let Some(above) = self.above(container)? else { return Ok(None) };
        above.folder(container.name.as_str()).map_err(fault)
    }

    /// The folder of a container.
    pub(super) fn container(&self, container: &Container) -> Result<Folder> {
        self.find(container)?.ok_or_else(|| Failure::no_container(container.name.as_str()))
    }

    /// When a container was made; none when it is not there.
    pub(super) fn created_at(&self, container: &Container) -> Result<Option<u64>> {
        let Some(folder) = self.find(container)? else { return Ok(None) };
        let metadata = folder.metadata().map_err(fault)?;
        Ok(Some(seconds(metadata.created().or_else(|_| metadata.modified()))))
    }

    /// Makes the folder of a container unless it is there.
    pub(super) fn create(&self, container: &Container) -> Result<u64> {
        let in_the_way =
            || Failure::Refused(format!("container {:?} cannot be: a file has its name", container.name.as_str()));
        let above = match &container.prefix {
            None => None,
            Some(prefix) => Some(self.folder.make(prefix.as_str()).map_err(fault)?.ok_or_else(in_the_way)?),
        };
        let above = above.as_ref().unwrap_or(&self.folder);
        above.make(container.name.as_str()).map_err(fault)?.ok_or_else(in_the_way)?;
        self.created_at(container)?.ok_or_else(|| Failure::no_container(container.name.as_str()))
    }

    /// Deletes a container: it is gone at once, what is in it then.
    pub(super) fn delete_container(&self, container: &Container) -> Result<()> {
        if self.find(container)?.is_none() {
            return Ok(());
        }
        let Some(above) = self.above(container)? else { return Ok(()) };
        self.discard(&above, container.name.as_str(), Kind::Folder)
    }

    /// Deletes all that is in the folder of a container.
    pub(super) fn clear(&self, container: &Container) -> Result<()> {
        let folder = self.container(container)?;
        for entry in folder.entries().map_err(fault)? {
            let (name, kind) = entry.map_err(fault)?;
            self.discard(&folder, &name, kind)?;
        }
        folder.sync().map_err(fault)
    }

    fn discard(&self, folder: &Folder, name: &str, kind: Kind) -> Result<()> {
        let gone = match kind {
            Kind::File => folder.remove_file(name),
            Kind::Folder => {
                let staged = uuid::Uuid::now_v7().to_string();
                let gone = folder.rename(name, &self.staging()?, &staged);
                if gone.is_ok() {
                    folder.sync().map_err(fault)?;
                    std::fs::remove_dir_all(self.path.join(STAGING).join(staged)).map_err(fault)?;
                }
                gone
            }
        };
        match gone {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(fault(error)),
        }
    }

    /// The file of an object; none when there is none.
    pub(super) fn object(&self, object: &Object) -> Result<Option<(File, Metadata)>> {
        let container = self.container(&object.container)?;
        let (above, name) = object.name.split();
        let Some(folder) = container.descend(&above).map_err(fault)? else { return Ok(None) };
        folder.file(name).map_err(fault)
    }

    /// Moves the file `name` of `from` to where the file of `object` is, which it replaces.
    pub(super) fn place(&self, from: &Folder, name: &str, object: &Object) -> Result<()> {
        let (above, last) = object.name.split();
        for _ in 0..RACES {
            let folder = match self.container(&object.container)?.make_all(&above) {
                Ok(Some(folder)) => folder,
                Ok(None) => return Err(in_the_way(&object.name)),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(fault(error)),
            };
            match from.rename(name, &folder, last) {
                Ok(()) => return folder.sync().map_err(fault),
                Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => return Err(in_the_way(&object.name)),
                Err(error) => return Err(fault(error)),
            }
        }
        Err(fault(Errno::NOENT))
    }

    /// Moves the file of an object to that of another.
    pub(super) fn rename(&self, source: &Object, destination: &Object) -> Result<()> {
        if self.object(source)?.is_none() {
            return Err(Failure::no_object(source.name.as_str()));
        }
        let container = self.container(&source.container)?;
        let (above, name) = source.name.split();
        let folder = container.descend(&above).map_err(fault)?;
        let folder = folder.ok_or_else(|| Failure::no_object(source.name.as_str()))?;
        self.place(&folder, name, destination)?;
        folder.sync().map_err(fault)?;
        prune(&container, &above);
        Ok(())
    }

    /// Deletes those of the objects that are there.
    pub(super) fn delete(&self, container: &Container, names: &[ObjectName]) -> Result<()> {
        let container = self.container(container)?;
        for name in names {
            let (above, name) = name.split();
            let Some(folder) = container.descend(&above).map_err(fault)? else { continue };
            // Anything else that has this name is no object.
            if folder.file(name).map_err(fault)?.is_none() {
                continue;
            }
            match folder.remove_file(name) {
                Ok(()) => folder.sync().map_err(fault)?,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(fault(error)),
            }
            prune(&container, &above);
        }
        Ok(())
    }
}

/// Removes the folders that are empty now, so that their names are free for objects. Those that are not stay.
fn prune(container: &Folder, above: &[&str]) {
    let mut above = above;
    while let Some((name, rest)) = above.split_last() {
        match container.descend(rest) {
            Ok(Some(folder)) if folder.remove_folder(name).is_ok() => above = rest,
            _ => return,
        }
    }
}

fn in_the_way(name: &ObjectName) -> Failure {
    Failure::Refused(format!(
        "object {:?} cannot be: in a folder, a name that other names go on after with a slash is no object's",
        name.as_str()
    ))
}
