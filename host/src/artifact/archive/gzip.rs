//! Archives that are compressed.

use std::io::Read as _;

use bytes::Bytes;
use flate2::bufread::GzDecoder;

/// Whether `bytes` begin as something compressed does.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// What was compressed, if that is at most `max_bytes` and nothing follows it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(bytes: &[u8], max_bytes: u64) -> Result<Bytes, String> {
    let mut decoder = GzDecoder::new(bytes);
    let mut content = Vec::new();
    // One byte could stand for a thousand.
    let read = decoder.by_ref().take(max_bytes + 1).read_to_end(&mut content);
    read.map_err(|error| format!("it cannot be decompressed: {error}"))?;
    if content.len() as u64 > max_bytes {
        return Err(format!("it is larger than {} MiB when decompressed", max_bytes >> 20));
    }
    if decoder.into_inner().is_empty() { Ok(content.into()) } else { Err("something follows its end".to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::{is_one, read};

    fn compressed(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn what_was_compressed_comes_out_and_nothing_else() {
        let bytes = compressed(b"content");
        assert!(is_one(&bytes) && !is_one(b"content"));
        assert_eq!(read(&bytes, 7).expect("fits"), "content");
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len], 7).is_err(), "cut at {len}");
        }
        assert!(read(&[&bytes[..], b"x"].concat(), 7).is_err_and(|why| why.contains("follows")));
        assert!(read(&[&bytes[..], &bytes].concat(), 100).is_err_and(|why| why.contains("follows")));
    }

    #[test]
    fn a_bomb_is_not_read_to_its_end() {
        let bomb = compressed(&vec![0; 10 << 20]);
        assert!(bomb.len() < 20_000);
        assert!(read(&bomb, 1 << 20).is_err_and(|why| why.contains("larger than 1 MiB")));
    }
}
