//! What a capsule's description names: where messages come from and go to, what is read and set.

use crate::answer::pending;
use crate::record::Text;
use crate::time::micros;
use crate::{Errno, Record, RequestId, node};
use core::marker::PhantomData;
use core::time::Duration;

/// `Ok` for 0 and more, else the error.
pub(crate) fn check(result: i32) -> Result<u32, Errno> {
    match u32::try_from(result) {
        Ok(value) => Ok(value),
        Err(_) => Err(match result {
            -1 => Errno::Unknown,
            -2 => Errno::Schema,
            -3 => Errno::Full,
            -4 => Errno::Empty,
            -5 => Errno::TooShort,
            _ => Errno::NotNow,
        }),
    }
}

macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident<$type:ident>) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $name<$type> {
            number: u32,
            of: PhantomData<fn() -> $type>,
        }

        impl<$type> $name<$type> {
            #[doc(hidden)]
            #[must_use]
            pub const fn new(number: u32) -> Self {
                Self { number, of: PhantomData }
            }

            /// Its number in the manifest.
            #[must_use]
            pub const fn number(&self) -> u32 {
                self.number
            }
        }

        impl<$type> Clone for $name<$type> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$type> Copy for $name<$type> {}
    };
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            number: u32,
        }

        impl $name {
            #[doc(hidden)]
            #[must_use]
            pub const fn new(number: u32) -> Self {
                Self { number }
            }

            /// Its number.
            #[must_use]
            pub const fn number(&self) -> u32 {
                self.number
            }
        }
    };
}

numbered! {
    /// Where messages arrive: `#[on(name)]` handles them. Tests send to it.
    Input<T>
}

numbered! {
    /// Where messages leave.
    Output<T>
}

numbered! {
    /// A sensor that the capsule reads.
    Sensor<T>
}

numbered! {
    /// Something that the capsule sets to a number.
    Actuator
}

numbered! {
    /// A digital input: `#[event(name)]` handles its changes.
    Source
}

numbered! {
    /// A timer: `#[timer(name)]` handles its running out.
    Timer
}

impl<T: Record> Output<T> {
    /// Publishes a message. It leaves when the handler has ended.
    ///
    /// # Errors
    /// [`Errno::Full`] if this handler has asked for all that it may: nothing is published.
    pub fn publish(&self, message: &T) -> Result<(), Errno> {
        check(node::publish(self.number, message.to_record().as_ref())).map(drop)
    }
}

impl<T: Record> Sensor<T> {
    /// The sensor's last sample. It stays the same while a handler runs.
    ///
    /// # Errors
    /// [`Errno::Empty`] if there is none yet.
    pub fn read(&self) -> Result<T, Errno> {
        let mut record = T::ZERO;
        check(node::sensor(self.number, record.as_mut()))?;
        Ok(T::from_record(&record))
    }
}

impl Actuator {
    /// Sets it when the handler has ended.
    ///
    /// # Errors
    /// [`Errno::Full`] if this handler has asked for all that it may.
    pub fn set(&self, value: f64) -> Result<(), Errno> {
        check(node::actuate(self.number, value)).map(drop)
    }
}

impl Timer {
    /// Has the timer run out once, so long after this handler. A timer that is already running starts
    /// anew. A capsule that does something regularly sets its timer again each time.
    ///
    /// # Errors
    /// [`Errno::Full`] if this handler has asked for all that it may.
    pub fn after(&self, duration: Duration) -> Result<(), Errno> {
        check(node::set_timer(self.number, micros(duration))).map(drop)
    }

    /// Has the timer not run out.
    ///
    /// # Errors
    /// [`Errno::Full`] if this handler has asked for all that it may.
    pub fn cancel(&self) -> Result<(), Errno> {
        check(node::cancel_timer(self.number)).map(drop)
    }
}

/// A resource of this capsule: `#[request(name)]` answers. Tests ask it.
#[derive(Debug)]
pub struct Service<Q, R> {
    number: u32,
    of: PhantomData<fn(Q) -> R>,
}

impl<Q, R> Service<Q, R> {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self { number, of: PhantomData }
    }

    /// Its number in the manifest.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }
}

impl<Q, R> Clone for Service<Q, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q, R> Copy for Service<Q, R> {}

/// A resource of another capsule. `#[reply(peer.service)]` handles its answers.
#[derive(Debug)]
pub struct Resource<Q, R> {
    peer: u8,
    resource: u8,
    /// Whether there are others, so that an answer must be told from theirs.
    is_one_of_many: bool,
    of: PhantomData<fn(Q) -> R>,
}

impl<Q, R> Clone for Resource<Q, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q, R> Copy for Resource<Q, R> {}

impl<Q, R> Resource<Q, R> {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(peer: u8, resource: u8, is_one_of_many: bool) -> Self {
        Self { peer, resource, is_one_of_many, of: PhantomData }
    }

    /// The numbers of the peer and of its resource in the manifest.
    #[must_use]
    pub const fn numbers(&self) -> (u8, u8) {
        (self.peer, self.resource)
    }
}

impl<Q: Record, R> Resource<Q, R> {
    /// Asks. The request leaves when the handler has ended, and every request comes to a reply:
    /// an answer, or the news that there will be none.
    ///
    /// A capsule that asks more than one resource can tell the last 8 requests apart; replies to
    /// older ones are lost.
    ///
    /// # Errors
    /// [`Errno::Full`] if this handler has asked for all that it may.
    pub fn ask(&self, request: &Q) -> Result<RequestId, Errno> {
        let (peer, resource) = (u32::from(self.peer), u32::from(self.resource));
        let number = check(node::request(peer, resource, request.to_record().as_ref()))?;
        if self.is_one_of_many {
            pending(|requests| requests.note(number, self.peer, self.resource));
        }
        Ok(RequestId::new(number))
    }
}

/// A value that a pipeline can set.
#[derive(Clone, Copy, Debug)]
pub struct Config<T> {
    key: u32,
    default: Option<T>,
}

impl<T> Config<T> {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(key: u32, default: Option<T>) -> Self {
        Self { key, default }
    }

    /// Its number in the manifest.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.key
    }
}

impl<T: ConfigValue> Config<T> {
    /// The value that the pipeline gives, or else the default. It does not change while an instance
    /// lives.
    ///
    /// # Panics
    /// If there is neither: a node starts no such instance.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the node has checked that the value is there")]
    pub fn get(&self) -> T {
        T::configured(self.key).or(self.default).expect("a value that is configured")
    }
}

/// What a configuration value can be: a number, a switch or a [`Text`].
pub trait ConfigValue: Copy {
    /// The value with that number, unless the pipeline does not give it.
    #[doc(hidden)]
    fn configured(key: u32) -> Option<Self>;
}

fn configured_number(key: u32) -> Option<f64> {
    let mut bytes = [0; 8];
    check(node::config(key, &mut bytes)).ok()?;
    Some(f64::from_le_bytes(bytes))
}

macro_rules! config_numbers {
    ($($number:ty),*) => {$(
        impl ConfigValue for $number {
            fn configured(key: u32) -> Option<Self> {
                #[expect(clippy::cast_possible_truncation, reason = "beyond 64 bits it saturates")]
                let whole = configured_number(key)? as i64;
                // The node has checked that it fits.
                Self::try_from(whole).ok()
            }
        }
    )*};
}

config_numbers!(u8, u16, u32, i8, i16, i32);

impl ConfigValue for f32 {
    #[expect(clippy::cast_possible_truncation, reason = "the pipeline gives a single")]
    fn configured(key: u32) -> Option<Self> {
        configured_number(key).map(|number| number as Self)
    }
}

impl ConfigValue for f64 {
    fn configured(key: u32) -> Option<Self> {
        configured_number(key)
    }
}

impl ConfigValue for bool {
    fn configured(key: u32) -> Option<Self> {
        configured_number(key).map(|number| number != 0.0)
    }
}

impl<const MAX: usize> ConfigValue for Text<MAX> {
    fn configured(key: u32) -> Option<Self> {
        let mut bytes = [0; MAX];
        let len = check(node::config(key, &mut bytes)).ok()?;
        let text = bytes.get(..usize::try_from(len).ok()?)?;
        core::str::from_utf8(text).ok().and_then(Self::new)
    }
}

/// The message being handled.
#[must_use]
pub fn message<T: Record>() -> T {
    let mut record = T::ZERO;
    node::read(0, record.as_mut());
    T::from_record(&record)
}
