//! Key and secret files: made 0600, refused when others may read them.
//!
//! A log that changes its key has up to three kinds of key file:
//!
//! ```text
//! log.key              signs
//! log.key.next         made by `key prepare` or `key rotate`, not signed in: signs nothing
//! log.key.ID.retired   signed until a rotation; of no more use to anybody but a thief
//! ```
//!
//! The log itself says which of the first two is in force, so no crash between a rotation's entry and the exchange of the
//! files can leave a log without its key: see [`take_over`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isoledger_core::note::{KeyError, NoteSigner, VerifierKey};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "{} has mode {mode:04o}, so others may read it; make it yours alone with: chmod 600 {}",
        path.display(), path.display()
    )]
    Mode { path: PathBuf, mode: u32 },
    #[error("{} is not a key file of this kind; it holds one line: {magic} NAME BASE64-SEED", path.display())]
    Form { path: PathBuf, magic: &'static str },
    #[error("{} is the key of {found}; the configuration's origin is {wanted}", path.display())]
    Origin { path: PathBuf, found: String, wanted: String },
    #[error("{}: {source}", path.display())]
    Name { path: PathBuf, source: KeyError },
}

const MAGIC: &str = "isoledger-key/1";
/// A cosigner's: another word, so that a log's key is never taken for one.
const COSIGNER: &str = "isoledger-cosigner/1";

/// 32 bytes from the operating system.
pub(crate) fn entropy() -> [u8; 32] {
    let mut out = [0; 32];
    // A machine whose kernel gives no random bytes cannot keep a secret; there is nothing to fall back to.
    getrandom::fill(&mut out).expect("the operating system gives random bytes");
    out
}

/// Creates `path` with mode 0600 and `content`, durably; an existing file is an error and left alone.
pub(crate) fn write_secret(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()?;
    sync_dir(path)
}

/// Makes the names beside `path` durable.
fn sync_dir(path: &Path) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| *dir != Path::new("")).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// That only its owner may read a file.
pub(crate) fn private(path: &Path) -> Result<(), KeyFileError> {
    let found = std::fs::metadata(path);
    let mode = found.map_err(|source| KeyFileError::Io { path: path.to_owned(), source })?.mode() & 0o7777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(KeyFileError::Mode { path: path.to_owned(), mode }),
    }
}

fn store(path: &Path, magic: &str, name: &str, seed: &[u8; 32]) -> Result<(), KeyFileError> {
    let line = format!("{magic} {name} {}\n", STANDARD.encode(seed));
    write_secret(path, line.as_bytes()).map_err(|source| KeyFileError::Io { path: path.to_owned(), source })
}

fn read(path: &Path, magic: &'static str) -> Result<(String, [u8; 32]), KeyFileError> {
    private(path)?;
    let text =
        std::fs::read_to_string(path).map_err(|source| KeyFileError::Io { path: path.to_owned(), source })?;
    let form = || KeyFileError::Form { path: path.to_owned(), magic };
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let [found, name, seed] = line.split(' ').collect::<Vec<_>>()[..] else { return Err(form()) };
    if found != magic {
        return Err(form());
    }
    let seed: [u8; 32] = STANDARD.decode(seed).ok().and_then(|s| s.try_into().ok()).ok_or_else(form)?;
    Ok((name.to_owned(), seed))
}

/// Makes the log's key.
pub(crate) fn create(path: &Path, origin: &str) -> Result<NoteSigner, KeyFileError> {
    let seed = entropy();
    let named = |source| KeyFileError::Name { path: path.to_owned(), source };
    let signer = NoteSigner::new(origin, &seed).map_err(named)?;
    store(path, MAGIC, origin, &seed)?;
    Ok(signer)
}

/// Reads the log's key.
pub(crate) fn load(path: &Path, origin: &str) -> Result<NoteSigner, KeyFileError> {
    let (name, seed) = read(path, MAGIC)?;
    if name != origin {
        return Err(KeyFileError::Origin { path: path.to_owned(), found: name, wanted: origin.to_owned() });
    }
    NoteSigner::new(&name, &seed).map_err(|source| KeyFileError::Name { path: path.to_owned(), source })
}

/// Where the key lies that the log at `key` is to go on with.
pub(crate) fn next(key: &Path) -> PathBuf {
    with(key, ".next")
}

fn with(key: &Path, ending: &str) -> PathBuf {
    let mut path = key.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// Puts the next key in the place of the key, once the log has signed it in; the old one is kept under another name, which
/// is given. A crash in between leaves the old key in both places, or the new one in its own, and is gone over again by
/// whoever opens the log.
pub(crate) fn exchange(key: &Path, old: &VerifierKey) -> Result<PathBuf, KeyFileError> {
    let retired = with(key, &format!(".{:08x}.retired", old.id()));
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| KeyFileError::Io { path, source }
    };
    let bytes = std::fs::read(key).map_err(io(key))?;
    match write_secret(&retired, &bytes) {
        // An earlier try came as far as this.
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        done => done.map_err(io(&retired))?,
    }
    std::fs::rename(next(key), key).map_err(io(&next(key)))?;
    sync_dir(key).map_err(io(key))?;
    Ok(retired)
}

/// The next key, when the log says that `wanted` signs its next entry and the next key is that one: a rotation whose entry
/// was written and whose files were not exchanged. They are now.
pub(crate) fn take_over(
    key: &Path,
    origin: &str,
    wanted: &VerifierKey,
) -> Result<Option<NoteSigner>, KeyFileError> {
    if !next(key).exists() {
        return Ok(None);
    }
    let signer = load(&next(key), origin)?;
    if signer.verifier() != wanted {
        return Ok(None);
    }
    let old = load(key, origin)?;
    exchange(key, old.verifier())?;
    Ok(Some(signer))
}

/// Makes a witness's or an auditor's key.
pub(crate) fn create_cosigner(path: &Path, name: &str) -> Result<NoteSigner, KeyFileError> {
    let seed = entropy();
    let named = |source| KeyFileError::Name { path: path.to_owned(), source };
    let signer = NoteSigner::cosigner(name, &seed).map_err(named)?;
    store(path, COSIGNER, name, &seed)?;
    Ok(signer)
}

/// Reads a witness's or an auditor's key.
pub(crate) fn load_cosigner(path: &Path) -> Result<NoteSigner, KeyFileError> {
    let (name, seed) = read(path, COSIGNER)?;
    NoteSigner::cosigner(&name, &seed).map_err(|source| KeyFileError::Name { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_survives_and_is_refused_when_others_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.key");
        let made = create(&path, "a.example/x").unwrap();
        assert_eq!(load(&path, "a.example/x").unwrap().verifier(), made.verifier());
        assert!(matches!(load(&path, "a.example/y"), Err(KeyFileError::Origin { .. })));
        assert!(matches!(create(&path, "a.example/x"), Err(KeyFileError::Io { .. })));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(matches!(load(&path, "a.example/x"), Err(KeyFileError::Mode { mode: 0o640, .. })));
    }

    #[test]
    fn the_next_key_takes_over_when_the_log_says_so_whatever_a_crash_left() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("log.key");
        let old = create(&key, "a.example/x").unwrap();
        assert!(take_over(&key, "a.example/x", old.verifier()).unwrap().is_none(), "there is no next one");
        let new = create(&next(&key), "a.example/x").unwrap();
        // Not signed in: the log still wants the old one.
        assert!(take_over(&key, "a.example/x", old.verifier()).unwrap().is_none());
        assert_eq!(load(&key, "a.example/x").unwrap().verifier(), old.verifier());
        // As left by a crash after the old one was put away and before the new one was named.
        let retired = dir.path().join(format!("log.key.{:08x}.retired", old.verifier().id()));
        std::fs::copy(&key, &retired).unwrap();
        let taken = take_over(&key, "a.example/x", new.verifier()).unwrap().unwrap();
        assert_eq!(taken.verifier(), new.verifier());
        assert_eq!(load(&key, "a.example/x").unwrap().verifier(), new.verifier());
        assert_eq!(load(&retired, "a.example/x").unwrap().verifier(), old.verifier());
        assert!(!next(&key).exists());
    }

    #[test]
    fn a_cosigner_s_key_is_no_log_s_and_the_reverse() {
        let dir = tempfile::tempdir().unwrap();
        let (log, witness) = (dir.path().join("log.key"), dir.path().join("witness.key"));
        create(&log, "a.example/x").unwrap();
        let made = create_cosigner(&witness, "w.example").unwrap();
        assert_eq!(load_cosigner(&witness).unwrap().verifier(), made.verifier());
        assert!(matches!(load_cosigner(&log), Err(KeyFileError::Form { .. })));
        assert!(matches!(load(&witness, "w.example"), Err(KeyFileError::Form { .. })));
        assert!(matches!(create_cosigner(&witness, "w.example"), Err(KeyFileError::Io { .. })));
        std::fs::set_permissions(&witness, PermissionsExt::from_mode(0o604)).unwrap();
        assert!(matches!(load_cosigner(&witness), Err(KeyFileError::Mode { .. })));
    }
}
