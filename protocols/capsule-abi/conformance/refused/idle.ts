// Exports functions, and none of them is a handler.
export function add(a: i32, b: i32): i32 {
  return a + b;
}
