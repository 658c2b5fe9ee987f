// A mean to which older readings count less and less.
import { ERROR, log } from "capmesh";
import { configWeight, publishMean, readTemperature, theTemperature } from "./capsule";

// The mean, once there has been a reading.
let mean: f64 = 0;
let hasMean: bool = false;

const FULL: usize = memory.data<u8>([0x66, 0x75, 0x6c, 0x6c]);

export function message(input: u32, len: u32): void {
  const value = <f64>readTemperature().value;
  mean = hasMean ? mean + configWeight() * (value - mean) : value;
  hasMean = true;
  const result = theTemperature();
  result.value = <f32>mean;
  if (publishMean(result) < 0) log(ERROR, FULL, 4);
}

export function state_version(): i32 {
  return 1;
}
