//! The API of wadm, with the subjects and shapes of wadm v1, so that its clients work unmodified.
//!
//! Beyond v1: `rollback` and `plan`, a `history` that answers, and further members of messages, which clients of v1
//! pass over.

mod answer;
mod client;
mod difference;
mod lane;
mod message;
mod planned;
mod preview;
mod server;
mod standing;

pub use client::Client;
pub use difference::{Difference, Grant, difference};
pub use message::{
    DeleteReply, DeleteResult, DeployReply, DeployResult, EventInfo, GetReply, GetResult, HistoryReply, ListReply,
    ModelSummary, PutReply, PutResult, Request, ScalerStatus, Status, StatusInfo, StatusReply, StatusResult,
    StatusType, VersionInfo, VersionsReply,
};
pub use planned::{CallInfo, ChoiceInfo, EndInfo, ExplanationInfo, PlanReply, Rejection};
pub use server::{Preview, Server, Services};
