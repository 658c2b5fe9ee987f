// Made of conformance/assemblyscript's capsule.toml. Do not edit.
import * as capmesh from "capmesh";

/** Something of every type. */
@unmanaged
export class Mixed {
  @inline get on(): bool { return load<bool>(changetype<usize>(this), 0); }
  @inline set on(value: bool) { store<bool>(changetype<usize>(this), value, 0); }
  @inline get hasLevel(): bool { return load<bool>(changetype<usize>(this), 1); }
  @inline set hasLevel(value: bool) { store<bool>(changetype<usize>(this), value, 1); }
  @inline get level(): u16 { return load<u16>(changetype<usize>(this), 2); }
  @inline set level(value: u16) { store<u16>(changetype<usize>(this), value, 2); }
  @inline get tiny(): i8 { return load<i8>(changetype<usize>(this), 4); }
  @inline set tiny(value: i8) { store<i8>(changetype<usize>(this), value, 4); }
  /** Unit: J. */
  @inline get energy(): i64 { return load<i64>(changetype<usize>(this), 8); }
  @inline set energy(value: i64) { store<i64>(changetype<usize>(this), value, 8); }
  @inline get labelLength(): u8 { return load<u8>(changetype<usize>(this), 16); }
  @inline set labelLength(value: u8) { store<u8>(changetype<usize>(this), value, 16); }
  /** Where its bytes are: 5 at most. */
  @inline get label(): usize { return changetype<usize>(this) + 17; }
  @inline get hasRaw(): bool { return load<bool>(changetype<usize>(this), 22); }
  @inline set hasRaw(value: bool) { store<bool>(changetype<usize>(this), value, 22); }
  @inline get rawLength(): u8 { return load<u8>(changetype<usize>(this), 23); }
  @inline set rawLength(value: u8) { store<u8>(changetype<usize>(this), value, 23); }
  /** Where its bytes are: 3 at most. */
  @inline get raw(): usize { return changetype<usize>(this) + 24; }
  @inline get small(): f32 { return load<f32>(changetype<usize>(this), 28); }
  @inline set small(value: f32) { store<f32>(changetype<usize>(this), value, 28); }
  @inline get hasLarge(): bool { return load<bool>(changetype<usize>(this), 32); }
  @inline set hasLarge(value: bool) { store<bool>(changetype<usize>(this), value, 32); }
  @inline get large(): f64 { return load<f64>(changetype<usize>(this), 40); }
  @inline set large(value: f64) { store<f64>(changetype<usize>(this), value, 40); }
  @inline get count(): u32 { return load<u32>(changetype<usize>(this), 48); }
  @inline set count(value: u32) { store<u32>(changetype<usize>(this), value, 48); }
  @inline get last(): u8 { return load<u8>(changetype<usize>(this), 52); }
  @inline set last(value: u8) { store<u8>(changetype<usize>(this), value, 52); }
}

const MIXED: usize = memory.data(56, 8);

/** The one Mixed that there is room for. */
@inline
export function theMixed(): Mixed {
  return changetype<Mixed>(MIXED);
}

/** The event being handled, if it carries a Mixed: it is read into the one. */
export function readMixed(): Mixed {
  capmesh.read(0, MIXED, 56);
  return changetype<Mixed>(MIXED);
}

/** Something to do. */
@unmanaged
export class Command {
  /** What, as the suite in node/runtime/tests/conformance.rs lists it. */
  @inline get op(): u8 { return load<u8>(changetype<usize>(this), 0); }
  @inline set op(value: u8) { store<u8>(changetype<usize>(this), value, 0); }
  @inline get a(): i32 { return load<i32>(changetype<usize>(this), 4); }
  @inline set a(value: i32) { store<i32>(changetype<usize>(this), value, 4); }
  @inline get b(): i64 { return load<i64>(changetype<usize>(this), 8); }
  @inline set b(value: i64) { store<i64>(changetype<usize>(this), value, 8); }
  @inline get c(): f64 { return load<f64>(changetype<usize>(this), 16); }
  @inline set c(value: f64) { store<f64>(changetype<usize>(this), value, 16); }
}

const COMMAND: usize = memory.data(24, 8);

/** The one Command that there is room for. */
@inline
export function theCommand(): Command {
  return changetype<Command>(COMMAND);
}

/** The event being handled, if it carries a Command: it is read into the one. */
export function readCommand(): Command {
  capmesh.read(0, COMMAND, 24);
  return changetype<Command>(COMMAND);
}

/** What came of it. */
@unmanaged
export class Outcome {
  @inline get code(): i32 { return load<i32>(changetype<usize>(this), 0); }
  @inline set code(value: i32) { store<i32>(changetype<usize>(this), value, 0); }
  @inline get number(): i64 { return load<i64>(changetype<usize>(this), 8); }
  @inline set number(value: i64) { store<i64>(changetype<usize>(this), value, 8); }
  @inline get value(): f64 { return load<f64>(changetype<usize>(this), 16); }
  @inline set value(value: f64) { store<f64>(changetype<usize>(this), value, 16); }
}

const OUTCOME: usize = memory.data(24, 8);

/** The one Outcome that there is room for. */
@inline
export function theOutcome(): Outcome {
  return changetype<Outcome>(OUTCOME);
}

/** The event being handled, if it carries a Outcome: it is read into the one. */
export function readOutcome(): Outcome {
  capmesh.read(0, OUTCOME, 24);
  return changetype<Outcome>(OUTCOME);
}

export const INPUT_MIXED: u32 = 0;
export const INPUT_COMMAND: u32 = 1;

export const OUTPUT_MIXED: u32 = 0;
export const OUTPUT_OUTCOME: u32 = 1;

export const SENSOR_AIR: u32 = 0;

export const ACTUATOR_LAMP: u32 = 0;
export const ACTUATOR_HORN: u32 = 1;

export const SOURCE_BUTTON: u32 = 0;

export const TIMER_FIRST: u32 = 0;
export const TIMER_SECOND: u32 = 1;

export const SERVICE_ASK: u32 = 0;
export const SERVICE_BARE: u32 = 1;

export const PEER_STORE: u32 = 0;

export const CONFIG_RATIO: u32 = 0;
export const CONFIG_LABEL: u32 = 1;
export const CONFIG_ON: u32 = 2;

export function publishMixed(message: Mixed): i32 {
  return capmesh.publish(OUTPUT_MIXED, changetype<usize>(message), 56);
}

export function publishOutcome(message: Outcome): i32 {
  return capmesh.publish(OUTPUT_OUTCOME, changetype<usize>(message), 24);
}

export function senseAir(sample: Outcome): bool {
  return capmesh.sensor(SENSOR_AIR, changetype<usize>(sample), 24) >= 0;
}

export function askStorePut(body: Outcome): i32 {
  return capmesh.request(PEER_STORE, 0, changetype<usize>(body), 24);
}

export function askStoreGet(): i32 {
  return capmesh.request(PEER_STORE, 1, 0, 0);
}

export function configRatio(): f64 {
  return capmesh.config(CONFIG_RATIO, capmesh.NUMBER, 8) < 0 ? 0.5 : <f64>load<f64>(capmesh.NUMBER);
}

export function configLabel(to: usize): i32 {
  const len = capmesh.config(CONFIG_LABEL, to, 8);
  if (len < 0) {
    memory.copy(to, memory.data<u8>([110, 111, 110, 101]), 4);
    return 4;
  }
  return len;
}

export function configOn(): bool {
  return capmesh.config(CONFIG_ON, capmesh.NUMBER, 8) < 0 ? true : load<f64>(capmesh.NUMBER) != 0;
}
