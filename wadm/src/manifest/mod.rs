//! Application manifests: OAM (`core.oam.dev/v1beta1`) in the dialect of wasmCloud 1.x, with traits of ours beside its own.

mod component;
mod extension;
mod model;
mod quantity;
mod scaler;

pub use component::{Component, Config, ImageProperties, Kind, Secret, SecretSource, SharedApplication, Source};
pub use extension::{
    AntiAffinity, Breaker, Limits, Readiness, Requests, Resilience, Resources, Rollback, Rollout, Route, Routes,
    Strength, Taint, Tolerations,
};
pub use model::{ApiVersion, Application, ApplicationKind, Manifest, Metadata, Policy};
pub use quantity::{Amount, ByteSize, Cpu, NotAQuantity, Patience, Span};
pub use scaler::{LinkEnd, LinkTarget, LinkTrait, Scaler, Spread, Trait};
