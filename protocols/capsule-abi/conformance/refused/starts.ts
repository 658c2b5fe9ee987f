// Computes when it is instantiated, before any handler: in a start function.
const ZERO: f64 = NativeMath.log(1);
let level: f64 = NativeMath.log(2);

export function timer(timer: u32): void {
  level += ZERO;
}
