//! Programs from archives as files that can be run, each named by its digest.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{digest, file, write_atomically};
use crate::artifact::archive;
use crate::error::{Error, ErrorKind, Result};

/// The file in `dir` that holds `program` and can be run; what is there under its name is held against it. Blocks.
///
/// # Errors
/// `Unavailable` when it cannot be written.
pub(crate) fn keep_program(dir: &Path, program: &[u8]) -> Result<PathBuf> {
    let path = dir.join(digest(program));
    let is_kept = file::read(&path, archive::MAX_BYTES).is_ok_and(|kept| kept == program);
    if !is_kept {
        write(&path, program).map_err(|error| {
            let message = format!("cannot keep a provider's program in {}: {error}", path.display());
            Error::new(ErrorKind::Unavailable, message).with_source(error)
        })?;
    }
    Ok(path)
}

fn write(path: &Path, program: &[u8]) -> std::io::Result<()> {
    write_atomically(path, program)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o555))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::keep_program;

    #[test]
    fn a_program_that_was_changed_on_disk_is_written_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = keep_program(dir.path(), b"#!/bin/true").expect("kept");
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o555);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("changed");
        std::fs::write(&path, "#!/bin/evil").expect("changed");
        assert_eq!(keep_program(dir.path(), b"#!/bin/true").expect("kept"), path);
        assert_eq!(std::fs::read(&path).expect("there"), b"#!/bin/true");
    }
}
