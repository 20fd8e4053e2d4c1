//! The references to secrets among the configs that an actor, a provider or an end of a link names.

use std::collections::BTreeMap;

use trellis_lattice::id::ConfigName;
use trellis_lattice::secrets::{Reference, is_reference};

use crate::error::{Error, ErrorKind, Result};
use crate::records::Configs;

/// References by the names under which their secrets are read.
pub(crate) type References = BTreeMap<String, Reference>;

/// The references among `names`, later ones over earlier ones. One that is missing is [`crate::records::merge`]'s to
/// tell.
///
/// # Errors
/// `Config` when one cannot be read.
pub(crate) fn references<'a>(configs: &Configs, names: impl IntoIterator<Item = &'a ConfigName>) -> Result<References> {
    let mut references = References::new();
    for name in names.into_iter().filter(|name| is_reference(name)) {
        let Some(record) = configs.get(name) else { continue };
        let reference = Reference::parse(name, record)
            .map_err(|error| Error::new(ErrorKind::Config, error.to_string()).with_source(error))?;
        references.insert(reference.name.clone(), reference);
    }
    Ok(references)
}
