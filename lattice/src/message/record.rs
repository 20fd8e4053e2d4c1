//! What the keys of the lattice's records begin with: hosts write them, and whoever wants to know follows them.

/// A link, as JSON of [`crate::message::link::Link`].
pub const LINKS: &str = "link.";

/// A config, as JSON of a flat map of strings; the rest of the key is its name.
pub const CONFIGS: &str = "config.";

/// A secret, as JSON of [`crate::secrets::SealedSecret`]; the rest of the key is its name.
pub const SECRETS: &str = "secret.";

/// The claims of an actor, as JSON.
pub const CLAIMS: &str = "claims.";
