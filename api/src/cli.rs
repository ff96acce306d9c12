//! The command line: what can be asked, with an example each.

use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Independent, read-only auditing of network isolation: polls the cloud manager and the switches, records every poll
/// in a signed, append-only ledger, and hands out proofs.
#[derive(Debug, Parser)]
#[command(
    name = "isoledger",
    version,
    max_term_width = 100,
    after_help = "\
Example:
  isoledger demo

Exit codes: 0 done and nothing amiss; 1 done, and something is amiss (a divergence, a failed check, a damaged log); \
2 not done, the reason is printed; 64 the command line was not understood."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        default_value = "isoledger.toml",
        env = "ISOLEDGER_CONFIG",
        value_name = "FILE"
    )]
    pub(crate) config: PathBuf,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more on standard error (-v, -vv); RUST_LOG overrides.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented configuration and make the log's key.
    #[command(
        after_help = "Example:\n  isoledger init --origin audit.example/moc --domain moc --hil http://hil.example:5000"
    )]
    Init(Init),
    /// Check configuration, keys and every source, reading each once and writing nothing.
    #[command(after_help = "Example:\n  isoledger --config /etc/isoledger/isoledger.toml check")]
    Check,
    /// Work on the scope: which switches, links and exits there are.
    #[command(subcommand, after_help = "Example:\n  isoledger scope propose --out scope.toml")]
    Scope(Scope),
    /// Poll, record and serve until stopped.
    #[command(after_help = "Example:\n  isoledger serve --config /etc/isoledger/isoledger.toml")]
    Serve,
    /// Poll every source once and record it. Asks a running service, if there is one.
    #[command(after_help = "Example:\n  isoledger poll --json")]
    Poll,
    /// Show every network's verdict now, and how fresh it is.
    #[command(after_help = "Example:\n  isoledger status")]
    Status,
    /// List divergences: what differs, when it began, which side moved.
    #[command(after_help = "Example:\n  isoledger divergences --network red-net --open")]
    Divergences(Divergences),
    /// Show what was declared and observed at a time or entry.
    #[command(after_help = "Example:\n  isoledger state --at 2026-03-02T10:11:12Z --switch sw1")]
    State(State),
    /// Make an isolation attestation and its evidence file for one network.
    #[command(after_help = "Example:\n  isoledger attest red-net --from 2026-03-01 --to 2026-03-02 --out .")]
    Attest(Attest),
    /// Recompute the whole log: chain, signatures, tree, commitments, slices and verdicts.
    #[command(after_help = "Example:\n  isoledger audit --data /var/lib/isoledger/data")]
    Audit(Audit),
    /// Make what follows from the log again from the journal alone, and compare; or, with --renormalise, read recorded
    /// evidence again with this release's readers, and show what they understand otherwise.
    #[command(
        after_help = "Example:\n  isoledger replay --to 2026-03-02\n  isoledger replay --renormalise --from 2026-03-01"
    )]
    Replay(Replay),
    /// Write the public log as plain files that any web server can serve.
    #[command(after_help = "Example:\n  isoledger export --out /srv/www/log")]
    Export(Export),
    /// Copy the log, its configuration and its scope to be restored some day; beside a running service.
    #[command(after_help = "Example:\n  isoledger backup --out /srv/backup/moc")]
    Backup(Backup),
    /// Put a backup in the place of the log. It signs nothing until it is known that nobody has seen more.
    #[command(after_help = "Example:\n  isoledger restore --from /srv/backup/moc")]
    Restore(Restore),
    /// Copy the log to be read elsewhere, or let an earlier clone grow. A clone never signs.
    #[command(after_help = "Example:\n  isoledger clone --out /srv/clone/moc")]
    Clone(CloneTo),
    /// Show the log's keys, and have it go on with another one.
    #[command(subcommand, after_help = "Example:\n  isoledger key prepare\n  isoledger key rotate")]
    Key(Key),
    /// Be a witness for others' logs: cosign their checkpoints, and never two histories.
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Example:\n  isoledger witness init --dir witness --name witness.example/w1\n  \
                      isoledger witness --dir witness --listen 127.0.0.1:7480"
    )]
    Witness(Witness),
    /// Start a cloud in a box, audit it, tell its story and keep serving.
    #[command(after_help = "Example:\n  isoledger demo --once --dir demo")]
    Demo(Demo),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Directory to write into; created if missing.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Name of the log, for ever: a host name and path without scheme, e.g. audit.example/moc.
    #[arg(long)]
    pub(crate) origin: String,
    /// Name of the audited domain.
    #[arg(long, default_value = "default")]
    pub(crate) domain: String,
    /// Where HIL is, without /v0.
    #[arg(long, default_value = "http://127.0.0.1:5000", value_name = "URL")]
    pub(crate) hil: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scope {
    /// Read every source and write a commented scope for review.
    #[command(after_help = "Example:\n  isoledger scope propose --out scope.toml")]
    Propose {
        /// Where to write; `-` is standard output. An existing file is not overwritten.
        #[arg(long, default_value = "-", value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Divergences {
    /// Only those not closed.
    #[arg(long)]
    pub(crate) open: bool,
    /// Only those that touch this network.
    #[arg(long)]
    pub(crate) network: Option<String>,
    /// Only those on this switch.
    #[arg(long)]
    pub(crate) switch: Option<String>,
    /// Only those open at or after this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct State {
    /// A time (2026-03-02T10:11:12Z or 2026-03-02) or the number of a poll's entry.
    #[arg(long, value_name = "TIME|ENTRY")]
    pub(crate) at: Option<String>,
    /// Only this switch.
    #[arg(long)]
    pub(crate) switch: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Attest {
    /// The network.
    pub(crate) network: String,
    /// The project it is for; the network's owner unless given.
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// Start of the range; the network's first poll unless given.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// End of the range; the last poll unless given.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Words of the tenant's to be signed along, against replays.
    #[arg(long)]
    pub(crate) nonce: Option<String>,
    /// Directory to write NETWORK.attestation.json and NETWORK.evidence.json into.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// The log's data directory, a copy of it, or an export; the configuration's data directory unless given.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// A served log instead, by the URL that `checkpoint` lies below; its public part is audited.
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    pub(crate) url: Option<String>,
    /// Go on from the point in this file, if there is one, and save in it how far this audit got. Entries before it are
    /// read and hashed, and must be the same; nothing else of them is checked again. Keep it where nobody else writes.
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,
    /// The log's verifier key (vkey) to hold the log to; the configuration's key file unless given.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// When everything is good, cosign the log up to here with this key, made by `isoledger witness init`. What was
    /// cosigned before is remembered in KEYFILE.seen, and a log that contradicts it is refused.
    #[arg(long, value_name = "KEYFILE")]
    pub(crate) cosign: Option<PathBuf>,
    /// Where to write the cosigned checkpoint; where the service picks it up (DATA/cosignatures) unless given.
    #[arg(long, value_name = "FILE", requires = "cosign")]
    pub(crate) cosigned: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// A new or empty directory, or an earlier backup of this log, which grows.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Put the signing key in too. Whoever reads the backup can then sign as this log.
    #[arg(long)]
    pub(crate) with_key: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup. The configured data directory must hold no log.
    #[arg(long, value_name = "DIR")]
    pub(crate) from: Option<PathBuf>,
    /// Where no required witness can say so: how many entries of this log the largest checkpoint has that anybody ever
    /// saw. The log then goes on, and says in an entry that it does so on this word.
    #[arg(long, value_name = "ENTRIES")]
    pub(crate) i_know_nobody_has_more_than: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct CloneTo {
    /// A new or empty directory, or an earlier clone of this log, which grows.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The data directory to copy; the configuration's unless given.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Key {
    /// Show which key signed from which entry on, and the next one if it was made.
    #[command(after_help = "Example:\n  isoledger key show")]
    Show,
    /// Print the log's keys as its own signed records, for tenants who pinned an older one: `isoverify --keys FILE`.
    #[command(after_help = "Example:\n  isoledger key history")]
    History,
    /// Make the next key, which signs nothing yet, so that witnesses and tenants can be told of it before it does.
    #[command(after_help = "Example:\n  isoledger key prepare")]
    Prepare,
    /// Have the old key sign the next one in, and go on with that. The service must not run.
    #[command(after_help = "Example:\n  isoledger key rotate")]
    Rotate,
}

#[derive(Debug, Args)]
pub(crate) struct Witness {
    #[command(subcommand)]
    pub(crate) command: Option<WitnessCommand>,
    #[command(flatten)]
    pub(crate) run: WitnessRun,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WitnessCommand {
    /// Make a witness's or an auditor's key, and an empty list of logs.
    #[command(after_help = "Example:\n  isoledger witness init --dir witness --name witness.example/w1")]
    Init(WitnessInit),
}

#[derive(Debug, Args)]
pub(crate) struct WitnessInit {
    /// Directory to write into; created if missing.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Name of the key, for ever: a host name and path without scheme, e.g. witness.example/w1.
    #[arg(long)]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct WitnessRun {
    /// The witness's directory; what it has cosigned is in its `state`. Never restore that from a backup.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Where to listen, in the clear.
    #[arg(long, default_value = "127.0.0.1:7480", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// The key; DIR/witness.key unless given.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The logs to watch, a line `log <vkey>` each; DIR/logs.policy unless given. Read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub(crate) logs: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Run today's readers over the evidence of every poll and report each difference from the recorded state.
    #[arg(long)]
    pub(crate) renormalise: bool,
    /// Only polls recorded from this time on (2026-03-02T10:11:12Z or 2026-03-02). With --renormalise.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Only what was recorded up to this time. Alone: index and divergences are made again from the journal up to then,
    /// and compared with the index there is and with one another.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// A new directory, or an earlier export of this log.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// End after the story.
    #[arg(long)]
    pub(crate) once: bool,
    /// Directory for everything the demo makes; must not exist or be empty. A temporary one unless given.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Port to serve on afterwards.
    #[arg(long, default_value_t = 7478)]
    pub(crate) port: u16,
}
