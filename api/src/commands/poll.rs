//! `isoledger poll`: one poll, by a running service if there is one.

use crate::answers;
use crate::app;
use crate::config::Config;
use crate::failure::{Ending, Failure, fail};
use crate::render;
use crate::service;
use crate::witnesses::Witnesses;
use isoledger_ledger::read::ReadLog as _;
use serde_json::Value;

pub(crate) async fn run(config: &Config, as_json: bool) -> Result<Ending, Failure> {
    let polled = if service::is_running(config) {
        service::ask_poll(config).await?
    } else {
        let witnesses = Witnesses::new(config)?;
        let (mut engine, _) = app::engine(config, app::clock()?, &witnesses).await?;
        let polled = engine.poll().await?;
        // Nobody else is going to.
        let view = engine.ledger().view();
        let brought = witnesses.inbox(&view.keys());
        for note in brought.into_iter().chain(witnesses.round(&view).await?) {
            service::archive(&mut engine, &note)?;
        }
        answers::polled(&polled)
    };
    show(&polled, as_json)
}

fn show(polled: &Value, as_json: bool) -> Result<Ending, Failure> {
    let Some(verdicts) = polled["verdicts"].as_object() else {
        return fail(format!("the service answered something else than a poll: {polled}"));
    };
    if as_json {
        render::json(polled);
    } else {
        render::line(format!("recorded poll {}", polled["poll"]));
        for (name, verdict) in verdicts {
            render::line(format!("  {name}: {}", verdict.as_str().unwrap_or("-").to_uppercase()));
        }
        for f in polled["failures"].as_array().into_iter().flatten() {
            render::line(format!(
                "  NOT READ {}: {}",
                f["source"].as_str().unwrap_or("-"),
                f["error"].as_str().unwrap_or("-")
            ));
        }
    }
    let failed = polled["failures"].as_array().is_some_and(|f| !f.is_empty());
    let good = !failed && verdicts.values().all(|v| v == "isolated");
    Ok(if good { Ending::Fine } else { Ending::Amiss })
}
