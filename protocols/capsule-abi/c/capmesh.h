/* The contract between a capsule and its node, for C.
 *
 * A capsule is a WebAssembly module. It imports the functions below and exports the handlers that it
 * defines; a handler runs to its end, and what it asks for takes effect when it has ended. Inputs,
 * outputs and so on are numbered by their place in capsule.toml, from 0. Messages are records:
 * structs as a C compiler lays them out. `capsule.h`, which the tools make of capsule.toml, has
 * those structs, the numbers, and a function for each output, sensor and configuration value.
 *
 * Compile with clang --target=wasm32 -nostdlib; there is no C library. Clang makes memory.copy and
 * memory.fill of struct copies with -mbulk-memory.
 */
#ifndef CAPMESH_H
#define CAPMESH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CAPMESH_IMPORT(name) __attribute__((import_module("capmesh1"), import_name(name)))
#define CAPMESH_EXPORT(name) __attribute__((export_name(name), visibility("default")))

/* Why an imported function did nothing. */
enum {
    /* The manifest has nothing of that number. */
    CAPMESH_UNKNOWN = -1,
    /* The record does not fit the schema. */
    CAPMESH_SCHEMA = -2,
    /* The outbox is full. */
    CAPMESH_FULL = -3,
    /* There is no value: no sample yet, a key that is not configured. */
    CAPMESH_EMPTY = -4,
    /* The buffer is shorter than the value. */
    CAPMESH_TOO_SHORT = -5,
    /* Not possible in this handler. */
    CAPMESH_NOT_NOW = -6,
};

/* Levels of the log. */
enum { CAPMESH_ERROR = 0, CAPMESH_WARNING = 1, CAPMESH_INFO = 2, CAPMESH_DEBUG = 3 };

/* CoAP's methods and a status code of its classes and details: CAPMESH_STATUS(2, 5) is 2.05. */
enum { CAPMESH_GET = 1, CAPMESH_POST = 2, CAPMESH_PUT = 3, CAPMESH_DELETE = 4 };
#define CAPMESH_STATUS(class, detail) ((class) << 5 | (detail))

/* ---- Functions of the node. Where a result is an int32_t, a negative one is an error. ---- */

/* Copies up to len bytes of the event being handled, from offset on, to dst; returns how many. */
CAPMESH_IMPORT("read")
int32_t capmesh_read(uint32_t offset, void *dst, size_t len);

/* Publishes the record at src on an output. */
CAPMESH_IMPORT("publish")
int32_t capmesh_publish(uint32_t output, const void *src, size_t len);

/* Asks a resource of another capsule; returns the number that its reply will carry. */
CAPMESH_IMPORT("request")
int32_t capmesh_request(uint32_t peer, uint32_t resource, const void *src, size_t len);

/* Answers the request being handled, or gives the result of run; the last call counts. */
CAPMESH_IMPORT("respond")
int32_t capmesh_respond(uint32_t status, const void *src, size_t len);

/* Has the timer run out once after that time; replaces the timer of that number. */
CAPMESH_IMPORT("set_timer")
int32_t capmesh_set_timer(uint32_t timer, int64_t micros);

/* Forgets a timer. */
CAPMESH_IMPORT("cancel_timer")
int32_t capmesh_cancel_timer(uint32_t timer);

/* Copies the record of a sensor's last sample to dst; returns its length. */
CAPMESH_IMPORT("sensor")
int32_t capmesh_sensor(uint32_t sensor, void *dst, size_t len);

/* Sets an actuator when the handler ends. */
CAPMESH_IMPORT("actuate")
int32_t capmesh_actuate(uint32_t actuator, double value);

/* Copies a configuration value to dst (numbers as double, texts as UTF-8); returns its length. */
CAPMESH_IMPORT("config")
int32_t capmesh_config(uint32_t key, void *dst, size_t len);

/* Microseconds since 1970-01-01 UTC at which the handler started. */
CAPMESH_IMPORT("time")
int64_t capmesh_time(void);

/* Half the width in microseconds of the interval that contains the true time; negative if unknown. */
CAPMESH_IMPORT("time_uncertainty")
int64_t capmesh_time_uncertainty(void);

/* 64 random bits, repeatable from the instance's seed; not for keys. */
CAPMESH_IMPORT("random")
int64_t capmesh_random(void);

/* A line of UTF-8 text for the log. */
CAPMESH_IMPORT("log")
void capmesh_log(uint32_t level, const char *src, size_t len);

/* Logs a literal. */
#define CAPMESH_LOG(level, literal) capmesh_log((level), "" literal, sizeof(literal) - 1)

/* ---- Handlers: define those that the capsule has. ---- */

/* Once for a fresh instance, before any other handler; not after a restore. */
CAPMESH_EXPORT("start")
void capmesh_on_start(void);

/* A message arrived on an input; its record is read with capmesh_read. */
CAPMESH_EXPORT("message")
void capmesh_on_message(uint32_t input, uint32_t len);

/* A timer ran out. */
CAPMESH_EXPORT("timer")
void capmesh_on_timer(uint32_t timer);

/* A digital input changed. */
CAPMESH_EXPORT("event")
void capmesh_on_event(uint32_t source, double value);

/* Another capsule or a CoAP client asks; the body is read with capmesh_read. */
CAPMESH_EXPORT("request")
void capmesh_on_request(uint32_t resource, uint32_t method, uint32_t len);

/* The answer to a request; status is a CoAP code, or 0 if none came. */
CAPMESH_EXPORT("reply")
void capmesh_on_reply(uint32_t request, uint32_t status, uint32_t len);

/* A one-shot capsule's whole work; the result is given with capmesh_respond. */
CAPMESH_EXPORT("run")
void capmesh_on_run(uint32_t len);

/* The version of the layout of the capsule's memory. */
CAPMESH_EXPORT("state_version")
int32_t capmesh_state_version(void);

#ifdef __cplusplus
}
#endif

#endif
