//! The command line as a function: arguments, the moment and two writers in, an exit code out.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | every attestation is verified |
//! | 1 | one is refuted: its proof is bad, or it proves a violation (`--json` tells which) |
//! | 2 | one is undecided and none is refuted |
//! | 64 | the command line or the policy is wrong |
//! | 66 | a file cannot be read |

use crate::show;
use crate::{Options, Outcome, Report, verify};
use clap::{Args, Parser, Subcommand};
use isoledger_core::attestation::MAX_ATTESTATION;
use isoledger_core::evidence::MAX_EVIDENCE;
use isoledger_core::history::{KeyHistory, MAX_HISTORY};
use isoledger_core::note::VerifierKey;
use isoledger_core::policy::{self, MAX_POLICY, Policy};
use isoledger_core::time::{Span, Timestamp};
use isoledger_core::vlan::VlanId;
use serde::Serialize;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

/// The command line or the policy is wrong.
pub const USAGE: u8 = 64;
/// A file cannot be read.
pub const NO_INPUT: u8 = 66;

const EXAMPLES: &str = "\
Examples:
  isoverify --policy red.policy red-net.attestation.json
      checks it against red-net.evidence.json, found beside it
  isoverify --policy red.policy --from 2026-03-01 --to 2026-04-01 march.attestation.json
      and demands that it is of exactly that range
  isoverify --policy red.policy --fresh --nonce 7f3a9c now.attestation.json
      and demands that it answers this nonce and is recent
  isoverify policy explain red.policy
  isoverify show red-net.evidence.json

Exit codes: 0 verified, 1 refuted, 2 undecided, 64 usage or policy, 66 unreadable file.";

/// Checks isolation attestations offline.
#[derive(Parser)]
#[command(
    name = "isoverify",
    version,
    about,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    verify: VerifyArgs,
}

#[derive(Args)]
struct VerifyArgs {
    /// What you demand (see `isoverify policy new`)
    #[arg(long, value_name = "FILE", required = true)]
    policy: Option<PathBuf>,
    /// The evidence; by default X.evidence.json beside X.attestation.json
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// The log's keys, as `isoledger key history` prints them: those that a key of the policy signed in count as well
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// The range must begin here: 2026-03-01, 2026-03-01T00:00:00Z or with three decimals
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// The range must end here
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// The attestation must answer this nonce
    #[arg(long)]
    nonce: Option<String>,
    /// The answer must be recent by the policy's fresh-within
    #[arg(long, requires = "nonce")]
    fresh: bool,
    /// One JSON object a line for each attestation
    #[arg(long)]
    json: bool,
    /// Attestations, checked in turn
    #[arg(value_name = "ATTESTATION", required = true)]
    attestations: Vec<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a policy, or puts one in words
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Says what an attestation or evidence file reveals; checks nothing
    Show {
        /// The file
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum PolicyCommand {
    /// Writes a policy to standard output, with the fingerprints to compare by another road
    #[command(after_help = "Example:
  isoverify policy new --log 'audit.example/moc+…' --network red-net --domain moc --project red > red.policy")]
    New(NewPolicy),
    /// Puts a policy in words
    Explain {
        /// The policy
        file: PathBuf,
    },
}

#[derive(Args)]
struct NewPolicy {
    /// Verifier key of the log (repeat for a log that changed its key)
    #[arg(long, value_name = "VKEY", required = true)]
    log: Vec<String>,
    /// A witness: a name of your choice and its verifier key
    #[arg(long, value_name = "NAME=VKEY")]
    witness: Vec<String>,
    /// An auditor: a name of your choice and its verifier key
    #[arg(long, value_name = "NAME=VKEY")]
    auditor: Vec<String>,
    /// How many of the witnesses are needed; all by default
    #[arg(long, value_name = "K")]
    needed: Option<usize>,
    /// The network
    #[arg(long)]
    network: String,
    /// The audited domain
    #[arg(long)]
    domain: String,
    /// Your project
    #[arg(long)]
    project: String,
    /// The network's VLAN, if it should be fixed
    #[arg(long, value_parser = vlan)]
    vlan: Option<VlanId>,
    /// The longest time without a good reading, such as 2m
    #[arg(long, value_name = "SPAN", value_parser = span)]
    max_gap: Option<Span>,
    /// The keys were fetched from the operator and are not compared yet
    #[arg(long)]
    unpinned: bool,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_lenient(text)
        .ok_or_else(|| "a time is written 2026-03-01 or 2026-03-01T10:11:12.345Z".into())
}

fn span(text: &str) -> Result<Span, String> {
    Span::parse(text).ok_or_else(|| "a length of time is a whole number and ms, s, m, h or d".into())
}

fn vlan(text: &str) -> Result<VlanId, String> {
    VlanId::parse(text).ok_or_else(|| "a VLAN id is 1 to 4094".into())
}

/// Runs a whole command line, program name first. Files are read, nothing is written but `out` and `err`; `now` is only
/// looked at with `--fresh`.
///
/// Returns the exit code. A writer that fails does not change it.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    now: Timestamp,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let parsed = match CommandLine::try_parse_from(args) {
        Ok(parsed) => parsed,
        Err(e) => {
            // clap asks for 2 here, which is ours for "undecided".
            if e.use_stderr() {
                let _ = write!(err, "{e}");
                return USAGE;
            }
            let _ = write!(out, "{e}");
            return 0;
        }
    };
    let result = match parsed.command {
        None => check(&parsed.verify, now, out),
        Some(Command::Show { file, json }) => show_file(&file, json, out),
        Some(Command::Policy(PolicyCommand::Explain { file })) => explain(&file, out),
        Some(Command::Policy(PolicyCommand::New(new))) => new_policy(&new, out),
    };
    match result {
        Ok(code) => code,
        Err(trouble) => {
            let _ = writeln!(err, "isoverify: {}", trouble.words);
            trouble.code
        }
    }
}

// Why there is no outcome.
struct Trouble {
    code: u8,
    words: String,
}

fn usage(words: impl ToString) -> Trouble {
    Trouble { code: USAGE, words: words.to_string() }
}

// Reads at most one byte more than is allowed: the parsers then say that it is too much.
fn read(path: &Path, allowed: usize) -> Result<Vec<u8>, Trouble> {
    let attempt = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(allowed).unwrap_or(u64::MAX).saturating_add(1);
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    attempt().map_err(|e| Trouble { code: NO_INPUT, words: format!("cannot read {}: {e}", path.display()) })
}

fn read_policy(path: &Path) -> Result<Policy, Trouble> {
    let bytes = read(path, MAX_POLICY)?;
    Policy::parse(&bytes).map_err(|e| usage(format!("{}: {e}", path.display())))
}

fn check(args: &VerifyArgs, now: Timestamp, out: &mut dyn Write) -> Result<u8, Trouble> {
    let Some(policy) = &args.policy else { return Err(usage("--policy FILE says what you demand")) };
    if args.evidence.is_some() && args.attestations.len() > 1 {
        return Err(usage("--evidence goes with one attestation"));
    }
    let mut policy = read_policy(policy)?;
    if let Some(path) = &args.keys {
        let said = |e: &dyn std::fmt::Display| usage(format!("{}: {e}", path.display()));
        let history = KeyHistory::parse(&read(path, MAX_HISTORY)?).map_err(|e| said(&e))?;
        policy.follow(&history).map_err(|e| said(&e))?;
    }
    let options =
        Options { from: args.from, to: args.to, nonce: args.nonce.clone(), fresh: args.fresh.then_some(now) };
    let mut worst = 0;
    for path in &args.attestations {
        let beside = match &args.evidence {
            Some(evidence) => evidence.clone(),
            None => evidence_beside(path)?,
        };
        let attestation = read(path, MAX_ATTESTATION)?;
        let evidence = read(&beside, MAX_EVIDENCE)?;
        let report = verify(&attestation, &evidence, &policy, &options);
        print(&report, path, &beside, args, out);
        worst = match (worst, report.outcome) {
            (1, _) | (_, Outcome::Refuted(_)) => 1,
            (2, _) | (_, Outcome::Undecided) => 2,
            (_, Outcome::Verified(_)) => 0,
        };
    }
    Ok(worst)
}

/// A report with the files it is about.
#[derive(Serialize)]
struct Line<'a> {
    attestation: String,
    evidence: String,
    #[serde(flatten)]
    report: &'a Report,
}

fn print(report: &Report, attestation: &Path, evidence: &Path, args: &VerifyArgs, out: &mut dyn Write) {
    let text = if args.json {
        let line = Line {
            attestation: attestation.display().to_string(),
            evidence: evidence.display().to_string(),
            report,
        };
        // Plain data always encodes; an empty line would be the sign that it did not.
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    } else if args.attestations.len() > 1 {
        format!("== {}\n{}\n", attestation.display(), report.to_text())
    } else {
        report.to_text()
    };
    let _ = out.write_all(text.as_bytes());
}

fn evidence_beside(attestation: &Path) -> Result<PathBuf, Trouble> {
    let name =
        attestation.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".attestation.json"));
    match name {
        Some(stem) => Ok(attestation.with_file_name(format!("{stem}.evidence.json"))),
        None => Err(usage(format!(
            "{} is not called X.attestation.json, so there is no X.evidence.json beside it: say --evidence FILE",
            attestation.display()
        ))),
    }
}

fn show_file(path: &Path, json: bool, out: &mut dyn Write) -> Result<u8, Trouble> {
    let bytes = read(path, MAX_EVIDENCE)?;
    let shown = show::show(&bytes).map_err(|e| usage(format!("{}: {e}", path.display())))?;
    let text = if json { serde_json::to_string(&shown).unwrap_or_default() + "\n" } else { shown.to_text() };
    let _ = out.write_all(text.as_bytes());
    Ok(0)
}

fn explain(path: &Path, out: &mut dyn Write) -> Result<u8, Trouble> {
    let _ = out.write_all(read_policy(path)?.explain().as_bytes());
    Ok(0)
}

fn new_policy(new: &NewPolicy, out: &mut dyn Write) -> Result<u8, Trouble> {
    let text = policy_text(new)?;
    // What was written is read back, so that no policy leaves here that would be refused later.
    Policy::parse(text.as_bytes()).map_err(usage)?;
    let _ = out.write_all(text.as_bytes());
    Ok(0)
}

fn policy_text(new: &NewPolicy) -> Result<String, Trouble> {
    let word = |name: &str| {
        policy::word(name)
            .map(|w| w.into_owned())
            .ok_or_else(|| usage(format!("{name:?} holds a character that no policy may hold")))
    };
    let key = |text: &str| VerifierKey::parse(text).map_err(usage);
    let mut text = String::from(
        "# What we demand of isolation attestations (docs/formats/policy.md; isoverify policy explain FILE).\n\
         # Compare each fingerprint with its owner by another road than the one the key came by.\n",
    );
    if new.unpinned {
        text += "unpinned\n";
    }
    for vkey in &new.log {
        let _ = writeln!(text, "# fingerprint {}\nlog {vkey}", key(vkey)?.fingerprint());
    }
    let mut names = Vec::new();
    for (kind, cosigners) in [("witness", &new.witness), ("auditor", &new.auditor)] {
        for c in cosigners {
            let (name, vkey) = c.split_once('=').ok_or_else(|| usage(format!("{c:?} is not NAME=VKEY")))?;
            let name = word(name)?;
            let _ = writeln!(text, "# fingerprint {}\n{kind} {name} {vkey}", key(vkey)?.fingerprint());
            names.push((kind, name));
        }
    }
    let of = |kind| {
        names.iter().filter(|(k, _)| *k == kind).map(|(_, n)| n.as_str()).collect::<Vec<_>>().join(" ")
    };
    let (witnesses, auditors) = (of("witness"), of("auditor"));
    if witnesses.is_empty() {
        text += "# No witness: times, and that there is one history for all, are the operator's word.\nquorum none\n";
    } else {
        let needed = new.needed.map_or("all".into(), |k| k.to_string());
        let _ = writeln!(text, "group witnesses {needed} {witnesses}\nquorum witnesses");
    }
    if !auditors.is_empty() {
        let _ = writeln!(text, "group auditors any {auditors}\naudit auditors");
    }
    let gap = new.max_gap.unwrap_or(policy::DEFAULT_MAX_GAP);
    let vlan = new.vlan.map_or(String::new(), |v| format!(" vlan {v}"));
    let _ = writeln!(
        text,
        "max-gap {gap}\nnetwork {} domain {} project {}{vlan}",
        word(&new.network)?,
        word(&new.domain)?,
        word(&new.project)?
    );
    Ok(text)
}
