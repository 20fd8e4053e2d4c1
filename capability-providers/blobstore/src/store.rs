//! The two backends behind one set of operations.

use std::path::Path;

use tokio::time::Instant;
use trellis_provider_sdk::{Body, LinkError};

use crate::config::Backend;
use crate::failure::Result;
use crate::name::{ContainerName, ObjectName};
use crate::pieces::Pieces;
use crate::range::Wanted;
use crate::{folder, s3};

/// A container as its backend finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container {
    /// What sets it apart from containers of that name of other links.
    pub(crate) prefix: Option<ContainerName>,
    /// Its name.
    pub(crate) name: ContainerName,
}

/// An object as its backend finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its container.
    pub(crate) container: Container,
    /// Its name.
    pub(crate) name: ObjectName,
}

/// What there is to know of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Seconds since the Unix epoch.
    pub(crate) created_at: u64,
    /// Its size.
    pub(crate) size_bytes: u64,
}

/// A page of names, and where the next one begins if there is one.
pub(crate) type Page = (Vec<String>, Option<String>);

/// Where objects are kept.
pub(crate) enum Store {
    /// In a folder.
    Folder(folder::Store),
    /// On an S3 server.
    S3(s3::Store),
}

/// Calls the same operation of either backend.
macro_rules! either {
    ($store:expr, $operation:ident($($argument:expr),*)) => {
        match $store {
            Self::Folder(store) => store.$operation($($argument),*).await,
            Self::S3(store) => store.$operation($($argument),*).await,
        }
    };
}

impl Store {
    /// Opens what `backend` names; `data_dir` is the provider's own folder.
    ///
    /// # Errors
    /// `Unavailable`, naming the folder or server and what is wrong with it.
    pub(crate) async fn open(backend: &Backend, data_dir: &Path) -> std::result::Result<Self, LinkError> {
        match backend {
            Backend::Folder(root) => folder::Store::open(root.as_deref().unwrap_or(data_dir)).await.map(Self::Folder),
            Backend::S3(config) => s3::Store::open(config).map(Self::S3),
        }
    }

    /// Looks whether it can be used now.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) async fn check(&self) -> std::result::Result<(), LinkError> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::S3(store) => store.check().await,
        }
    }

    /// Makes a container unless it is there; when it was made.
    pub(crate) async fn create(&self, container: Container) -> Result<u64> {
        either!(self, create(container))
    }

    /// When a container was made; none when it is not there.
    pub(crate) async fn created_at(&self, container: Container) -> Result<Option<u64>> {
        either!(self, created_at(container))
    }

    /// Deletes a container with all in it, if it is there.
    pub(crate) async fn delete_container(&self, container: Container) -> Result<()> {
        either!(self, delete_container(container))
    }

    /// Deletes all objects of a container.
    pub(crate) async fn clear(&self, container: Container) -> Result<()> {
        either!(self, clear(container))
    }

    /// What there is to know of an object; none when it is not there.
    pub(crate) async fn metadata(&self, object: Object) -> Result<Option<Metadata>> {
        either!(self, metadata(object))
    }

    /// A piece of an object: its size, and what is in it, which is to be read by `deadline`.
    pub(crate) async fn get(&self, object: Object, wanted: Wanted, deadline: Instant) -> Result<(u64, Body)> {
        either!(self, get(object, wanted, deadline))
    }

    /// Makes or replaces an object, once all of it is there.
    pub(crate) async fn put(&self, object: Object, pieces: Pieces) -> Result<()> {
        either!(self, put(object, pieces))
    }

    /// At most `limit` names of a container after `cursor`.
    pub(crate) async fn list(&self, container: Container, cursor: Option<String>, limit: usize) -> Result<Page> {
        either!(self, list(container, cursor, limit))
    }

    /// Deletes those of `names` that are there.
    pub(crate) async fn delete(&self, container: Container, names: Vec<ObjectName>) -> Result<()> {
        either!(self, delete(container, names))
    }

    /// Copies an object over another.
    pub(crate) async fn copy(&self, source: Object, destination: Object) -> Result<()> {
        either!(self, copy(source, destination))
    }

    /// Moves an object over another.
    pub(crate) async fn rename(&self, source: Object, destination: Object) -> Result<()> {
        either!(self, rename(source, destination))
    }
}
