//! The two frames that are signed with the sender's nkey instead of sealed, because there is no session yet.

use super::call::interface;
use super::pack::{Reader, Writer};
use super::{Kind, MAX_FRAME_BYTES, Malformed, Prefix, Tag};
use crate::contract::Signature;
use crate::id::{BootId, EntityId, LatticeName, PeerId};
use crate::message::presence::{Presence, Running, State};

/// The length of an Ed25519 signature.
const SIGNATURE_BYTES: usize = 64;

/// The longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The most actors and providers in one presence.
const MAX_RUNNING: usize = 16 * 1024;

/// The most exports of one actor or provider.
const MAX_EXPORTS: usize = 256;

/// What is signed: a context, so that no other use of the key can be taken for this one, the lattice, and the frame.
fn statement(lattice: &LatticeName, frame: &[u8]) -> Vec<u8> {
    [b"trellis frame v1\0", lattice.as_str().as_bytes(), b"\0", frame].concat()
}

/// A presence whose signature was not checked yet: read who says it, get their token's word, then check.
#[derive(Debug)]
pub struct SignedPresence<'a> {
    /// What it says.
    pub presence: Presence,
    signed: &'a [u8],
    signature: &'a [u8],
}

impl<'a> SignedPresence<'a> {
    /// Encodes and signs.
    pub fn encode(presence: &Presence, lattice: &LatticeName, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let prefix = Prefix { kind: Kind::Presence, tag: Tag::default(), id: uuid::Uuid::nil() };
        signed(prefix, presence, lattice, sign)
    }

    /// Decodes a whole frame.
    pub fn decode(frame: &'a [u8]) -> Result<Self, Malformed> {
        let (prefix, _) = Prefix::read(frame)?;
        if prefix.tag != Tag::default() || !prefix.id.is_nil() {
            return Err(Malformed("is a presence with a session or call"));
        }
        read_signed(frame)
    }

    /// Whether the peer that it names signed it, for this lattice.
    pub fn is_signed(&self, lattice: &LatticeName) -> bool {
        nkeys::KeyPair::from_public_key(self.presence.peer.as_str())
            .is_ok_and(|key| key.verify(&statement(lattice, self.signed), self.signature).is_ok())
    }
}

/// Says that the call in the prefix was sealed for a session (its tag) that the signer does not have, and was
/// therefore not carried out; and who the signer is now.
#[derive(Debug)]
pub struct Stranger;

impl Stranger {
    /// Encodes and signs.
    pub fn encode(
        call: Prefix,
        presence: &Presence,
        lattice: &LatticeName,
        sign: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Vec<u8> {
        signed(Prefix { kind: Kind::Stranger, ..call }, presence, lattice, sign)
    }

    /// Decodes a whole frame.
    pub fn decode(frame: &[u8]) -> Result<SignedPresence<'_>, Malformed> {
        Prefix::read(frame)?;
        read_signed(frame)
    }
}

fn signed(prefix: Prefix, presence: &Presence, lattice: &LatticeName, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut writer = prefix.start(1024 + 128 * presence.running.len());
    write(&mut writer, presence);
    let mut bytes = writer.into_bytes();
    let signature = sign(&statement(lattice, &bytes));
    bytes.extend_from_slice(&signature);
    bytes
}

fn read_signed(frame: &[u8]) -> Result<SignedPresence<'_>, Malformed> {
    let (signed, signature) = frame.split_last_chunk::<SIGNATURE_BYTES>().ok_or(Malformed("is cut short"))?;
    let bytes = signed.get(super::PREFIX_BYTES..).ok_or(Malformed("is cut short"))?;
    let mut reader = Reader::new(bytes);
    let presence = read(&mut reader)?;
    reader.end()?;
    Ok(SignedPresence { presence, signed, signature })
}

fn write(writer: &mut Writer, presence: &Presence) {
    writer.array(9);
    writer.str(presence.peer.as_str());
    writer.str(&presence.token);
    writer.bin(&presence.boot.0);
    writer.uint(presence.started_at_ms);
    writer.uint(presence.sequence);
    writer.uint(presence.said_at_ms);
    writer.option(presence.site.as_deref(), Writer::str);
    writer.uint(state_number(presence.state));
    writer.array(presence.running.len());
    for running in &presence.running {
        writer.array(2);
        writer.str(running.id.as_str());
        writer.array(running.exports.len());
        for (interface, signature) in &running.exports {
            writer.array(2);
            writer.str(interface.as_str());
            writer.option(*signature, |writer, signature| writer.bin(&signature.0));
        }
    }
}

fn read(reader: &mut Reader<'_>) -> Result<Presence, Malformed> {
    reader.array(9)?;
    let peer = PeerId::parse(reader.str(64)?).map_err(|_| Malformed("has an invalid peer id"))?;
    let token = reader.str(MAX_TOKEN_BYTES)?.to_owned();
    let boot = BootId(reader.array_of()?);
    let (started_at_ms, sequence, said_at_ms) = (reader.uint()?, reader.uint()?, reader.uint()?);
    let site = reader.option(|reader| reader.str(super::MAX_TEXT_BYTES))?.map(str::to_owned);
    let state = state(reader.uint()?)?;
    let mut running = Vec::new();
    for _ in 0..reader.list(MAX_RUNNING)? {
        running.push(read_running(reader)?);
    }
    Ok(Presence { peer, token, boot, started_at_ms, sequence, said_at_ms, site, state, running })
}

fn read_running(reader: &mut Reader<'_>) -> Result<Running, Malformed> {
    reader.array(2)?;
    let id = EntityId::parse(reader.str(64)?).map_err(|_| Malformed("has an invalid id"))?;
    let mut exports = Vec::new();
    for _ in 0..reader.list(MAX_EXPORTS)? {
        reader.array(2)?;
        exports.push((interface(reader)?, reader.option(|reader| reader.array_of().map(Signature))?));
    }
    Ok(Running { id, exports })
}

fn state_number(state: State) -> u64 {
    match state {
        State::Ready => 0,
        State::Draining => 1,
        State::Gone => 2,
    }
}

fn state(number: u64) -> Result<State, Malformed> {
    match number {
        0 => Ok(State::Ready),
        1 => Ok(State::Draining),
        2 => Ok(State::Gone),
        _ => Err(Malformed("has an unknown state")),
    }
}

/// Whether a presence fits into a frame, which bounds how much one peer can run.
pub(crate) fn fits(frame: &[u8]) -> bool {
    frame.len() <= MAX_FRAME_BYTES
}
