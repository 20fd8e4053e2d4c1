//! Reading an artifact from a file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};

/// All bytes of the file at `path`. Blocks.
pub(super) fn read(path: &Path, max_bytes: u64) -> Result<Bytes> {
    let unreadable = |error: std::io::Error| {
        let message = format!("cannot read {}: {error}", path.display());
        Error::new(ErrorKind::NotFound, message).with_source(error)
    };
    let file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(Error::new(ErrorKind::NotFound, format!("cannot read {}: it is not a file", path.display())));
    }
    let mut bytes = Vec::new();
    // The limit holds for what is read, not for what the file said of its size.
    file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.is_empty() {
        let message = format!("{} is empty, not a component: build it again, or copy it again", path.display());
        return Err(Error::new(ErrorKind::Component, message));
    }
    if bytes.len() as u64 > max_bytes {
        let message = format!("{} is larger than {} MiB", path.display(), max_bytes >> 20);
        return Err(Error::new(ErrorKind::Component, message));
    }
    Ok(bytes.into())
}
