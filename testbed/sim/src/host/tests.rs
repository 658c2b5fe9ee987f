use super::*;
use crate::script::Recipe;
use capmesh_node::host::Trap;

/// What a capsule answers an event with, and how that ended.
#[derive(Debug, PartialEq)]
struct Answer(Vec<String>, Progress);

fn surroundings() -> Surroundings {
    Surroundings { outputs: vec![(8, 8)], peers: 0, actuators: 0, config: Vec::new(), sensors: 0 }
}

fn instance(module: &[u8]) -> Instance {
    let (host, limits) = (SimHost::new(), limits());
    let admitted = host.admit(module, &limits).unwrap();
    host.instantiate(&admitted, &limits, surroundings(), 1).unwrap()
}

fn limits() -> Limits {
    Limits { handler_fuel: 100_000, ..Limits::default() }
}

fn give(instance: &mut Instance, event: &Event<'_>) -> Answer {
    let mut progress = Progress::Idle;
    if instance.begin(event, 0, None).unwrap() {
        progress = instance.run(1_000);
        while progress == Progress::Suspended {
            progress = instance.run(1_000);
        }
    }
    Answer(instance.effects().map(|effect| format!("{effect:?}")).collect(), progress)
}

fn message(number: u64, instance: &mut Instance) -> Answer {
    give(instance, &Event::Message { input: 0, record: &number.to_le_bytes() })
}

/// Recipes as modules and as scripts.
fn both(recipe: Recipe) -> (Instance, Instance) {
    let module = wat::parse_str(recipe.text()).unwrap();
    (instance(&module), instance(recipe.script().to_string().as_bytes()))
}

#[test]
fn a_script_does_what_its_module_does() {
    let (mut module, mut script) = both(Recipe::Adder);
    for number in [1, 2, 40, u64::MAX] {
        assert_eq!(message(number, &mut module), message(number, &mut script));
    }
    let (mut module, mut script) = both(Recipe::Source { millis: 20, count: 2 });
    let events = [Event::Start, Event::Timer { timer: 0 }, Event::Timer { timer: 0 }];
    for event in events.iter().chain(&events[1..]) {
        assert_eq!(give(&mut module, event), give(&mut script, event));
    }
    for recipe in [Recipe::Trap { nth: 3 }, Recipe::Loop { nth: 3 }] {
        let (mut module, mut script) = both(recipe);
        for number in [1, 2, 3] {
            assert_eq!(message(number, &mut module), message(number, &mut script), "{recipe:?}");
        }
        assert!(module.begin(&Event::Start, 0, None).is_err(), "{recipe:?}");
        assert!(script.begin(&Event::Start, 0, None).is_err(), "{recipe:?}");
    }
}

#[test]
fn a_script_that_takes_too_much_memory_dies_of_it() {
    let mut script = instance(b"script hog 2");
    assert_eq!(message(1, &mut script).1, Progress::Idle);
    assert_eq!(message(2, &mut script), Answer(Vec::new(), Progress::Trapped(Trap::MemoryLimit)));
    assert!(!script.is_quiescent());
}

#[test]
fn a_script_goes_on_from_its_snapshot_and_from_no_other() {
    let module = b"script adder    ";
    let mut before = instance(module);
    message(20, &mut before);
    let mut state = Vec::new();
    before.snapshot(module, &mut state, 100).unwrap();
    assert_eq!(before.snapshot(module, &mut Vec::new(), 3), Err(SnapshotError::TooLarge));
    assert_eq!(before.snapshot(b"script sink", &mut Vec::new(), 99), Err(SnapshotError::Module));
    let mut after = instance(module);
    after.restore(&state).unwrap();
    assert_eq!(message(1, &mut before), message(1, &mut after));
    let mut fresh = instance(module);
    assert_eq!(fresh.restore(&state[..9]), Err(RestoreError::Malformed));
    assert_eq!(fresh.restore(&[1]), Err(RestoreError::Version));
}

#[test]
fn a_handler_is_cut_into_slices_and_has_so_much_fuel_in_all() {
    let mut script = instance(b"script loop 1");
    let record = 1_u64.to_le_bytes();
    assert!(script.begin(&Event::Message { input: 0, record: &record }, 0, None).unwrap());
    for _ in 0..99 {
        assert_eq!(script.run(1_000), Progress::Suspended);
        assert!(script.begin(&Event::Start, 0, None).is_err());
    }
    assert_eq!(script.run(1_000), Progress::Trapped(Trap::FuelBudget));
    assert_eq!(script.fuel_used(), 100_000);
}

#[test]
fn what_is_no_script_is_refused() {
    let host = SimHost::new();
    for module in ["script ", "script trap 0", "script source 1", "script adder 3", "scripts"] {
        assert!(host.admit(module.as_bytes(), &Limits::default()).is_err(), "{module}");
    }
}
