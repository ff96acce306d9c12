//! A client of C2SP tlog-tiles that shares no code with the program under test: it reads a directory or a server as
//! any stranger with the log's key would, and recomputes everything from the entries.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Hashes and entries in a full tile.
const WIDTH: u64 = 256;

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The log's name.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
}

/// Reads a checkpoint and checks its signature by a verifier key (`NAME+HASH+BASE64`).
///
/// # Errors
/// In words.
pub fn open_checkpoint(note: &str, vkey: &str) -> Result<Head, String> {
    let mut parts = vkey.splitn(3, '+');
    let (name, id, key) =
        (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let key = STANDARD.decode(key).map_err(|e| format!("{vkey}: {e}"))?;
    let computed = Sha256::new().chain_update(name).chain_update(b"\n").chain_update(&key).finalize();
    let id_bytes = &computed[..4];
    let hex: String = id_bytes.iter().map(|b| format!("{b:02x}")).collect();
    if hex != id || key.len() != 33 || key[0] != 1 {
        return Err(format!("{vkey} is no Ed25519 verifier key"));
    }
    let public: [u8; 32] = key[1..].try_into().map_err(|_| "33 bytes less one are 32")?;
    let public = VerifyingKey::from_bytes(&public).map_err(|e| e.to_string())?;
    let (body, signatures) = note.split_once("\n\n").ok_or("a note has an empty line")?;
    let text = format!("{body}\n");
    let mut signed = false;
    for line in signatures.lines() {
        let (by, signature) = line.strip_prefix("— ").and_then(|l| l.split_once(' ')).ok_or(line)?;
        let signature = STANDARD.decode(signature).map_err(|e| e.to_string())?;
        if by == name && signature.len() == 68 && signature[..4] == *id_bytes {
            let signature = Signature::from_slice(&signature[4..]).map_err(|e| e.to_string())?;
            public.verify_strict(text.as_bytes(), &signature).map_err(|e| e.to_string())?;
            signed = true;
        }
    }
    if !signed {
        return Err(format!("no signature by {name} under {note}"));
    }
    let lines: Vec<&str> = body.lines().collect();
    let [origin, size, root] = lines[..] else { return Err(format!("not three lines: {body}")) };
    let root = STANDARD.decode(root).map_err(|e| e.to_string())?;
    Ok(Head {
        origin: origin.to_owned(),
        size: size.parse().map_err(|e| format!("{size}: {e}"))?,
        root: root.try_into().map_err(|_| "a root has 32 bytes")?,
    })
}

/// The hash of a leaf.
pub fn leaf(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// The root of the tree over these leaf hashes (RFC 6962, 2.1).
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Sha256::new()
                .chain_update([1])
                .chain_update(root(left))
                .chain_update(root(right))
                .finalize()
                .into()
        }
    }
}

/// The path of tile `index` at `level` (`0`, `1` … or `entries`) in a log that has so many things there.
fn tile_path(level: &str, index: u64, have: u64) -> String {
    let mut digits = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        digits = format!("x{:03}/{digits}", rest % 1000);
        rest /= 1000;
    }
    let width = (have - index * WIDTH).min(WIDTH);
    let partial = if width < WIDTH { format!(".p/{width}") } else { String::new() };
    format!("tile/{level}/{digits}{partial}")
}

/// Reads every entry below a checkpoint and checks every tile against them, and the root.
///
/// `fetch` gives the bytes at a path such as `tile/0/000`.
///
/// # Errors
/// In words.
pub fn entries(head: &Head, mut fetch: impl FnMut(&str) -> Option<Vec<u8>>) -> Result<Vec<Vec<u8>>, String> {
    let mut fetch = |path: &str| fetch(path).ok_or_else(|| format!("{path} is missing"));
    let mut entries = Vec::new();
    for index in 0..head.size.div_ceil(WIDTH) {
        let path = tile_path("entries", index, head.size);
        let bundle = fetch(&path)?;
        let mut rest = bundle.as_slice();
        let before = entries.len();
        while let [a, b, tail @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*a, *b]));
            entries.push(tail.get(..length).ok_or_else(|| format!("{path} breaks off"))?.to_vec());
            rest = &tail[length..];
        }
        let want = (head.size - index * WIDTH).min(WIDTH);
        if !rest.is_empty() || (entries.len() - before) as u64 != want {
            return Err(format!("{path} holds {} entries, not {want}", entries.len() - before));
        }
    }
    let leaves: Vec<Hash> = entries.iter().map(|e| leaf(e)).collect();
    let mut level = leaves.clone();
    for number in 0.. {
        for (index, chunk) in level.chunks(256).enumerate() {
            let path = tile_path(&number.to_string(), index as u64, level.len() as u64);
            if fetch(&path)? != chunk.concat() {
                return Err(format!("{path} is not what the entries give"));
            }
        }
        // The level above holds the roots of the full tiles below it.
        level = level.chunks_exact(256).map(root).collect();
        if level.is_empty() {
            break;
        }
    }
    if root(&leaves) != head.root {
        return Err(format!("the checkpoint's root is not that of its {} entries", head.size));
    }
    Ok(entries)
}
