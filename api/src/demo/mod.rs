//! `isoledger demo`: a cloud in a box, audited for real, and its story told.
//!
//! The cloud is the lab's; everything else is the product as anybody runs it: a configuration file, the engine, the
//! ledger, attestations, and the tenant's program `isoverify` on the files it would get.

mod files;
mod story;

use crate::app;
use crate::cli;
use crate::config::Config;
use crate::failure::{Ending, Failure, fail};
use crate::render;
use crate::service::{self, Service};
use crate::witnesses::Witnesses;
use isoledger_lab::{Lab, World};
use serde_json::json;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Runs the demo.
pub(crate) async fn run(args: &cli::Demo, as_json: bool) -> Result<Ending, Failure> {
    let (dir, temporary) = match &args.dir {
        Some(dir) => {
            claim(dir)?;
            (dir.clone(), false)
        }
        None => (fresh()?, true),
    };
    // The port first, so that nothing is made when it is taken. The story needs none.
    let listener = if args.once {
        None
    } else {
        let at = SocketAddr::from(([127, 0, 0, 1], args.port));
        Some(service::listen(at).await.map_err(|e| Failure(format!("{}; try --port 0", e.0)))?)
    };
    let lab = Lab::start(World::two_tenants())
        .await
        .map_err(|e| Failure(format!("the lab does not start: {e}")))?;
    let listen = match &listener {
        Some(l) => l.local_addr()?,
        None => SocketAddr::from(([127, 0, 0, 1], args.port)),
    };
    // Somebody else's program, but for the demo: it is asked over HTTP like any other, and lives as long as this one.
    let witness = files::witness(&dir)?;
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let witness_listener = service::bind("the witness's address", anywhere).await?;
    let path = files::write(&dir, &lab, listen, (witness.key(), witness_listener.local_addr()?))?;
    tokio::spawn(witness.serve(witness_listener, std::future::pending()));
    let config = Config::load(&path)?;
    let clock = app::clock()?;
    let witnesses = Witnesses::new(&config)?;
    let (engine, signer) = app::engine(&config, clock.clone(), &witnesses).await?;
    let mut told = story::Story::new(&config, &lab, engine, witnesses.clone(), as_json);
    told.tell().await?;
    let (engine, chapters) = told.end();
    if as_json {
        render::json(&json!({ "dir": dir, "chapters": chapters }));
    }
    let Some(listener) = listener else { return Ok(Ending::Fine) };
    let stop = service::stop_signal();
    render::line(format!("\nStill polling every {}, and serving until Ctrl-C:", config.poll.period));
    for what in ["", "/checkpoint", "/v1/networks", "/v1/divergences", "/v1/networks/blue-net/attestation"] {
        render::line(format!("  http://{listen}{what}"));
    }
    render::line(format!("  isoledger --config {} status", path.display()));
    let key = config.key();
    let max_gap = config.poll.max_gap;
    let service = Service { engine, signer, clock, max_gap, key, token: None, witnesses };
    let period = Duration::from_millis(config.poll.period.millis());
    service.serve(listener, Some(period), stop).await?;
    lab.assert_only_reads();
    if temporary {
        render::line(format!(
            "\nEverything is still in {}; delete it when you have seen enough.",
            dir.display()
        ));
    }
    Ok(Ending::Fine)
}

// A directory of the user's: new or empty, or the demo would write among somebody's files.
fn claim(dir: &Path) -> Result<(), Failure> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return fail(format!(
                    "{} is not empty; the demo needs a new or empty directory",
                    dir.display()
                ));
            }
            Ok(())
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            // It will hold keys, and copies of what only its owner may read.
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(|e| Failure(format!("{}: {e}", dir.display())))
        }
        Err(e) => fail(format!("{}: {e}", dir.display())),
    }
}

fn fresh() -> Result<PathBuf, Failure> {
    let dir =
        std::env::temp_dir().join(format!("isoledger-demo-{}", hex::encode(&crate::keys::entropy()[..6])));
    claim(&dir)?;
    Ok(dir)
}
