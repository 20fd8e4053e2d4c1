//! An open folder. Names are looked up one part at a time from such a handle and symbolic links are never followed, so
//! that no name leads out of the root, whatever is renamed meanwhile.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
/// Without `NONBLOCK`, opening a pipe that somebody put there would wait for a writer.
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
const NEW_FILE: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(FILE);

/// An open folder.
pub(super) struct Folder(OwnedFd);

/// What a name in a folder stands for; other things than these are passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A folder.
    Folder,
    /// A file.
    File,
}

impl Folder {
    /// Opens `path`, which is trusted.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::open(path, FOLDER, Mode::empty())?))
    }

    /// The folder `name` in it; none when there is nothing, or something else.
    pub(super) fn folder(&self, name: &str) -> io::Result<Option<Self>> {
        match self.open(name) {
            Ok(folder) => Ok(Some(folder)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open(&self, name: &str) -> Result<Self, Errno> {
        rustix::fs::openat(&self.0, name, FOLDER | OFlags::NOFOLLOW, Mode::empty()).map(Self)
    }

    /// The folder below it that `names` lead to.
    pub(super) fn descend(&self, names: &[&str]) -> io::Result<Option<Self>> {
        let mut folder = Self(self.0.try_clone()?);
        for name in names {
            match folder.folder(name)? {
                Some(next) => folder = next,
                None => return Ok(None),
            }
        }
        Ok(Some(folder))
    }

    /// The folder `name` in it, made if there is nothing; none when there is something else. `NOENT` when one of the two
    /// was removed meanwhile.
    pub(super) fn make(&self, name: &str) -> Result<Option<Self>, Errno> {
        match rustix::fs::mkdirat(&self.0, name, Mode::RWXU) {
            Ok(()) => rustix::fs::fsync(&self.0)?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        match self.open(name) {
            Ok(folder) => Ok(Some(folder)),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The folder below it that `names` lead to, each made as by [`Self::make`].
    pub(super) fn make_all(&self, names: &[&str]) -> Result<Option<Self>, Errno> {
        let mut folder = Self(self.0.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?);
        for name in names {
            match folder.make(name)? {
                Some(next) => folder = next,
                None => return Ok(None),
            }
        }
        Ok(Some(folder))
    }

    /// The file `name` in it; none when there is nothing, or something else.
    pub(super) fn file(&self, name: &str) -> io::Result<Option<(File, Metadata)>> {
        let file = match rustix::fs::openat(&self.0, name, FILE, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        Ok(metadata.is_file().then_some((file, metadata)))
    }

    /// A new file `name` in it.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        Ok(rustix::fs::openat(&self.0, name, NEW_FILE, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Moves `name` to `to_name` in `to`, over a file that is there.
    pub(super) fn rename(&self, name: &str, to: &Self, to_name: &str) -> Result<(), Errno> {
        rustix::fs::renameat(&self.0, name, &to.0, to_name)
    }

    /// Removes the file `name`.
    pub(super) fn remove_file(&self, name: &str) -> Result<(), Errno> {
        rustix::fs::unlinkat(&self.0, name, AtFlags::empty())
    }

    /// Removes the folder `name`, which must be empty.
    pub(super) fn remove_folder(&self, name: &str) -> Result<(), Errno> {
        rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)
    }

    /// Puts the names in it on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }

    /// What there is to know of it.
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        File::from(self.0.try_clone()?).metadata()
    }

    /// The files and folders in it whose names are text, in any order.
    pub(super) fn entries(&self) -> io::Result<impl Iterator<Item = io::Result<(String, Kind)>>> {
        let entries = Dir::read_from(&self.0)?;
        Ok(entries.filter_map(|entry| {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error.into())),
            };
            let name = entry.file_name().to_str().ok()?.to_owned();
            let kind = self.kind(&name, entry.file_type()).transpose()?;
            (name != "." && name != "..").then(|| kind.map(|kind| (name, kind)))
        }))
    }

    /// Some file systems leave the type to be asked for.
    fn kind(&self, name: &str, told: FileType) -> io::Result<Option<Kind>> {
        let file_type = match told {
            FileType::Unknown => match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(error.into()),
            },
            known => known,
        };
        Ok(match file_type {
            FileType::Directory => Some(Kind::Folder),
            FileType::RegularFile => Some(Kind::File),
            _ => None,
        })
    }
}
