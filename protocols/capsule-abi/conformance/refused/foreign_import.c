/* Expects a C library. */
#include <capmesh.h>

int puts(const char *text);

void capmesh_on_message(uint32_t input, uint32_t len) {
    (void)input, (void)len;
    puts("hello");
}
