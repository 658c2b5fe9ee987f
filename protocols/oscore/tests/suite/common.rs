//! Contexts and messages for the integration tests.

use capmesh_coap::message::{Code, Kind, Message, MessageWriter, Token};
use capmesh_coap::option::OptionNumber;
use capmesh_oscore::{Context, Parameters};

pub(crate) const CLIENT: Parameters<'static> = Parameters {
    master_secret: b"a secret of sixteen or more bytes",
    master_salt: b"salt",
    id_context: None,
    sender_id: b"c",
    recipient_id: b"server",
};

/// The parameters of the other side.
pub(crate) fn swap(parameters: Parameters<'static>) -> Parameters<'static> {
    let Parameters { sender_id, recipient_id, .. } = parameters;
    Parameters { sender_id: recipient_id, recipient_id: sender_id, ..parameters }
}

pub(crate) fn pair() -> (Context, Context) {
    (Context::derive(&CLIENT).unwrap(), Context::derive(&swap(CLIENT)).unwrap())
}

/// A message in a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned(pub(crate) Vec<u8>);

impl Owned {
    pub(crate) fn new(code: Code, options: &[(OptionNumber, &[u8])], payload: &[u8]) -> Self {
        let mut buf = vec![0; 4096];
        let token = Token::new(&[1, 2, 3, 4]).unwrap();
        let mut writer =
            MessageWriter::new(&mut buf, Kind::Confirmable, code, 0x1234, token).unwrap();
        for (number, value) in options {
            writer.option(*number, value).unwrap();
        }
        writer.payload(payload).unwrap();
        let len = writer.finish();
        Self(buf[..len].to_vec())
    }

    pub(crate) fn view(&self) -> Message<'_> {
        Message::parse(&self.0).unwrap()
    }

    pub(crate) fn has(&self, number: OptionNumber) -> bool {
        self.view().option(number).is_some()
    }

    /// The same with another option, as a proxy on the way might put it in.
    pub(crate) fn with(&self, number: OptionNumber, value: &[u8]) -> Self {
        let mut options: Vec<_> = self.view().options().collect();
        options.push((number, value));
        Self::new(self.view().code(), &options, self.view().payload())
    }
}

/// What this call writes to its buffer.
pub(crate) fn written<E: std::fmt::Debug, T>(
    call: impl FnOnce(&mut [u8]) -> Result<(usize, T), E>,
) -> Result<(Owned, T), E> {
    let mut out = vec![0; 4096];
    let (len, other) = call(&mut out)?;
    Ok((Owned(out[..len].to_vec()), other))
}
