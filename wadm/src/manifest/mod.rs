//! Application manifests: OAM (`core.oam.dev/v1beta1`) in the dialect of wasmCloud 1.x, with traits of ours beside its own.

mod component;
mod document;
mod extension;
mod model;
mod naming;
mod parse;
mod problem;
mod quantity;
mod read;
mod scaler;
mod validate;

pub use component::{Component, Config, ImageProperties, Kind, Secret, SecretSource, SharedApplication, Source};
pub use extension::{
    AntiAffinity, Breaker, HttpProbe, Limits, Readiness, Requests, Resilience, Resources, Rollback, Rollout, Route,
    Routes, Strength, Taint, Tolerations,
};
pub use model::{ApiVersion, Application, ApplicationKind, Manifest, Metadata, Policy};
pub use parse::{Format, parse};
pub use problem::{Place, Problem, Problems};
pub use quantity::{Amount, ByteSize, Cpu, NotAQuantity, Patience, Span};
pub use scaler::{LinkEnd, LinkTarget, LinkTrait, Scaler, Spread, Trait};
