/* Runs a fuzz target over files, without a fuzzer: replay_<target> FILE... */
#include "fuzz.h"

#include <sys/resource.h>

#define MEMORY_MOST (1u << 30)

/* What asks for more gets no memory, which a target refuses to see. Sanitizers need the room for themselves. */
static void limit_memory(void)
{
#ifndef __SANITIZE_ADDRESS__
    struct rlimit limit = {MEMORY_MOST, MEMORY_MOST};
    FUZZ_ENFORCE(setrlimit(RLIMIT_AS, &limit) == 0);
#endif
}

extern int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize != NULL)
        LLVMFuzzerInitialize(&argc, &argv);
    limit_memory();
    for (int i = 1; i < argc; i++) {
        size_t n;
        uint8_t *bytes = fuzz_read(argv[i], &n);
        uint8_t *exact = malloc(n + (n == 0)); /* a sanitizer sees the first byte behind it */
        FUZZ_ENFORCE(exact != NULL);
        memcpy(exact, bytes, n);
        free(bytes);
        LLVMFuzzerTestOneInput(exact, n);
        free(exact);
    }
    printf("ok %d inputs\n", argc - 1);
    return 0;
}
