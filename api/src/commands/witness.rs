//! `isoledger witness`: a witness for others' logs, and its key.

use crate::cli;
use crate::failure::{Ending, Failure};
use crate::keys;
use crate::render;
use crate::service;
use crate::witness::Server;
use isoledger_core::note::VerifierKey;
use isoledger_ledger::witness::Witness;
use serde_json::json;
use std::path::{Path, PathBuf};

/// The key file in a witness's directory.
const KEY: &str = "witness.key";
/// The list of logs there.
const LOGS: &str = "logs.policy";

const EMPTY_LIST: &str = "\
# The logs this witness watches, a line each: log <vkey> [<url>]
# A log's operator prints its vkey with `isoledger init`; compare the fingerprint by another road. Read again when changed.
";

/// Makes a witness's (or an auditor's) key and an empty list beside it.
pub(crate) fn init(args: &cli::WitnessInit, as_json: bool) -> Result<Ending, Failure> {
    let key = args.dir.join(KEY);
    let list = args.dir.join(LOGS);
    let io = |path: &Path| {
        let path = path.display().to_string();
        move |e: std::io::Error| Failure(format!("{path}: {e}"))
    };
    std::fs::create_dir_all(&args.dir).map_err(io(&args.dir))?;
    let signer = keys::create_cosigner(&key, &args.name)?;
    if !list.exists() {
        std::fs::write(&list, EMPTY_LIST).map_err(io(&list))?;
    }
    let vkey = signer.verifier().to_string();
    if as_json {
        render::json(&json!({ "key": key, "logs": list, "vkey": vkey }));
        return Ok(Ending::Fine);
    }
    render::line(format!("wrote {} (mode 0600) and {}", key.display(), list.display()));
    render::line(format!("\nthe witness's key, for configurations and policies:\n  {vkey}"));
    render::line(format!("its fingerprint, to compare out of band:\n  {}", signer.verifier().fingerprint()));
    render::line(format!(
        "\nnext: write a line `log <vkey>` for each log into {}, then\n  isoledger witness --dir {}",
        list.display(),
        args.dir.display()
    ));
    Ok(Ending::Fine)
}

/// Serves until told to stop.
pub(crate) async fn run(args: &cli::WitnessRun, as_json: bool) -> Result<Ending, Failure> {
    let at = |given: &Option<PathBuf>, name: &str| given.clone().unwrap_or_else(|| args.dir.join(name));
    let listener = service::bind("--listen", args.listen).await?;
    let server = open(&args.dir, &at(&args.key, KEY), at(&args.logs, LOGS))?;
    let stop = service::stop_signal();
    let at = listener.local_addr()?;
    if as_json {
        let about = json!({
            "serving": format!("http://{at}"), "key": server.key().to_string(), "logs": server.logs(),
            "pid": std::process::id(),
        });
        render::line(about.to_string());
    } else {
        render::line(format!(
            "isoledger: witness {} for {} logs, serving on http://{at}",
            server.key().name(),
            server.logs()
        ));
    }
    server.serve(listener, stop).await?;
    render::line(if as_json { r#"{"stopped":true}"# } else { "isoledger: stopped" });
    Ok(Ending::Fine)
}

fn open(dir: &Path, key: &Path, list: PathBuf) -> Result<Server, Failure> {
    let signer = keys::load_cosigner(key)?;
    Ok(Server::new(Witness::open(&dir.join("state"), signer)?, list)?)
}

/// A witness in a directory of its own that watches one log; for the demo.
pub(crate) fn for_one_log(dir: &Path, name: &str, log: &VerifierKey) -> Result<Server, Failure> {
    let io = |e: std::io::Error| Failure(format!("{}: {e}", dir.display()));
    std::fs::create_dir(dir).map_err(io)?;
    keys::create_cosigner(&dir.join(KEY), name)?;
    std::fs::write(dir.join(LOGS), format!("{EMPTY_LIST}log {log}\n")).map_err(io)?;
    open(dir, &dir.join(KEY), dir.join(LOGS))
}
