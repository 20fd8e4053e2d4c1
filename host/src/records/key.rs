//! The keys of the records: `link.<source>.<hash>.<hash>`, `config.<name>`, `secret.<name>`, `claims.<public key>`.

use trellis_lattice::id::{ConfigName, EntityId, LinkName, SecretName};
use trellis_lattice::message::link::Link;
use trellis_lattice::store::Key;

pub(super) use trellis_lattice::message::record::{CLAIMS, CONFIGS, LINKS, SECRETS};

/// The key of `link`: from source, name, package and target, so that writers of different links never meet.
pub(super) fn link(link: &Link) -> Key {
    let prefix = links_of(&link.source_id, &link.name, &link.wit_namespace, &link.wit_package);
    parse(&format!("{prefix}{}", short_hash(&[link.target.as_str()])))
}

/// What the keys of all links with that source, name and package begin with.
pub(super) fn links_of(source: &EntityId, name: &LinkName, namespace: &str, package: &str) -> String {
    format!("{LINKS}{source}.{}.", short_hash(&[name.as_str(), namespace, package]))
}

/// The key of a config.
pub(super) fn config(name: &ConfigName) -> Key {
    parse(&format!("{CONFIGS}{name}"))
}

/// The key of a secret.
pub(super) fn secret(name: &SecretName) -> Key {
    parse(&format!("{SECRETS}{name}"))
}

/// The key of the claims of `subject`, a public nkey.
pub(super) fn claims(subject: &str) -> Key {
    parse(&format!("{CLAIMS}{subject}"))
}

fn parse(text: &str) -> Key {
    Key::parse(text).expect("made of valid names, hex digits and single dots, under 255 characters")
}

/// 128 bits of BLAKE3 in hex: texts of any length and kind become one token.
fn short_hash(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::{link, links_of};
    use crate::links::tests::link as sample;

    #[test]
    fn links_that_differ_in_any_part_of_their_key_have_records_of_their_own() {
        let base = sample("a", "default", "wasi:keyvalue/store", "kv");
        let longest = "x".repeat(64);
        let mut keys = vec![link(&base)];
        for other in [
            sample("b", "default", "wasi:keyvalue/store", "kv"),
            sample("a", "other", "wasi:keyvalue/store", "kv"),
            sample("a", "default", "wasi:http/store", "kv"),
            sample("a", "default", "demo:keyvalue/store", "kv"),
            sample("a", "default", "wasi:keyvalue/store", "kv2"),
            sample(&longest, &longest, "wasi:keyvalue/store", &longest),
        ] {
            assert!(!keys.contains(&link(&other)));
            keys.push(link(&other));
        }
        let prefix = links_of(&base.source_id, &base.name, "wasi", "keyvalue");
        assert_eq!(keys.iter().filter(|key| key.as_str().starts_with(&prefix)).count(), 2);
    }
}
