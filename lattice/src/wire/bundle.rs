//! Several frames in one message (PROTOCOL.md §2): what is sent together to one inbox, or to the slots of one peer, costs
//! the broker one message. A bundle is not sealed: each frame in it is.

use bytes::Bytes;

use super::{MAX_FRAME_BYTES, Malformed, VERSION};

/// The second byte of a bundle, where a frame has its kind.
const BUNDLE: u8 = 12;

/// Slot and length in front of each frame, in bytes.
const ENTRY_HEADER_BYTES: usize = 6;

/// Whether a message is a bundle.
pub fn is_bundle(payload: &[u8]) -> bool {
    payload.starts_with(&[VERSION, BUNDLE])
}

/// What `frames` need together, in bytes.
pub fn bundled_bytes(frames: impl Iterator<Item = usize>) -> usize {
    2 + frames.map(|bytes| ENTRY_HEADER_BYTES + bytes).sum::<usize>()
}

/// Frames as one message, each with the slot that it goes to or wants its answer on; 0 if there is none.
pub fn encode_bundle<'a>(frames: impl Iterator<Item = (u16, &'a Bytes)> + Clone) -> Vec<u8> {
    let mut bundle = Vec::with_capacity(bundled_bytes(frames.clone().map(|(_, frame)| frame.len())));
    bundle.extend_from_slice(&[VERSION, BUNDLE]);
    for (slot, frame) in frames {
        let length = u32::try_from(frame.len()).expect("a frame is at most 512 KiB");
        bundle.extend_from_slice(&slot.to_be_bytes());
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(frame);
    }
    bundle
}

/// The frames of a bundle with their slots, in order. Whether they are frames is not looked at.
///
/// # Errors
/// When the bundle is larger than a frame may be, or is cut.
pub fn decode_bundle(payload: &Bytes) -> Result<Vec<(u16, Bytes)>, Malformed> {
    if payload.len() > MAX_FRAME_BYTES {
        return Err(Malformed("is larger than 512 KiB"));
    }
    let mut rest = payload.get(2..).ok_or(Malformed("is cut short"))?;
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let (header, after) =
            rest.split_first_chunk::<ENTRY_HEADER_BYTES>().ok_or(Malformed("is cut within a bundle"))?;
        let [slot @ .., l0, l1, l2, l3] = *header;
        let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let (frame, after) = after.split_at_checked(length).ok_or(Malformed("is cut within a bundle"))?;
        frames.push((u16::from_be_bytes(slot), payload.slice_ref(frame)));
        rest = after;
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::{any, proptest};

    use super::{bundled_bytes, decode_bundle, encode_bundle, is_bundle};

    #[test]
    fn a_bundle_has_the_documented_bytes() {
        let frames = [(1, Bytes::from_static(b"ab")), (515, Bytes::from_static(b"c"))];
        let bundle = encode_bundle(frames.iter().map(|(slot, frame)| (*slot, frame)));
        assert_eq!(bundle, b"\x01\x0c\x00\x01\x00\x00\x00\x02ab\x02\x03\x00\x00\x00\x01c");
        assert_eq!(bundle.len(), bundled_bytes([2, 1].into_iter()));
        assert!(is_bundle(&bundle) && !is_bundle(b"\x01\x01"));
        assert_eq!(decode_bundle(&bundle.into()).expect("whole"), frames);
    }

    #[test]
    fn a_bundle_that_is_cut_is_refused() {
        let frames = [(1, Bytes::from_static(b"ab")), (2, Bytes::from_static(b"c"))];
        let bundle = Bytes::from(encode_bundle(frames.iter().map(|(slot, frame)| (*slot, frame))));
        let ends: Vec<_> = (2..=bundle.len()).filter(|end| decode_bundle(&bundle.slice(..*end)).is_ok()).collect();
        assert_eq!(ends, [2, 10, 17], "only where a frame ends");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
            let _ = decode_bundle(&bytes.into());
        }
    }
}
