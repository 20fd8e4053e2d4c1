//! `secret.put`, `secret.get`, `secret.del`, `secret.list`: ours. One host answers for the lattice, and all hosts follow
//! the store. Values come sealed and leave sealed.

use bytes::Bytes;
use trellis_lattice::id::SecretName;
use trellis_lattice::message::command::Reply;
use trellis_lattice::secrets::SealedSecret;

use super::{Shared, encode};

/// Writes a secret that the authority signed.
pub(super) async fn put(shared: &Shared, name: &str, payload: &[u8]) -> Result<Bytes, String> {
    let name = parse_name(name)?;
    // What cannot be read may hold a value in clear: an error tells where, not what.
    let secret: SealedSecret = serde_json::from_slice(payload)
        .map_err(|error| format!("the request of secret.put is malformed at column {}", error.column()))?;
    shared.context.records.put_secret(&name, secret).await.map_err(|error| error.to_string())?;
    Ok(encode(&Reply::<()>::accepted("")))
}

/// A secret, sealed. One that is not there is a success without a response.
pub(super) async fn get(shared: &Shared, name: &str) -> Result<Bytes, String> {
    let name = parse_name(name)?;
    let found = shared.context.records.get_secret(&name).await.map_err(|error| error.to_string())?;
    Ok(match found {
        Some((secret, _)) => encode(&Reply::answer(secret)),
        None => encode(&Reply::<SealedSecret>::accepted("Secret not found")),
    })
}

/// Deletes a secret. That it is not there is a success.
pub(super) async fn delete(shared: &Shared, name: &str) -> Result<Bytes, String> {
    let name = parse_name(name)?;
    shared.context.records.delete_secret(&name).await.map_err(|error| error.to_string())?;
    Ok(encode(&Reply::<()>::accepted("")))
}

/// The names of all secrets.
pub(super) async fn list(shared: &Shared) -> Result<Bytes, String> {
    let names = shared.context.records.list_secrets().await.map_err(|error| error.to_string())?;
    Ok(encode(&Reply::answer(names)))
}

fn parse_name(name: &str) -> Result<SecretName, String> {
    SecretName::parse(name).map_err(|error| error.to_string())
}
