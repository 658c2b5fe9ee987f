//! Plans are brought, and the newest one stays.

use super::*;

#[test]
fn a_newer_plan_of_a_gateway_counts_and_survives() {
    let mut world = two();
    let rows: Vec<_> = (0..64_u8).map(|n| (Digest::of(&[n]), false)).collect();
    for (revision, rows) in [(1, &rows[..1]), (4, &rows[..]), (5, &[])] {
        let plan = plan(revision, id(1), GATEWAY, rows);
        for _ in 0..2 {
            assert_eq!(put(&mut world, GATEWAY, "p", &plan).code, Code::CHANGED);
        }
        reboot(&mut world, 1);
        let party = world.machine(address(1));
        assert_eq!(party.plan_revision(), Some(revision));
        let held = party.site.plan(party.nor.bytes(), &party.store).unwrap();
        assert!(held.assignments.iter().map(|row| row.capsule).eq(rows.iter().map(|row| row.0)));
        world.machine(address(GATEWAY)).ask(peer(1), Code::GET, "p", b"");
        assert!(run(&mut world, GATEWAY, 60, |party| party.answer().is_some()));
        assert_eq!(world.machine(address(GATEWAY)).answer().unwrap().payload, plan);
    }
}

#[test]
fn what_is_no_plan_for_this_node_is_refused() {
    let rows: Vec<_> = (0..64_u8).map(|n| (Digest::of(&[n]), false)).collect();
    let good = plan(5, id(1), GATEWAY, &rows);
    let mut bad = good.clone();
    bad[3_000] ^= 1;
    for (plan, expected) in [
        (plan(5, id(2), GATEWAY, &[]), ErrorCode::Malformed),
        (plan(5, id(1), OPERATOR, &[]), ErrorCode::Untrusted),
        (plan(5, id(1), 77, &rows), ErrorCode::Untrusted),
        (plan(1, id(1), GATEWAY, &rows), ErrorCode::StaleRevision),
        (bad, ErrorCode::BadSignature),
        (good[..good.len() - 1].to_vec(), ErrorCode::Malformed),
        ([&good[..], b"!"].concat(), ErrorCode::Malformed),
        (b"\xd2\x84".to_vec(), ErrorCode::Malformed),
        (Vec::new(), ErrorCode::Malformed),
    ] {
        let mut world = two();
        put(&mut world, GATEWAY, "p", &super::plan_2());
        let said = put(&mut world, GATEWAY, "p", &plan);
        assert_eq!(problem(&said), expected, "{:?}", said.problem().detail);
        let party = world.machine(address(1));
        assert_eq!(party.plan_revision(), Some(2));
        party.settle(Instant::from_secs(1_000));
        assert_eq!(party.store.extents(party.nor.bytes()).count(), 0);
    }
}

#[test]
fn the_plan_of_a_gateway_that_is_gone_stands_in_nobodys_way() {
    let mut world = two();
    put(&mut world, GATEWAY, "p", &plan(u32::MAX, id(1), GATEWAY, &[]));
    assert_eq!(world.machine(address(1)).plan_revision(), Some(u32::MAX));
    let other = roster_with(
        2,
        &[(1, Role::Node, FAR), (GATEWAY, Role::Operator, FAR), (3, Role::Gateway, FAR)],
    );
    put(&mut world, GATEWAY, "r", &other);
    // It goes on counting until there is another.
    assert_eq!(world.machine(address(1)).plan_revision(), Some(u32::MAX));
    assert_eq!(put(&mut world, GATEWAY, "p", &plan(1, id(1), 3, &[])).code, Code::CHANGED);
    assert_eq!(world.machine(address(1)).plan_revision(), Some(1));
}

#[test]
fn formats_are_looked_at() {
    let mut world = two();
    let wrong = world.machine(address(GATEWAY)).ask(peer(1), Code::PUT, "p", &super::plan_2());
    wrong.format(content_format::ROSTER);
    assert!(run(&mut world, GATEWAY, 60, |party| party.answer().is_some()));
    let said = world.machine(address(GATEWAY)).answer().unwrap();
    assert_eq!(said.code, Code::UNSUPPORTED_CONTENT_FORMAT);
}
