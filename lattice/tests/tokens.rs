//! Attacks on peers' tokens: everything that a forger, a confused tool or a curious peer may send instead of one.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD};
use serde_json::{Value, json};
use trellis_lattice::error::ErrorKind;
use trellis_lattice::identity::key::{Key, KeyKind};
use trellis_lattice::identity::{peer, token};

const NOW: u64 = 1_790_000_000;
const HEADER: &str = r#"{"alg":"EdDSA","typ":"JWT"}"#;

/// The order of the group, little-endian: adding it to a signature's scalar gives another one that naive code accepts.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// An authority and a peer, and what an honest token of theirs says.
struct Forge {
    authority: Key,
    peer: Key,
}

impl Forge {
    fn new() -> Self {
        Self { authority: Key::generate(KeyKind::Account), peer: Key::generate(KeyKind::Host) }
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.authority.public(), "sub": self.peer.public(), "jti": "1", "iat": NOW, "exp": NOW + 3_600,
            "trellis": { "lattice": "default", "exchange": BASE64.encode(&peer::exchange_public(&self.peer)) },
        })
    }

    /// A token of `header` and `claims` with a true signature over them.
    fn sign(&self, header: &str, claims: &str) -> String {
        sign(header, claims, &self.authority)
    }

    fn honest(&self) -> String {
        self.sign(HEADER, &self.claims().to_string())
    }

    /// A token whose claims have `value` at `pointer`; the signature is true.
    fn with(&self, pointer: &str, value: Value) -> String {
        let mut claims = self.claims();
        *claims.pointer_mut(pointer).expect("the pointer is of this table") = value;
        self.sign(HEADER, &claims.to_string())
    }

    /// A token whose claims have `name` beside the others.
    fn and(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims();
        claims[name] = value;
        self.sign(HEADER, &claims.to_string())
    }

    fn without(&self, name: &str) -> String {
        let mut claims = self.claims();
        claims.as_object_mut().expect("an object").remove(name);
        self.sign(HEADER, &claims.to_string())
    }

    /// A token whose claims' text went through `change`; the signature is true.
    fn text(&self, change: impl Fn(&str) -> String) -> String {
        self.sign(HEADER, &change(&self.claims().to_string()))
    }

    fn header(&self, header: &str) -> String {
        self.sign(header, &self.claims().to_string())
    }

    /// The honest token with its segments put together anew.
    fn segments(&self, change: impl Fn([&str; 3]) -> String) -> String {
        let token = self.honest();
        let parts: Vec<&str> = token.split('.').collect();
        change([parts[0], parts[1], parts[2]])
    }

    /// The honest token with its signature's bytes changed.
    fn signature(&self, change: impl Fn(&mut [u8])) -> String {
        self.segments(|[header, claims, signature]| {
            let mut bytes = BASE64URL_NOPAD.decode(signature.as_bytes()).expect("canonical");
            change(&mut bytes);
            format!("{header}.{claims}.{}", BASE64URL_NOPAD.encode(&bytes))
        })
    }
}

fn sign(header: &str, claims: &str, key: &Key) -> String {
    let signed = format!("{}.{}", BASE64URL_NOPAD.encode(header.as_bytes()), BASE64URL_NOPAD.encode(claims.as_bytes()));
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&key.sign(signed.as_bytes())))
}

/// An nkey of kind `prefix` around any 32 bytes, with a true checksum.
fn nkey(prefix: u8, public: [u8; 32]) -> String {
    let mut raw = vec![prefix << 3];
    raw.extend(public);
    let mut crc = 0_u16;
    for byte in &raw {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
        }
    }
    raw.extend(crc.to_le_bytes());
    data_encoding::BASE32_NOPAD.encode(&raw)
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

fn headers(forge: &Forge) -> Vec<(&'static str, String)> {
    let alg = |alg: &str| forge.header(&json!({"alg": alg, "typ": "JWT"}).to_string());
    vec![
        ("alg none", alg("none")),
        ("alg None", alg("None")),
        ("alg empty", alg("")),
        ("alg HS256", alg("HS256")),
        ("alg HS512", alg("HS512")),
        ("alg RS256", alg("RS256")),
        ("alg PS256", alg("PS256")),
        ("alg ES256", alg("ES256")),
        ("alg ES256K", alg("ES256K")),
        ("alg ES384", alg("ES384")),
        ("alg Ed448", alg("Ed448")),
        ("alg Ed25519, which is for components", alg("Ed25519")),
        ("alg eddsa in lower case", alg("eddsa")),
        ("alg with a blank", alg("EdDSA ")),
        ("alg missing", forge.header(r#"{"typ":"JWT"}"#)),
        ("alg a number", forge.header(r#"{"alg":1,"typ":"JWT"}"#)),
        ("alg a list", forge.header(r#"{"alg":["EdDSA"],"typ":"JWT"}"#)),
        ("alg twice", forge.header(r#"{"alg":"EdDSA","alg":"EdDSA","typ":"JWT"}"#)),
        ("alg twice, once escaped", forge.header(r#"{"alg":"none","\u0061lg":"EdDSA","typ":"JWT"}"#)),
        ("typ missing", forge.header(r#"{"alg":"EdDSA"}"#)),
        ("typ of something else", forge.header(r#"{"alg":"EdDSA","typ":"at+jwt"}"#)),
        ("crit", forge.header(r#"{"alg":"EdDSA","typ":"JWT","crit":["exp"]}"#)),
        ("a key in the header", forge.header(r#"{"alg":"EdDSA","typ":"JWT","jwk":"{}"}"#)),
        ("a key's address in the header", forge.header(r#"{"alg":"EdDSA","typ":"JWT","jku":"http://127.0.0.1/"}"#)),
        ("a key id in the header", forge.header(r#"{"alg":"EdDSA","typ":"JWT","kid":"../../etc/passwd"}"#)),
        ("b64 false", forge.header(r#"{"alg":"EdDSA","typ":"JWT","b64":false}"#)),
        ("header is no object", forge.header("[]")),
        ("header is no JSON", forge.header("x")),
        ("header empty", forge.header("")),
        ("header with bytes after it", forge.header(&format!("{HEADER} 1"))),
    ]
}

fn envelopes(forge: &Forge) -> Vec<(&'static str, String)> {
    let long = format!("{}.{}", BASE64URL_NOPAD.encode(HEADER.as_bytes()), "A".repeat(1 << 20));
    vec![
        ("empty", String::new()),
        ("one segment", forge.segments(|[header, ..]| header.to_owned())),
        ("two segments", forge.segments(|[header, claims, _]| format!("{header}.{claims}"))),
        ("an empty signature", forge.segments(|[header, claims, _]| format!("{header}.{claims}."))),
        (
            "four segments",
            forge.segments(|[header, claims, signature]| format!("{header}.{claims}.{signature}.{claims}")),
        ),
        ("five empty segments", "....".to_owned()),
        ("a blank before", format!(" {}", forge.honest())),
        ("a line end after", format!("{}\n", forge.honest())),
        ("padding", forge.segments(|[header, claims, signature]| format!("{header}.{claims}.{signature}=="))),
        ("claims in base64 with padding", {
            let claims = BASE64URL.encode(format!("{} ", forge.claims()).as_bytes());
            let signed = format!("{}.{claims}=", BASE64URL_NOPAD.encode(HEADER.as_bytes()));
            format!("{signed}.{}", BASE64URL_NOPAD.encode(&forge.authority.sign(signed.as_bytes())))
        }),
        (
            "signature in plain base64",
            forge.segments(|[header, claims, _]| format!("{header}.{claims}.{}", BASE64_NOPAD.encode(&[0xff; 64]))),
        ),
        (
            "trailing bits not zero",
            forge.segments(|[header, claims, signature]| {
                let last = signature.chars().last().expect("not empty");
                let next = char::from_u32(u32::from(last) + 1).expect("ascii");
                format!("{header}.{claims}.{}{next}", &signature[..signature.len() - 1])
            }),
        ),
        (
            "a signature of 63 bytes",
            forge.segments(|[header, claims, signature]| format!("{header}.{claims}.{}", &signature[..84])),
        ),
        ("1 MB of claims", format!("{long}.{}", "A".repeat(86))),
        ("just over the cap", forge.and("filler", Value::String("x".repeat(16 * 1024)))),
    ]
}

fn signatures(forge: &Forge) -> Vec<(&'static str, String)> {
    let other = Key::generate(KeyKind::Account);
    let claims = forge.claims().to_string();
    let public = nkeys::from_public_key(&forge.authority.public()).expect("a public key").1;
    vec![
        ("signed by another account", sign(HEADER, &claims, &other)),
        ("signed by the peer itself", sign(HEADER, &claims, &forge.peer)),
        ("HS256 with the public key's bytes as secret", {
            let header = r#"{"alg":"HS256","typ":"JWT"}"#;
            let signed =
                format!("{}.{}", BASE64URL_NOPAD.encode(header.as_bytes()), BASE64URL_NOPAD.encode(claims.as_bytes()));
            format!("{signed}.{}", BASE64URL_NOPAD.encode(&hmac(&public, signed.as_bytes())))
        }),
        ("HMAC under the right header", {
            let signed =
                format!("{}.{}", BASE64URL_NOPAD.encode(HEADER.as_bytes()), BASE64URL_NOPAD.encode(claims.as_bytes()));
            let tag = hmac(&public, signed.as_bytes());
            format!("{signed}.{}", BASE64URL_NOPAD.encode(&[tag.clone(), tag].concat()))
        }),
        ("all zero", forge.signature(|bytes| bytes.fill(0))),
        ("all ones", forge.signature(|bytes| bytes.fill(0xff))),
        ("R and S exchanged", forge.signature(|bytes| bytes.rotate_left(32))),
        (
            "S plus the order",
            forge.signature(|bytes| {
                let mut carry = 0_u16;
                for (byte, add) in bytes[32..].iter_mut().zip(ORDER) {
                    let sum = u16::from(*byte) + u16::from(add) + carry;
                    *byte = sum.to_le_bytes()[0];
                    carry = sum >> 8;
                }
            }),
        ),
        (
            "R of small order",
            forge.signature(|bytes| {
                bytes[..32].fill(0);
                bytes[0] = 1;
            }),
        ),
        ("claims of another token", {
            let theirs = Forge { authority: forge.authority.clone(), peer: Key::generate(KeyKind::Host) }.honest();
            let claims = theirs.split('.').nth(1).expect("three segments").to_owned();
            forge.segments(|[header, _, signature]| format!("{header}.{claims}.{signature}"))
        }),
        ("an issuer of small order, under which zero signs all", {
            let mut weak = [0_u8; 32];
            weak[0] = 1;
            let mut claims = forge.claims();
            claims["iss"] = nkey(0, weak).into();
            let signed = format!(
                "{}.{}",
                BASE64URL_NOPAD.encode(HEADER.as_bytes()),
                BASE64URL_NOPAD.encode(claims.to_string().as_bytes())
            );
            let mut signature = [0_u8; 64];
            signature[0] = 1;
            format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
        }),
    ]
}

fn claims(forge: &Forge) -> Vec<(&'static str, String)> {
    let account = Key::generate(KeyKind::Account).public();
    let actor = Key::generate(KeyKind::Actor).public();
    let curve = nkey(23, peer::exchange_public(&forge.peer));
    vec![
        ("issuer is a host", forge.with("/iss", forge.peer.public().into())),
        ("issuer is an actor", forge.with("/iss", actor.clone().into())),
        ("issuer is an X25519 key", forge.with("/iss", curve.clone().into())),
        ("issuer with a wrong checksum", forge.text(|text| text.replacen(r#""iss":"A"#, r#""iss":"AA"#, 1))),
        ("issuer is a seed", forge.with("/iss", forge.authority.seed().into())),
        ("issuer empty", forge.with("/iss", "".into())),
        ("issuer null", forge.with("/iss", Value::Null)),
        ("issuer missing", forge.without("iss")),
        ("subject is an account", forge.with("/sub", account.into())),
        ("subject is an actor", forge.with("/sub", actor.into())),
        ("subject is an X25519 key", forge.with("/sub", curve.into())),
        ("subject in lower case", forge.with("/sub", forge.peer.public().to_lowercase().into())),
        ("subject missing", forge.without("sub")),
        ("expired", forge.with("/exp", (NOW - 61).into())),
        ("expired at zero", forge.with("/exp", 0.into())),
        ("expires never", forge.without("exp")),
        ("expires at null", forge.with("/exp", Value::Null)),
        ("expires before 1970", forge.with("/exp", (-1).into())),
        ("expires at a fraction", forge.with("/exp", json!(1.8e9))),
        ("expires as text", forge.with("/exp", "1800000000".into())),
        ("expires beyond 32 bits, which wraps", forge.with("/exp", (1_u64 << 33).into())),
        ("expires at the end of 64 bits", forge.with("/exp", u64::MAX.into())),
        ("issued in the future", forge.with("/iat", (NOW + 61).into())),
        ("issued at no time", forge.without("iat")),
        ("not valid yet", forge.and("nbf", (NOW + 61).into())),
        ("not valid before beyond 32 bits", forge.and("nbf", (1_u64 << 32).into())),
        ("not valid before, as text", forge.and("nbf", "0".into())),
        ("no grants", forge.without("trellis")),
        ("grants are a list", forge.with("/trellis", json!([]))),
        ("an unknown grant", forge.with("/trellis/lattice", json!({"default": true}))),
        ("lattice is a wildcard", forge.with("/trellis/lattice", ">".into())),
        ("lattice with a dot", forge.with("/trellis/lattice", "a.b".into())),
        ("exchange key of 31 bytes", forge.with("/trellis/exchange", BASE64.encode(&[7; 31]).into())),
        ("exchange key in base64url", forge.with("/trellis/exchange", BASE64URL.encode(&[0xff; 32]).into())),
        (
            "an unknown member of grants",
            forge.text(|text| text.replacen(r#""lattice""#, r#""only":"read","lattice""#, 1)),
        ),
        ("lattice twice", forge.text(|text| text.replacen(r#""lattice""#, r#""lattice":"other","lattice""#, 1))),
        ("issuer twice", forge.text(|text| text.replacen(r#""iss""#, r#""iss":"x","iss""#, 1))),
        ("expiry twice", forge.text(|text| text.replacen(r#""exp""#, r#""exp":1,"exp""#, 1))),
        (
            "a key twice in a member that nobody reads",
            forge.text(|text| text.replacen('{', r#"{"x":{"a":1,"a":2},"#, 1)),
        ),
        ("claims are no JSON", forge.text(|_| "x".to_owned())),
        ("claims are a list", forge.text(|text| format!("[{text}]"))),
        ("claims and more", forge.text(|text| format!("{text}{text}"))),
        ("claims cut", forge.text(|text| text[..text.len() - 1].to_owned())),
        ("claims nested deeply", forge.text(|_| "[".repeat(8_000))),
    ]
}

#[test]
fn every_attack_is_refused_as_untrusted() {
    let forge = Forge::new();
    assert!(token::verify_peer(&forge.honest(), NOW).is_ok(), "the table means nothing if the honest token is refused");
    let table = [headers(&forge), envelopes(&forge), signatures(&forge), claims(&forge)].concat();
    assert!(table.len() >= 60, "{} attacks", table.len());
    for (attack, forged) in table {
        match token::verify_peer(&forged, NOW) {
            Ok(_) => panic!("accepted: {attack}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Untrusted, "{attack}");
                assert!(error.to_string().len() < 400, "{attack}: the error must not repeat what was sent");
            }
        }
    }
}
