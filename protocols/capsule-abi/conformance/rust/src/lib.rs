//! The conformance suite's capsule in Rust: node/runtime/tests/conformance.rs says what it is to do.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use capmesh_sdk::prelude::*;
use capmesh_sdk::{random, time_uncertainty};

capmesh_sdk::describe!();

/// Messages, and how the flood ended.
pub struct Conformance {
    count: u32,
    flooded: u32,
    flood_end: i32,
}

fn outcome(code: i32, number: i64, value: f64) -> Result<(), Errno> {
    outputs::OUTCOME.publish(&Outcome { code, number, value })
}

/// What a call returned.
fn code(result: Result<(), Errno>) -> i32 {
    result.map_or_else(Errno::code, |()| 0)
}

#[capsule]
impl Conformance {
    const fn new() -> Self {
        Self { count: 0, flooded: 0, flood_end: 0 }
    }

    #[start]
    fn start(&mut self) -> Result<(), Errno> {
        log!(info, "start");
        timers::FIRST.after(Duration::from_secs(1))?;
        outcome(-100, 0, 0.0)
    }

    #[on(mixed)]
    fn mixed(&mut self, mixed: Mixed) -> Result<(), Errno> {
        self.count += 1;
        outputs::MIXED.publish(&Mixed { count: mixed.count.wrapping_add(1), ..mixed })
    }

    #[on(command)]
    fn command(&mut self, command: Command) -> Result<(), Errno> {
        self.count += 1;
        let Command { op, a, b, c } = command;
        match op {
            0 => {
                let uncertainty = time_uncertainty().map_or(-1.0, |half| half.as_micros() as f64);
                outcome(0, now().as_micros(), uncertainty)
            }
            1 => outcome(0, random().cast_signed(), 0.0),
            2 => outcome(
                code(timers::SECOND.after(Duration::from_micros(b.cast_unsigned()))),
                b,
                0.0,
            ),
            3 => outcome(code(timers::SECOND.cancel()), 0, 0.0),
            4 => match sensors::AIR.read() {
                Ok(sample) => outputs::OUTCOME.publish(&sample),
                Err(errno) => outcome(errno.code(), 0, 0.0),
            },
            5 if a == 0 => actuators::LAMP.set(c),
            5 => actuators::HORN.set(c),
            6 => {
                let label = config::LABEL.get();
                let first = label.as_str().bytes().next().unwrap_or(0);
                let number = label.as_str().len() as i64 * 1000 + i64::from(first);
                outcome(i32::from(config::ON.get()), number, config::RATIO.get())
            }
            7 => {
                let request = Outcome { code: a, number: b, value: c };
                let number = peers::store::PUT.ask(&request)?.number();
                outcome(number.cast_signed(), 0, 0.0)
            }
            8 => {
                let number = peers::store::GET.ask(&())?.number();
                outcome(number.cast_signed(), 0, 0.0)
            }
            9 => {
                self.flooded = 0;
                while let Ok(()) = outcome(0, i64::from(self.flooded), 0.0) {
                    self.flooded += 1;
                }
                self.flood_end = Errno::Full.code();
                Ok(())
            }
            10 => outcome(self.flood_end, i64::from(self.flooded), 0.0),
            11 => {
                match a {
                    0 => log!(error, "conformance"),
                    1 => log!(warning, "conformance"),
                    2 => log!(info, "conformance"),
                    _ => log!(debug, "conformance"),
                }
                Ok(())
            }
            12 => panic!("as it was told"),
            _ => outcome(0, i64::from(self.count), 0.0),
        }
    }

    #[timer(first)]
    fn first(&mut self) -> Result<(), Errno> {
        outcome(1000, i64::from(self.count), 0.0)
    }

    #[timer(second)]
    fn second(&mut self) -> Result<(), Errno> {
        outcome(1001, i64::from(self.count), 0.0)
    }

    #[event(button)]
    fn button(&mut self, value: f64) -> Result<(), Errno> {
        outcome(2000, 0, value)
    }

    #[request(ask)]
    fn ask(&mut self, request: Request<Command>) -> Result<Outcome, Status> {
        match (request.method, request.body) {
            (Method::Get, None) => {
                Ok(Outcome { code: 1, number: i64::from(self.count), value: 0.0 })
            }
            (Method::Put, Some(Command { a, b, c, .. })) => {
                Ok(Outcome { code: a, number: b, value: c })
            }
            _ => Err(Status::METHOD_NOT_ALLOWED),
        }
    }

    #[request(bare)]
    fn bare(&mut self, _: Request<()>) -> Result<(), Status> {
        Ok(())
    }

    #[reply(store.put)]
    fn put(&mut self, reply: Reply<Outcome>) -> Result<(), Errno> {
        Self::answered(3000, &reply)
    }

    #[reply(store.get)]
    fn get(&mut self, reply: Reply<Outcome>) -> Result<(), Errno> {
        Self::answered(4000, &reply)
    }

    fn answered(code: i32, reply: &Reply<Outcome>) -> Result<(), Errno> {
        let value = reply.body.map_or(-1.0, |body| body.value);
        outcome(code + i32::from(reply.status.code()), i64::from(reply.id.number()), value)
    }

    #[run]
    fn run(&mut self, arguments: Bytes<16>) -> Result<Bytes<16>, Status> {
        let mut reversed = [0; 16];
        let bytes = arguments.as_slice();
        for (to, from) in reversed.iter_mut().zip(bytes.iter().rev()) {
            *to = *from;
        }
        reversed.get(..bytes.len()).and_then(Bytes::new).ok_or(Status::INTERNAL)
    }
}
