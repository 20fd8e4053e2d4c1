//! The ids of scalers.

use sha2::{Digest as _, Sha256};

use super::outcome::ScalerKind;
use crate::intent::AppName;

/// The id of a scaler: the same in every version of an application as long as its kind and its subject stay.
pub(crate) fn scaler(app: &AppName, kind: ScalerKind, subject: &str) -> String {
    let digest = Sha256::digest(format!("{}\0{app}\0{subject}", kind.as_str()));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
