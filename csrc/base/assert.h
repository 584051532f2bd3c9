/* Assertions are for our mistakes, errors for the world. Bytes from disk are the world. */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#include <assert.h> /* static_assert */

void assert_failed(const char *what, const char *file, int line) __attribute__((noreturn));

/* Always checked: before a write that could spread damage. */
#define ENFORCE(x) ((x) ? (void)0 : assert_failed(#x, __FILE__, __LINE__))

#ifdef PYJET_DEBUG
#define ASSERT(x) ENFORCE(x)
#else
#define ASSERT(x) ((void)sizeof(!(x)))
#endif

#endif
