//! As much of tar as archives of providers are made of: flat, regular files. Nothing is ever unpacked to a path.
//!
//! Everything else that tar can hold (links, devices, directories, extensions that rename the next entry) is an error,
//! because two readers might see two different archives in it.

use std::collections::HashSet;

const BLOCK: usize = 512;
/// The most files in an archive.
const MAX_FILES: usize = 64;
/// The longest name of one.
const MAX_NAME: usize = 99;

/// A file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) bytes: &'a [u8],
}

/// The files of `archive`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(archive: &[u8]) -> Result<Vec<Entry<'_>>, String> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut names = HashSet::new();
    let mut rest = archive;
    loop {
        let (header, after) = rest.split_first_chunk::<BLOCK>().ok_or("it is cut short")?;
        if header.iter().all(|byte| *byte == 0) {
            let is_empty = after.len() >= BLOCK && after.iter().all(|byte| *byte == 0);
            return if is_empty { Ok(entries) } else { Err("something follows its end".to_owned()) };
        }
        let (name, size) = head(header)?;
        let padded = size.div_ceil(BLOCK).checked_mul(BLOCK).ok_or("a size is too large")?;
        let (content, next) = after.split_at_checked(padded).ok_or("it is cut short")?;
        // File systems that ignore case would take them for one.
        if !names.insert(name.to_ascii_lowercase()) {
            return Err(format!("{name} is in it twice"));
        }
        if entries.len() == MAX_FILES {
            return Err(format!("it has more than {MAX_FILES} files"));
        }
        entries.push(Entry { name, bytes: &content[..size] });
        rest = next;
    }
}

/// The name and the size in a header.
fn head(header: &[u8; BLOCK]) -> Result<(&str, usize), String> {
    if &header[257..262] != b"ustar" {
        return Err("it is not a tar archive".to_owned());
    }
    if number(&header[148..156]) != Some(checksum(header)) {
        return Err("the checksum of a header is wrong".to_owned());
    }
    let name = text(&header[..100]).filter(|name| is_plain(name)).ok_or_else(|| {
        let shown: String = String::from_utf8_lossy(&header[..100]).chars().take_while(|c| *c != '\0').collect();
        format!("{shown:?} is not the name of a file without a path")
    })?;
    if !matches!(header[156], 0 | b'0') {
        return Err(format!("{name} is not a regular file"));
    }
    if header[157..257].iter().chain(&header[345..]).any(|byte| *byte != 0) {
        return Err(format!("{name} has another name besides"));
    }
    let size = number(&header[124..136]).ok_or_else(|| format!("the size of {name} is not a number"))?;
    Ok((name, usize::try_from(size).map_err(|_| format!("{name} is too large"))?))
}

/// Up to the first zero byte, after which there may be nothing else.
fn text(field: &[u8]) -> Option<&str> {
    let end = field.iter().position(|byte| *byte == 0)?;
    let is_clean = field[end..].iter().all(|byte| *byte == 0);
    std::str::from_utf8(&field[..end]).ok().filter(|_| is_clean)
}

fn is_plain(name: &str) -> bool {
    let is_short = (1..=MAX_NAME).contains(&name.len());
    is_short && !name.starts_with('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Octal digits, ended by spaces or zero bytes.
fn number(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    let is_octal = !text.is_empty() && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    if is_octal { u64::from_str_radix(text, 8).ok() } else { None }
}

/// The sum of all bytes, those of the checksum itself taken for spaces.
fn checksum(header: &[u8; BLOCK]) -> u64 {
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = header[148..156].iter().map(|byte| u64::from(*byte)).sum();
    sum - own + 8 * u64::from(b' ')
}

/// An archive of `entries`, the same bytes for the same files.
///
/// # Errors
/// When a name is not one that [`read`] takes, or there are too many files.
pub(super) fn write(entries: &[Entry<'_>]) -> Result<Vec<u8>, String> {
    if entries.len() > MAX_FILES {
        return Err(format!("more than {MAX_FILES} files do not go into an archive"));
    }
    let mut archive = Vec::new();
    for Entry { name, bytes } in entries {
        if !is_plain(name) {
            return Err(format!("{name:?} is not the name of a file without a path"));
        }
        archive.extend_from_slice(&header(name, bytes.len()));
        archive.extend_from_slice(bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    Ok(archive)
}

fn header(name: &str, size: usize) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000755\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum = checksum(&header);
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Entry, checksum, read, write};

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let entries: Vec<Entry<'_>> = entries.iter().map(|&(name, bytes)| Entry { name, bytes }).collect();
        write(&entries).expect("fits")
    }

    /// An archive of one file whose header was changed, and its checksum with it.
    fn forged(change: impl FnOnce(&mut [u8; BLOCK])) -> Vec<u8> {
        let mut bytes = archive(&[("claims.jwt", b"x"), ("x86_64-linux.bin", b"program")]);
        let header = bytes.first_chunk_mut::<BLOCK>().expect("has a header");
        change(header);
        let sum = checksum(header);
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes
    }

    #[test]
    fn what_was_written_is_read() {
        let large = vec![7; 3 * BLOCK];
        let files = [("claims.jwt", &b"x"[..]), ("empty.bin", b""), ("x86_64-linux.bin", &large)];
        let bytes = archive(&files);
        let entries = read(&bytes).expect("an archive");
        assert_eq!(entries, files.map(|(name, bytes)| Entry { name, bytes }));
    }

    /// FAULTS D54: nothing of this may be an archive, and nothing of it may panic.
    #[test]
    fn whatever_could_reach_beyond_an_archive_is_refused() {
        let names = [
            "../x",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "..",
            ".",
            "",
            ".hidden",
            "a\u{1}b",
            "C:x",
            "a b",
            "ä",
            "a\nb",
            "con/../x",
            "./x",
            "~x",
            "a%2fb",
            "a:b",
            "*",
            "-\u{7f}",
            "a\0/../b",
        ];
        for name in names {
            let archive = forged(|header| {
                header[..100].fill(0);
                header[..name.len()].copy_from_slice(name.as_bytes());
            });
            assert!(read(&archive).is_err(), "{name:?}");
        }
        let kinds = "1234567xgLKSMVDNAZ ".bytes().chain(200..=255);
        for kind in kinds {
            assert!(read(&forged(|header| header[156] = kind)).is_err(), "type {kind}");
        }
        let sizes = [
            "77777777777\0",
            "-0000000001\0",
            "0000000000x\0",
            "            ",
            "99999999999\0",
            "\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}",
            "0x000000001\0",
            "1 1        \0",
        ];
        for size in sizes {
            assert!(read(&forged(|header| header[124..136].copy_from_slice(size.as_bytes()))).is_err(), "{size:?}");
        }
        let binary_size = forged(|header| header[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
        assert!(read(&binary_size).is_err(), "a size in GNU's binary form");
        for at in [157, 256, 345, 400, 499, 511] {
            assert!(read(&forged(|header| header[at] = b'x')).is_err(), "a second name at {at}");
        }
        assert!(read(&forged(|header| header[..100].fill(b'a'))).is_err(), "a name without an end");
        assert!(read(&forged(|header| header[50] = b'x')).is_err(), "a name after the name");
        assert!(read(&forged(|header| header[257] = b'x')).is_err(), "no tar");
    }

    #[test]
    fn an_archive_is_whole_and_says_all_once() {
        let bytes = archive(&[("claims.jwt", b"x"), ("a.bin", &[7; 600])]);
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).is_err(), "cut at {len}");
        }
        for (position, _) in
            bytes.iter().enumerate().filter(|(position, _)| position % BLOCK < 148 && *position < BLOCK)
        {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            assert!(read(&changed).is_err(), "changed at {position}");
        }
        assert!(read(&[&bytes[..], b"x"].concat()).is_err(), "something after the end");
        assert!(read(&[&bytes[..], &bytes].concat()).is_err(), "a second archive after the end");
        assert!(read(&archive(&[("a.bin", b""), ("A.bin", b"")])).is_err(), "names that differ by case");
        let many: Vec<String> = (0..65).map(|n| format!("{n}.bin")).collect();
        let many: Vec<Entry<'_>> = many.iter().map(|name| Entry { name, bytes: b"" }).collect();
        assert!(write(&many).is_err() && write(&[Entry { name: "../x", bytes: b"" }]).is_err());
    }
}
