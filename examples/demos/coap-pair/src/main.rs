//! `coap-pair`: see the README beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    capmesh_coap_pair::command::main()
}
