//! The loop: what comes goes in, what the node wants is done.

use crate::arguments::Arguments;
use crate::failure::{Failure, Kind};
use crate::flash::{self, Change, Flash};
use crate::node::{self, LinuxNode};
use crate::sensors::{Sensors, show};
use crate::sockets::Sockets;
use crate::stops::Stops;
use crate::terminal;
use anyhow::{Context, anyhow};
use capmesh_node::{Boot, Input, Output};
use capmesh_wire::{Instant, Name};
use rand_core::{OsRng, RngCore};
use std::time::Duration;

/// Room for the longest datagram and the longest program.
const BUFFER: usize = 4_096;

/// How long the change of flash that is under way may take when the process ends.
const LAST_CHANGE: Duration = Duration::from_secs(5);

/// How the loop ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stopped,
    Reboot,
}

/// Runs a node until the process is told to stop (SIGTERM, SIGINT, or the end of
/// standard input if that is to count).
///
/// # Errors
/// If the node cannot start; [`Failure::code`] says what the process should end with.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    terminal::log();
    if let Some(given) = &arguments.name {
        Name::new(given)
            .with_context(|| format!("`--name {given}`"))
            .map_err(|error| Failure::new(Kind::Arguments, error))?;
    }
    let replays = arguments.replays().map_err(|error| Failure::new(Kind::Arguments, error))?;
    let mut sensors = Sensors::open(&arguments.state, !arguments.no_sensors, &replays)?;
    if arguments.show_sensors {
        show(&mut sensors);
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start")?.block_on(serve(arguments, sensors))
}

async fn serve(arguments: &Arguments, sensors: Sensors) -> Result<(), Failure> {
    let started = std::time::Instant::now();
    let mut stops = Stops::new(arguments.while_stdin)?;
    let layout = flash::config(arguments.flash)?;
    let flash = Flash::open(&arguments.state, &layout, !arguments.no_sync)?;
    let sockets = Sockets::open(arguments.listen, arguments.interface.as_deref())?;
    let mut every = tokio::time::interval(arguments.every);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let config = node::config(arguments, layout, &sensors, sockets.group());
    let mut shell = Shell { started, flash, sockets, sensors, every };
    let mut is_first = true;
    loop {
        let mut random = [0; 32];
        OsRng.fill_bytes(&mut random);
        let boot = Boot::new(config.clone(), shell.flash.content(), random)
            .map_err(|error| anyhow!("the state cannot be used: {error}"))
            .map_err(|error| Failure::new(Kind::State, error))?;
        if is_first {
            let address = shell.sockets.address().context("no address")?;
            let own = boot.own();
            terminal::introduce(address, &own.claim(), own.id()).context("standard output")?;
            tracing::info!(%address, node = %own.id(), name = %config.name, "started");
        }
        is_first = false;
        let node = node::start(boot, shell.now(), shell.flash.content());
        match shell.run(node, &mut stops).await {
            End::Stopped => break,
            End::Reboot => tracing::info!("the node starts anew"),
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// What a node needs of a machine.
struct Shell {
    started: std::time::Instant,
    flash: Flash,
    sockets: Sockets,
    sensors: Sensors,
    every: tokio::time::Interval,
}

impl Shell {
    fn now(&self) -> Instant {
        let micros = self.started.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    async fn run(&mut self, mut node: Box<LinuxNode>, stops: &mut Stops) -> End {
        let mut told = 0;
        let end = loop {
            let reboot = self.drain(&mut node);
            told = node.log(told).fold(told, |_, line| terminal::tell(&line));
            if reboot {
                break End::Reboot;
            }
            let until = node.poll_timeout().map(|at| at.saturating_since(self.now()));
            tokio::select! {
                biased;
                () = stops.stopped() => break End::Stopped,
                result = self.flash.changed() => {
                    node.handle(self.now(), self.flash.content(), Input::Flashed(result));
                }
                () = self.sockets.readable() => self.receive(&mut node),
                _ = self.every.tick() => self.sample(&mut node),
                () = wait(until) => {}
            }
        };
        if self.flash.is_busy()
            && tokio::time::timeout(LAST_CHANGE, self.flash.changed()).await.is_err()
        {
            tracing::warn!("the last change of flash has not ended");
        }
        end
    }

    /// Does what the node wants done; says whether it wants to start anew.
    fn drain(&mut self, node: &mut LinuxNode) -> bool {
        let mut buffer = [0; BUFFER];
        while let Some(output) = node.poll(self.now(), self.flash.content(), &mut buffer) {
            match output {
                Output::Transmit { to, bytes } => self.sockets.send(to, bytes),
                Output::Program { at, bytes } => {
                    self.flash.change(Change::Program { at, bytes: bytes.to_vec() });
                }
                Output::Erase { at } => self.flash.change(Change::Erase { at }),
                Output::Actuate { actuator, value } => {
                    tracing::warn!(actuator, value, "there is no such actuator");
                }
                Output::Reboot => return true,
            }
        }
        false
    }

    fn receive(&mut self, node: &mut LinuxNode) {
        let (started, flash) = (self.started, self.flash.content());
        self.sockets.read(|from, via, bytes| {
            let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            let now = Instant::from_micros(micros);
            node.handle(now, flash, Input::Datagram { from, via, bytes });
        });
    }

    fn sample(&mut self, node: &mut LinuxNode) {
        let now = self.now();
        let flash = self.flash.content();
        self.sensors.sample(|sensor, record| {
            node.handle(now, flash, Input::Sample { sensor, record });
        });
    }
}

/// Waits as long as the node has nothing to do; gives others a turn if it has something at once.
async fn wait(until: Option<Duration>) {
    match until {
        None => std::future::pending().await,
        Some(Duration::ZERO) => tokio::task::yield_now().await,
        Some(until) => tokio::time::sleep(until).await,
    }
}
