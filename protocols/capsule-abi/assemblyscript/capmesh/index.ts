/**
 * The contract between a capsule and its node, for AssemblyScript.
 *
 * A capsule is a WebAssembly module. It imports the functions below and exports the handlers that it
 * defines, under the contract's names:
 *
 *     export function start(): void
 *     export function message(input: u32, len: u32): void
 *     export function timer(timer: u32): void
 *     export function event(source: u32, value: f64): void
 *     export function request(resource: u32, method: u32, len: u32): void
 *     export function reply(request: u32, status: u32, len: u32): void
 *     export function run(len: u32): void
 *     export function state_version(): i32
 *
 * A handler runs to its end, and what it asks for takes effect when it has ended. Inputs, outputs and
 * so on are numbered by their place in capsule.toml, from 0. `capsule.ts`, which the tools make of
 * capsule.toml, has those numbers, a class for each schema, and a function for each output, sensor
 * and configuration value.
 *
 * Compile with `--runtime stub --use abort= --noAssert`. That runtime never frees, so a capsule must
 * not allocate in a handler: no `new`, no strings put together, no arrays. Keep state in variables of
 * the module with constant initial values; others would need a start function, which nodes refuse.
 */

// Results: what is negative is one of these.
/** The manifest has nothing of that number. */
export const UNKNOWN: i32 = -1;
/** The record does not fit the schema. */
export const SCHEMA: i32 = -2;
/** The outbox is full. */
export const FULL: i32 = -3;
/** There is no value: no sample yet, a key that is not configured. */
export const EMPTY: i32 = -4;
/** The buffer is shorter than the value. */
export const TOO_SHORT: i32 = -5;
/** Not possible in this handler. */
export const NOT_NOW: i32 = -6;

// Levels of the log.
export const ERROR: u32 = 0;
export const WARNING: u32 = 1;
export const INFO: u32 = 2;
export const DEBUG: u32 = 3;

// CoAP's methods.
export const GET: u32 = 1;
export const POST: u32 = 2;
export const PUT: u32 = 3;
export const DELETE: u32 = 4;

/** Room for a configuration value that is a number. */
export const NUMBER: usize = memory.data(8, 8);

/** A CoAP status: `status(2, 5)` is 2.05. */
// @ts-ignore: decorator
@inline
export function status(class_: u32, detail: u32): u32 {
  return (class_ << 5) | detail;
}

/** Copies up to `len` bytes of the event being handled, from `offset` on, to `dst`; returns how many. */
// @ts-ignore: decorator
@external("capmesh1", "read")
export declare function read(offset: u32, dst: usize, len: u32): i32;

/** Publishes the record at `src` on an output. */
// @ts-ignore: decorator
@external("capmesh1", "publish")
export declare function publish(output: u32, src: usize, len: u32): i32;

/** Asks a resource of another capsule; returns the number that its reply will carry. */
// @ts-ignore: decorator
@external("capmesh1", "request")
export declare function request(peer: u32, resource: u32, src: usize, len: u32): i32;

/** Answers the request being handled, or gives the result of `run`; the last call counts. */
// @ts-ignore: decorator
@external("capmesh1", "respond")
export declare function respond(status: u32, src: usize, len: u32): i32;

/** Has the timer run out once after that time; replaces the timer of that number. */
// @ts-ignore: decorator
@external("capmesh1", "set_timer")
export declare function setTimer(timer: u32, micros: i64): i32;

/** Forgets a timer. */
// @ts-ignore: decorator
@external("capmesh1", "cancel_timer")
export declare function cancelTimer(timer: u32): i32;

/** Copies the record of a sensor's last sample to `dst`; returns its length. */
// @ts-ignore: decorator
@external("capmesh1", "sensor")
export declare function sensor(sensor: u32, dst: usize, len: u32): i32;

/** Sets an actuator when the handler ends. */
// @ts-ignore: decorator
@external("capmesh1", "actuate")
export declare function actuate(actuator: u32, value: f64): i32;

/** Copies a configuration value to `dst` (numbers as f64, texts as UTF-8); returns its length. */
// @ts-ignore: decorator
@external("capmesh1", "config")
export declare function config(key: u32, dst: usize, len: u32): i32;

/** Microseconds since 1970-01-01 UTC at which the handler started. */
// @ts-ignore: decorator
@external("capmesh1", "time")
export declare function time(): i64;

/** Half the width in microseconds of the interval that contains the true time; negative if unknown. */
// @ts-ignore: decorator
@external("capmesh1", "time_uncertainty")
export declare function timeUncertainty(): i64;

/** 64 random bits, repeatable from the instance's seed; not for keys. */
// @ts-ignore: decorator
@external("capmesh1", "random")
export declare function random(): i64;

/** A line of UTF-8 text for the log. */
// @ts-ignore: decorator
@external("capmesh1", "log")
export declare function log(level: u32, src: usize, len: u32): void;
