/* The median of the last readings: outliers vanish, steps stay sharp. */
#include "capsule.h"

enum { MAX = 9 };

/* The last readings, the oldest of which is overwritten next. */
static float readings[MAX];
static uint32_t next, count;

/* The middle one of n values; the lower of two for an even n. */
static float median(uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        uint32_t below = 0, equal = 0;
        for (uint32_t j = 0; j < n; j++) {
            below += readings[j] < readings[i];
            equal += readings[j] == readings[i];
        }
        if (below <= (n - 1) / 2 && below + equal > (n - 1) / 2) return readings[i];
    }
    /* Only what is not a number has no rank. */
    return readings[0];
}

void capmesh_on_message(uint32_t input, uint32_t len) {
    (void)input, (void)len;
    uint32_t width = config_width();
    if (width < 1) width = 1;
    if (width > MAX) width = MAX;
    readings[next] = read_temperature().value;
    next = (next + 1) % width;
    if (count < width) count++;
    temperature_t message = {.value = median(count)};
    if (publish_median(&message) < 0) CAPMESH_LOG(CAPMESH_ERROR, "outbox full");
}

int32_t capmesh_state_version(void) { return 1; }
