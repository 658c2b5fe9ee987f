/* Made of examples/median-filter's capsule.toml. Do not edit. */
#ifndef CAPSULE_H
#define CAPSULE_H

#include <capmesh.h>

/* How warm it is. */
typedef struct {
    /* Unit: Cel. */
    float value;
} temperature_t;
_Static_assert(sizeof(temperature_t) == 4, "the contract's layout");
_Static_assert(offsetof(temperature_t, value) == 0, "the contract's layout");

/* The event being handled, if it carries this. */
static inline temperature_t read_temperature(void) {
    temperature_t message;
    capmesh_read(0, &message, sizeof message);
    return message;
}

enum { INPUT_READING = 0 };

enum { OUTPUT_MEDIAN = 0 };

enum { CONFIG_WIDTH = 0 };

static inline int32_t publish_median(const temperature_t *message) {
    return capmesh_publish(OUTPUT_MEDIAN, message, sizeof *message);
}

/* How many readings the median is of, 1 to 9. */
static inline uint8_t config_width(void) {
    double value;
    return capmesh_config(CONFIG_WIDTH, &value, sizeof value) < 0 ? (uint8_t)5 : (uint8_t)(value);
}

#endif
