//! From what a resource says to the options and the payload of one message.

use super::options;
use super::refusal::Refusal;
use super::reply::Reply;
use super::request::Request;
use super::resource::{Done, Resource};
use crate::block::{BlockSize, BlockValue, ETag, Windowed};
use crate::message::{Code, Message, MessageWriter, Options, Overflow};
use crate::option::OptionNumber;

/// Where a response is rendered, and how much of it.
pub(super) struct Canvas<'b, 'r> {
    /// Head and block.
    pub(super) buf: &'b mut [u8],
    /// The largest block.
    pub(super) size: BlockSize,
    /// Where the whole body is kept as well if it cannot be rendered again.
    pub(super) room: Option<&'r mut [u8]>,
    /// Which block the client asked for.
    pub(super) asked: Option<BlockValue>,
}

/// One block of a response.
pub(super) struct Rendered<'b> {
    pub(super) code: Code,
    pub(super) content_format: Option<u16>,
    pub(super) etag: Option<ETag>,
    pub(super) block2: Option<BlockValue>,
    /// Length of the whole body.
    pub(super) total: u32,
    says_total: bool,
    options: Options<'b>,
    payload: &'b [u8],
}

impl Rendered<'_> {
    /// Writes options and payload.
    pub(super) fn write(
        &self,
        writer: &mut MessageWriter<'_>,
        block1: Option<BlockValue>,
    ) -> Result<(), Overflow> {
        self.write_head(writer, block1)?;
        writer.payload(self.payload)?;
        Ok(())
    }

    /// Writes the options alone.
    pub(super) fn write_head(
        &self,
        writer: &mut MessageWriter<'_>,
        block1: Option<BlockValue>,
    ) -> Result<(), Overflow> {
        for (number, value) in self.options {
            // 2.03 has no body whose format there would be.
            if self.code != Code::VALID || number != OptionNumber::CONTENT_FORMAT {
                writer.option(number, value)?;
            }
        }
        if let Some(tag) = &self.etag {
            writer.option(OptionNumber::ETAG, tag.as_bytes())?;
        }
        if let Some(block) = self.block2 {
            block.write(OptionNumber::BLOCK2, writer)?;
        }
        if let Some(block) = block1 {
            block.write(OptionNumber::BLOCK1, writer)?;
        }
        if self.says_total {
            writer.option_uint(OptionNumber::SIZE2, self.total)?;
        }
        Ok(())
    }

    /// Whether there are more blocks behind this one.
    pub(super) fn more(&self) -> bool {
        self.block2.is_some_and(BlockValue::more)
    }
}

/// What is known of a response once it has been rendered.
struct Facts {
    code: Code,
    content_format: Option<u16>,
    etag: Option<ETag>,
    block2: Option<BlockValue>,
    total: u32,
    says_total: bool,
    head_len: usize,
    payload_len: usize,
}

/// Has `resource` answer `request`. `None` if it will answer later.
///
/// # Errors
/// What it refuses, and what cannot be sent.
pub(super) fn render<'b, P: Copy>(
    resource: &mut dyn Resource<P>,
    request: &Request<'_, P>,
    canvas: Canvas<'b, '_>,
) -> Result<Option<Rendered<'b>>, Refusal> {
    let Canvas { buf, size, room, asked } = canvas;
    let (head, window) = buf.split_at_mut_checked(Reply::HEAD).ok_or(Overflow)?;
    let whole = resource.renders_blocks();
    let size = asked.map_or(size, |asked| size.min(asked.size()));
    let start = asked.filter(|_| !whole).map_or(0, BlockValue::offset);
    let block = size.bytes() as usize;
    let len = if whole { window.len().min(block + Reply::HEAD) } else { block };
    let window = window.get_mut(..len).ok_or(Overflow)?;
    let mut body = Windowed::new(&mut *window, start);
    if let Some(room) = room {
        body = body.keeping(room);
    }
    let mut reply = Reply::new(&mut *head, body);
    let code = match resource.handle(request, &mut reply)? {
        Done::Content => Code::CONTENT,
        Done::Created => Code::CREATED,
        Done::Changed => Code::CHANGED,
        Done::Deleted => Code::DELETED,
        Done::Code(code) => code,
        Done::Later => return Ok(None),
    };
    let facts =
        if whole { judge_whole(reply, code)? } else { judge(reply, code, request, asked, size)? };
    let options = Message::parse(head.get(..facts.head_len).unwrap_or_default());
    Ok(Some(Rendered {
        code: facts.code,
        content_format: facts.content_format,
        etag: facts.etag,
        block2: facts.block2,
        total: facts.total,
        says_total: facts.says_total,
        options: options.map_err(|_| Overflow)?.options(),
        payload: window.get(..facts.payload_len).unwrap_or_default(),
    }))
}

/// Judges a response that is to be sent in blocks if need be.
fn judge<P: Copy>(
    reply: Reply<'_>,
    code: Code,
    request: &Request<'_, P>,
    asked: Option<BlockValue>,
    size: BlockSize,
) -> Result<Facts, Refusal> {
    let head = reply.head.filter(|_| !reply.overflowed).ok_or(Overflow)?;
    let (body, message) = (reply.body, request.message);
    let (start, more) = (body.start(), body.more());
    let mut facts = Facts {
        code,
        content_format: reply.content_format,
        etag: reply.etag,
        block2: None,
        total: body.total(),
        says_total: false,
        head_len: head.finish(),
        payload_len: body.kept().len(),
    };
    if !code.is_success() {
        return Ok(facts);
    }
    if let (Some(accepted), Some(format)) = (request.accept(), facts.content_format)
        && accepted != format
    {
        return Err(Refusal::new(Code::NOT_ACCEPTABLE));
    }
    let asks_validity = code == Code::CONTENT && message.option(OptionNumber::ETAG).is_some();
    if facts.etag.is_none() && (reply.wants_etag || more || start > 0 || asks_validity) {
        facts.etag = Some(body.etag());
    }
    if asks_validity && facts.etag.is_some_and(|tag| options::is_valid(message, tag)) {
        return Ok(Facts { code: Code::VALID, payload_len: 0, ..facts });
    }
    if start > 0 && start >= facts.total {
        return Err(Refusal::new(Code::BAD_REQUEST).because("no such block"));
    }
    // What has an effect cannot be rendered again for its later blocks.
    if more && !is_safe(request.method) && !body.is_whole_kept() {
        return Err(Refusal::new(Code::INTERNAL_SERVER_ERROR).because("no room for the response"));
    }
    if more || asked.is_some() {
        facts.block2 = Some(BlockValue::at(start, more, size).ok_or(Overflow)?);
    }
    let asks_total = message.option(OptionNumber::SIZE2).is_some();
    facts.says_total = start == 0 && (more || asks_total);
    Ok(facts)
}

/// Judges a response whose maker does block-wise transfer by himself.
fn judge_whole(reply: Reply<'_>, code: Code) -> Result<Facts, Refusal> {
    let head = reply.head.filter(|_| !reply.overflowed && !reply.body.more()).ok_or(Overflow)?;
    Ok(Facts {
        code,
        content_format: reply.content_format,
        etag: reply.etag,
        block2: None,
        total: reply.body.total(),
        says_total: false,
        head_len: head.finish(),
        payload_len: reply.body.kept().len(),
    })
}

/// Whether the method has no effect and takes no body, so that it can be repeated at will.
pub(super) fn is_safe(method: Code) -> bool {
    method == Code::GET
}

/// The entity-tag of what a GET would give, `None` if there is nothing: for preconditions.
pub(super) fn present<P: Copy>(
    resource: &mut dyn Resource<P>,
    request: &Request<'_, P>,
    buf: &mut [u8],
) -> Option<ETag> {
    let head = buf.get_mut(..Reply::HEAD)?;
    let mut reply = Reply::new(head, Windowed::new(&mut [], 0));
    // Nobody is to be answered with it, now or later.
    let get = Request { method: Code::GET, body: &[], responder: None, ..*request };
    match resource.handle(&get, &mut reply) {
        Ok(Done::Content) => Some(reply.etag.unwrap_or(reply.body.etag())),
        _ => None,
    }
}
