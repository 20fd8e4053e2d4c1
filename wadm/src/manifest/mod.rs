//! Application manifests: OAM (`core.oam.dev/v1beta1`) in the dialect of wasmCloud 1.x.

mod component;
mod model;
mod scaler;

pub use component::{Component, Config, ImageProperties, Kind, Secret, SecretSource, SharedApplication, Source};
pub use model::{ApiVersion, Application, ApplicationKind, Manifest, Metadata, Policy};
pub use scaler::{LinkEnd, LinkTarget, LinkTrait, Scaler, Spread, Trait};
