//! The example `coap-pair`, as a program that this crate's tests can start.

use std::process::ExitCode;

fn main() -> ExitCode {
    capmesh_coap_pair::command::main()
}
