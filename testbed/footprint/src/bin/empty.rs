//! The image without any protocol: what the others are compared with.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use footprint::{exit, init, measure, report_cost, text};

#[entry]
fn main() -> ! {
    init();
    let ((), cost) = measure(|| ());
    report_cost(text!("nothing"), cost);
    exit()
}
