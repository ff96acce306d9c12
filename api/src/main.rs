//! `isoledger`: the auditing service and the operator's and auditor's command line.
//!
//! # In scope
//! - The poll loop, the service's HTTP face, and the commands; `isoledger --help` lists them.
//!
//! # Out of scope
//! Hashing, judging and storing: the crates `isoledger-core` and `isoledger-ledger`. Handlers and commands parse,
//! call and render.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
mod app;
mod cli;
mod commands;
mod config;
mod demo;
mod disputes;
mod engine;
mod failure;
mod http;
mod keys;
mod log;
mod render;
mod scope_propose;
mod scopefile;
mod service;
mod sources;
mod witness;
mod witnesses;
mod witnesses_config;

use clap::Parser as _;
use clap::error::ErrorKind;
use failure::{Ending, Failure};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return match e.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(64),
            };
        }
    };
    let level = match cli.global.verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // reqwest is built without a default provider; another one already in place is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let json = cli.global.json;
    match commands::run(cli) {
        Ok(Ending::Fine) => ExitCode::SUCCESS,
        Ok(Ending::Amiss) => ExitCode::from(1),
        Err(Failure(sentence)) => {
            if json {
                render::json(&serde_json::json!({ "error": sentence }));
            }
            eprintln!("isoledger: {sentence}");
            ExitCode::from(2)
        }
    }
}
