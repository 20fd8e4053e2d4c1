//! A call: a function of the contract on what its link sees of the store.

use serde::Serialize;
use tokio::time::Instant;
use trellis_interfaces::blobstore::{
    Clear, ContainerExists, ContainerInfo, ContainerMetadata, CopyObject, CreateContainer, Data, DeleteContainer,
    DeleteObjects, GetContainer, GetData, HasObject, ListObjects, MoveObject, Names, ObjectId, ObjectInfo,
    ObjectMetadata, WriteData, function,
};
use trellis_provider_sdk::wire::{decode, encode};
use trellis_provider_sdk::{Answer, Args, Body, CallError};

use crate::config::{Access, LinkConfig};
use crate::failure::{Failure, Result};
use crate::name::{ContainerName, ObjectName};
use crate::pieces::Pieces;
use crate::range::Wanted;
use crate::store::{Container, Object, Store};

/// Names on one page.
const PAGE: u32 = 1_000;

/// A call.
pub(crate) struct Request<'a> {
    /// Where objects are.
    pub(crate) store: &'a Store,
    /// What the link sees of it.
    pub(crate) config: &'a LinkConfig,
    /// When the answer is worth nothing any more.
    pub(crate) deadline: Instant,
}

impl Request<'_> {
    /// Carries it out.
    pub(crate) async fn answer(
        &self,
        function: &str,
        args: &Args,
        body: Body,
    ) -> std::result::Result<Answer<Args>, CallError> {
        match function {
            function::GET_DATA => self.get(decode(args)?).await,
            function::WRITE_DATA => plain(self.write(decode(args)?, body).await),
            function::LIST_OBJECTS => plain(self.list(decode(args)?).await),
            function::DELETE_OBJECTS => plain(self.delete_objects(decode(args)?).await),
            function::HAS_OBJECT => plain(self.has(decode(args)?).await),
            function::OBJECT_INFO => plain(self.info(decode(args)?).await),
            function::COPY_OBJECT => {
                let CopyObject { source, destination } = decode(args)?;
                plain(self.copy(&source, &destination).await)
            }
            function::MOVE_OBJECT => {
                let MoveObject { source, destination } = decode(args)?;
                plain(self.rename(&source, &destination).await)
            }
            _ => self.of_container(function, args).await,
        }
    }

    async fn of_container(&self, function: &str, args: &Args) -> std::result::Result<Answer<Args>, CallError> {
        match function {
            function::CREATE_CONTAINER => {
                let CreateContainer { name } = decode(args)?;
                plain(self.create(name).await)
            }
            function::GET_CONTAINER => {
                let GetContainer { name } = decode(args)?;
                plain(self.container_info(name).await)
            }
            function::CONTAINER_INFO => {
                let ContainerInfo { name } = decode(args)?;
                plain(self.container_info(name).await)
            }
            function::CONTAINER_EXISTS => {
                let ContainerExists { name } = decode(args)?;
                plain(self.exists(&name).await)
            }
            function::DELETE_CONTAINER => {
                let DeleteContainer { name } = decode(args)?;
                plain(self.delete_container(&name).await)
            }
            function::CLEAR => {
                let Clear { container } = decode(args)?;
                plain(self.clear(&container).await)
            }
            _ => Err(CallError::contract(format!("{function:?} is not a function of wasi:blobstore 0.2.0-draft"))),
        }
    }

    fn container(&self, name: &str) -> Result<Container> {
        let name = ContainerName::parse(name).map_err(Failure::Refused)?;
        match &self.config.container {
            Some(only) if *only != name => Err(Failure::no_container(name.as_str())),
            _ => Ok(Container { prefix: self.config.prefix.clone(), name }),
        }
    }

    fn object(&self, container: &str, name: &str) -> Result<Object> {
        let name = ObjectName::parse(name).map_err(Failure::Refused)?;
        Ok(Object { container: self.container(container)?, name })
    }

    fn may_write(&self) -> Result<()> {
        match self.config.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Failure::Refused("access denied: the link may only read".to_owned())),
        }
    }

    async fn create(&self, name: String) -> Result<ContainerMetadata> {
        self.may_write()?;
        let created_at = self.store.create(self.container(&name)?).await?;
        Ok(ContainerMetadata { name, created_at })
    }

    async fn container_info(&self, name: String) -> Result<ContainerMetadata> {
        match self.store.created_at(self.container(&name)?).await? {
            Some(created_at) => Ok(ContainerMetadata { name, created_at }),
            None => Err(Failure::no_container(&name)),
        }
    }

    async fn exists(&self, name: &str) -> Result<bool> {
        match self.container(name) {
            Ok(container) => Ok(self.store.created_at(container).await?.is_some()),
            // A name that no container has is of none.
            Err(_) => Ok(false),
        }
    }

    async fn delete_container(&self, name: &str) -> Result<()> {
        self.may_write()?;
        self.store.delete_container(self.container(name)?).await
    }

    async fn clear(&self, name: &str) -> Result<()> {
        self.may_write()?;
        self.store.clear(self.container(name)?).await
    }

    async fn copy(&self, source: &ObjectId, destination: &ObjectId) -> Result<()> {
        self.may_write()?;
        let (source, destination) = (self.object_of(source)?, self.object_of(destination)?);
        self.store.copy(source, destination).await
    }

    async fn rename(&self, source: &ObjectId, destination: &ObjectId) -> Result<()> {
        self.may_write()?;
        let (source, destination) = (self.object_of(source)?, self.object_of(destination)?);
        self.store.rename(source, destination).await
    }

    fn object_of(&self, id: &ObjectId) -> Result<Object> {
        self.object(&id.container, &id.object)
    }

    async fn get(&self, args: GetData) -> std::result::Result<Answer<Args>, CallError> {
        let found = async {
            let object = self.object(&args.container, &args.object)?;
            self.store.get(object, Wanted::new(args.start, args.end)?, self.deadline).await
        };
        match found.await {
            Ok((size, body)) => Ok(Answer { value: encode(&wire(Ok(Data { size }))?)?, body }),
            Err(failure) => plain::<Data>(Err(failure)),
        }
    }

    async fn write(&self, args: WriteData, body: Body) -> Result<()> {
        self.may_write()?;
        let object = self.object(&args.container, &args.object)?;
        let pieces = Pieces::new(body, self.config.max_object_bytes, self.deadline);
        self.store.put(object, pieces).await
    }

    async fn list(&self, args: ListObjects) -> Result<Names> {
        let container = self.container(&args.container)?;
        let limit = args.limit.clamp(1, PAGE) as usize;
        let (names, cursor) = self.store.list(container, args.cursor, limit).await?;
        Ok(Names { names, cursor })
    }

    async fn delete_objects(&self, args: DeleteObjects) -> Result<()> {
        self.may_write()?;
        let names = args.objects.iter().map(|name| ObjectName::parse(name)).collect::<std::result::Result<_, _>>();
        self.store.delete(self.container(&args.container)?, names.map_err(Failure::Refused)?).await
    }

    async fn has(&self, args: HasObject) -> Result<bool> {
        let object = self.object(&args.container, &args.object)?;
        Ok(self.store.metadata(object).await?.is_some())
    }

    async fn info(&self, args: ObjectInfo) -> Result<ObjectMetadata> {
        let ObjectInfo { container, object: name } = args;
        let found = self.store.metadata(self.object(&container, &name)?).await?;
        let metadata = found.ok_or_else(|| Failure::no_object(&name))?;
        Ok(ObjectMetadata { name, container, created_at: metadata.created_at, size: metadata.size_bytes })
    }
}

/// An answer without a body.
fn plain<T: Serialize>(result: Result<T>) -> std::result::Result<Answer<Args>, CallError> {
    Ok(Answer { value: encode(&wire(result)?)?, body: Body::Empty })
}

/// What is refused is told to the actor; what failed fails the call.
fn wire<T>(result: Result<T>) -> std::result::Result<std::result::Result<T, String>, CallError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Failure::Refused(text)) => Ok(Err(text)),
        Err(Failure::Call(error)) => Err(error),
    }
}
