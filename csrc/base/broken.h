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
#ifndef PYJET_BREAK_NEXT_NAME /* a log's next file has a name that no sync covers when the roll begins */
#define PYJET_BREAK_NEXT_NAME 0
#endif
#ifndef PYJET_BREAK_ARCHIVE_NAME /* the roll's second rename does not wait for the first to last */
#define PYJET_BREAK_ARCHIVE_NAME 0
#endif
#ifndef PYJET_BREAK_CURRENT_NAME /* a log is written whose name no sync covers */
#define PYJET_BREAK_CURRENT_NAME 0
#endif
#ifndef PYJET_BREAK_FINISH_NAME /* recovery finishes a roll by a rename that no sync covers */
#define PYJET_BREAK_FINISH_NAME 0
#endif
#ifndef PYJET_BREAK_LOG_HEADER /* a log is renamed to be the current one before its header is synced */
#define PYJET_BREAK_LOG_HEADER 0
#endif
#ifndef PYJET_BREAK_LOG_ZERO /* a log's next file is as long as it must be, and what lay there stays */
#define PYJET_BREAK_LOG_ZERO 0
#endif
#ifndef PYJET_BREAK_CHECKPOINT_NAME /* a new checkpoint file has a name that no sync covers */
#define PYJET_BREAK_CHECKPOINT_NAME 0
#endif
#ifndef PYJET_BREAK_HEADER /* both copies of a database's header are under way at once */
#define PYJET_BREAK_HEADER 0
#endif

#endif
