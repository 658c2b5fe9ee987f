// Compiled without `--use abort=`: what goes wrong is to be told to a JavaScript host.
export function message(input: u32, len: u32): void {
  if (input != 0) throw new Error("no such input");
}
