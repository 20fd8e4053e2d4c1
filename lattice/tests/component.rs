//! Claims in components: ours read by wascap 0.16.2 and the other way round, and what is done to a signed component.

use bytes::Bytes;
use data_encoding::{BASE64URL_NOPAD, HEXUPPER};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use trellis_lattice::error::ErrorKind;
use trellis_lattice::identity::component::{Statement, sign, verify};
use trellis_lattice::identity::key::{Key, KeyKind};

/// Of this year, as wascap takes the time from the clock.
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A component that runs: a module with code and memory, lifted and exported, one more component inside.
fn component() -> Vec<u8> {
    wat::parse_str(
        r#"(component
            (component (core module (func (export "f") (result i32) i32.const 7)))
            (core module $m
                (memory (export "memory") 1)
                (data (i32.const 8) "hello, lattice")
                (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
            (core instance $i (instantiate $m))
            (type $t (func (param "a" u32) (param "b" u32) (result u32)))
            (func $add (type $t) (canon lift (core func $i "add")))
            (export "add" (func $add)))"#,
    )
    .expect("valid text")
}

struct Keys {
    issuer: Key,
    actor: Key,
}

impl Keys {
    fn new() -> Self {
        Self { issuer: Key::generate(KeyKind::Account), actor: Key::generate(KeyKind::Actor) }
    }

    fn sign(&self, component: &[u8]) -> Vec<u8> {
        let statement = Statement {
            name: Some("adder".to_owned()),
            revision: Some(4),
            version: Some("1.2.3".to_owned()),
            call_alias: Some("add".to_owned()),
            tags: vec!["a".to_owned(), "b".to_owned()],
            imports: Some(vec!["wasi:keyvalue/*".to_owned(), "demo:greet/greeter".to_owned()]),
            expires_in_seconds: Some(3_600),
        };
        sign(component, &statement, &self.issuer, &self.actor, now()).expect("signed")
    }

    fn wascap(&self) -> (nkeys::KeyPair, nkeys::KeyPair) {
        let pair = |key: &Key| nkeys::KeyPair::from_seed(&key.seed()).expect("valid");
        (pair(&self.issuer), pair(&self.actor))
    }

    /// The honest claims of `component`, with `change` applied, signed truly and appended.
    fn forge(&self, component: &[u8], header: &str, change: impl Fn(&mut Value)) -> Bytes {
        let mut claims = json!({
            "iss": self.issuer.public(), "sub": self.actor.public(), "jti": "1", "iat": now(), "wascap_revision": 3,
            "wascap": { "hash": HEXUPPER.encode(&Sha256::digest(component)), "prov": false },
        });
        change(&mut claims);
        let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let signed = format!("{}.{}", encode(header), encode(&claims.to_string()));
        let signature = BASE64URL_NOPAD.encode(&self.issuer.sign(signed.as_bytes()));
        with_section(component, "wasmcloud_jwt", format!("{signed}.{signature}").as_bytes())
    }
}

fn with_section(component: &[u8], name: &str, data: &[u8]) -> Bytes {
    let mut content = vec![u8::try_from(name.len()).expect("short")];
    content.extend(name.as_bytes());
    content.extend(data);
    let mut output = component.to_vec();
    output.push(0);
    let mut rest = content.len();
    while rest >= 0x80 {
        output.push(u8::try_from(rest & 0x7f).expect("7 bits") | 0x80);
        rest >>= 7;
    }
    output.push(u8::try_from(rest).expect("7 bits"));
    output.extend(content);
    output.into()
}

const HEADER: &str = r#"{"typ":"jwt","alg":"Ed25519"}"#;

fn refusal(component: &Bytes) -> String {
    let error = verify(component, now()).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
    error.to_string()
}

#[test]
fn what_was_signed_is_read_back() {
    let keys = Keys::new();
    let signed = Bytes::from(keys.sign(&component()));
    let claims = verify(&signed, now()).expect("holds").expect("has claims");
    assert_eq!((claims.issuer.as_str(), claims.subject.clone()), (&*keys.issuer.public(), keys.actor.public()));
    assert_eq!((claims.name.as_deref(), claims.revision), (Some("adder"), Some(4)));
    assert_eq!(claims.imports.as_deref(), Some(&["wasi:keyvalue/*".to_owned(), "demo:greet/greeter".to_owned()][..]));
    assert!(signed.starts_with(&component()), "a component in normal form is signed as it is");
}

#[test]
fn wascap_reads_ours() {
    let keys = Keys::new();
    let token = wascap::wasm::extract_claims(keys.sign(&component())).expect("holds").expect("has claims");
    assert_eq!(token.claims.issuer, keys.issuer.public());
    assert_eq!(token.claims.subject, keys.actor.public());
    let validation = wascap::jwt::validate_token::<wascap::jwt::Component>(&token.jwt).expect("parses");
    assert!(validation.signature_valid && !validation.expired && !validation.cannot_use_yet);
    let metadata = token.claims.metadata.expect("has metadata");
    assert_eq!((metadata.name.as_deref(), metadata.rev, metadata.provider), (Some("adder"), Some(4), false));
    assert_eq!((metadata.ver.as_deref(), metadata.call_alias.as_deref()), (Some("1.2.3"), Some("add")));
    assert_eq!(metadata.tags, Some(vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn we_read_those_of_wascap() {
    let keys = Keys::new();
    let (issuer, actor) = keys.wascap();
    let signed = wascap::wasm::sign_buffer_with_claims(
        "theirs".to_owned(),
        component(),
        &actor,
        &issuer,
        Some(1),
        None,
        vec!["t".to_owned()],
        false,
        Some(7),
        Some("0.1.0".to_owned()),
        None,
    )
    .expect("signed");
    let claims = verify(&signed.into(), now()).expect("holds").expect("has claims");
    assert_eq!((claims.name.as_deref(), claims.revision), (Some("theirs"), Some(7)));
    assert_eq!((claims.issuer.as_str(), claims.subject.clone()), (&*keys.issuer.public(), keys.actor.public()));
    assert_eq!((claims.tags.clone(), claims.imports.clone()), (vec!["t".to_owned()], None));
    assert!(claims.expires_at.is_some());
}

#[test]
fn signing_again_replaces_the_claims_of_both_tools() {
    let keys = Keys::new();
    let (issuer, actor) = keys.wascap();
    let theirs = wascap::wasm::sign_buffer_with_claims(
        "theirs".to_owned(),
        keys.sign(&component()),
        &actor,
        &issuer,
        None,
        None,
        Vec::new(),
        false,
        None,
        None,
        None,
    )
    .expect("signed");
    let ours = keys.sign(&theirs);
    let claims = verify(&ours.into(), now()).expect("holds").expect("has claims");
    assert_eq!(claims.name.as_deref(), Some("adder"));
}

#[test]
fn what_is_not_in_normal_form_is_made_so_before_signing() {
    let keys = Keys::new();
    let inner = with_section(&component(), "jwt", b"old");
    let mut padded = component();
    padded.push(4);
    let mut length = inner.len();
    for _ in 0..4 {
        padded.push(u8::try_from(length & 0x7f).expect("7 bits") | 0x80);
        length >>= 7;
    }
    padded.push(0);
    padded.extend(&inner);
    let padded = with_section(&padded, "jwt", b"older");
    let signed = keys.sign(&padded);
    assert!(verify(&signed.clone().into(), now()).expect("holds").is_some());
    let token = wascap::wasm::extract_claims(&signed).expect("wascap agrees").expect("has claims");
    assert_eq!(token.claims.issuer, keys.issuer.public());
}

#[test]
fn every_flipped_bit_loses_the_claims() {
    let mut signed = Keys::new().sign(&component());
    for at in 0..signed.len() {
        for bit in 0..8 {
            signed[at] ^= 1 << bit;
            let verified = verify(&Bytes::copy_from_slice(&signed), now());
            assert!(!matches!(verified, Ok(Some(_))), "byte {at}, bit {bit}");
            signed[at] ^= 1 << bit;
        }
    }
}

#[test]
fn every_truncation_loses_the_claims() {
    let signed = Bytes::from(Keys::new().sign(&component()));
    for end in 0..signed.len() {
        assert!(!matches!(verify(&signed.slice(..end), now()), Ok(Some(_))), "cut at {end}");
    }
}

#[test]
fn what_is_no_component_is_named_so() {
    let module = wat::parse_str("(module (func))").expect("valid text");
    for (bytes, part) in [
        (b"".to_vec(), "not a WebAssembly component"),
        (b"#!/bin/sh\n".to_vec(), "not a WebAssembly component"),
        (b"\0asm".to_vec(), "not a WebAssembly component"),
        (module, "core module"),
        (component()[..40].to_vec(), "not a WebAssembly component"),
    ] {
        let keys = Keys::new();
        let verified = verify(&bytes.clone().into(), now()).expect_err("refused");
        let signed = sign(&bytes, &Statement::default(), &keys.issuer, &keys.actor, now()).expect_err("refused");
        for error in [verified, signed] {
            assert_eq!(error.kind(), ErrorKind::Malformed);
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

#[test]
fn an_unsigned_component_has_no_claims() {
    assert!(verify(&component().into(), now()).expect("a component").is_none());
}

#[test]
fn nothing_may_follow_the_claims_nor_stand_twice() {
    let signed = Keys::new().sign(&component());
    let again = with_section(&signed, "wasmcloud_jwt", b"x");
    let legacy = with_section(&signed, "jwt", b"x");
    let more = with_section(&signed, "name", b"x");
    assert!(refusal(&again).contains("more than one"));
    assert!(refusal(&legacy).contains("more than one"));
    assert!(refusal(&more).contains("something follows"));
    assert!(refusal(&with_section(&component(), "jwt", b"x")).contains("before 0.9"));
}

#[test]
fn claims_inside_are_not_claims_of_the_whole() {
    let keys = Keys::new();
    let mut outer = component()[..8].to_vec();
    let inner = keys.sign(&component());
    outer.push(4);
    let mut length = inner.len();
    while length >= 0x80 {
        outer.push(u8::try_from(length & 0x7f).expect("7 bits") | 0x80);
        length >>= 7;
    }
    outer.push(u8::try_from(length).expect("7 bits"));
    outer.extend(&inner);
    assert!(refusal(&outer.clone().into()).contains("inside it"));
    let whole = keys.forge(&outer, HEADER, |_| {});
    assert!(refusal(&whole).contains("more than one"));
}

#[test]
fn forged_claims_are_refused() {
    let keys = Keys::new();
    let bytes = component();
    let forge = |change: fn(&mut Value)| keys.forge(&bytes, HEADER, change);
    assert!(verify(&forge(|_| {}), now()).expect("the honest one holds").is_some());
    let host = Key::generate(KeyKind::Host).public();
    let attacks: Vec<(&str, Bytes)> = vec![
        ("revision 2, whose hash nobody compares", forge(|claims| claims["wascap_revision"] = 2.into())),
        ("revision 4, which is not known", forge(|claims| claims["wascap_revision"] = 4.into())),
        ("revision of another type", forge(|claims| claims["wascap_revision"] = "3".into())),
        ("no revision", forge(|claims| drop(claims.as_object_mut().expect("an object").remove("wascap_revision")))),
        ("no hash", forge(|claims| claims["wascap"] = json!({"prov": false}))),
        ("another hash", forge(|claims| claims["wascap"]["hash"] = "00".repeat(32).into())),
        (
            "a hash in lower case",
            forge(|claims| {
                let lower = claims["wascap"]["hash"].as_str().expect("text").to_lowercase();
                claims["wascap"]["hash"] = lower.into();
            }),
        ),
        ("no identifier", forge(|claims| drop(claims.as_object_mut().expect("an object").remove("jti")))),
        ("expired", forge(|claims| claims["exp"] = 1.into())),
        ("not valid yet", forge(|claims| claims["nbf"] = 4_294_967_295_u64.into())),
        ("issued beyond 32 bits", forge(|claims| claims["iat"] = (1_u64 << 32).into())),
        ("an unknown member of ours", forge(|claims| claims["wascap"]["trellis"] = json!({"imports": [], "x": 1}))),
        ("imports that are no list", forge(|claims| claims["wascap"]["trellis"] = json!({"imports": "*"}))),
        ("subject is a host", keys.forge(&bytes, HEADER, |claims| claims["sub"] = host.clone().into())),
        ("subject is a name", forge(|claims| claims["sub"] = "Me".into())),
        ("issuer is a host", keys.forge(&bytes, HEADER, |claims| claims["iss"] = host.clone().into())),
        ("alg EdDSA", keys.forge(&bytes, r#"{"typ":"jwt","alg":"EdDSA"}"#, |_| {})),
        ("alg none", keys.forge(&bytes, r#"{"typ":"jwt","alg":"none"}"#, |_| {})),
        ("alg twice", keys.forge(&bytes, r#"{"typ":"jwt","alg":"none","alg":"Ed25519"}"#, |_| {})),
        ("another type", keys.forge(&bytes, r#"{"typ":"x","alg":"Ed25519"}"#, |_| {})),
        ("a token that is not text", with_section(&bytes, "wasmcloud_jwt", &[0xff; 8])),
        ("an empty token", with_section(&bytes, "wasmcloud_jwt", b"")),
        ("1 MB of token", with_section(&bytes, "wasmcloud_jwt", &vec![b'A'; 1 << 20])),
        ("the claims of another component", {
            let other = wat::parse_str("(component)").expect("valid text");
            let signed = keys.sign(&other);
            Bytes::from([bytes.clone(), signed[other.len()..].to_vec()].concat())
        }),
    ];
    for (attack, forged) in attacks {
        match verify(&forged, now()) {
            Ok(_) => panic!("accepted: {attack}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Untrusted, "{attack}"),
        }
    }
}

#[test]
fn wrong_keys_and_imports_are_not_signed_with() {
    let keys = Keys::new();
    let import = |import: &str| Statement { imports: Some(vec![import.to_owned()]), ..Statement::default() };
    let refuses = |statement: &Statement, issuer: &Key, actor: &Key| {
        let error = sign(&component(), statement, issuer, actor, now()).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Malformed);
        error.to_string()
    };
    assert!(refuses(&Statement::default(), &keys.actor, &keys.actor).contains("account key"));
    assert!(refuses(&Statement::default(), &keys.issuer, &keys.issuer).contains("actor key"));
    for bad in ["*", "wasi:*", "wasi:keyvalue/store@0.2.0", "", "wasi:keyvalue/sto*", &"x".repeat(10_240)] {
        assert!(refuses(&import(bad), &keys.issuer, &keys.actor).len() < 500);
    }
    let many = Statement { tags: vec!["x".repeat(20_000)], ..Statement::default() };
    assert!(refuses(&many, &keys.issuer, &keys.actor).contains("say less"));
}
