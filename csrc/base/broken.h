/* Faults that are built in on purpose, for the test that the tests can fail: `make broken BREAK=FSYNC`. Constants that are 0 in
 * every other build, so the compiler drops them. tests/crash/test_broken.py builds each and wants to see it caught. */
#ifndef BASE_BROKEN_H
#define BASE_BROKEN_H

#ifndef PYJET_BREAK_FSYNC /* commits are acknowledged without their sync */
#define PYJET_BREAK_FSYNC 0
#endif
#ifndef PYJET_BREAK_WAL /* pages reach the disk before the log that explains them */
#define PYJET_BREAK_WAL 0
#endif
#ifndef PYJET_BREAK_CHECKSUM /* a page from disk is believed */
#define PYJET_BREAK_CHECKSUM 0
#endif
#ifndef PYJET_BREAK_TORN /* a torn page is not put back from the double-write file */
#define PYJET_BREAK_TORN 0
#endif
#ifndef PYJET_BREAK_SUM /* copies in the double-write file and log segments are judged by ESE's checksum alone */
#define PYJET_BREAK_SUM 0
#endif
#ifndef PYJET_BREAK_UNDO /* one change in four is not taken back by a rollback */
#define PYJET_BREAK_UNDO 0
#endif
#ifndef PYJET_BREAK_RETRY /* a sync of the log that failed is tried again, and believed then */
#define PYJET_BREAK_RETRY 0
#endif

#endif
