//! The commands.

pub(crate) mod ask;
pub(crate) mod audit;
mod backup;
mod check;
pub(crate) mod init;
mod key;
mod poll;
mod rebuild;
mod replay;
pub(crate) mod witness;

use crate::cli::{Cli, Command, Scope, WitnessCommand};
use crate::config::Config;
use crate::failure::{Ending, Failure};
use crate::{demo, service};

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Result<Ending, Failure> {
    let global = cli.global;
    let config = || Config::load(&global.config);
    match cli.command {
        Command::Init(args) => init::run(&args, global.json),
        Command::Check => runtime()?.block_on(check::run(&config()?, global.json)),
        Command::Scope(Scope::Propose { out }) => {
            runtime()?.block_on(check::propose(&config()?, &out, global.json))
        }
        Command::Serve => runtime()?.block_on(service::run(&config()?, global.json)),
        Command::Poll => runtime()?.block_on(poll::run(&config()?, global.json)),
        Command::Status => ask::status(&config()?, global.json),
        Command::Divergences(args) => ask::divergences(&config()?, args, global.json),
        Command::State(args) => ask::state(&config()?, args, global.json),
        Command::Attest(args) => ask::attest(&config()?, args, global.json),
        Command::Audit(args) => audit::run(&global.config, &args, global.json),
        Command::Replay(args) => replay::run(&config()?, &args, global.json),
        Command::Export(args) => audit::export(&config()?, &args, global.json),
        Command::Backup(args) => backup::backup(&config()?, &global.config, &args, global.json),
        Command::Restore(args) => backup::restore(&config()?, &args, global.json),
        Command::Clone(args) => backup::clone(&global.config, &args, global.json),
        Command::Key(what) => runtime()?.block_on(key::run(&config()?, what, global.json)),
        Command::Witness(args) => match args.command {
            Some(WitnessCommand::Init(args)) => witness::init(&args, global.json),
            None => runtime()?.block_on(witness::run(&args.run, global.json)),
        },
        Command::Demo(args) => runtime()?.block_on(demo::run(&args, global.json)),
    }
}

/// The runtime of commands that wait for somebody.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure(format!("the asynchronous runtime does not start: {e}")))
}
