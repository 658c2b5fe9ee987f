#![expect(clippy::cast_possible_truncation, reason = "numbers in tests are small")]

extern crate std;

use super::*;
use crate::message::{Code, Kind, Token};
use capmesh_wire::Instant;
use core::time::Duration;
use proptest::prelude::*;
use std::vec::Vec;

const S16: BlockSize = BlockSize::MIN;

fn size(bytes: usize) -> BlockSize {
    BlockSize::at_most(bytes).unwrap()
}

fn message(buf: &mut [u8], code: Code, build: impl FnOnce(&mut MessageWriter<'_>)) -> Message<'_> {
    let mut writer = MessageWriter::new(buf, Kind::Confirmable, code, 1, Token::EMPTY).unwrap();
    build(&mut writer);
    let len = writer.finish();
    Message::parse(&buf[..len]).unwrap()
}

fn block(num: u32, more: bool, bytes: usize) -> BlockValue {
    BlockValue::new(num, more, size(bytes)).unwrap()
}

#[test]
fn sizes_and_their_exponents() {
    assert_eq!(BlockSize::at_most(15), None);
    assert_eq!(BlockSize::at_most(16), Some(S16));
    assert_eq!(BlockSize::at_most(31), Some(S16));
    assert_eq!(BlockSize::at_most(1_000).unwrap().bytes(), 512);
    assert_eq!(BlockSize::at_most(usize::MAX), Some(BlockSize::MAX));
    assert_eq!(BlockSize::from_szx(7), None);
}

#[test]
fn values_as_in_rfc_7959() {
    assert_eq!(BlockValue::decode(&[]), Ok(block(0, false, 16)));
    assert_eq!(BlockValue::decode(&[0x0e]), Ok(block(0, true, 1024)));
    assert_eq!(BlockValue::decode(&[0x1b]), Ok(block(1, true, 128)));
    assert_eq!(BlockValue::decode(&[0xff, 0xff, 0xfe]), Ok(block(0xf_ffff, true, 1024)));
    assert_eq!(BlockValue::decode(&[0x07]), Err(BadBlock));
    assert_eq!(BlockValue::decode(&[0, 0, 0, 0]), Err(BadBlock));
    assert_eq!(BlockValue::at(24, false, S16), None);
    assert_eq!(BlockValue::at(1 << 24, false, S16), None);
    assert_eq!(BlockValue::at(2048, true, size(256)), Some(block(8, true, 256)));
    assert_eq!(std::format!("{:?}", block(2, true, 64)), "2/1/64");
}

proptest! {
    #[test]
    fn values_survive_encoding(num in 0..=BlockValue::MAX_NUM, more: bool, szx in 0..=6u8) {
        let value = BlockValue::new(num, more, BlockSize::from_szx(szx).unwrap()).unwrap();
        let mut buf = [0; 64];
        let message = message(&mut buf, Code::GET, |w| value.write(OptionNumber::BLOCK2, w).unwrap());
        prop_assert_eq!(BlockValue::find(&message, OptionNumber::BLOCK2), Ok(Some(value)));
        prop_assert_eq!(BlockValue::at(value.offset(), more, value.size()), Some(value));
    }

    #[test]
    fn windows_keep_what_falls_into_them(
        body in proptest::collection::vec(any::<u8>(), 0..600),
        cuts in proptest::collection::vec(0..80usize, 0..30),
        start in 0..700usize,
        len in 0..200usize,
    ) {
        let (mut window, mut whole) = (std::vec![0; len], std::vec![0; 400]);
        let mut windowed = Windowed::new(&mut window, start as u32).keeping(&mut whole);
        let mut rest = &body[..];
        for cut in cuts {
            let (part, after) = rest.split_at(cut.min(rest.len()));
            windowed.write(part);
            rest = after;
        }
        windowed.write(rest);
        let end = body.len().min(start + len);
        prop_assert_eq!(windowed.kept(), body.get(start..end).unwrap_or_default());
        prop_assert_eq!(windowed.total() as usize, body.len());
        prop_assert_eq!(windowed.more(), body.len() > start + len);
        prop_assert_eq!(windowed.is_whole_kept(), body.len() <= 400);
        let mut hash = ETagHasher::new();
        hash.write(&body);
        prop_assert_eq!(windowed.etag(), hash.tag());
        let kept = body.len().min(400);
        prop_assert_eq!(&whole[..kept], &body[..kept]);
    }
}

/// A server that takes bodies in blocks, answers with the body reversed, and keeps that.
struct Server {
    assembler: Assembler<u8, 2, 5000>,
    preferred: BlockSize,
    now: Instant,
}

impl Server {
    fn new(preferred: BlockSize) -> Self {
        let assembler = Assembler::new(Duration::from_secs(60), preferred);
        Self { assembler, preferred, now: Instant::ZERO }
    }

    fn answer<'b>(&mut self, request: &Message<'_>, buf: &'b mut [u8]) -> Message<'b> {
        let block1 = BlockValue::find(request, OptionNumber::BLOCK1).unwrap();
        let block2 = BlockValue::find(request, OptionNumber::BLOCK2).unwrap();
        let now = self.now;
        if let Some(asked) = block2.filter(|block| block1.is_none() && block.num() > 0) {
            return match self.assembler.serve(now, 1, request, asked) {
                Ok((served, value, bytes)) => message(buf, served.code, |w| {
                    value.write(OptionNumber::BLOCK2, w).unwrap();
                    w.option(OptionNumber::ETAG, served.etag.as_bytes()).unwrap();
                    w.payload(bytes).unwrap();
                }),
                Err(refusal) => message(buf, refusal.code(), |_| {}),
            };
        }
        let accepted = match block1.map(|b| self.assembler.store(now, 1, request, b)).transpose() {
            Err(BlockRefusal::TooLarge { limit }) => {
                return message(buf, Code::REQUEST_ENTITY_TOO_LARGE, |w| {
                    w.option_uint(OptionNumber::SIZE1, limit).unwrap();
                });
            }
            Err(refusal) => return message(buf, refusal.code(), |_| {}),
            Ok(Some(part)) if part.more => {
                return message(buf, Code::CONTINUE, |w| {
                    part.answer.write(OptionNumber::BLOCK1, w).unwrap();
                });
            }
            Ok(accepted) => accepted,
        };
        let reply_size = block2.map_or(self.preferred, |block| block.size().min(self.preferred));
        let mut window = std::vec![0; reply_size.bytes() as usize];
        let (body, room) = self.assembler.body_and_room(now, accepted.map(|part| part.slot));
        let body = if accepted.is_some() { body } else { request.payload() };
        let (room, bytes) = room.unwrap();
        let mut reply = Windowed::new(&mut window, 0).keeping(bytes);
        body.iter().rev().for_each(|byte| reply.write(&[*byte]));
        let (more, etag, len) = (reply.more(), reply.etag(), reply.total());
        assert!(reply.is_whole_kept());
        let response = message(buf, Code::CHANGED, |w| {
            if let Some(part) = accepted {
                part.answer.write(OptionNumber::BLOCK1, w).unwrap();
            }
            if more {
                w.option(OptionNumber::ETAG, etag.as_bytes()).unwrap();
                let value = BlockValue::at(0, more, reply_size).unwrap();
                value.write(OptionNumber::BLOCK2, w).unwrap();
            }
            w.payload(reply.kept()).unwrap();
        });
        if more {
            let served = Served { code: Code::CHANGED, content_format: None, etag, len };
            self.assembler.keep(now, room, 1, BodyKey::of(request), served);
        }
        if let Some(part) = accepted {
            self.assembler.tracker().release(part.slot);
        }
        response
    }
}

/// Runs a transfer to its end: the response's body, or the step that ended it.
fn run(
    server: &mut Server,
    transfer: &mut Transfer,
    body: &[u8],
) -> Result<Vec<u8>, TransferStep<'static>> {
    let (mut request, mut response) = ([0; 1200], [0; 1200]);
    let mut got = Vec::new();
    for _ in 0..2_000 {
        let request = message(&mut request, Code::POST, |w| transfer.write(w, body).unwrap());
        match transfer.handle(&server.answer(&request, &mut response)) {
            TransferStep::Next => {}
            TransferStep::Part { offset, payload, more } => {
                assert_eq!(offset as usize, got.len());
                got.extend_from_slice(payload);
                if !more {
                    return Ok(got);
                }
            }
            TransferStep::Refused(code) => return Err(TransferStep::Refused(code)),
            TransferStep::UploadFailed(error) => return Err(TransferStep::UploadFailed(error)),
            TransferStep::DownloadFailed(error) => return Err(TransferStep::DownloadFailed(error)),
        }
    }
    panic!("the transfer does not end");
}

fn transfer(body: &[u8], up: BlockSize, down: BlockSize) -> Transfer {
    let upload = Upload::of(body, up).with_request_tag(RequestTag::new(&[7]).unwrap());
    Transfer::new(upload, Download::new(10_000, down))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_body_with_any_sizes_goes_up_and_comes_down(
        len in 0..=5000usize, up in 0..=6u8, down in 0..=6u8, theirs in 0..=6u8, early: bool,
    ) {
        let body: Vec<u8> = (0..len).map(|i| (i * 7 + i / 256) as u8).collect();
        let mut reversed = body.clone();
        reversed.reverse();
        let size = |szx| BlockSize::from_szx(szx).unwrap();
        let mut machine = transfer(&body, size(up), size(down));
        if early {
            let upload = Upload::of(&body, size(up));
            machine = Transfer::new(upload, Download::new(10_000, size(down)).early());
        }
        prop_assert_eq!(run(&mut Server::new(size(theirs)), &mut machine, &body), Ok(reversed));
    }
}

#[test]
fn a_body_that_says_it_is_too_large_is_refused_at_its_first_block() {
    let mut server = Server::new(BlockSize::MAX);
    let body = std::vec![1; 5_001];
    let mut machine = transfer(&body, size(64), size(64));
    let failed = TransferStep::UploadFailed(UploadError::TooLarge { limit: 5_000 });
    assert_eq!(run(&mut server, &mut machine, &body), Err(failed));
    assert_eq!(server.assembler.tracker().poll_timeout(), None);
}

#[test]
fn a_body_that_grows_too_large_is_refused_and_forgotten() {
    let mut assembler = Assembler::<u8, 1, 40>::new(Duration::from_secs(9), BlockSize::MAX);
    let mut buf = [0; 64];
    for (num, expected) in [(0, None), (1, None), (2, Some(40))] {
        let request = message(&mut buf, Code::PUT, |w| drop(w.payload(&[5; 16])));
        let result = assembler.store(Instant::ZERO, 1, &request, block(num, true, 16));
        assert_eq!(result.err(), expected.map(|limit| BlockRefusal::TooLarge { limit }));
    }
    assert_eq!(assembler.tracker().poll_timeout(), None);
}

#[test]
fn blocks_come_in_order_or_not_at_all() {
    let mut assembler = Assembler::<u8, 1, 100>::new(Duration::from_secs(9), BlockSize::MAX);
    let mut buf = [0; 64];
    let mut store = |num, byte: u8| {
        let request = message(&mut buf, Code::PUT, |w| drop(w.payload(&[byte; 16])));
        let result = assembler.store(Instant::ZERO, 1, &request, block(num, true, 16));
        (result, assembler.body(0).to_vec())
    };
    assert_eq!(store(1, 1).0, Err(BlockRefusal::Incomplete));
    assert!(!store(0, 1).0.unwrap().repeated);
    assert!(!store(1, 2).0.unwrap().repeated);
    let (again, body) = store(1, 3);
    assert!(again.unwrap().repeated);
    assert_eq!(body[16..], [2; 16]);
    assert_eq!(store(3, 4).0, Err(BlockRefusal::Incomplete));
    assert_eq!(store(2, 4).0, Err(BlockRefusal::Incomplete), "a gap ends the body");
    assert!(!store(0, 5).0.unwrap().repeated);
    assert_eq!(store(0, 6).1, [6; 16], "block 0 starts over");
}

#[test]
fn peers_options_and_tags_keep_bodies_apart_until_the_slots_are_full() {
    let mut assembler = Assembler::<u8, 3, 100>::new(Duration::from_secs(9), BlockSize::MAX);
    let mut buf = [0; 64];
    let mut store = |now, peer, tag: u8, path| {
        let request = message(&mut buf, Code::PUT, |w| {
            w.path(path).unwrap().option(OptionNumber::REQUEST_TAG, &[tag]).unwrap();
            w.option_uint(OptionNumber::SIZE1, u32::from(tag)).unwrap().payload(&[1; 16]).unwrap();
        });
        assembler.store(Instant::from_secs(now), peer, &request, block(0, true, 16)).map(|a| a.slot)
    };
    assert_eq!(store(0, 1, 1, "a"), Ok(0));
    assert_eq!(store(1, 2, 1, "a"), Ok(1));
    assert_eq!(store(2, 1, 2, "a"), Ok(2));
    assert_eq!(store(3, 1, 1, "b"), Err(BlockRefusal::Full { retry_after: 7 }));
    assert_eq!(store(4, 1, 1, "a"), Ok(0), "a body that is under way goes on");
    assert_eq!(store(10, 1, 1, "b"), Ok(1), "the eldest has been given up");
}

#[test]
fn payloads_must_go_with_their_block_option() {
    let mut assembler = Assembler::<u8, 1, 100>::new(Duration::from_secs(9), BlockSize::MAX);
    let mut buf = [0; 64];
    for (len, value) in
        [(15, block(0, true, 16)), (17, block(0, false, 16)), (0, block(0, true, 16))]
    {
        let request = message(&mut buf, Code::PUT, |w| drop(w.payload(&[1; 40][..len])));
        let result = assembler.store(Instant::ZERO, 1, &request, value);
        assert_eq!(result.err(), Some(BlockRefusal::Malformed), "{len} {value:?}");
    }
}

#[test]
fn an_upload_starts_over_when_the_server_forgets_and_gives_up_in_the_end() {
    let mut upload = Upload::new(100, size(32));
    let mut buf = [0; 64];
    let go_on = |upload: &mut Upload| {
        let (offset, _) = upload.wanted();
        let mut buf = [0; 64];
        let value = BlockValue::at(offset, true, size(32)).unwrap();
        let next =
            message(&mut buf, Code::CONTINUE, |w| value.write(OptionNumber::BLOCK1, w).unwrap());
        upload.handle(&next)
    };
    for _ in 0..MAX_RESTARTS {
        assert_eq!(go_on(&mut upload), UploadStep::Next);
        let lost = message(&mut buf, Code::REQUEST_ENTITY_INCOMPLETE, |_| {});
        assert_eq!(upload.handle(&lost), UploadStep::Restart);
        assert_eq!(upload.wanted(), (0, 32));
    }
    assert_eq!(go_on(&mut upload), UploadStep::Next);
    let lost = message(&mut buf, Code::REQUEST_ENTITY_INCOMPLETE, |_| {});
    assert_eq!(upload.handle(&lost), UploadStep::Failed(UploadError::Restarts));
}

#[test]
fn an_upload_follows_the_server_to_smaller_blocks() {
    let mut upload = Upload::new(300, size(128));
    let mut buf = [0; 64];
    let smaller = message(&mut buf, Code::CONTINUE, |w| {
        block(0, true, 32).write(OptionNumber::BLOCK1, w).unwrap();
    });
    assert_eq!(upload.handle(&smaller), UploadStep::Next);
    assert_eq!(upload.wanted(), (128, 32));

    let mut upload = Upload::new(100, size(128));
    let only_small = message(&mut buf, Code::REQUEST_ENTITY_TOO_LARGE, |w| {
        block(0, true, 32).write(OptionNumber::BLOCK1, w).unwrap();
    });
    assert_eq!(upload.handle(&only_small), UploadStep::Restart);
    assert_eq!(upload.wanted(), (0, 32));
}

#[test]
fn an_upload_refuses_what_does_not_answer_its_block() {
    let mut buf = [0; 64];
    let answer = |num| (Code::CONTINUE, Some(block(num, true, 16)));
    for ((code, value), error) in
        [(answer(1), UploadError::WrongBlock), ((Code::CHANGED, None), UploadError::NotBlockwise)]
    {
        let response = message(&mut buf, code, |w| {
            if let Some(value) = value {
                value.write(OptionNumber::BLOCK1, w).unwrap();
            }
        });
        assert_eq!(Upload::new(100, S16).handle(&response), UploadStep::Failed(error));
    }
}

fn part<'b>(buf: &'b mut [u8], value: BlockValue, etag: u8, len: usize) -> Message<'b> {
    message(buf, Code::CONTENT, |w| {
        w.option(OptionNumber::ETAG, &[etag]).unwrap();
        value.write(OptionNumber::BLOCK2, w).unwrap();
        w.payload(&[etag; 64][..len]).unwrap();
    })
}

#[test]
fn a_download_refuses_wrong_blocks_and_starts_over_at_a_change() {
    let mut buf = [0; 128];
    let failed = |error| DownloadStep::Failed(error);
    let mut download = Download::new(1_000, BlockSize::MAX);
    let first = part(&mut buf, block(0, true, 16), 1, 16);
    assert!(matches!(download.handle(&first), DownloadStep::Part { offset: 0, more: true, .. }));
    for wrong in [block(0, true, 16), block(2, true, 16)] {
        let response = part(&mut buf, wrong, 1, 16);
        assert_eq!(download.clone().handle(&response), failed(DownloadError::WrongBlock));
    }
    let short = part(&mut buf, block(1, true, 16), 1, 15);
    assert_eq!(download.clone().handle(&short), failed(DownloadError::WrongBlock));
    let whole = message(&mut buf, Code::CONTENT, |w| {
        w.option(OptionNumber::ETAG, &[1]).unwrap().payload(&[1]).unwrap();
    });
    assert_eq!(download.clone().handle(&whole), failed(DownloadError::WrongBlock));
    let gone = message(&mut buf, Code::NOT_FOUND, |_| {});
    assert_eq!(download.clone().handle(&gone), DownloadStep::Refused(Code::NOT_FOUND));
    let changed = part(&mut buf, block(1, false, 16), 2, 3);
    assert_eq!(download.handle(&changed), DownloadStep::Restart);
    assert_eq!(download.received(), 0);
}

#[test]
fn a_download_is_bounded_by_what_comes_and_by_what_is_announced() {
    let mut buf = [0; 128];
    let mut download = Download::new(20, BlockSize::MAX);
    let first = part(&mut buf, block(0, true, 16), 1, 16);
    assert!(matches!(download.handle(&first), DownloadStep::Part { .. }));
    let second = part(&mut buf, block(1, false, 16), 1, 5);
    assert_eq!(download.handle(&second), DownloadStep::Failed(DownloadError::TooLarge));

    let announced = message(&mut buf, Code::CONTENT, |w| {
        w.option_uint(OptionNumber::SIZE2, 21).unwrap().payload(&[1]).unwrap();
    });
    let mut download = Download::new(20, BlockSize::MAX);
    assert_eq!(download.handle(&announced), DownloadStep::Failed(DownloadError::TooLarge));
}

#[test]
fn what_lies_in_storage_is_read_only_where_it_is_wanted() {
    let body: Vec<u8> = (0..100).collect();
    let mut buf = [0; 32];
    for start in 0..140 {
        let mut window = Windowed::new(&mut buf, start);
        let mut read = Vec::new();
        window.write(&body[..10]);
        let stored = window.write_with(60, |offset, room: &mut [u8]| {
            let from = 10 + offset as usize;
            room.copy_from_slice(&body[from..from + room.len()]);
            read.push(room.len());
            Ok::<(), ()>(())
        });
        window.write(&body[70..]);
        assert_eq!(stored, Ok(()));
        let (from, to) = (100.min(start as usize), 100.min(start as usize + 32));
        assert_eq!(window.kept(), &body[from..to], "start {start}");
        let overlap = (start + 32).min(70).saturating_sub(start.max(10));
        assert_eq!(read, Vec::from_iter((overlap > 0).then_some(overlap as usize)));
        assert_eq!((window.total(), window.more()), (100, start + 32 < 100));
    }
    assert_eq!(Windowed::new(&mut buf, 0).write_with(1, |_, _| Err("broken")), Err("broken"));
}
