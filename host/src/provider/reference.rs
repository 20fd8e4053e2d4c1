//! What a provider's reference means: built in, a file, or an archive in a registry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use trellis_provider_sdk as sdk;

use super::builtin;
use crate::artifact::Source;
use crate::artifact::registry::ImageRef;
use crate::config::Native;
use crate::error::{Error, ErrorKind, Result};

/// What a provider is made of.
pub(crate) enum Reference<'a> {
    /// `builtin:<name>`: in this process.
    Builtin(&'a sdk::Factory),
    /// `process:<name>`: what is built in, as a process of its own.
    Own(&'a Path, &'a str),
    /// A file: an executable that the settings name, or an archive.
    File(PathBuf),
    /// An archive in a registry.
    Registry(ImageRef),
}

impl<'a> Reference<'a> {
    /// Reads `reference`.
    ///
    /// # Errors
    /// `Config` when it means nothing here, with what is built in.
    pub(crate) fn parse(
        reference: &'a str,
        builtins: &'a BTreeMap<String, sdk::Factory>,
        native: &'a Native,
    ) -> Result<Self> {
        if let Some(name) = reference.strip_prefix("builtin:") {
            return builtin::factory(builtins, name).map(Self::Builtin);
        }
        if let Some(name) = reference.strip_prefix("process:") {
            builtin::factory(builtins, name)?;
            let own = native.own.as_deref().ok_or_else(|| {
                let message = format!("this host cannot run what is built in as a process; use builtin:{name}");
                Error::new(ErrorKind::Config, message)
            })?;
            return Ok(Self::Own(own, name));
        }
        match Source::parse(reference) {
            Ok(Source::File(path)) => Ok(Self::File(path)),
            Ok(Source::Registry(image)) => Ok(Self::Registry(image)),
            Err(error) => {
                let message = format!("{error}; built in are: {}", builtin::known(builtins));
                Err(Error::new(ErrorKind::Config, message))
            }
        }
    }

    /// Whether it can be had here, as far as can be told without fetching it.
    pub(crate) fn is_here(&self) -> bool {
        match self {
            Self::Builtin(_) | Self::Own(..) | Self::Registry(_) => true,
            Self::File(path) => path.is_file(),
        }
    }
}
