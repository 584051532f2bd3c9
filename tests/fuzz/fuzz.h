/* What the fuzz targets share: a folder of the process's own, files, inputs read piece by piece, sealed blocks.
 *
 * A target is one file, fuzz_<parser>.c, with LLVMFuzzerTestOneInput. Checksums are set right before the parser sees the bytes, or
 * hardly one input would come past them; one input in a few leaves them as they are. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdio.h>

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* A finding of our own: prints and aborts. */
#define FUZZ_ENFORCE(x) ((x) ? (void)0 : fuzz_fail(#x, __FILE__, __LINE__))
void fuzz_fail(const char *what, const char *file, int line) __attribute__((noreturn));
/* Errors are what parsers give; they must have a name, and be no success. */
void fuzz_error(err_t err);

/* A path in the process's folder, which is gone at its end. Eight of them live at a time. */
const char *fuzz_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
void fuzz_write(const char *path, const void *bytes, size_t n);
uint8_t *fuzz_read(const char *path, size_t *n); /* free() */
void fuzz_remove_tree(const char *path);

/* An input, taken apart from its head. Beyond its end all is zero. */
struct input {
    const uint8_t *p;
    size_t n;
};
uint32_t input_u8(struct input *in);
uint32_t input_u16(struct input *in);
struct slice input_bytes(struct input *in, uint32_t n); /* fewer at the end */
uint32_t input_below(struct input *in, uint32_t limit); /* 0 when limit is 0 */

#endif
