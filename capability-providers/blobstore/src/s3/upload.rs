//! An object on its way to a server: in one request if it is small, else in parts of which two are in memory.

use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{Error, MultipartUpload, ObjectStoreExt as _, UploadPart};

use super::fault::Faults;
use crate::failure::{Failure, Result};
use crate::pieces::Pieces;

/// The smallest part that servers take, but for the last.
const PART_BYTES: usize = 5 << 20;
/// Of 10,000 parts, which is as many as there may be, so many have the same size; then it doubles. The largest object
/// is 310 GiB.
const PARTS_OF_A_SIZE: usize = 2_000;
/// How long a server has to forget the parts of an object that will not be.
const ABORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes or replaces the object at `key`, once all of it arrived.
pub(super) async fn upload(client: &AmazonS3, faults: &Faults, key: &Path, pieces: &mut Pieces) -> Result<()> {
    let failed = |error| Failure::Call(faults.call_error(&error));
    let first = pieces.next(PART_BYTES).await?;
    if first.len() < PART_BYTES {
        return client.put(key, first.into()).await.map(drop).map_err(failed);
    }
    let mut parts = Parts::begin(client, key).await.map_err(failed)?;
    let mut piece = first;
    while !piece.is_empty() {
        let sent = parts.send(piece);
        let sent = async { sent.await.map_err(failed) };
        (piece, ()) = try_join(pieces.next(parts.next_bytes()), sent).await?;
    }
    parts.complete().await.map_err(failed)
}

/// The parts of an object. Dropped before they are complete, the server is asked to forget them.
struct Parts {
    upload: Option<Box<dyn MultipartUpload>>,
    sent: usize,
}

impl Parts {
    async fn begin(client: &AmazonS3, key: &Path) -> std::result::Result<Self, Error> {
        Ok(Self { upload: Some(client.put_multipart(key).await?), sent: 0 })
    }

    fn next_bytes(&self) -> usize {
        PART_BYTES << (self.sent / PARTS_OF_A_SIZE).min(4)
    }

    fn send(&mut self, piece: Bytes) -> UploadPart {
        self.sent += 1;
        self.upload.as_mut().expect("is there until it is complete").put_part(piece.into())
    }

    async fn complete(mut self) -> std::result::Result<(), Error> {
        self.upload.as_mut().expect("is there until it is complete").complete().await?;
        self.upload = None;
        Ok(())
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        let (Some(mut upload), Ok(runtime)) = (self.upload.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        // What is not forgotten costs room, no more; the store's own rules for it remain.
        runtime.spawn(async move { tokio::time::timeout(ABORT_TIMEOUT, upload.abort()).await });
    }
}
