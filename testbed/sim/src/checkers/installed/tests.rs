use super::super::testing::{Still, node};
use super::*;
use capmesh_wire::{Epoch, InstanceId};

fn looked_at(change: impl FnOnce(&mut Digest, &mut (Vec<u8>, Vec<u8>))) -> Verdict {
    let packed = crate::capsules::adder();
    let module = packed.module().to_vec();
    let (mut capsule, mut held) = (packed.digest(), (packed.manifest.clone(), module));
    change(&mut capsule, &mut held);
    let mesh = Still { held: Some(held), ..Still::default() };
    let mut installed = Installed::default();
    let (instance, epoch) = (InstanceId(1), Epoch(1));
    let up = Trace::Up { instance, epoch, capsule, runs: true, leased: false, fuel: 1, from: None };
    installed.see(Instant::ZERO, &node(1, up)).unwrap();
    installed.look(Instant::ZERO, &mesh)?;
    installed.at_rest(Instant::ZERO, &mesh)
}

#[test]
fn what_was_published_is_fine() {
    looked_at(|_, _| {}).unwrap();
}

#[test]
fn anything_else_is_not() {
    let says = |verdict: Verdict, what: &str| {
        let said = verdict.unwrap_err().to_string();
        assert!(said.contains(what), "{said}");
    };
    says(looked_at(|_, (_, module)| module[20] ^= 1), "module has another digest");
    says(looked_at(|_, (_, module)| module.truncate(20)), "20 bytes");
    says(looked_at(|_, (envelope, _)| envelope[50] ^= 1), "envelope has another digest");
    // Somebody else's signature under a name of its own.
    let forged = |capsule: &mut Digest, (envelope, _): &mut (Vec<u8>, Vec<u8>)| {
        let last = envelope.len() - 1;
        envelope[last] ^= 1;
        *capsule = Digest::of(envelope);
    };
    assert!(looked_at(forged).is_err());
}
