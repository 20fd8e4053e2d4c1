//! Who opens a record, and what is refused.

use super::{MAX_SECRET_BYTES, Recipient, SealedSecret, SecretRecord, Terms};
use crate::error::ErrorKind;
use crate::id::{LatticeName, SecretName};
use crate::identity::key::{Key, KeyKind};
use crate::secret::SecretValue;
use crate::secrets::{HostGrant, Opener};

fn lattice() -> LatticeName {
    "default".parse().expect("valid")
}

fn name() -> SecretName {
    "db-password".parse().expect("valid")
}

fn terms() -> Terms {
    Terms { readers: ["vault".parse().expect("valid")].into(), hosts: [HostGrant::All].into() }
}

fn seal(authority: &Key, hosts: &[&Key], value: &SecretValue) -> SecretRecord {
    let recipients: Vec<_> = hosts.iter().map(|host| Recipient::of(host)).collect();
    SecretRecord::seal((&lattice(), &name()), (1, 5), terms(), value, (authority, &recipients)).expect("sealed")
}

fn keys() -> [Key; 3] {
    [Key::generate(KeyKind::Account), Key::generate(KeyKind::Host), Key::generate(KeyKind::Host)]
}

#[test]
fn those_it_is_sealed_to_open_it_and_nobody_else() {
    let [authority, host, other] = keys();
    for value in [SecretValue::text("hunter2"), SecretValue::bytes([0, 255])] {
        let record = seal(&authority, &[&host], &value);
        for opener in [&authority, &host] {
            assert_eq!(record.open(&Opener::of(opener)).expect("opens"), value);
        }
        assert_eq!(record.open(&Opener::of(&other)).expect_err("not its own").kind(), ErrorKind::Untrusted);
        let shared = record.shared_with(&Recipient::of(&other), &Opener::of(&host)).expect("shared");
        assert_eq!(shared.open(&Opener::of(&other)).expect("opens"), value);
        assert!(record.shared_with(&Recipient::of(&other), &Opener::of(&other)).is_err(), "it has nothing to share");
    }
}

#[test]
fn a_record_travels_as_json_without_its_value() {
    let [authority, host, _] = keys();
    let record = seal(&authority, &[&host], &SecretValue::text("hunter2"));
    let json = serde_json::to_string(record.sealed()).expect("has a JSON form");
    assert!(!json.contains("hunter2") && !json.contains(&data_encoding::BASE64.encode(b"hunter2")), "{json}");
    assert!(!format!("{record:?}").contains("value"), "{record:?}");
    let read: SealedSecret = serde_json::from_str(&json).expect("valid");
    assert_eq!(read.verify(&lattice(), &name(), &authority.public()).expect("holds"), record);
}

#[test]
fn another_signer_name_lattice_value_or_reader_is_refused() {
    let [authority, host, _] = keys();
    let record = seal(&authority, &[&host], &SecretValue::text("hunter2"));
    let refuses = |sealed: SealedSecret, lattice: &str, name: &str, signer: &Key| {
        let parsed = (lattice.parse().expect("valid"), name.parse().expect("valid"));
        sealed.verify(&parsed.0, &parsed.1, &signer.public()).expect_err("refused").kind()
    };
    let sealed = record.sealed();
    let other = Key::generate(KeyKind::Account);
    for (lattice, name, signer) in
        [("default", "db-password", &other), ("other", "db-password", &authority), ("default", "api-token", &authority)]
    {
        assert_eq!(refuses(sealed.clone(), lattice, name, signer), ErrorKind::Untrusted, "{lattice} {name}");
    }
    let mut swapped = sealed.clone();
    swapped.value = seal(&authority, &[&host], &SecretValue::text("mine")).sealed.value;
    let mut widened = sealed.clone();
    widened.statement = widened.statement.replace("vault", "thief");
    assert_ne!(widened.statement, sealed.statement);
    for changed in [swapped, widened] {
        assert_eq!(refuses(changed, "default", "db-password", &authority), ErrorKind::Untrusted);
    }
}

#[test]
fn a_value_has_a_limit() {
    let [authority, ..] = keys();
    let value = SecretValue::bytes(vec![0; MAX_SECRET_BYTES + 1]);
    let sealed = SecretRecord::seal((&lattice(), &name()), (1, 5), terms(), &value, (&authority, &[]));
    assert_eq!(sealed.expect_err("too large").kind(), ErrorKind::TooLarge);
}
