//! `capmesh-node`: a node of a capsule mesh on this machine.

use capmesh_node_linux::Arguments;
use clap::Parser;
use std::process::ExitCode;

/// A node of a capsule mesh on this machine.
///
/// It keeps its key, its site and its capsules in the state directory, listens for CoAP over UDP, and
/// prints its claim: who has the claim can adopt it into a site with `capmesh node adopt CLAIM --at
/// ADDRESS`. Without a site it does nothing but wait for that. Stop it with Ctrl-C; started again, it
/// goes on where it was, also after kill -9 or a power cut.
#[derive(Parser)]
#[command(name = "capmesh-node", version, after_long_help = AFTER)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
}

const AFTER: &str = "\
Examples:
  capmesh-node                              a node with this machine's sensors, on port 5683
  capmesh-node --state a --listen [::]:5684 --flash 512K --ram 64K --fuel 500K
                                            a second one that is as small as a board
  capmesh-node --replay air=rows.csv,air.toml --every 0.1
                                            recorded rows as a sensor called `air`

On standard output it says, one per line: `listening ADDRESS`, `claim CLAIM`, `node ID`. Its log goes to
standard error; CAPMESH_LOG sets how much of it (error, warn, info, debug).

Exit codes: 0 stopped as asked, 1 anything else, 2 wrong arguments, 3 the state is in use by another
process, 4 the state cannot be used, 5 the address cannot be used.";

fn main() -> ExitCode {
    let command = Command::parse();
    match capmesh_node_linux::run(&command.arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("capmesh-node: {failure}");
            ExitCode::from(failure.code())
        }
    }
}
