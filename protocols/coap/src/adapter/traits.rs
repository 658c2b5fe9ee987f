//! The `coap-message` traits on this crate's messages.

use crate::message::{Code, Message, MessageWriter, Options, Overflow};
use crate::option::OptionNumber;
use coap_message::error::RenderableOnMinimal;
use coap_message::{
    Code as _, MessageOption, MinimalWritableMessage, MutableWritableMessage, ReadableMessage,
    WithSortedOptions,
};
use core::convert::Infallible;
use core::fmt::Debug;

/// One option of a message.
#[derive(Clone, Copy, Debug)]
pub struct OptionView<'a> {
    pub(super) number: OptionNumber,
    pub(super) value: &'a [u8],
}

impl MessageOption for OptionView<'_> {
    fn number(&self) -> u16 {
        self.number.0
    }

    fn value(&self) -> &[u8] {
        self.value
    }
}

/// The options of a message.
#[derive(Clone, Debug)]
pub struct OptionViews<'a>(pub(super) Options<'a>);

impl<'a> Iterator for OptionViews<'a> {
    type Item = OptionView<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(number, value)| OptionView { number, value })
    }
}

impl ReadableMessage for Message<'_> {
    type Code = u8;
    type MessageOption<'a>
        = OptionView<'a>
    where
        Self: 'a;
    type OptionsIter<'a>
        = OptionViews<'a>
    where
        Self: 'a;

    fn code(&self) -> u8 {
        Message::code(self).0
    }

    fn options(&self) -> OptionViews<'_> {
        OptionViews(Message::options(self))
    }

    fn payload(&self) -> &[u8] {
        Message::payload(self)
    }
}

impl WithSortedOptions for Message<'_> {}

impl MinimalWritableMessage for MessageWriter<'_> {
    type Code = u8;
    type OptionNumber = u16;
    type AddOptionError = Overflow;
    type SetPayloadError = Overflow;
    type UnionError = Overflow;

    fn set_code(&mut self, code: u8) {
        Self::set_code(self, Code(code));
    }

    fn add_option(&mut self, number: u16, value: &[u8]) -> Result<(), Overflow> {
        self.option(OptionNumber(number), value).map(drop)
    }

    fn set_payload(&mut self, data: &[u8]) -> Result<(), Overflow> {
        self.payload(data).map(drop)
    }

    #[inline]
    #[expect(refining_impl_trait_reachable, reason = "as the trait's documentation recommends")]
    fn promote_to_mutable_writable_message(&mut self) -> Option<&mut Self> {
        Some(self)
    }
}

impl MutableWritableMessage for MessageWriter<'_> {
    fn available_space(&self) -> usize {
        self.room()
    }

    fn payload_mut_with_len(&mut self, len: usize) -> Result<&mut [u8], Overflow> {
        if self.payload_mut().is_empty() {
            let room = self.room().saturating_sub(1);
            return self.payload_room(len.min(room));
        }
        self.payload_mut().get_mut(..len).ok_or(Overflow)
    }

    fn truncate(&mut self, len: usize) -> Result<(), Overflow> {
        if len > self.payload_mut().len() {
            return Err(Overflow);
        }
        self.truncate_payload(len);
        Ok(())
    }

    fn mutate_options<F: FnMut(u16, &mut [u8])>(&mut self, mut callback: F) {
        self.change_options(|number, value| callback(number.0, value));
    }
}

impl From<Infallible> for Overflow {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl RenderableOnMinimal for Overflow {
    type Error<IE: RenderableOnMinimal + Debug> = IE;

    /// 5.00 (Internal Server Error).
    fn render<M: MinimalWritableMessage>(self, message: &mut M) -> Result<(), M::UnionError> {
        let code = M::Code::new(Code::INTERNAL_SERVER_ERROR.0);
        message.set_code(code.map_err(M::convert_code_error)?);
        Ok(())
    }
}
