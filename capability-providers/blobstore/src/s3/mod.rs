//! Objects in a bucket of an S3 server. A container is what the keys of its objects begin with; an empty object below
//! `.containers/` says that it is there when none of them is.

mod client;
mod fault;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectMeta, ObjectStore as _, ObjectStoreExt as _, PutPayload};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use trellis_provider_sdk::{Body, CallError, LinkError};

use self::fault::Faults;
use crate::config;
use crate::failure::{Failure, Result};
use crate::name::ObjectName;
use crate::outgoing;
use crate::pieces::Pieces;
use crate::range::Wanted;
use crate::store::{Container, Metadata, Object, Page};

/// Where the objects are that say which containers there are.
const MARKERS: &str = ".containers";
/// A key that nothing has: no container begins with a dot.
const NOTHING: &str = ".containers/.nothing";
/// How long a server has to say that all is well when a link is put.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Objects that are written at once: each has up to two parts in memory.
const UPLOADS_AT_ONCE: usize = 8;

/// Objects on a server.
pub(crate) struct Store {
    client: AmazonS3,
    faults: Arc<Faults>,
    uploads: Semaphore,
}

impl Store {
    /// Opens a bucket; nothing is asked of the server.
    pub(crate) fn open(config: &config::S3) -> std::result::Result<Self, LinkError> {
        let client = client::client(config)?;
        let faults = Arc::new(Faults::new(config));
        Ok(Self { client, faults, uploads: Semaphore::new(UPLOADS_AT_ONCE) })
    }

    /// Looks whether the server takes the key, and whether the bucket can be listed.
    pub(crate) async fn check(&self) -> std::result::Result<(), LinkError> {
        let silent = format!("{} in {} s", self.faults.silent(), CHECK_TIMEOUT.as_secs());
        let checked = timeout(CHECK_TIMEOUT, self.check_key_and_bucket()).await;
        checked.unwrap_or(Err(silent)).map_err(LinkError::Unavailable)
    }

    async fn check_key_and_bucket(&self) -> std::result::Result<(), String> {
        // What is wrong with a key has an error of its own here, and none where keys are listed.
        match self.client.head(&Path::from(NOTHING)).await {
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(self.faults.describe(&error)),
        }
        self.first(MARKERS).await.map(drop).map_err(|_| self.faults.unlisted())
    }

    fn failed(&self, error: &Error) -> Failure {
        self.faults.call_error(error).into()
    }

    /// The first object whose key begins with `prefix`.
    async fn first(&self, prefix: &str) -> std::result::Result<Option<ObjectMeta>, Error> {
        let options = PaginatedListOptions { max_keys: Some(1), ..Default::default() };
        let page = self.client.list_paginated(Some(prefix), options).await?;
        Ok(page.result.objects.into_iter().next())
    }

    async fn head(&self, key: &Path) -> Result<Option<ObjectMeta>> {
        match self.client.head(key).await {
            Ok(meta) => Ok(Some(meta)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn require(&self, container: &Container) -> Result<()> {
        match self.created_at(container.clone()).await? {
            Some(_) => Ok(()),
            None => Err(Failure::no_container(container.name.as_str())),
        }
    }

    pub(crate) async fn create(&self, container: Container) -> Result<u64> {
        if let Some(created_at) = self.created_at(container.clone()).await? {
            return Ok(created_at);
        }
        let marker = marker(&container)?;
        self.client.put(&marker, PutPayload::new()).await.map_err(|error| self.failed(&error))?;
        Ok(self.created_at(container).await?.unwrap_or_default())
    }

    pub(crate) async fn created_at(&self, container: Container) -> Result<Option<u64>> {
        if let Some(meta) = self.head(&marker(&container)?).await? {
            return Ok(Some(seconds(&meta)));
        }
        // A bucket may have been filled by others.
        let first = self.first(&format!("{}/", place(&container))).await.map_err(|error| self.failed(&error))?;
        Ok(first.as_ref().map(seconds))
    }

    pub(crate) async fn delete_container(&self, container: Container) -> Result<()> {
        self.delete_all(&container).await?;
        self.delete_keys(vec![marker(&container)?]).await
    }

    pub(crate) async fn clear(&self, container: Container) -> Result<()> {
        self.require(&container).await?;
        self.delete_all(&container).await
    }

    async fn delete_all(&self, container: &Container) -> Result<()> {
        let keys = self.client.list(Some(&path(place(container))?)).map_ok(|meta| meta.location).boxed();
        let deleted = self.client.delete_stream(keys);
        deleted.try_for_each(|_| async { Ok(()) }).await.map_err(|error| self.failed(&error))
    }

    pub(crate) async fn metadata(&self, object: Object) -> Result<Option<Metadata>> {
        self.require(&object.container).await?;
        let meta = self.head(&key(&object)?).await?;
        Ok(meta.map(|meta| Metadata { created_at: seconds(&meta), size_bytes: meta.size }))
    }

    pub(crate) async fn get(&self, object: Object, wanted: Wanted, deadline: Instant) -> Result<(u64, Body)> {
        let key = key(&object)?;
        let options = GetOptions { range: wanted.header(), ..Default::default() };
        let result = match self.client.get_opts(&key, options).await {
            Ok(result) => result,
            Err(Error::NotFound { .. }) => {
                self.require(&object.container).await?;
                return Err(Failure::no_object(object.name.as_str()));
            }
            Err(error) => {
                // A piece beyond the end is an error to a server, and empty here.
                let size = self.head(&key).await?.map_or(0, |meta| meta.size);
                let is_beyond = wanted.start() >= size;
                return if is_beyond { Ok((0, Body::Empty)) } else { Err(self.failed(&error)) };
            }
        };
        let size = result.range.end - result.range.start;
        let faults = Arc::clone(&self.faults);
        let pieces = result.into_stream().map_err(move |error| faults.call_error(&error));
        Ok((size, outgoing::body(pieces, deadline)))
    }

    pub(crate) async fn put(&self, object: Object, mut pieces: Pieces) -> Result<()> {
        self.require(&object.container).await?;
        let _turn = self.uploads.acquire().await.expect("is never closed");
        upload::upload(&self.client, &self.faults, &key(&object)?, &mut pieces).await
    }

    pub(crate) async fn list(&self, container: Container, cursor: Option<String>, limit: usize) -> Result<Page> {
        if cursor.is_none() {
            self.require(&container).await?;
        }
        let prefix = format!("{}/", place(&container));
        let options = PaginatedListOptions { max_keys: Some(limit), page_token: cursor, ..Default::default() };
        let page = self.client.list_paginated(Some(&prefix), options).await.map_err(|error| self.failed(&error))?;
        let name = |meta: ObjectMeta| {
            let name = meta.location.as_ref().strip_prefix(&prefix)?;
            // Others may have put keys there that no object has here.
            ObjectName::parse(name).ok().map(|name| name.as_str().to_owned())
        };
        Ok((page.result.objects.into_iter().filter_map(name).collect(), page.page_token))
    }

    pub(crate) async fn delete(&self, container: Container, names: Vec<ObjectName>) -> Result<()> {
        self.require(&container).await?;
        let key = |name| key(&Object { container: container.clone(), name });
        self.delete_keys(names.into_iter().map(key).collect::<Result<_>>()?).await
    }

    async fn delete_keys(&self, keys: Vec<Path>) -> Result<()> {
        let mut deleted = self.client.delete_stream(stream::iter(keys.into_iter().map(Ok)).boxed());
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Ok(())
    }

    pub(crate) async fn copy(&self, source: Object, destination: Object) -> Result<()> {
        self.require(&source.container).await?;
        self.require(&destination.container).await?;
        match self.client.copy(&key(&source)?, &key(&destination)?).await {
            Ok(()) => Ok(()),
            Err(Error::NotFound { .. }) => Err(Failure::no_object(source.name.as_str())),
            Err(error) => Err(self.failed(&error)),
        }
    }

    pub(crate) async fn rename(&self, source: Object, destination: Object) -> Result<()> {
        if source == destination {
            let found = self.metadata(source.clone()).await?;
            return found.map(drop).ok_or_else(|| Failure::no_object(source.name.as_str()));
        }
        self.copy(source.clone(), destination).await?;
        self.delete_keys(vec![key(&source)?]).await
    }
}

impl Wanted {
    /// What a request asks for; nothing when that is all.
    fn header(self) -> Option<GetRange> {
        let whole = self.of(u64::MAX);
        match (whole.start, whole.end) {
            (0, u64::MAX) => None,
            (start, u64::MAX) => Some(GetRange::Offset(start)),
            (start, end) => Some(GetRange::Bounded(start..end)),
        }
    }
}

fn seconds(meta: &ObjectMeta) -> u64 {
    u64::try_from(meta.last_modified.timestamp()).unwrap_or_default()
}

/// What the keys of a container's objects begin with, without the slash after it.
fn place(container: &Container) -> String {
    match &container.prefix {
        Some(prefix) => format!("{}/{}", prefix.as_str(), container.name.as_str()),
        None => container.name.as_str().to_owned(),
    }
}

fn marker(container: &Container) -> Result<Path> {
    let name = container.name.as_str();
    path(match &container.prefix {
        Some(prefix) => format!("{}/{MARKERS}/{name}", prefix.as_str()),
        None => format!("{MARKERS}/{name}"),
    })
}

fn key(object: &Object) -> Result<Path> {
    let key = format!("{}/{}", place(&object.container), object.name.as_str());
    if key.len() > 1_024 {
        return Err(Failure::Refused(
            "the names of object, container and prefix are longer than 1024 bytes".to_owned(),
        ));
    }
    path(key)
}

fn path(key: String) -> Result<Path> {
    Path::parse(key).map_err(|error| CallError::provider(format!("a name has no key: {error}")).into())
}
