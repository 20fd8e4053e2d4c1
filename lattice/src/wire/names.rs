//! The names in the heads of calls, kept from call to call: they are the same again and again, and parsing them costs
//! more than all else in a head.

use std::sync::Arc;

use super::call::interface;
use super::pack::Reader;
use super::{MAX_TEXT_BYTES, Malformed};
use crate::contract::Interface;
use crate::id::{EntityId, LinkName, MAX_NAME_BYTES};

/// How many are kept. Each is less than 1 KiB.
const KEPT: usize = 64;

/// Who calls what.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) source: EntityId,
    pub(super) target: EntityId,
    pub(super) link: LinkName,
    pub(super) interface: Interface,
    pub(super) function: Arc<str>,
}

/// What one peer named before, by the bytes that it was read from. Each has one place, where the next that comes there
/// takes it over.
#[derive(Default)]
pub struct Names(Vec<Option<(Box<[u8]>, Named)>>);

impl Names {
    /// Reads names, or finds them.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Result<Named, Malformed> {
        let mut ahead = reader.clone();
        let mut len = 0;
        for _ in 0..5 {
            len += ahead.skip_str()?;
        }
        let bytes = reader.raw(len)?;
        if self.0.is_empty() {
            self.0.resize_with(KEPT, || None);
        }
        let place = &mut self.0[place(bytes)];
        match place {
            Some((known, named)) if **known == *bytes => Ok(named.clone()),
            _ => {
                let named = Named::read(&mut Reader::new(bytes))?;
                *place = Some((bytes.into(), named.clone()));
                Ok(named)
            }
        }
    }
}

impl Named {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            source: entity(reader)?,
            target: entity(reader)?,
            link: LinkName::parse(reader.str(MAX_NAME_BYTES)?).map_err(|_| Malformed("has an invalid link name"))?,
            interface: interface(reader)?,
            function: reader.str(MAX_TEXT_BYTES)?.into(),
        })
    }
}

fn entity(reader: &mut Reader<'_>) -> Result<EntityId, Malformed> {
    EntityId::parse(reader.str(MAX_NAME_BYTES)?).map_err(|_| Malformed("has an invalid id"))
}

/// Where names belong: by their length and the last of them, the function. Whoever sends names that meet in one place
/// slows nothing but its own calls.
fn place(bytes: &[u8]) -> usize {
    let last = bytes.last_chunk::<8>().map_or(0, |last| u64::from_le_bytes(*last));
    let mixed = (last ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    usize::try_from(mixed).unwrap_or(0) % KEPT
}

#[cfg(test)]
mod tests {
    use super::{Named, Names};
    use crate::wire::pack::{Reader, Writer};

    fn written(function: &str) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64);
        for text in ["caller", "greeter", "default", "demo:greet/greeter", function] {
            writer.str(text);
        }
        writer.into_bytes()
    }

    fn read(names: &mut Names, bytes: &[u8]) -> Option<Named> {
        let mut reader = Reader::new(bytes);
        let named = names.read(&mut reader).ok()?;
        reader.end().ok()?;
        Some(named)
    }

    #[test]
    fn names_are_found_again_and_never_mistaken() {
        let mut names = Names::default();
        // More than there are places for, so that they push each other out.
        for number in (0..500).chain(0..500) {
            let function = format!("greet-{number}");
            let named = read(&mut names, &written(&function)).expect("valid");
            assert_eq!((&*named.function, named.target.as_str()), (&*function, "greeter"));
        }
        let [first, again] = [(); 2].map(|()| read(&mut names, &written("greet-0")).expect("valid"));
        assert!(std::sync::Arc::ptr_eq(&first.function, &again.function), "it is kept");
    }

    #[test]
    fn what_is_not_valid_is_refused_and_not_kept() {
        let mut names = Names::default();
        let mut wrong = written("greet");
        wrong[1] = b'.';
        let whole = written("greet");
        for _ in 0..2 {
            assert!(read(&mut names, &wrong).is_none(), "a name with a dot");
            assert!((0..whole.len()).all(|end| read(&mut names, &whole[..end]).is_none()), "cut");
        }
        assert!(read(&mut names, &whole).is_some());
    }
}
