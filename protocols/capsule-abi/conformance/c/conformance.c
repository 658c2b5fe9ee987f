/* The conformance suite's capsule in C: node/runtime/tests/conformance.rs says what it is to do. */
#include "capsule.h"

/* Messages, how the flood ended, and which request is whose. */
static uint32_t count, flooded;
static int32_t flood_end;
static int32_t last_put = -1, last_get = -1;

static int32_t outcome(int32_t code, int64_t number, double value) {
    outcome_t message = {.code = code, .number = number, .value = value};
    return publish_outcome(&message);
}

static void command(command_t c) {
    switch (c.op) {
    case 0: {
        int64_t uncertainty = capmesh_time_uncertainty();
        outcome(0, capmesh_time(), uncertainty < 0 ? -1.0 : (double)uncertainty);
        break;
    }
    case 1:
        outcome(0, capmesh_random(), 0);
        break;
    case 2:
        outcome(capmesh_set_timer(TIMER_SECOND, c.b), c.b, 0);
        break;
    case 3:
        outcome(capmesh_cancel_timer(TIMER_SECOND), 0, 0);
        break;
    case 4: {
        outcome_t sample;
        int32_t len = capmesh_sensor(SENSOR_AIR, &sample, sizeof sample);
        if (len < 0) outcome(len, 0, 0);
        else publish_outcome(&sample);
        break;
    }
    case 5:
        capmesh_actuate(c.a == 0 ? ACTUATOR_LAMP : ACTUATOR_HORN, c.c);
        break;
    case 6: {
        char label[8];
        int32_t len = config_label(label);
        outcome(config_on(), len * 1000 + (len ? label[0] : 0), config_ratio());
        break;
    }
    case 7: {
        outcome_t body = {.code = c.a, .number = c.b, .value = c.c};
        last_put = ask_store_put(&body);
        outcome(last_put, 0, 0);
        break;
    }
    case 8:
        last_get = ask_store_get();
        outcome(last_get, 0, 0);
        break;
    case 9:
        for (flooded = 0; (flood_end = outcome(0, flooded, 0)) >= 0; flooded++) {}
        break;
    case 10:
        outcome(flood_end, flooded, 0);
        break;
    case 11:
        CAPMESH_LOG((uint32_t)c.a, "conformance");
        break;
    case 12:
        __builtin_trap();
    default:
        outcome(0, count, 0);
    }
}

void capmesh_on_start(void) {
    CAPMESH_LOG(CAPMESH_INFO, "start");
    capmesh_set_timer(TIMER_FIRST, 1000000);
    outcome(-100, 0, 0);
}

void capmesh_on_message(uint32_t input, uint32_t len) {
    (void)len;
    count++;
    if (input == INPUT_MIXED) {
        mixed_t message = read_mixed();
        message.count++;
        publish_mixed(&message);
    } else {
        command(read_command());
    }
}

void capmesh_on_timer(uint32_t timer) { outcome(1000 + (int32_t)timer, count, 0); }

void capmesh_on_event(uint32_t source, double value) { outcome(2000 + (int32_t)source, 0, value); }

void capmesh_on_request(uint32_t resource, uint32_t method, uint32_t len) {
    if (resource == SERVICE_BARE) {
        capmesh_respond(CAPMESH_STATUS(2, 4), 0, 0);
    } else if (method == CAPMESH_GET && len == 0) {
        outcome_t body = {.code = 1, .number = count};
        capmesh_respond(CAPMESH_STATUS(2, 5), &body, sizeof body);
    } else if (method == CAPMESH_PUT && len == sizeof(command_t)) {
        command_t c = read_command();
        outcome_t body = {.code = c.a, .number = c.b, .value = c.c};
        capmesh_respond(CAPMESH_STATUS(2, 4), &body, sizeof body);
    } else {
        capmesh_respond(CAPMESH_STATUS(4, 5), 0, 0);
    }
}

void capmesh_on_reply(uint32_t request, uint32_t status, uint32_t len) {
    int32_t code = (int32_t)request == last_put ? 3000 : (int32_t)request == last_get ? 4000 : 0;
    if (code == 0) return;
    outcome(code + (int32_t)status, request, len ? read_outcome().value : -1.0);
}

void capmesh_on_run(uint32_t len) {
    uint8_t bytes[16], reversed[16];
    if (len > sizeof bytes) {
        capmesh_respond(CAPMESH_STATUS(4, 13), 0, 0);
        return;
    }
    capmesh_read(0, bytes, len);
    for (uint32_t i = 0; i < len; i++) reversed[i] = bytes[len - 1 - i];
    capmesh_respond(CAPMESH_STATUS(2, 5), reversed, len);
}

int32_t capmesh_state_version(void) { return 7; }
