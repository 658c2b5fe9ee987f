/* Takes a message's length for 64 bits. */
#include <stdint.h>

__attribute__((export_name("message")))
void message(uint32_t input, uint64_t len) {
    (void)input, (void)len;
}
