//! The program `capmesh-gatewayd`.

mod arguments;
mod systemd;

use arguments::Arguments;
use capmesh_gatewayd::config::{Config, Log, LogFormat};
use capmesh_gatewayd::{Failure, start};
use clap::Parser as _;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    match Arguments::parse().config().map_err(Failure::from).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("capmesh-gatewayd: {failure}");
            if let Some(help) = failure.help() {
                eprintln!("  {help}");
            }
            ExitCode::from(failure.code())
        }
    }
}

fn run(config: Config) -> Result<(), Failure> {
    log(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(Failure::Machine)?.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), Failure> {
    let stop = |kind| signal(kind).map_err(Failure::Machine);
    let (mut terminate, mut interrupt) =
        (stop(SignalKind::terminate())?, stop(SignalKind::interrupt())?);
    let mut handle = start(config).await?;
    let addresses = handle.addresses();
    let broker = addresses.mqtt.map_or_else(|| "elsewhere".to_owned(), |at| at.to_string());
    tracing::info!(nodes = %addresses.mesh, page = %addresses.http, %broker, "started");
    systemd::notify("READY=1");
    let is_told = tokio::select! {
        _ = terminate.recv() => true,
        _ = interrupt.recv() => true,
        () = handle.ended() => false,
    };
    systemd::notify("STOPPING=1");
    handle.shutdown().await;
    if is_told {
        tracing::info!("stopped");
        return Ok(());
    }
    // Whoever supervises it starts it anew from what was durable.
    Err(Failure::Machine(std::io::Error::other("the gateway has ended by itself")))
}

/// Begins to log to standard error.
fn log(log: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| {
        Failure::Config(capmesh_gatewayd::ConfigError::Filter(
            log.filter.clone(),
            error.to_string(),
        ))
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
