//! Which program a reference to native code means, and whether it may run here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use trellis_lattice::id::EntityId;
use trellis_lattice::identity::trust::Trust;

use super::process::Program;
use super::reference::Reference;
use crate::artifact::archive::{Archive, own_target};
use crate::artifact::{self, Artifacts, keep_program};
use crate::config::Native;
use crate::error::{Error, ErrorKind, Result};
use crate::policy;
use crate::roster::now_unix_seconds;

/// Where programs come from, and which may run.
#[derive(Clone, Copy)]
pub(crate) struct Programs<'a> {
    /// What may run.
    pub(crate) native: &'a Arc<Native>,
    /// Whose archives may.
    pub(crate) trust: &'a Arc<Trust>,
    /// Where archives come from.
    pub(crate) artifacts: &'a Artifacts,
    /// Where programs of archives are kept, unless the settings say otherwise.
    pub(crate) dir: &'a Path,
}

impl Programs<'_> {
    /// The program that `reference` means.
    ///
    /// # Errors
    /// `Refused` when it may not run here, `Component` when it is an archive that is none, and what fetching fails
    /// with.
    pub(super) async fn find(&self, reference: Reference<'_>, id: &EntityId) -> Result<Program> {
        match reference {
            Reference::Own(own, name) => {
                let arguments = ["provider", name, "--log-format=json", "--log=info"].map(Into::into).into();
                Ok(Program { file: own.to_owned(), arguments })
            }
            Reference::File(path) => {
                let file = artifact::canonical(&path);
                if self.native.executables.contains(&file) {
                    return Ok(Program { file, arguments: Vec::new() });
                }
                self.archived(id, move |now| read(&file, now)).await
            }
            Reference::Registry(image) => {
                let bytes = self.artifacts.fetch_archive(&image).await?;
                self.archived(id, move |now| Archive::open(bytes, now)).await
            }
            Reference::Builtin(_) => Err(Error::new(ErrorKind::Config, format!("provider {id} is built in"))),
        }
    }

    /// The program for this machine of an archive that may run.
    async fn archived(
        &self,
        id: &EntityId,
        open: impl FnOnce(u64) -> Result<Archive> + Send + 'static,
    ) -> Result<Program> {
        let (native, trust, id) = (Arc::clone(self.native), Arc::clone(self.trust), id.clone());
        let dir = native.dir.as_deref().unwrap_or(self.dir).join("programs");
        let work = move || -> Result<PathBuf> {
            let archive = open(now_unix_seconds())?;
            policy::may_run_native(&id, &archive.claims, &trust, native.issuers.as_deref())?;
            keep_program(&dir, archive.program(&own_target())?).map(|file| artifact::canonical(&file))
        };
        let file = tokio::task::spawn_blocking(work).await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "reading a provider's archive broke off").with_source(error)
        })??;
        Ok(Program { file, arguments: Vec::new() })
    }
}

/// The archive in `file`. A file that is none is most often an executable that nobody allowed.
fn read(file: &Path, now_unix_seconds: u64) -> Result<Archive> {
    Archive::read(file, now_unix_seconds).map_err(|error| match error.kind() {
        ErrorKind::Component => {
            let message = format!(
                "{error}; to run the file itself, which nobody signed, the host has to be started with \
                 --allow-provider {}",
                file.display()
            );
            Error::new(ErrorKind::Refused, message)
        }
        _ => error,
    })
}
