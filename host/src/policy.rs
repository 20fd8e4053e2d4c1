//! What may run here, and with which imports. Pure: answers from claims, trust, settings and links, with everything
//! that stands against it in one error.

use std::path::Path;

use trellis_lattice::contract::Interface;
use trellis_lattice::id::{EntityId, IssuerId};
use trellis_lattice::identity::claims::{ActorClaims, ProviderClaims};
use trellis_lattice::identity::trust::Trust;

use crate::capability::{Need, builtin};
use crate::config::{Unlinked, Unsigned};
use crate::error::{Error, ErrorKind, Result};
use crate::links::Table;

/// Where a component came from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Hex of the SHA-256 of its bytes.
    pub digest: &'a str,
    /// The file, if it was one.
    pub path: Option<&'a Path>,
}

/// Which interfaces an actor may import because somebody answers for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grants {
    /// The patterns of its claims, or of its issuer.
    Patterns(Vec<String>),
    /// All: it is unsigned, and the settings name it.
    ByName,
}

/// Whether a component may run at all, and what it may import then. The claims are verified ones.
///
/// # Errors
/// `Refused` when it is unsigned and not named in the settings, or its issuer is not trusted.
pub fn may_run(
    id: &EntityId,
    origin: Origin<'_>,
    claims: Option<&ActorClaims>,
    trust: &Trust,
    unsigned: &[Unsigned],
) -> Result<Grants> {
    let Some(claims) = claims else {
        let named = unsigned.iter().any(|allowed| match allowed {
            Unsigned::File(path) => origin.path == Some(path.as_path()),
            Unsigned::Digest(digest) => digest.eq_ignore_ascii_case(origin.digest),
        });
        return if named { Ok(Grants::ByName) } else { Err(unsigned_refused(id, origin)) };
    };
    let Some(by_issuer) = trust.issuers.get(&claims.issuer) else {
        let message = format!(
            "actor {id} is signed by {}, an issuer that this host does not trust; sign it with a trusted key or add \
             the issuer to the host's trust",
            claims.issuer
        );
        return Err(Error::new(ErrorKind::Refused, message));
    };
    Ok(Grants::Patterns(claims.imports.clone().unwrap_or_else(|| by_issuer.clone())))
}

/// Whether native code may run: whose it is must be trusted, and be one of `issuers` if they are named. The claims are
/// verified ones.
///
/// # Errors
/// `Refused`, naming the issuer.
pub fn may_run_native(
    id: &EntityId,
    claims: &ProviderClaims,
    trust: &Trust,
    issuers: Option<&[IssuerId]>,
) -> Result<()> {
    let issuer = &claims.issuer;
    let is_trusted = match issuers {
        Some(issuers) => issuers.contains(issuer),
        None => trust.issuers.contains_key(issuer),
    };
    if is_trusted {
        return Ok(());
    }
    let message = format!(
        "provider {id} is signed by {issuer}, whose native code this host does not run; sign it with a key that it \
         trusts, or start the host with --provider-issuer {issuer}"
    );
    Err(Error::new(ErrorKind::Refused, message))
}

fn unsigned_refused(id: &EntityId, origin: Origin<'_>) -> Error {
    let message = format!(
        "actor {id} has no claims; sign it (`trellis sign`), or allow it by name: its file, or its digest {}",
        origin.digest
    );
    Error::new(ErrorKind::Refused, message)
}

/// What an actor is, as far as its imports are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Needs<'a> {
    /// Its id.
    pub id: &'a EntityId,
    /// What it imports.
    pub imports: &'a [Interface],
    /// What it may import.
    pub grants: &'a Grants,
}

/// What stands against an actor's imports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Imports that its claims do not grant.
    pub not_granted: Vec<Interface>,
    /// Imports that nothing is linked to.
    pub not_linked: Vec<Interface>,
}

impl Refusals {
    /// What stands against it now.
    pub fn of(needs: Needs<'_>, links: &Table, unlinked: Unlinked) -> Self {
        let outward = || needs.imports.iter().filter(|interface| builtin(interface) != Some(Need::Nothing));
        let not_granted = outward().filter(|interface| !is_granted(needs.grants, interface)).cloned().collect();
        let not_linked = match unlinked {
            Unlinked::AtCall => Vec::new(),
            Unlinked::Refuse => outward().filter(|interface| !links.has_link(needs.id, interface)).cloned().collect(),
        };
        Self { not_granted, not_linked }
    }

    /// Whether nothing stands against it.
    pub fn is_empty(&self) -> bool {
        self.not_granted.is_empty() && self.not_linked.is_empty()
    }

    /// All of it as one error.
    pub fn into_error(self, id: &EntityId) -> Error {
        let mut reasons = Vec::new();
        reasons.extend(self.not_granted.iter().map(|interface| {
            format!("import {interface} is not granted by its claims; sign it with that import, or drop it")
        }));
        reasons.extend(self.not_linked.iter().map(|interface| {
            format!("import {interface} is linked to nothing; put a link first (`trellis link put`)")
        }));
        Error::new(ErrorKind::Refused, format!("actor {id} is refused: {}", reasons.join("; ")))
    }
}

fn is_granted(grants: &Grants, interface: &Interface) -> bool {
    let name = interface.without_version();
    match grants {
        Grants::ByName => true,
        Grants::Patterns(patterns) => patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == pattern,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Grants, IssuerId, Needs, Origin, ProviderClaims, Refusals, may_run, may_run_native};
    use crate::config::{Unlinked, Unsigned};
    use crate::links::tests::{link, table};
    use std::collections::BTreeMap;
    use std::path::Path;
    use trellis_lattice::contract::Interface;
    use trellis_lattice::identity::claims::ActorClaims;
    use trellis_lattice::identity::key::{Key, KeyKind};
    use trellis_lattice::identity::trust::Trust;

    fn issuer() -> IssuerId {
        Key::generate(KeyKind::Account).public().parse().expect("an account")
    }

    fn claims(issuer: &IssuerId, imports: Option<&[&str]>) -> ActorClaims {
        ActorClaims {
            issuer: issuer.clone(),
            subject: Key::generate(KeyKind::Actor).public(),
            name: None,
            revision: None,
            version: None,
            call_alias: None,
            tags: Vec::new(),
            issued_at: 0,
            expires_at: None,
            not_before: None,
            imports: imports.map(|imports| imports.iter().map(|&name| name.to_owned()).collect()),
        }
    }

    fn trusting(issuer: &IssuerId, patterns: &[&str]) -> Trust {
        let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Trust { authority: issuer.clone(), issuers: BTreeMap::from([(issuer.clone(), patterns)]) }
    }

    #[test]
    fn an_unsigned_component_runs_only_where_it_is_named() {
        let trust = trusting(&issuer(), &["*"]);
        let id = "a".parse().expect("valid");
        let run = |unsigned: &[Unsigned]| {
            let origin = Origin { digest: "ab12", path: Some(Path::new("/tmp/a.wasm")) };
            may_run(&id, origin, None, &trust, unsigned).map_err(|error| error.to_string())
        };
        assert_eq!(run(&[Unsigned::File("/tmp/a.wasm".into())]), Ok(Grants::ByName));
        assert_eq!(run(&[Unsigned::Digest("AB12".into())]), Ok(Grants::ByName));
        for other in [vec![], vec![Unsigned::File("/tmp/b.wasm".into())], vec![Unsigned::Digest("ab".into())]] {
            let error = run(&other).expect_err("not named");
            assert!(error.contains("has no claims") && error.contains("ab12"), "{error}");
        }
    }

    #[test]
    fn only_a_trusted_issuer_grants_and_its_claims_win_over_its_defaults() {
        let known = issuer();
        let trust = trusting(&known, &["wasi:keyvalue/*"]);
        let id = "a".parse().expect("valid");
        let run = |claims: &ActorClaims| may_run(&id, Origin { digest: "", path: None }, Some(claims), &trust, &[]);
        let patterns = |names: &[&str]| Grants::Patterns(names.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(run(&claims(&known, None)).expect("trusted"), patterns(&["wasi:keyvalue/*"]));
        assert_eq!(run(&claims(&known, Some(&["demo:a/b"]))).expect("trusted"), patterns(&["demo:a/b"]));
        let stranger = issuer();
        let error = run(&claims(&stranger, None)).expect_err("not trusted").to_string();
        assert!(error.contains(stranger.as_str()), "{error}");
    }

    #[test]
    fn native_code_runs_by_trust_or_by_those_who_are_named() {
        let (trusted, named, stranger) = (issuer(), issuer(), issuer());
        let trust = trusting(&trusted, &[]);
        let id = "a".parse().expect("valid");
        let run = |issuer: &IssuerId, issuers: Option<&[IssuerId]>| {
            let claims = ProviderClaims {
                issuer: issuer.clone(),
                subject: String::new(),
                name: String::new(),
                vendor: String::new(),
                revision: None,
                version: None,
                issued_at: 0,
                expires_at: None,
                target_hashes: BTreeMap::new(),
                config_schema: None,
            };
            may_run_native(&id, &claims, &trust, issuers)
        };
        assert!(run(&trusted, None).is_ok() && run(&named, Some(std::slice::from_ref(&named))).is_ok());
        assert!(run(&trusted, Some(std::slice::from_ref(&named))).is_err(), "it may sign actors only");
        let error = run(&stranger, None).expect_err("not trusted").to_string();
        assert!(error.contains(stranger.as_str()) && error.contains("--provider-issuer"), "{error}");
    }

    #[test]
    fn every_import_that_is_refused_is_named() {
        let imports: Vec<Interface> = [
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:keyvalue/atomics@0.2.0-draft",
            "wasi:logging/logging",
            "demo:greet/greeter",
        ]
        .map(|name| Interface::parse(name).expect("valid"))
        .to_vec();
        let links = table(&[link("a", "default", "wasi:keyvalue/store", "kv")]);
        let grants = Grants::Patterns(vec!["wasi:keyvalue/*".to_owned()]);
        let id = "a".parse().expect("valid");
        let of = |grants, unlinked| Refusals::of(Needs { id: &id, imports: &imports, grants }, &links, unlinked);
        let refusals = of(&grants, Unlinked::Refuse);
        assert_eq!(refusals.not_granted, imports[3..]);
        assert_eq!(refusals.not_linked, [imports[1].clone(), imports[3].clone()]);
        let text = refusals.into_error(&id).to_string();
        assert_eq!(text.matches("demo:greet/greeter").count(), 2, "{text}");
        assert!(of(&Grants::ByName, Unlinked::AtCall).is_empty());
    }
}
