// Made of examples/exponential-mean's capsule.toml. Do not edit.
import * as capmesh from "capmesh";

/** How warm it is. */
@unmanaged
export class Temperature {
  /** Unit: Cel. */
  @inline get value(): f32 { return load<f32>(changetype<usize>(this), 0); }
  @inline set value(value: f32) { store<f32>(changetype<usize>(this), value, 0); }
}

const TEMPERATURE: usize = memory.data(4, 4);

/** The one Temperature that there is room for. */
@inline
export function theTemperature(): Temperature {
  return changetype<Temperature>(TEMPERATURE);
}

/** The event being handled, if it carries a Temperature: it is read into the one. */
export function readTemperature(): Temperature {
  capmesh.read(0, TEMPERATURE, 4);
  return changetype<Temperature>(TEMPERATURE);
}

export const INPUT_READING: u32 = 0;

export const OUTPUT_MEAN: u32 = 0;

export const CONFIG_WEIGHT: u32 = 0;

export function publishMean(message: Temperature): i32 {
  return capmesh.publish(OUTPUT_MEAN, changetype<usize>(message), 4);
}

/** How much a new reading counts, more than 0 and at most 1. Unit: /. */
export function configWeight(): f64 {
  return capmesh.config(CONFIG_WEIGHT, capmesh.NUMBER, 8) < 0 ? 0.25 : <f64>load<f64>(capmesh.NUMBER);
}
