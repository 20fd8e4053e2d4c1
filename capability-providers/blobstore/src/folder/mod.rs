//! Objects as files below a folder of this machine.

mod handle;
mod list;
mod staged;
mod tree;

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use trellis_provider_sdk::{Body, CallError, LinkError};

use self::staged::Staged;
use self::tree::{Root, fault};
use crate::failure::{Failure, Result};
use crate::name::ObjectName;
use crate::outgoing;
use crate::pieces::Pieces;
use crate::range::Wanted;
use crate::store::{Container, Metadata, Object, Page};

/// What is read or written at once.
const PIECE_BYTES: usize = 256 << 10;
/// Operations on the disk at once; a disk that hangs takes no more threads than these.
const AT_ONCE: usize = 32;

/// Objects in a folder.
#[derive(Clone)]
pub(crate) struct Store {
    root: Arc<Root>,
    room: Arc<Semaphore>,
}

impl Store {
    /// Opens `path`.
    pub(crate) async fn open(path: &Path) -> std::result::Result<Self, LinkError> {
        let shown = path.display().to_string();
        let path = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || Root::open(&path)).await;
        let root = opened.map_err(std::io::Error::other).flatten().map_err(|error| {
            LinkError::Unavailable(format!(
                "folder {shown} cannot be opened: {error}; it must exist and be ours to use"
            ))
        })?;
        Ok(Self { root: Arc::new(root), room: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// Does what blocks.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Arc<Root>) -> Result<T> + Send + 'static) -> Result<T> {
        let permit = Arc::clone(&self.room).acquire_owned().await.expect("is never closed");
        let root = Arc::clone(&self.root);
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&root);
            drop(permit);
            result
        });
        done.await.unwrap_or_else(|broken| Err(fault(std::io::Error::other(broken))))
    }

    pub(crate) async fn create(&self, container: Container) -> Result<u64> {
        self.run(move |root| root.create(&container)).await
    }

    pub(crate) async fn created_at(&self, container: Container) -> Result<Option<u64>> {
        self.run(move |root| root.created_at(&container)).await
    }

    pub(crate) async fn delete_container(&self, container: Container) -> Result<()> {
        self.run(move |root| root.delete_container(&container)).await
    }

    pub(crate) async fn clear(&self, container: Container) -> Result<()> {
        self.run(move |root| root.clear(&container)).await
    }

    pub(crate) async fn metadata(&self, object: Object) -> Result<Option<Metadata>> {
        let found = self.run(move |root| root.object(&object)).await?;
        Ok(found.map(|(_, file)| Metadata { created_at: tree::made_at(&file), size_bytes: file.len() }))
    }

    pub(crate) async fn get(&self, object: Object, wanted: Wanted, deadline: Instant) -> Result<(u64, Body)> {
        let name = object.name.clone();
        let found = self.run(move |root| root.object(&object)).await?;
        let (file, metadata) = found.ok_or_else(|| Failure::no_object(name.as_str()))?;
        let range = wanted.of(metadata.len());
        let size = range.end - range.start;
        let body = if size == 0 { Body::Empty } else { outgoing::body(self.read(file, range), deadline) };
        Ok((size, body))
    }

    fn read(&self, file: File, range: Range<u64>) -> impl Stream<Item = std::result::Result<Bytes, CallError>> + use<> {
        let store = self.clone();
        let file = Arc::new(file);
        stream::try_unfold(range, move |range| {
            let (store, file) = (store.clone(), Arc::clone(&file));
            async move {
                if range.is_empty() {
                    return Ok(None);
                }
                let start = range.start;
                let piece = match store.run(move |_| read_piece(&file, range)).await {
                    Ok(piece) => piece,
                    Err(Failure::Call(error)) => return Err(error),
                    Err(Failure::Refused(text)) => return Err(CallError::provider(text)),
                };
                let next = start + piece.0.len() as u64..piece.1;
                Ok(Some((piece.0, next)))
            }
        })
    }

    pub(crate) async fn put(&self, object: Object, mut pieces: Pieces) -> Result<()> {
        let container = object.container.clone();
        let begin = move |root: &Arc<Root>| {
            root.container(&container)?;
            Staged::new(root)
        };
        let mut staged = self.run(begin).await?;
        loop {
            let piece = pieces.next(PIECE_BYTES).await?;
            if piece.is_empty() {
                return self.run(move |_| staged.place(&object)).await;
            }
            let write = move |_: &Arc<Root>| staged.write(&piece).map(|()| staged);
            staged = self.run(write).await?;
        }
    }

    pub(crate) async fn list(&self, container: Container, cursor: Option<String>, limit: usize) -> Result<Page> {
        self.run(move |root| list::page(&root.container(&container)?, cursor.as_deref(), limit)).await
    }

    pub(crate) async fn delete(&self, container: Container, names: Vec<ObjectName>) -> Result<()> {
        self.run(move |root| root.delete(&container, &names)).await
    }

    pub(crate) async fn copy(&self, source: Object, destination: Object) -> Result<()> {
        let copy = move |root: &Arc<Root>| {
            let (mut file, _) = root.object(&source)?.ok_or_else(|| Failure::no_object(source.name.as_str()))?;
            root.container(&destination.container)?;
            let mut staged = Staged::new(root)?;
            staged.copy(&mut file)?;
            staged.place(&destination)
        };
        self.run(copy).await
    }

    pub(crate) async fn rename(&self, source: Object, destination: Object) -> Result<()> {
        self.run(move |root| root.rename(&source, &destination)).await
    }
}

/// The first piece of `range`, and where that ends.
fn read_piece(file: &File, range: Range<u64>) -> Result<(Bytes, u64)> {
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(PIECE_BYTES);
    let mut piece = vec![0; length];
    file.read_exact_at(&mut piece, range.start).map_err(fault)?;
    Ok((piece.into(), range.end))
}
