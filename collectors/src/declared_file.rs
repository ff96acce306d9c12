//! A declared-state file: the cloud manager of a site that has none.
//!
//! # In scope
//! - [`DeclaredFile`], the reader of one file, TOML or JSON by its extension: networks, owners, access, the projects of
//!   nodes, nics with their ports and networks, registered ports, exits.
//! - [`normalise`]: evidence, which is the file's bytes, in, [`Declared`] out, pure; and [`exits`], the exits in it.
//!
//! # Out of scope
//! Merging exits into the scope, which is the service's, at its start. Writing the file: other programs do, or people.
//!
//! # Trust
//! Whoever may write the file decides what is right, as an administrator of a cloud manager does. It may be caught half
//! written, and must then never declare less than it was meant to: a TOML file that was cut between two tables is a
//! shorter, valid file, so it ends in the line `[end]` or is refused; JSON cut short is no JSON. A file that changes while
//! it is read is refused as well. Anything unknown, doubled or without sense is an error and never an omission. The page
//! is `docs/dialects/declared-file.md`.

use crate::evidence::{Evidence, Exchange};
use crate::hil::answer::quote;
use crate::net::json::parse_strict;
use crate::net::{io_words, within};
use crate::source::{Clock, CloudManager, Pending, Reading, SourceError};
use crate::unread::Unread;
use isoledger_core::model::{
    Access, Attachment, Cable, Channel, Declared, Exit, ExitKind, Network, NetworkVlan, Owner, PortId,
    Reader, Window,
};
use isoledger_core::{VlanId, VlanSet};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The dialect's name.
pub const DIALECT: &str = "declared-file";
/// The version of its normaliser; moves when the same evidence may read differently.
pub const VERSION: u32 = 1;
/// The largest file. One line of a nic has about a hundred bytes; as evidence a byte takes six at the worst.
pub const MAX_FILE: u64 = 8 << 20;
/// The longest name, in bytes.
const MAX_NAME: usize = 256;
/// The last line of a TOML file.
pub const END: &str = "[end]";

/// How the file is written. Its name stands in the evidence, so that the bytes alone are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.toml`
    Toml,
    /// `.json`
    Json,
}

impl Format {
    /// The format of a file of this name.
    pub fn of(path: &Path) -> Result<Format, SettingsError> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("toml") => Ok(Format::Toml),
            Some("json") => Ok(Format::Json),
            _ => Err(SettingsError::Extension { path: path.display().to_string() }),
        }
    }

    /// What is asked, in evidence.
    pub const fn asked(self) -> &'static str {
        match self {
            Format::Toml => "the file, as TOML",
            Format::Json => "the file, as JSON",
        }
    }
}

/// Settings that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Neither format.
    #[error("found the declared-state file {path:?}; its name must end in .toml or .json")]
    Extension {
        /// The path.
        path: String,
    },
}

/// Reads one file.
#[derive(Clone, Debug)]
pub struct DeclaredFile {
    path: PathBuf,
    format: Format,
    read_once: bool,
}

impl DeclaredFile {
    /// A reader of the file at `path`, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Result<DeclaredFile, SettingsError> {
        let path = path.into();
        let format = Format::of(&path)?;
        Ok(DeclaredFile { path, format, read_once: false })
    }

    async fn reading(&mut self, clock: &dyn Clock, deadline: Instant) -> Reading<Declared> {
        let started = clock.now();
        let (path, format) = (self.path.clone(), self.format);
        let what = format!("reading {}", self.path.display());
        // A file on a dead network mount answers never; the thread is then left to it.
        let read = within(deadline, &what, async {
            match tokio::task::spawn_blocking(move || bytes(&path)).await {
                Ok(read) => read,
                Err(e) => Err(SourceError::unreadable(format!("reading the file broke off: {e}"))),
            }
        })
        .await;
        let ended = clock.now();
        let asked = format.asked().to_owned();
        let exchange = match read {
            Ok(answer) => Exchange { asked, status: None, answer },
            // Status 1, so that no file can pass for a failure, nor a failure for a file.
            Err(e) => Exchange { asked, status: Some(1), answer: Unread::bytes(&e) },
        };
        let evidence = Evidence {
            subject: self.path.display().to_string(),
            auth: "file on this host".into(),
            identity: None,
            exchanges: vec![exchange],
        };
        let outcome = normalise(&evidence);
        self.read_once |= outcome.is_ok();
        Reading { window: Window { started, ended }, reader: reader(), evidence, outcome, sent: 1 }
    }
}

fn reader() -> Reader {
    Reader { dialect: DIALECT.into(), version: VERSION }
}

impl CloudManager for DeclaredFile {
    fn reader(&self) -> Reader {
        reader()
    }

    fn read<'a>(&'a mut self, clock: &'a dyn Clock, deadline: Instant) -> Pending<'a, Reading<Declared>> {
        Box::pin(self.reading(clock, deadline))
    }

    fn calls_per_crawl(&self) -> Option<u64> {
        self.read_once.then_some(1)
    }
}

/// The bytes of a regular file that nobody changes meanwhile.
fn bytes(path: &Path) -> Result<Vec<u8>, SourceError> {
    let name = path.display();
    let silent = |e: std::io::Error| SourceError::silent(format!("reading {name} failed: {}", io_words(&e)));
    // Before it is opened: opening a pipe waits for whoever writes to it.
    let check = |m: &Metadata| {
        if !m.is_file() {
            return Err(SourceError::unreadable(format!("{name} is not a regular file; name one")));
        }
        if m.len() > MAX_FILE {
            return Err(SourceError::unreadable(format!(
                "{name} has {} bytes; at most {MAX_FILE} are read. Is it the right file?",
                m.len()
            )));
        }
        Ok((m.len(), m.modified().ok()))
    };
    check(&std::fs::metadata(path).map_err(silent)?)?;
    let mut file = File::open(path).map_err(silent)?;
    let before = check(&file.metadata().map_err(silent)?)?;
    let mut bytes = Vec::new();
    // One byte more than allowed tells that it grew past the cap.
    (&mut file).take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(silent)?;
    let after = check(&file.metadata().map_err(silent)?)?;
    if before != after || u64::try_from(bytes.len()) != Ok(after.0) {
        return Err(SourceError::unreadable(format!(
            "{name} changed while it was read; write a new file beside it and rename that over it"
        )));
    }
    Ok(bytes)
}

// ---- the file -------------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    #[serde(default)]
    networks: BTreeMap<String, FileNetwork>,
    #[serde(default)]
    nodes: BTreeMap<String, FileNode>,
    #[serde(default)]
    switches: BTreeMap<String, FileSwitch>,
    #[serde(default, rename = "exit")]
    exits: Vec<FileExit>,
    // Only TOML needs it; see `END`.
    #[serde(default)]
    end: Option<Nothing>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileNetwork {
    vlan: i64,
    /// Absent: the administrators.
    #[serde(default)]
    owner: Option<String>,
    /// Absent: the owner alone.
    #[serde(default)]
    access: FileAccess,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a list of projects or \"public\" was expected")]
enum FileAccess {
    Projects(Vec<String>),
    Word(Public),
}

#[derive(Deserialize)]
enum Public {
    #[serde(rename = "public")]
    Public,
}

impl Default for FileAccess {
    fn default() -> FileAccess {
        FileAccess::Projects(Vec::new())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileNode {
    /// Absent: a free node.
    #[serde(default)]
    project: Option<String>,
    #[serde(default)]
    nics: BTreeMap<String, FileNic>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileNic {
    #[serde(default)]
    mac: Option<String>,
    #[serde(default)]
    switch: Option<String>,
    #[serde(default)]
    port: Option<String>,
    /// The network that is carried without a tag.
    #[serde(default)]
    native: Option<String>,
    /// Networks that are carried with their own tag.
    #[serde(default)]
    tagged: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSwitch {
    ports: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileExit {
    name: String,
    kind: ExitKind,
    switch: String,
    port: String,
    vlans: VlanSet,
}

/// What the file declares, from the evidence of one reading of it. Pure, and never partial: a file with one mistake is an
/// error.
pub fn normalise(evidence: &Evidence) -> Result<Declared, SourceError> {
    Ok(understand(evidence)?.0)
}

/// The exits in the file, which the service takes into the scope when it starts, beside those of scope.toml.
pub fn exits(evidence: &Evidence) -> Result<Vec<Exit>, SourceError> {
    Ok(understand(evidence)?.1)
}

/// The exits of the file at `path`, as [`exits`].
pub fn exits_of(path: &Path) -> Result<Vec<Exit>, SourceError> {
    let format = Format::of(path).map_err(|e| SourceError::unreadable(e.to_string()))?;
    let answer = bytes(path)?;
    Ok(content(&path.display().to_string(), format, &answer)
        .and_then(|c| meaning(&path.display().to_string(), c))?
        .1)
}

fn understand(evidence: &Evidence) -> Result<(Declared, Vec<Exit>), SourceError> {
    let name = &evidence.subject;
    let [exchange] = &evidence.exchanges[..] else {
        return Err(SourceError::unreadable(format!(
            "found {} answers; a declared-state file is one",
            evidence.exchanges.len()
        )));
    };
    let formats = [Format::Toml, Format::Json];
    let format = formats.into_iter().find(|f| f.asked() == exchange.asked).ok_or_else(|| {
        SourceError::unreadable(format!(
            "found an answer to {:?}, which this reader never asks",
            quote(exchange.asked.as_bytes())
        ))
    })?;
    match exchange.status {
        None => {}
        Some(_) => {
            return Err(Unread::error(&exchange.answer)
                .unwrap_or_else(|| SourceError::unreadable("found neither a file nor a failure")));
        }
    }
    meaning(name, content(name, format, &exchange.answer)?)
}

fn content(name: &str, format: Format, bytes: &[u8]) -> Result<Content, SourceError> {
    let bad = |what: String| SourceError::unreadable(format!("{name}: {what}"));
    if u64::try_from(bytes.len()).is_ok_and(|n| n > MAX_FILE) {
        return Err(bad(format!("found {} bytes; at most {MAX_FILE} are read", bytes.len())));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| bad(format!("it is not UTF-8 ({e})")))?;
    let content: Content = match format {
        Format::Toml => {
            let last = text.lines().map(str::trim).rfind(|l| !l.is_empty());
            if last != Some(END) {
                return Err(bad(format!(
                    "the last line is {:?}; it must be {END}, for a TOML file that was cut short is a shorter TOML file",
                    quote(last.unwrap_or_default().as_bytes())
                )));
            }
            toml::from_str(text).map_err(|e| bad(e.to_string().trim_end().to_owned()))?
        }
        Format::Json => {
            // The first reading refuses what the second would pass over: a name that stands twice in one object.
            parse_strict(bytes).map_err(|e| bad(e.to_string()))?;
            serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?
        }
    };
    if content.version != 1 {
        return Err(bad(format!("version is {}; only 1 is known", content.version)));
    }
    if (format == Format::Toml) != content.end.is_some() {
        // A comment or a string could be what the last line is.
        return Err(bad(format!("a TOML file ends in the table {END}, and a JSON file has none")));
    }
    Ok(content)
}

fn meaning(file: &str, content: Content) -> Result<(Declared, Vec<Exit>), SourceError> {
    let bad = |what: String| SourceError::unreadable(format!("{file}: {what}"));
    let name = |at: &str, text: &str| {
        if text.is_empty() || text.len() > MAX_NAME || text.chars().any(char::is_control) {
            return Err(bad(format!(
                "{at} is \"{}\"; a name has 1 to {MAX_NAME} bytes and no control characters",
                quote(text.as_bytes())
            )));
        }
        Ok(text.to_owned())
    };
    let mut declared = Declared::default();
    for (label, n) in &content.networks {
        let at = format!("networks.{}", quote(label.as_bytes()));
        let vlan = u16::try_from(n.vlan).ok().and_then(VlanId::new);
        let vlan = vlan.ok_or_else(|| bad(format!("{at}.vlan is {}; 1 to 4094 is allowed", n.vlan)))?;
        let owner = match &n.owner {
            None => Owner::Admin,
            Some(project) => Owner::Project(name(&format!("{at}.owner"), project)?),
        };
        let access = match &n.access {
            FileAccess::Word(Public::Public) => Access::Public,
            FileAccess::Projects(list) => {
                let mut projects = BTreeSet::new();
                for project in list {
                    if !projects.insert(name(&format!("{at}.access"), project)?) {
                        return Err(bad(format!("{at}.access lists {project:?} twice")));
                    }
                }
                Access::Projects(projects)
            }
        };
        let network = Network { vlan: NetworkVlan::Id(vlan), owner, access };
        declared.networks.insert(name("a network", label)?, network);
    }
    for (label, s) in &content.switches {
        let at = format!("switches.{}.ports", quote(label.as_bytes()));
        for port in &s.ports {
            let id = PortId::new(name("a switch", label)?, name(&at, port)?);
            if !declared.registered.insert(id) {
                return Err(bad(format!("{at} lists {port:?} twice")));
            }
        }
    }
    for (label, n) in &content.nodes {
        let node = name("a node", label)?;
        let at = format!("nodes.{}", quote(label.as_bytes()));
        let project = n.project.as_deref().map(|p| name(&format!("{at}.project"), p)).transpose()?;
        declared.holders.extend(project.iter().map(|p| (node.clone(), p.clone())));
        for (label, nic) in &n.nics {
            let at = format!("{at}.nics.{}", quote(label.as_bytes()));
            let label = name("a nic", label)?;
            let port = match (&nic.switch, &nic.port) {
                (Some(switch), Some(port)) => Some(PortId::new(
                    name(&format!("{at}.switch"), switch)?,
                    name(&format!("{at}.port"), port)?,
                )),
                (None, None) => None,
                _ => {
                    return Err(bad(format!(
                        "{at} has one of `switch` and `port`; both or neither is allowed"
                    )));
                }
            };
            if let Some(port) = &port {
                declared.registered.insert(port.clone());
                let (node, nic) = (node.clone(), label.clone());
                declared.cabling.insert(Cable { port: port.clone(), node, nic });
            }
            let mac = nic.mac.as_deref().map(|m| name(&format!("{at}.mac"), m)).transpose()?;
            let mut on = BTreeSet::new();
            let native = nic.native.iter().map(|n| (n, true));
            for (network, untagged) in native.chain(nic.tagged.iter().map(|n| (n, false))) {
                let Some(Network { vlan: NetworkVlan::Id(vlan), .. }) = declared.networks.get(network) else {
                    return Err(bad(format!(
                        "{at} is on \"{}\"; there is no table [networks.{0}]",
                        quote(network.as_bytes())
                    )));
                };
                if !on.insert(network) {
                    return Err(bad(format!("{at} is on {network:?} twice; once is allowed")));
                }
                declared.attachments.insert(Attachment {
                    network: network.clone(),
                    project: project.clone(),
                    node: node.clone(),
                    nic: label.clone(),
                    mac: mac.clone(),
                    port: port.clone(),
                    channel: if untagged { Channel::Native } else { Channel::Tagged(*vlan) },
                });
            }
        }
    }
    let mut exits: Vec<Exit> = Vec::new();
    for e in content.exits {
        let port = PortId::new(name("exit.switch", &e.switch)?, name("exit.port", &e.port)?);
        let exit = Exit { name: name("exit.name", &e.name)?, kind: e.kind, port, vlans: e.vlans };
        if exits.iter().any(|other| other.name == exit.name) {
            return Err(bad(format!("two exits are named {:?}; tenants tell them apart by name", exit.name)));
        }
        if exits.iter().any(|other| other.port == exit.port) {
            return Err(bad(format!("the port {} is two exits; one is allowed", exit.port)));
        }
        exits.push(exit);
    }
    Ok((declared, exits))
}

#[cfg(test)]
mod tests;
