/* Made of conformance/c's capsule.toml. Do not edit. */
#ifndef CAPSULE_H
#define CAPSULE_H

#include <capmesh.h>

/* Something of every type. */
typedef struct {
    bool on;
    bool has_level;
    uint16_t level;
    int8_t tiny;
    /* Unit: J. */
    int64_t energy;
    struct { uint8_t len; char text[5]; } label;
    bool has_raw;
    struct { uint8_t len; uint8_t bytes[3]; } raw;
    float small;
    bool has_large;
    double large;
    uint32_t count;
    uint8_t last;
} mixed_t;
_Static_assert(sizeof(mixed_t) == 56, "the contract's layout");
_Static_assert(offsetof(mixed_t, on) == 0, "the contract's layout");
_Static_assert(offsetof(mixed_t, level) == 2, "the contract's layout");
_Static_assert(offsetof(mixed_t, tiny) == 4, "the contract's layout");
_Static_assert(offsetof(mixed_t, energy) == 8, "the contract's layout");
_Static_assert(offsetof(mixed_t, label) == 16, "the contract's layout");
_Static_assert(offsetof(mixed_t, raw) == 23, "the contract's layout");
_Static_assert(offsetof(mixed_t, small) == 28, "the contract's layout");
_Static_assert(offsetof(mixed_t, large) == 40, "the contract's layout");
_Static_assert(offsetof(mixed_t, count) == 48, "the contract's layout");
_Static_assert(offsetof(mixed_t, last) == 52, "the contract's layout");

/* The event being handled, if it carries this. */
static inline mixed_t read_mixed(void) {
    mixed_t message;
    capmesh_read(0, &message, sizeof message);
    return message;
}

/* Something to do. */
typedef struct {
    /* What, as the suite in node/runtime/tests/conformance.rs lists it. */
    uint8_t op;
    int32_t a;
    int64_t b;
    double c;
} command_t;
_Static_assert(sizeof(command_t) == 24, "the contract's layout");
_Static_assert(offsetof(command_t, op) == 0, "the contract's layout");
_Static_assert(offsetof(command_t, a) == 4, "the contract's layout");
_Static_assert(offsetof(command_t, b) == 8, "the contract's layout");
_Static_assert(offsetof(command_t, c) == 16, "the contract's layout");

/* The event being handled, if it carries this. */
static inline command_t read_command(void) {
    command_t message;
    capmesh_read(0, &message, sizeof message);
    return message;
}

/* What came of it. */
typedef struct {
    int32_t code;
    int64_t number;
    double value;
} outcome_t;
_Static_assert(sizeof(outcome_t) == 24, "the contract's layout");
_Static_assert(offsetof(outcome_t, code) == 0, "the contract's layout");
_Static_assert(offsetof(outcome_t, number) == 8, "the contract's layout");
_Static_assert(offsetof(outcome_t, value) == 16, "the contract's layout");

/* The event being handled, if it carries this. */
static inline outcome_t read_outcome(void) {
    outcome_t message;
    capmesh_read(0, &message, sizeof message);
    return message;
}

enum { INPUT_MIXED = 0, INPUT_COMMAND = 1 };

enum { OUTPUT_MIXED = 0, OUTPUT_OUTCOME = 1 };

enum { SENSOR_AIR = 0 };

enum { ACTUATOR_LAMP = 0, ACTUATOR_HORN = 1 };

enum { SOURCE_BUTTON = 0 };

enum { TIMER_FIRST = 0, TIMER_SECOND = 1 };

enum { SERVICE_ASK = 0, SERVICE_BARE = 1 };

enum { PEER_STORE = 0 };

enum { CONFIG_RATIO = 0, CONFIG_LABEL = 1, CONFIG_ON = 2 };

static inline int32_t publish_mixed(const mixed_t *message) {
    return capmesh_publish(OUTPUT_MIXED, message, sizeof *message);
}

static inline int32_t publish_outcome(const outcome_t *message) {
    return capmesh_publish(OUTPUT_OUTCOME, message, sizeof *message);
}

static inline bool sense_air(outcome_t *sample) {
    return capmesh_sensor(SENSOR_AIR, sample, sizeof *sample) >= 0;
}

static inline int32_t ask_store_put(const outcome_t *body) {
    return capmesh_request(PEER_STORE, 0, body, sizeof *body);
}

static inline int32_t ask_store_get(void) {
    return capmesh_request(PEER_STORE, 1, 0, 0);
}

static inline double config_ratio(void) {
    double value;
    return capmesh_config(CONFIG_RATIO, &value, sizeof value) < 0 ? (double)0.5 : (double)(value);
}

static inline int32_t config_label(char to[8]) {
    int32_t len = capmesh_config(CONFIG_LABEL, to, 8);
    if (len < 0) {
        static const char fallback[] = "none";
        for (len = 0; fallback[len]; len++) to[len] = fallback[len];
    }
    return len;
}

static inline bool config_on(void) {
    double value;
    return capmesh_config(CONFIG_ON, &value, sizeof value) < 0 ? (bool)true : (bool)(value != 0);
}

#endif
