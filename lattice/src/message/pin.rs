//! Which bytes a reference has to mean: an annotation of the command that starts an actor, so that the shape of lattice v1
//! stays as it is. A tag that was moved while an application runs must not mean other bytes on the next host.
//!
//! It names the reference too, so that it says nothing of another one that comes with the same annotations. Hosts of lattice v1
//! echo it and do nothing about it.

use super::command::StringMap;

/// The annotation: `<hex of the SHA-256 of the component> <reference>`.
const PIN: &str = "trellis.dev/pin";

/// The annotation that makes `reference` mean the component with this digest, as inventories have it.
pub fn annotation(reference: &str, digest: &str) -> (String, String) {
    (PIN.to_owned(), format!("{digest} {reference}"))
}

/// The digest that `annotations` have for `reference`, if they have one.
///
/// # Errors
/// Says what is wrong with it.
pub fn digest_of<'a>(annotations: Option<&'a StringMap>, reference: &str) -> Result<Option<&'a str>, String> {
    let Some(text) = annotations.and_then(|annotations| annotations.get(PIN)) else { return Ok(None) };
    let is_hex = |text: &str| {
        text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    match text.split_once(' ') {
        Some((digest, of)) if is_hex(digest) => Ok((of == reference).then_some(digest)),
        _ => Err(format!("annotation {PIN} is not a SHA-256 in lower-case hex, a blank and a reference")),
    }
}

#[cfg(test)]
mod tests {
    use super::{PIN, StringMap, annotation, digest_of};

    #[test]
    fn a_digest_is_for_its_reference_only() {
        let digest = "0f".repeat(32);
        let annotations = StringMap::from([annotation("registry.example/app:1", &digest)]);
        assert_eq!(digest_of(Some(&annotations), "registry.example/app:1"), Ok(Some(digest.as_str())));
        assert_eq!(digest_of(Some(&annotations), "registry.example/app:2"), Ok(None));
        assert_eq!(digest_of(Some(&StringMap::new()), "registry.example/app:1"), Ok(None));
        assert_eq!(digest_of(None, "registry.example/app:1"), Ok(None));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for bad in ["", "0f", &"0f".repeat(32), &format!("{} a", "0F".repeat(32)), &format!("{} a", "../".repeat(21))] {
            let annotations = StringMap::from([(PIN.to_owned(), (*bad).to_owned())]);
            assert!(digest_of(Some(&annotations), "a").is_err(), "{bad}");
        }
    }
}
