/* Imports a function of the contract as if it had one parameter less. */
#include <stdint.h>

__attribute__((import_module("capmesh1"), import_name("publish")))
int32_t publish(uint32_t output, const void *src);

__attribute__((export_name("message")))
void message(uint32_t input, uint32_t len) {
    publish(input, (const void *)(uintptr_t)len);
}
