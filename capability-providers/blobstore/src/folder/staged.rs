//! A file that becomes an object when all of it is there and on the disk; until then it is nowhere to be seen.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

use super::handle::Folder;
use super::tree::{Root, fault};
use crate::failure::Result;
use crate::store::Object;

/// The file. Dropped before it is placed, it is removed.
pub(super) struct Staged {
    root: Arc<Root>,
    folder: Folder,
    name: String,
    file: File,
    is_placed: bool,
}

impl Staged {
    /// An empty one.
    pub(super) fn new(root: &Arc<Root>) -> Result<Self> {
        let folder = root.staging()?;
        let name = uuid::Uuid::now_v7().to_string();
        let file = folder.create(&name).map_err(fault)?;
        Ok(Self { root: Arc::clone(root), folder, name, file, is_placed: false })
    }

    /// Writes on.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(fault)
    }

    /// Writes all of `from`.
    pub(super) fn copy(&mut self, from: &mut File) -> Result<()> {
        io::copy(from, &mut self.file).map(drop).map_err(fault)
    }

    /// Makes it the object, in the place of one that is there.
    pub(super) fn place(mut self, object: &Object) -> Result<()> {
        self.file.sync_all().map_err(fault)?;
        self.root.place(&self.folder, &self.name, object)?;
        self.is_placed = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_placed {
            // What stays is removed when the store is opened after a day.
            let _ = self.folder.remove_file(&self.name);
        }
    }
}
