//! Which program a reference to native code means, and whether it may run here.

use std::path::PathBuf;
use std::sync::Arc;

use trellis_lattice::id::EntityId;

use super::process::Program;
use super::reference::Reference;
use crate::artifact;
use crate::config::Native;
use crate::error::{Error, ErrorKind, Result};

/// Where programs come from, and which may run.
#[derive(Clone, Copy)]
pub(crate) struct Programs<'a> {
    /// What may run.
    pub(crate) native: &'a Arc<Native>,
}

impl Programs<'_> {
    /// The program that `reference` means.
    ///
    /// # Errors
    /// `Refused` when it may not run here.
    pub(super) async fn find(&self, reference: Reference<'_>, id: &EntityId) -> Result<Program> {
        match reference {
            Reference::Own(own, name) => {
                let arguments = ["provider", name, "--log-format=json", "--log=info"].map(Into::into).into();
                Ok(Program { file: own.to_owned(), arguments })
            }
            Reference::File(path) => self.executable(path, id),
            Reference::Builtin(_) | Reference::Registry(_) => {
                Err(Error::new(ErrorKind::Refused, format!("provider {id} is no program")))
            }
        }
    }

    fn executable(&self, path: PathBuf, id: &EntityId) -> Result<Program> {
        let file = artifact::canonical(&path);
        if !self.native.executables.contains(&file) {
            let message = format!(
                "provider {id} is native code that nobody signed: pack {} into an archive (`trellis par create`), or \
                 allow the file by name (--allow-provider {0})",
                file.display()
            );
            return Err(Error::new(ErrorKind::Refused, message));
        }
        Ok(Program { file, arguments: Vec::new() })
    }
}
