//! Block-wise transfer over a link that loses, repeats and delays: what arrives is what was sent, or
//! the failure is told.

#![expect(clippy::unwrap_used, reason = "helpers of tests are not recognised as tests")]

mod plug;

use capmesh_coap::Code;
use capmesh_coap::block::{BlockSize, Download, RequestTag, Transfer, Upload};
use capmesh_coap::server::ServerConfig;
use plug::site::text;
use plug::world::{Fate, Seen, World, unlimited};
use proptest::prelude::*;
use std::time::Duration;

/// A link with a memory for nothing but the state of its dice.
fn faults(mut seed: u64, loss: u64) -> impl FnMut(&Seen) -> Fate {
    move |_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match (seed >> 33) % 100 {
            dice if dice < loss => Fate::Lose,
            dice if dice < loss + 15 => Fate::Repeat,
            // Up to a second and a half late: behind what is sent later.
            dice if dice < loss + 30 => Fate::Delay(Duration::from_millis((dice - loss) * 50)),
            _ => Fate::Deliver,
        }
    }
}

fn szx() -> impl Strategy<Value = BlockSize> {
    (0..=6_u8).prop_map(|szx| BlockSize::from_szx(szx).unwrap())
}

fn world(theirs: BlockSize, seed: u64, loss: u64) -> World {
    let server = ServerConfig {
        block: theirs,
        // However many times in a row a message is lost.
        patience: Duration::from_secs(100_000),
        ..ServerConfig::default()
    };
    let config = capmesh_coap::endpoint::Config { max_retransmit: 12, ..unlimited() };
    let mut world = World::with(config, server);
    world.set_fate(faults(seed, loss));
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_body_arrives_both_ways_over_a_bad_link(
        len in prop_oneof![Just(0), 1..=200_usize, 0..=5_000_usize],
        up in szx(), down in szx(), theirs in szx(), seed: u64, early: bool,
    ) {
        // Small blocks of large bodies take hundreds of exchanges and say nothing new.
        let len = len.min(up.min(down).min(theirs).bytes() as usize * 40);
        let mut world = world(theirs, seed, 15);
        let body = text(len);
        let download = Download::new(6_000, down);
        let download = if early { download.early() } else { download };
        let tag = RequestTag::new(&seed.to_be_bytes()).unwrap();
        let transfer = Transfer::new(Upload::of(&body, up).with_request_tag(tag), download);
        let reversed: Vec<u8> = body.iter().rev().copied().collect();
        prop_assert_eq!(world.transfer(transfer, Code::POST, "large-post", &body), Ok(reversed));
        prop_assert_eq!(world.site.large_post.calls, 1);
    }

    #[test]
    fn any_representation_arrives_over_a_bad_link(
        len in 0..=5_000_usize, down in szx(), theirs in szx(), seed: u64,
    ) {
        let len = len.min(down.min(theirs).bytes() as usize * 60);
        let mut world = world(theirs, seed, 15);
        world.site.large.text = Some(text(len));
        let transfer = Transfer::new(Upload::new(0, BlockSize::MAX), Download::new(6_000, down));
        prop_assert_eq!(world.transfer(transfer, Code::GET, "large", &[]), Ok(text(len)));
    }
}
