// The conformance suite's capsule in AssemblyScript: node/runtime/tests/conformance.rs says what it is
// to do.
import * as capmesh from "capmesh";
import * as capsule from "./capsule";

// Messages, how the flood ended, and which request is whose.
let count: u32 = 0;
let flooded: u32 = 0;
let floodEnd: i32 = 0;
let lastPut: i32 = -1;
let lastGet: i32 = -1;

const START: usize = memory.data<u8>([0x73, 0x74, 0x61, 0x72, 0x74]);
const NAME: usize = memory.data<u8>([
  0x63, 0x6f, 0x6e, 0x66, 0x6f, 0x72, 0x6d, 0x61, 0x6e, 0x63, 0x65,
]);
const LABEL: usize = memory.data(8);
const BYTES: usize = memory.data(16);
const REVERSED: usize = memory.data(16);

function filled(code: i32, number: i64, value: f64): capsule.Outcome {
  const message = capsule.theOutcome();
  message.code = code;
  message.number = number;
  message.value = value;
  return message;
}

function outcome(code: i32, number: i64, value: f64): i32 {
  return capsule.publishOutcome(filled(code, number, value));
}

function command(c: capsule.Command): void {
  switch (c.op) {
    case 0: {
      const uncertainty = capmesh.timeUncertainty();
      outcome(0, capmesh.time(), uncertainty < 0 ? -1 : <f64>uncertainty);
      break;
    }
    case 1:
      outcome(0, capmesh.random(), 0);
      break;
    case 2:
      outcome(capmesh.setTimer(capsule.TIMER_SECOND, c.b), c.b, 0);
      break;
    case 3:
      outcome(capmesh.cancelTimer(capsule.TIMER_SECOND), 0, 0);
      break;
    case 4: {
      const sample = capsule.theOutcome();
      const len = capmesh.sensor(capsule.SENSOR_AIR, changetype<usize>(sample), 24);
      if (len < 0) outcome(len, 0, 0);
      else capsule.publishOutcome(sample);
      break;
    }
    case 5:
      capmesh.actuate(c.a == 0 ? capsule.ACTUATOR_LAMP : capsule.ACTUATOR_HORN, c.c);
      break;
    case 6: {
      const len = capsule.configLabel(LABEL);
      const first: i32 = len > 0 ? load<u8>(LABEL) : 0;
      outcome(<i32>capsule.configOn(), len * 1000 + first, capsule.configRatio());
      break;
    }
    case 7:
      lastPut = capsule.askStorePut(filled(c.a, c.b, c.c));
      outcome(lastPut, 0, 0);
      break;
    case 8:
      lastGet = capsule.askStoreGet();
      outcome(lastGet, 0, 0);
      break;
    case 9:
      flooded = 0;
      while ((floodEnd = outcome(0, flooded, 0)) >= 0) flooded++;
      break;
    case 10:
      outcome(floodEnd, flooded, 0);
      break;
    case 11:
      capmesh.log(<u32>c.a, NAME, 11);
      break;
    case 12:
      unreachable();
      break;
    default:
      outcome(0, count, 0);
  }
}

export function start(): void {
  capmesh.log(capmesh.INFO, START, 5);
  capmesh.setTimer(capsule.TIMER_FIRST, 1000000);
  outcome(-100, 0, 0);
}

export function message(input: u32, len: u32): void {
  count++;
  if (input == capsule.INPUT_MIXED) {
    const mixed = capsule.readMixed();
    mixed.count++;
    capsule.publishMixed(mixed);
  } else {
    command(capsule.readCommand());
  }
}

export function timer(timer: u32): void {
  outcome(1000 + timer, count, 0);
}

export function event(source: u32, value: f64): void {
  outcome(2000 + source, 0, value);
}

export function request(resource: u32, method: u32, len: u32): void {
  if (resource == capsule.SERVICE_BARE) {
    capmesh.respond(capmesh.status(2, 4), 0, 0);
  } else if (method == capmesh.GET && len == 0) {
    const body = filled(1, count, 0);
    capmesh.respond(capmesh.status(2, 5), changetype<usize>(body), 24);
  } else if (method == capmesh.PUT && len == 24) {
    const c = capsule.readCommand();
    const body = filled(c.a, c.b, c.c);
    capmesh.respond(capmesh.status(2, 4), changetype<usize>(body), 24);
  } else {
    capmesh.respond(capmesh.status(4, 5), 0, 0);
  }
}

export function reply(request: u32, status: u32, len: u32): void {
  const code = <i32>request == lastPut ? 3000 : <i32>request == lastGet ? 4000 : 0;
  if (code == 0) return;
  outcome(code + status, request, len > 0 ? capsule.readOutcome().value : -1);
}

export function run(len: u32): void {
  if (len > 16) {
    capmesh.respond(capmesh.status(4, 13), 0, 0);
    return;
  }
  capmesh.read(0, BYTES, len);
  for (let i: u32 = 0; i < len; i++) store<u8>(REVERSED + i, load<u8>(BYTES + len - 1 - i));
  capmesh.respond(capmesh.status(2, 5), REVERSED, len);
}

export function state_version(): i32 {
  return 7;
}
