//! Stands for the parts of a Proxy-Uri where the feature `proxy-uri` is off: there are none.

use crate::error::ProtectError;
use crate::transform::Cursor;
use capmesh_coap::option::OptionNumber;
use core::marker::PhantomData;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProxyUri<'a> {
    pub(crate) origin: &'static [u8],
    uri: PhantomData<&'a [u8]>,
}

impl<'a> ProxyUri<'a> {
    pub(crate) const fn parse(_uri: &'a [u8]) -> Result<Self, ProtectError> {
        Err(ProtectError::ProxyUri)
    }

    pub(crate) const fn is_bare(&self) -> bool {
        true
    }

    pub(crate) const fn write_before(
        &mut self,
        _next: Option<OptionNumber>,
        _cursor: &mut Cursor<'_>,
    ) -> Result<(), ProtectError> {
        Ok(())
    }
}
