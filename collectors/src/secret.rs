//! Passwords and passphrases, kept out of evidence, logs and errors.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The longest secret accepted, in bytes: far above any password, far below a mistaken file.
const MAX_SECRET: u64 = 4096;

/// A password or passphrase. Its `Debug` form is `Secret(…)`; it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a secret could not be had. Never contains any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file could not be read.
    #[error("the secret file {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Others than its owner may read the file.
    #[error(
        "the secret file {path} has mode {mode:04o}, so others may read it; make it yours alone with: chmod 600 {path}"
    )]
    Mode {
        /// The file.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// The file is larger than any secret.
    #[error("the secret file {path} has {found} bytes; at most {MAX_SECRET} are read. Is it the right file?")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        found: u64,
    },
    /// Nothing in it.
    #[error("the secret from {from} is empty")]
    Empty {
        /// The file or variable.
        from: String,
    },
    /// The variable is not set, or not UTF-8.
    #[error("the environment variable {name}, which should hold a secret, is not set or not UTF-8")]
    NoVariable {
        /// The variable.
        name: String,
    },
}

impl Secret {
    /// From text already in memory.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The content of a file that only its owner may read, without one line end at its end.
    pub fn from_file(path: &Path) -> Result<Secret, SecretError> {
        let name = path.display().to_string();
        let unreadable = |source| SecretError::Unreadable { path: name.clone(), source };
        // What is asked about and what is read is one file, whatever becomes of its name in between.
        let file = File::open(path).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        let (mode, found) = (about.mode() & 0o7777, about.len());
        if mode & 0o077 != 0 {
            return Err(SecretError::Mode { path: name, mode });
        }
        if found > MAX_SECRET {
            return Err(SecretError::TooLarge { path: name, found });
        }
        let mut text = String::new();
        file.take(MAX_SECRET).read_to_string(&mut text).map_err(unreadable)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Secret::nonempty(text.strip_suffix('\r').unwrap_or(text), name)
    }

    /// The value of an environment variable.
    pub fn from_env(name: &str) -> Result<Secret, SecretError> {
        let text = std::env::var(name).map_err(|_| SecretError::NoVariable { name: name.to_owned() })?;
        Secret::nonempty(&text, format!("the environment variable {name}"))
    }

    fn nonempty(text: &str, from: String) -> Result<Secret, SecretError> {
        if text.is_empty() { Err(SecretError::Empty { from }) } else { Ok(Secret(text.to_owned())) }
    }

    /// The secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_never_prints_itself() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }

    #[test]
    fn a_file_that_others_may_read_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "hunter2").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o660, 0o644, 0o610] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let e = Secret::from_file(&path).unwrap_err();
            assert!(matches!(e, SecretError::Mode { mode: found, .. } if found == mode), "{e}");
            let said = e.to_string();
            assert!(said.contains(&format!("{mode:04o}")) && said.contains("chmod 600"), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        for mode in [0o600, 0o400, 0o700] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(Secret::from_file(&path).unwrap().expose(), "hunter2");
        }
    }

    #[test]
    fn one_line_end_is_dropped_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        for (content, want) in [("a b\n", "a b"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a", " a")] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(Secret::from_file(&path).unwrap().expose(), want);
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(Secret::from_file(&path), Err(SecretError::Empty { .. })));
        std::fs::write(&path, vec![b'x'; 5000]).unwrap();
        let said = Secret::from_file(&path).unwrap_err().to_string();
        // The names of temporary files hold an x now and then, too.
        assert!(said.contains("5000 bytes") && !said.contains("xxxxxxxx"), "{said}");
    }
}
