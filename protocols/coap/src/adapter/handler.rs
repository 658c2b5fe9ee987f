//! Handlers as resources.

use super::traits::{OptionView, OptionViews};
use crate::link_format::{Attributes, LinkWriter};
use crate::message::{Code, Kind, MessageWriter, Overflow, Token};
use crate::option::OptionNumber;
use crate::server::{Done, Handled, Reply, Request, Resource};
use coap_handler::{Attribute, Handler, Record, Reporting};
use coap_message::error::RenderableOnMinimal;
use coap_message::{ReadableMessage, WithSortedOptions};
use core::fmt;
use heapless::Vec;

/// A handler as a resource, which `.well-known/core` lists with these attributes.
#[derive(Debug)]
pub struct Mounted<H> {
    /// The handler.
    pub handler: H,
    /// What is said of it. It can be observed if this says so.
    pub attributes: Attributes<'static>,
}

impl<H> Mounted<H> {
    /// A handler without attributes.
    #[must_use]
    pub const fn new(handler: H) -> Self {
        const NOTHING: Attributes<'static> = Attributes {
            resource_type: "",
            interface: "",
            content_formats: &[],
            title: "",
            size: None,
            observable: false,
            other: &[],
        };
        Self { handler, attributes: NOTHING }
    }
}

impl<P: Copy, H: Handler> Resource<P> for Mounted<H> {
    fn handle(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        answer(&mut self.handler, request, reply)
    }

    fn attributes(&self) -> Attributes<'_> {
        self.attributes
    }

    fn understands(&self, _: OptionNumber) -> bool {
        true
    }

    fn renders_blocks(&self) -> bool {
        true
    }
}

/// A reporting handler as a resource, whose records `.well-known/core` lists.
#[derive(Debug)]
pub struct Reported<H> {
    /// The handler.
    pub handler: H,
    /// Whether requests to it can be observed. Its records may say so of themselves.
    pub observable: bool,
}

impl<P: Copy, H: Handler + Reporting> Resource<P> for Reported<H> {
    fn handle(&mut self, request: &Request<'_, P>, reply: &mut Reply<'_>) -> Handled {
        answer(&mut self.handler, request, reply)
    }

    fn attributes(&self) -> Attributes<'_> {
        Attributes { observable: self.observable, ..Attributes::default() }
    }

    fn links(&self, path: &str, links: &mut LinkWriter<'_>) -> fmt::Result {
        for record in self.handler.report() {
            write_record(&record, path, links)?;
        }
        Ok(())
    }

    fn understands(&self, _: OptionNumber) -> bool {
        true
    }

    fn renders_blocks(&self) -> bool {
        true
    }
}

/// The most segments of a record's path, and the most Content-Formats of it, that are listed.
const MOST: usize = 8;

fn write_record(record: &impl Record, path: &str, links: &mut LinkWriter<'_>) -> fmt::Result {
    let mut segments: Vec<_, MOST> = Vec::new();
    for segment in record.path() {
        // A longer path could not be written right, so it is not written at all.
        if segments.push(segment).is_err() {
            return Ok(());
        }
    }
    let mut all: Vec<&str, { MOST + 1 }> = Vec::new();
    let segments = segments.iter().map(AsRef::as_ref);
    all.extend(Some(path).filter(|path| !path.is_empty()).into_iter().chain(segments));
    let (mut attributes, mut formats) = (Attributes::default(), Vec::<u16, MOST>::new());
    let mut other: Vec<(&str, &str), MOST> = Vec::new();
    for attribute in record.attributes() {
        match attribute {
            Attribute::Observable => attributes.observable = true,
            Attribute::Interface(value) => attributes.interface = value,
            Attribute::ResourceType(value) => attributes.resource_type = value,
            Attribute::Title(value) => attributes.title = value,
            Attribute::Ct(format) => {
                let _ = formats.push(format);
            }
            Attribute::Sz(size) => attributes.size = u32::try_from(size).ok(),
            Attribute::Other(attribute) => {
                let _ = other.push((attribute, ""));
            }
            _ => {}
        }
    }
    if let Some(relation) = record.rel() {
        let _ = other.push(("rel", relation));
    }
    links.link(&all, &Attributes { content_formats: &formats, other: &other, ..attributes })
}

/// Has a handler answer.
fn answer<H: Handler, P: Copy>(
    handler: &mut H,
    request: &Request<'_, P>,
    reply: &mut Reply<'_>,
) -> Handled {
    let extracted = handler.extract_request_data(&Inside(request));
    let buf = reply.body().buffer();
    let mut writer = MessageWriter::new(buf, Kind::Confirmable, Code::CONTENT, 0, Token::EMPTY)?;
    match extracted {
        Ok(data) => {
            if let Err(error) = handler.build_response(&mut writer, data) {
                writer.clear();
                render(error, &mut writer)?;
            }
        }
        Err(error) => render(error, &mut writer)?,
    }
    let message = writer.into_message();
    let options_end = HEADER + message.options_bytes().len();
    let end = message.as_bytes().len();
    let (code, payload) = (message.code(), end - message.payload().len()..end);
    reply.take_message(HEADER..options_end, payload);
    Ok(Done::Code(code))
}

/// The length of a header, behind which the options start where there is no token.
const HEADER: usize = 4;

/// Writes an error as the response.
fn render(error: impl RenderableOnMinimal, writer: &mut MessageWriter<'_>) -> Result<(), Overflow> {
    error.render(writer).map_err(|_| Overflow)
}

/// A request as the handler is to see it.
struct Inside<'m, 'r, P>(&'m Request<'r, P>);

impl<P: Copy> ReadableMessage for Inside<'_, '_, P> {
    type Code = u8;
    type MessageOption<'a>
        = OptionView<'a>
    where
        Self: 'a;
    type OptionsIter<'a>
        = InsideOptions<'a>
    where
        Self: 'a;

    fn code(&self) -> u8 {
        self.0.method().0
    }

    fn options(&self) -> InsideOptions<'_> {
        let options = OptionViews(self.0.message().options());
        InsideOptions { options, hidden: self.0.depth() }
    }

    fn payload(&self) -> &[u8] {
        self.0.body()
    }
}

impl<P: Copy> WithSortedOptions for Inside<'_, '_, P> {}

/// The options without those that the server has dealt with.
struct InsideOptions<'a> {
    options: OptionViews<'a>,
    /// Segments of the path that are still to be hidden.
    hidden: usize,
}

impl<'a> Iterator for InsideOptions<'a> {
    type Item = OptionView<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let option = self.options.next()?;
            match option.number {
                OptionNumber::URI_HOST | OptionNumber::URI_PORT | OptionNumber::BLOCK1 => {}
                OptionNumber::URI_PATH if self.hidden > 0 => self.hidden -= 1,
                _ => return Some(option),
            }
        }
    }
}
