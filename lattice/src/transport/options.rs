//! How to reach a nats-server, and as whom.

use std::fmt;
use std::path::PathBuf;

use crate::secret::Secret;

/// How to reach a nats-server.
#[derive(Clone)]
pub struct NatsOptions {
    /// `nats://host:port` or `tls://host:port`; several for servers of one cluster.
    pub servers: Vec<String>,
    /// What the server's monitoring shows for this connection.
    pub name: String,
    /// Who we are.
    pub credentials: Credentials,
    /// A PEM file with the certificates that sign the server's; TLS is then required.
    pub tls_ca: Option<PathBuf>,
}

/// Who we are to a nats-server.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Nobody, or what the URL says (`nats://token@host`, `nats://user:password@host`).
    None,
    /// A token.
    Token(Secret),
    /// A user with a password.
    UserPassword {
        /// The user.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// The seed of a user nkey (`SU…`).
    NkeySeed(Secret),
    /// A file with a user JWT and its seed, as `nsc` writes it.
    File(PathBuf),
}

impl NatsOptions {
    /// One server, no credentials.
    pub fn new(server: impl Into<String>) -> Self {
        Self { servers: vec![server.into()], name: "trellis".into(), credentials: Credentials::None, tls_ca: None }
    }
}

impl fmt::Debug for NatsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may hold a password.
        f.debug_struct("NatsOptions").field("name", &self.name).finish_non_exhaustive()
    }
}
