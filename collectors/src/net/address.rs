//! Where a source listens, in Open vSwitch's own notation.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A place to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `unix:PATH`
    Unix(PathBuf),
    /// `tcp:HOST:PORT`, nothing authenticated
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// `ssl:HOST:PORT`, the server's certificate verified
    Tls {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
}

/// Text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found the address {found:?}; it is written unix:PATH, tcp:HOST:PORT or ssl:HOST:PORT")]
pub struct AddressError {
    /// The text.
    pub found: String,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let bad = || AddressError { found: text.to_owned() };
        let (scheme, rest) = text.split_once(':').ok_or_else(bad)?;
        if scheme == "unix" {
            return if rest.is_empty() { Err(bad()) } else { Ok(Address::Unix(rest.into())) };
        }
        let (host, port) = rest.rsplit_once(':').ok_or_else(bad)?;
        // An IPv6 address stands in brackets, or its last group would be taken for the port.
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(bad)?,
            None if host.contains(':') => return Err(bad()),
            None => host,
        };
        let port: u16 = port.parse().ok().filter(|p| *p != 0).ok_or_else(bad)?;
        if host.is_empty() {
            return Err(bad());
        }
        let host = host.to_owned();
        match scheme {
            "tcp" => Ok(Address::Tcp { host, port }),
            "ssl" => Ok(Address::Tls { host, port }),
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Address::Unix(path) => return write!(f, "unix:{}", path.display()),
            Address::Tcp { host, port } => ("tcp", host, port),
            Address::Tls { host, port } => ("ssl", host, port),
        };
        if host.contains(':') {
            write!(f, "{scheme}:[{host}]:{port}")
        } else {
            write!(f, "{scheme}:{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_their_spelling() {
        for text in
            ["unix:/run/ovs/db.sock", "tcp:127.0.0.1:6640", "ssl:switch-1.example.com:6640", "tcp:[::1]:1"]
        {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "unix:",
            "tcp:6640",
            "tcp::6640",
            "tcp:h:0",
            "tcp:h:70000",
            "tcp:::1:6640",
            "http:h:1",
            "ssl:h",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
