//! Capsules that an operator brings.

use super::*;

fn upload(world: &mut World, from: u8, bundle: &[u8]) -> Said {
    world.machine(address(from)).ask(peer(1), Code::PUT, "x", bundle);
    assert!(run(world, from, 600, |party| party.answer().is_some()));
    world.machine(address(from)).asking.take().unwrap().answer.unwrap()
}

fn two() -> World {
    world(1, vec![(1, node(1)), (OPERATOR, node(OPERATOR))])
}

fn path(made: &Made) -> std::string::String {
    format!("x/{}", Name::of(&made.digest()).as_str())
}

fn ask(world: &mut World, method: Code, path: &str) -> Said {
    world.machine(address(OPERATOR)).ask(peer(1), method, path, b"");
    assert!(run(world, OPERATOR, 60, |party| party.answer().is_some()));
    world.machine(address(OPERATOR)).asking.take().unwrap().answer.unwrap()
}

#[test]
fn an_operator_installs_looks_and_removes_with_plain_requests() {
    let made = Recipe::default().make();
    let mut world = two();
    let said = upload(&mut world, OPERATOR, &made.bundle());
    assert_eq!(said.code, Code::CREATED);
    assert_eq!(said.location.join("/"), path(&made));
    assert!(world.machine(address(1)).is_held(&made));
    assert_eq!(world.machine(address(1)).events, [Event::Held(made.digest())]);

    let said = upload(&mut world, OPERATOR, &made.bundle());
    assert_eq!((said.code, said.location.join("/")), (Code::CHANGED, path(&made)));

    let listed = ask(&mut world, Code::GET, "x");
    let list: List<'_, CapsuleStatus<'_>, { limits::HELD }> =
        capmesh_wire::cbor::decode(&listed.payload).unwrap();
    let status = list.iter().next().unwrap();
    assert_eq!((list.len(), status.state), (1, CapsuleState::Held));
    assert_eq!((status.name.unwrap().as_str(), status.sequence), ("city/clean", Some(7)));
    assert_eq!((status.publisher, status.size), (Some(id(PUBLISHER)), Some(5_000)));
    let one = ask(&mut world, Code::GET, &path(&made));
    assert_eq!(capmesh_wire::cbor::decode(&one.payload), Ok(status));

    world.machine(address(1)).used.push(made.digest());
    let said = ask(&mut world, Code::DELETE, &path(&made));
    assert_eq!((said.code, said.problem().code), (Code::CONFLICT, ErrorCode::WrongState));
    world.machine(address(1)).used.clear();
    assert_eq!(ask(&mut world, Code::DELETE, &path(&made)).code, Code::DELETED);
    assert_eq!(ask(&mut world, Code::GET, "x").payload, [0x80]);
    assert_eq!(ask(&mut world, Code::GET, &path(&made)).code, Code::NOT_FOUND);
    let said = ask(&mut world, Code::DELETE, &path(&made));
    assert_eq!((said.code, said.problem().code), (Code::NOT_FOUND, ErrorCode::UnknownCapsule));
}

#[test]
fn only_operators_and_gateways_may() {
    let made = Recipe::default().make();
    let parties = vec![(1, node(1)), (2, node(2)), (50, Party::new(50)), (GATEWAY, node(GATEWAY))];
    let mut world = world(1, parties);
    assert_eq!(upload(&mut world, 2, &made.bundle()).code, Code::FORBIDDEN);
    assert_eq!(upload(&mut world, 50, &made.bundle()).code, Code::UNAUTHORIZED);
    assert_eq!(upload(&mut world, GATEWAY, &made.bundle()).code, Code::CREATED);
}

#[test]
fn what_is_wrong_is_refused_with_words() {
    let problem = |bundle: &[u8]| {
        let mut world = two();
        let said = upload(&mut world, OPERATOR, bundle);
        let problem = said.problem();
        assert_eq!(said.code.0, problem.code.coap_code());
        let party = world.machine(address(1));
        assert_eq!(party.install.digests().count(), 0);
        // Nothing stays behind.
        assert_eq!(party.store.extents(party.nor.bytes()).count(), 0);
        assert_eq!(party.store.iter(party.nor.bytes(), kinds::CAPSULE).count(), 0);
        let words =
            problem.detail.map_or(std::string::String::new(), |words| words.as_str().into());
        (problem.code, words)
    };
    let good = Recipe::default().make().bundle();
    assert_eq!(problem(b"nonsense").0, ErrorCode::Malformed);
    assert_eq!(problem(b"").0, ErrorCode::Malformed);
    assert_eq!(
        problem(&good[..good.len() - 1]),
        (ErrorCode::Malformed, "the bundle ends early".into())
    );
    assert_eq!(problem(&good[..100]), (ErrorCode::Malformed, "the bundle ends early".into()));
    let long = [&good[..], b"!"].concat();
    assert_eq!(problem(&long), (ErrorCode::Malformed, "bytes follow its last chunk".into()));
    let stranger = Recipe { signer: 77, ..Recipe::default() }.make().bundle();
    assert_eq!(problem(&stranger).0, ErrorCode::Untrusted);
    let hungry = Recipe { ram: 30_000, ..Recipe::default() }.make().bundle();
    assert_eq!(problem(&hungry).1, "it needs 30000 of 20000 bytes of RAM");
    let refused = Recipe::default().make_of(&[0; 2_000]).bundle();
    assert_eq!(problem(&refused), (ErrorCode::InvalidModule, "imports env.fork".into()));
    // A byte of each part: signature, manifest, pages, chunks.
    for at in [60, 200, 310, 400, 600, 1_500, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let (code, words) = problem(&bad);
        let expected = [ErrorCode::Malformed, ErrorCode::BadSignature, ErrorCode::DigestMismatch];
        assert!(expected.contains(&code), "{at}: {code} {words}");
    }
}

#[test]
fn an_older_sequence_is_refused() {
    let mut world = two();
    let made = |sequence| Recipe { sequence, ..Recipe::default() }.make();
    assert_eq!(upload(&mut world, OPERATOR, &made(8).bundle()).code, Code::CREATED);
    let said = upload(&mut world, OPERATOR, &made(7).bundle());
    assert_eq!(said.problem().code, ErrorCode::RolledBack);
    assert_eq!(upload(&mut world, OPERATOR, &made(9).bundle()).code, Code::CREATED);
    assert_eq!(world.machine(address(1)).install.digests().count(), 2);
}

#[test]
fn a_bad_link_and_slow_flash_do_no_harm() {
    let delay = Duration::from_millis(5)..Duration::from_millis(200);
    for seed in 0..4 {
        let made = Recipe { size: 12_000, ..Recipe::default() }.make();
        let parties = vec![(1, node(1)), (OPERATOR, node(OPERATOR))];
        let mut world = world(seed, parties);
        world.faults = Faults { loss: 15, duplication: 15, delay: delay.clone() };
        world.machine(address(1)).latency = Duration::from_millis(40);
        assert_eq!(upload(&mut world, OPERATOR, &made.bundle()).code, Code::CREATED, "{seed}");
        assert!(world.machine(address(1)).is_held(&made));
    }
}

#[test]
fn the_power_may_go_at_every_operation_of_an_upload() {
    let made = Recipe { size: 2_500, chunk_log2: 9, ..Recipe::default() }.make();
    for after in 0.. {
        let mut world = two();
        let tear = if after % 2 == 0 { Tear::Bits(after) } else { Tear::Everything };
        world.machine(address(1)).cut = Some((u32::try_from(after).unwrap(), tear));
        world.machine(address(OPERATOR)).ask(peer(1), Code::PUT, "x", &made.bundle());
        run(&mut world, 1, 60, |party| party.is_off || party.is_held(&made));
        if !world.machine(address(1)).is_off {
            assert!(after > 15);
            break;
        }
        reboot(&mut world, 1);
        world.machines.remove(&address(OPERATOR));
        world.machines.insert(address(OPERATOR), node(OPERATOR));
        let code = upload(&mut world, OPERATOR, &made.bundle()).code;
        assert!([Code::CREATED, Code::CHANGED].contains(&code), "{after}: {code:?}");
        let party = world.machine(address(1));
        assert!(party.is_held(&made));
        assert_eq!(party.store.extents(party.nor.bytes()).count(), 1);
    }
}

#[test]
fn bundles_that_are_refused_half_way_leave_room_for_others() {
    let refused = Recipe { signer: 77, size: 5_000, ..Recipe::default() }.make();
    let mut world = two();
    // As if from as many operators: each is a body of its own to the server, which has two places.
    for tag in 0..5 {
        let asking =
            world.machine(address(OPERATOR)).ask(peer(1), Code::PUT, "x", &refused.bundle());
        asking.query = Some(format!("t={tag}"));
        assert!(run(&mut world, OPERATOR, 10, |party| party.answer().is_some()));
        let said = world.machine(address(OPERATOR)).asking.take().unwrap().answer.unwrap();
        assert_eq!(said.problem().code, ErrorCode::Untrusted, "{tag}");
    }
    let taken = upload(&mut world, OPERATOR, &Recipe::default().make().bundle());
    assert_eq!(taken.code, Code::CREATED);
}

#[test]
fn an_operator_waits_for_no_fetch_and_the_fetch_goes_on() {
    let fetched = Recipe { name: "a/a", size: 20_000, ..Recipe::default() }.make();
    let brought = Recipe::default().make();
    let parties = vec![(1, node(1)), (OPERATOR, node(OPERATOR)), (REGISTRY, registry(&[&fetched]))];
    let mut world = world(1, parties);
    want(&mut world, 1, &fetched, &[REGISTRY]);
    let is_half = |party: &Party| party.store.extents(party.nor.bytes()).next().is_some();
    assert!(run(&mut world, 1, 60, is_half));
    assert_eq!(upload(&mut world, OPERATOR, &brought.bundle()).code, Code::CREATED);
    assert!(run(&mut world, 1, 60, |party| party.is_held(&fetched)));
}

#[test]
fn two_who_bring_capsules_take_turns_and_one_who_stops_is_forgotten() {
    let made = Recipe::default().make();
    let parties = vec![(1, node(1)), (OPERATOR, node(OPERATOR)), (GATEWAY, node(GATEWAY))];
    let mut world = world(1, parties);
    world.machine(address(OPERATOR)).ask(peer(1), Code::PUT, "x", &made.bundle());
    assert!(run(&mut world, 1, 60, |party| party.install.work.is_some()));
    // It goes away in the middle.
    world.machines.remove(&address(OPERATOR));
    let said = upload(&mut world, GATEWAY, &made.bundle());
    assert_eq!((said.code, said.problem().code), (Code::SERVICE_UNAVAILABLE, ErrorCode::Busy));
    assert!(said.problem().retry_ms.is_some());
    assert!(run(&mut world, 1, 100, |party| party.install.work.is_none()));
    assert_eq!(upload(&mut world, GATEWAY, &made.bundle()).code, Code::CREATED);
}
