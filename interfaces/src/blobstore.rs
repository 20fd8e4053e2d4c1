//! wasi:blobstore 0.2.0-draft as it travels. A container resource is its name; where its objects are is decided by the
//! provider, from the link.
//!
//! All functions are of the interface `blobstore`, also those that WIT has in `container`: a container can be had by
//! `blobstore` only, and one link covers both. The parameters of a function are the fields of the type with its name,
//! in order; its result is [`Result<T, Error>`](Error) with the `T` that is said there. What an object holds travels
//! as the body: of the call in [`WriteData`], of the answer in [`GetData`].

use serde::{Deserialize, Serialize};

/// `blobstore`, with its version.
pub const BLOBSTORE: &str = "wasi:blobstore/blobstore@0.2.0-draft";

/// `container`, with its version.
pub const CONTAINER: &str = "wasi:blobstore/container@0.2.0-draft";

/// Names of functions.
pub mod function {
    /// [`super::CreateContainer`].
    pub const CREATE_CONTAINER: &str = "create-container";
    /// [`super::GetContainer`].
    pub const GET_CONTAINER: &str = "get-container";
    /// [`super::DeleteContainer`].
    pub const DELETE_CONTAINER: &str = "delete-container";
    /// [`super::ContainerExists`].
    pub const CONTAINER_EXISTS: &str = "container-exists";
    /// [`super::ContainerInfo`].
    pub const CONTAINER_INFO: &str = "container-info";
    /// [`super::Clear`].
    pub const CLEAR: &str = "clear";
    /// [`super::CopyObject`].
    pub const COPY_OBJECT: &str = "copy-object";
    /// [`super::MoveObject`].
    pub const MOVE_OBJECT: &str = "move-object";
    /// [`super::GetData`].
    pub const GET_DATA: &str = "get-data";
    /// [`super::WriteData`].
    pub const WRITE_DATA: &str = "write-data";
    /// [`super::ListObjects`].
    pub const LIST_OBJECTS: &str = "list-objects";
    /// [`super::DeleteObjects`].
    pub const DELETE_OBJECTS: &str = "delete-objects";
    /// [`super::HasObject`].
    pub const HAS_OBJECT: &str = "has-object";
    /// [`super::ObjectInfo`].
    pub const OBJECT_INFO: &str = "object-info";
}

/// The error of all functions, in words.
pub type Error = String;

/// `create-container`; a [`ContainerMetadata`] comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateContainer {
    /// Its name.
    pub name: String,
}

/// `get-container`; a [`ContainerMetadata`] comes back. A container that is not there is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetContainer {
    /// Its name.
    pub name: String,
}

/// `delete-container`; nothing comes back, whether or not it was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteContainer {
    /// Its name.
    pub name: String,
}

/// `container-exists`; a `bool` comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerExists {
    /// Its name.
    pub name: String,
}

/// `container.info`; a [`ContainerMetadata`] comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerInfo {
    /// Its name.
    pub name: String,
}

/// `container.clear`; nothing comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clear {
    /// The container.
    pub container: String,
}

/// `copy-object`; nothing comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyObject {
    /// What is copied.
    pub source: ObjectId,
    /// What it is copied to; replaced if it is there.
    pub destination: ObjectId,
}

/// `move-object`; nothing comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveObject {
    /// What is moved.
    pub source: ObjectId,
    /// Where it is moved to; replaced if it is there.
    pub destination: ObjectId,
}

/// `container.get-data`; a [`Data`] comes back, and what it describes as the body of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetData {
    /// The container.
    pub container: String,
    /// The object.
    pub object: String,
    /// The first byte.
    pub start: u64,
    /// The last byte, inclusive; beyond the object's end it means that end.
    pub end: u64,
}

/// `container.write-data`; nothing comes back. The object is the body of the call, and is there only once all of the
/// body was: a body that fails leaves what was there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteData {
    /// The container.
    pub container: String,
    /// The object; replaced if it is there.
    pub object: String,
}

/// `container.list-objects` and reads of its stream; a [`Names`] comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListObjects {
    /// The container.
    pub container: String,
    /// The cursor of the page before, none at first.
    pub cursor: Option<String>,
    /// How many names are wanted; fewer may come.
    pub limit: u32,
}

/// `container.delete-object` and `container.delete-objects`; nothing comes back, whether or not they were there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteObjects {
    /// The container.
    pub container: String,
    /// The objects.
    pub objects: Vec<String>,
}

/// `container.has-object`; a `bool` comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HasObject {
    /// The container.
    pub container: String,
    /// The object.
    pub object: String,
}

/// `container.object-info`; an [`ObjectMetadata`] comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectInfo {
    /// The container.
    pub container: String,
    /// The object.
    pub object: String,
}

/// Which object of which container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectId {
    /// The container.
    pub container: String,
    /// The object.
    pub object: String,
}

/// What there is to know of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerMetadata {
    /// Its name.
    pub name: String,
    /// Seconds since the Unix epoch.
    pub created_at: u64,
}

/// What there is to know of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectMetadata {
    /// Its name.
    pub name: String,
    /// Its container.
    pub container: String,
    /// Seconds since the Unix epoch.
    pub created_at: u64,
    /// In bytes.
    pub size: u64,
}

/// A piece of an object, whose bytes are the body of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// Its length in bytes.
    pub size: u64,
}

/// A page of names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The names of objects.
    pub names: Vec<String>,
    /// For the next page; none when this was the last one.
    pub cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::{Error, GetData, Names};

    #[test]
    fn parameters_are_arrays_and_results_are_ok_or_err() {
        let get = GetData { container: "c".into(), object: "o".into(), start: 0, end: 7 };
        let bytes = rmp_serde::to_vec(&get).expect("encodes");
        assert_eq!(bytes, [0x94, 0xa1, b'c', 0xa1, b'o', 0, 7]);
        let result: Result<Names, Error> = rmp_serde::from_slice(b"\x81\xa2Ok\x92\x91\xa1a\xc0").expect("decodes");
        assert_eq!(result, Ok(Names { names: vec!["a".into()], cursor: None }));
        let result: Result<Names, Error> = rmp_serde::from_slice(b"\x81\xa3Err\xa4full").expect("decodes");
        assert_eq!(result, Err("full".into()));
    }
}
