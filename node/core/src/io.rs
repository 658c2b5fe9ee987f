//! What goes into a node and what comes out of it.

use crate::flash::Fault;
use capmesh_coap::endpoint::Via;
use core::net::SocketAddr;

/// Something that has happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Input<'a> {
    /// A datagram has come.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// Whether it came to this node alone or to all on its link.
        via: Via,
        /// What is in it.
        bytes: &'a [u8],
    },
    /// The last [`Output::Program`] or [`Output::Erase`] is done, and survives a power cut; or has
    /// failed.
    Flashed(Result<(), Fault>),
    /// A sensor has a new sample.
    Sample {
        /// The sensor's place in [`Config::sensors`](crate::Config::sensors).
        sensor: u8,
        /// The sample as a record of the sensor's schema
        /// ([`Schema::to_record`](capmesh_wire::Schema::to_record) makes one of a payload).
        record: &'a [u8],
    },
    /// A digital input has changed.
    Digital {
        /// Its place in [`Config::sources`](crate::Config::sources).
        source: u8,
        /// Its value.
        value: f64,
    },
}

/// Something to be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Output<'b> {
    /// Send a datagram.
    Transmit {
        /// Where to.
        to: SocketAddr,
        /// What, at the start of the buffer that was lent.
        bytes: &'b [u8],
    },
    /// Program flash. Nothing else of flash is asked for until [`Input::Flashed`] has answered.
    Program {
        /// Where, from the start of the flash that is lent: a multiple of the flash's unit
        /// ([`Geometry`](crate::flash::Geometry)).
        at: u32,
        /// What is there then: whole units, within one page. Bits are only ever cleared. There may be
        /// nothing to do.
        bytes: &'b [u8],
    },
    /// Erase a sector of flash: all its bytes become 0xff. Answered as [`Output::Program`] is.
    Erase {
        /// Where it begins, from the start of the flash that is lent.
        at: u32,
    },
    /// Set an actuator.
    Actuate {
        /// Its place in [`Config::actuators`](crate::Config::actuators).
        actuator: u8,
        /// To what.
        value: f64,
    },
    /// Start the machine anew.
    Reboot,
}
