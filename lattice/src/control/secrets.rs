//! Secrets, as hosts keep them for the lattice: sealed before they come here.

use bytes::Bytes;

use super::{Asked, Client, encode};
use crate::error::Result;
use crate::id::SecretName;
use crate::secrets::SealedSecret;
use crate::subject::{ConfigVerb, LatticeOperation};

impl Client {
    /// Writes a secret; hosts take it only if the lattice's authority signed it.
    pub async fn put_secret(&self, name: &SecretName, secret: &SealedSecret) -> Result<String> {
        self.command(Asked::Secret(ConfigVerb::Put, name.clone()), encode(secret)).await
    }

    /// A secret, sealed; `None` when there is none of that name.
    pub async fn secret(&self, name: &SecretName) -> Result<Option<SealedSecret>> {
        let reply = self.ask::<SealedSecret>(&Asked::Secret(ConfigVerb::Get, name.clone()), Bytes::new()).await?;
        Ok(reply.response)
    }

    /// The names of all secrets.
    pub async fn secrets(&self) -> Result<Vec<SecretName>> {
        self.query(Asked::lattice(LatticeOperation::SecretList), Bytes::new()).await
    }

    /// Deletes a secret; succeeds when there is none.
    pub async fn delete_secret(&self, name: &SecretName) -> Result<String> {
        self.command(Asked::Secret(ConfigVerb::Del, name.clone()), Bytes::new()).await
    }
}
