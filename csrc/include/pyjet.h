/* What the Python layer and tests need beside ESE's API. Nothing here is an ESE name; nothing here changes what ESE's calls do. */
#ifndef PYJET_H
#define PYJET_H

#include "include/esent.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors: of the call that failed last on this thread; texts live until the thread's next call ---- */
JET_EXPORT const char *PyjetErrorName(JET_ERR err);     /* "JET_errDiskFull" */
JET_EXPORT const char *PyjetErrorText(JET_ERR err);     /* one line of plain words */
JET_EXPORT const char *PyjetErrorCategory(JET_ERR err); /* "Disk" ... */
JET_EXPORT const char *PyjetErrorHint(JET_ERR err);     /* what to do next */
JET_EXPORT const char *PyjetErrorDetail(JET_ERR err);   /* "" when the last error of this thread is another one */

/* ---- events: ESE's ids; called without any lock, from any thread ---- */
typedef struct {
    int32_t id;
    int32_t severity; /* 0 information, 1 warning, 2 error */
    const char *instance;
    int32_t cParams;
    const char *const *rgszParams;
    const char *text;
} PYJET_EVENT;
typedef void (*PYJET_EVENT_SINK)(void *context, const PYJET_EVENT *event);
JET_EXPORT void PyjetSetEventSink(PYJET_EVENT_SINK sink, void *context); /* NULL drops; returns when no call of the old one runs */

/* ---- parameters of ours (ids from 0x10001 up) go through JetSetSystemParameter ---- */
#define PYJET_paramDoubleWrite 0x10001u
#define PYJET_paramVersionStoreBytes 0x10002u
#define PYJET_paramBackupReadRetries 0x10003u
#define PYJET_paramRandomSteal 0x10004u
#define PYJET_paramPageWriterOff 0x10005u

/* ---- results of long calls ---- */
typedef struct {
    int32_t redone, clean_end;
    uint32_t gen_first, gen_last;
    uint64_t records, applied, skipped, bytes, undone, sessions_undone, pages_restored, pages_reconciled;
    uint64_t undo_after_steal, macros_half_redone, records_filtered;
} PYJET_RECOVERY;
typedef struct {
    uint32_t files, databases, logs, gen_low, gen_high, deleted_low, deleted_high; /* deleted: [low, high) */
    uint64_t bytes, ns;
    char path[4096];
} PYJET_BACKUP;
typedef struct {
    uint32_t files, databases;
    uint64_t bytes, ns;
    PYJET_RECOVERY recovery;
    char database[6][4096];
} PYJET_RESTORE;
/* Progress of long calls: done of total (KiB in a backup, whose total may grow; else 0..100), never going back. A negative return ends the run with it. */
typedef JET_ERR (*PYJET_PROGRESS)(void *context, JET_SNP snp, JET_SNT snt, uint32_t done, uint32_t total);
/* path NULL or "": truncate logs only. grbit as JetBackupInstance. */
JET_EXPORT JET_ERR PyjetBackup(JET_INSTANCE instance, const char *path, JET_GRBIT grbit, PYJET_PROGRESS progress, void *context, PYJET_BACKUP *result);
/* What that call would do now, without doing it: its errors, and in result databases and their bytes (those of the logs are left out), the range of
 * logs, path: the folder that gets them; without a path the logs that would be deleted. create_path: a folder that is not there is fine. */
JET_EXPORT JET_ERR PyjetLookAtBackup(JET_INSTANCE instance, const char *path, JET_GRBIT grbit, int32_t create_path, PYJET_BACKUP *result);
/* instance: created, not initialised; its parameters name base name and folders. Texts may be NULL. */
JET_EXPORT JET_ERR PyjetRestore(JET_INSTANCE instance, const char *set, const char *destination, const char *roll_forward_dir, PYJET_PROGRESS progress, void *context, PYJET_RESTORE *result);
/* The same with more: rename's entries name a database of the set (file name, or where it lay) and its new name in destination, or
 * full path; stop: a position (ib | isec << 16 | generation << 32), redo ends behind the record there, {g, 0, 0} at the end of
 * generation g, 0 nowhere; stop_time: what was durable by then, instead of stop; all zero: none. What is open there is undone.
 * With a stop, or a roll-forward folder, the instance's log folder must hold no logs. */
typedef struct {
    const char *set, *destination, *roll_forward_dir;
    const JET_RSTMAP_A *rename;
    uint32_t renames;
    uint64_t stop;
    JET_LOGTIME stop_time;
} PYJET_RESTORE_OPTIONS;
JET_EXPORT JET_ERR PyjetRestoreTo(JET_INSTANCE instance, const PYJET_RESTORE_OPTIONS *options, PYJET_PROGRESS progress, void *context, PYJET_RESTORE *result);
JET_EXPORT JET_ERR PyjetInit(JET_INSTANCE *pinstance, JET_GRBIT grbit, PYJET_PROGRESS progress, void *context, PYJET_RECOVERY *result);
/* The same for databases that lie elsewhere than their logs say. */
JET_EXPORT JET_ERR PyjetInitMapped(JET_INSTANCE *pinstance, const JET_RSTMAP_A *rgrstmap, uint32_t crstmap, JET_GRBIT grbit, PYJET_PROGRESS progress, void *context, PYJET_RECOVERY *result);
/* JetEndExternalBackupInstance2, which succeeds also when a normal end became an abort. outcome (may be NULL): 0, the reason for which
 * the server had stopped the backup (JET_errBackupAbortByServer), or -800, aborted by its caller. */
JET_EXPORT JET_ERR PyjetEndExternalBackup(JET_INSTANCE instance, JET_GRBIT grbit, JET_ERR *outcome);
/* Makes a running backup of this instance end with `reason` (an error); not sticky. From any thread. */
JET_EXPORT JET_ERR PyjetStopRunningBackup(JET_INSTANCE instance, JET_ERR reason);
/* Backups are allowed again after JetStopBackupInstance. JET_errBackupInProgress: the stopped one has not been ended yet. */
JET_EXPORT JET_ERR PyjetResumeBackupInstance(JET_INSTANCE instance);
/* Ends the snapshots that hold the instance, as JetTerm2 with this grbit would: before sessions are ended that may wait for a thaw. */
JET_EXPORT JET_ERR PyjetLeaveSnapshots(JET_INSTANCE instance, JET_GRBIT grbit);
/* What a set holds: base name, generations, page size, log size in bytes, databases. */
typedef struct {
    char dir[4096];
    char base_name[4];
    uint32_t gen_low, gen_high, page_size, log_file_size, databases;
    char database[6][4096], original[6][4096];
} PYJET_SET;
JET_EXPORT JET_ERR PyjetSurveySet(const char *path, PYJET_SET *set);

/* ---- numbers ---- */
typedef struct {
    uint64_t log_bytes, log_flushes, commits_durable, undo_info, versions_bytes, sweeps, checkpoints, checkpoint, log_tail;
    uint64_t cache_frames, cache_used, cache_dirty, cache_reads, cache_writes, cache_hits, cache_misses, cache_evictions, cache_double_writes, cache_stolen;
    uint64_t splits, merges, empty_pages, retries, undo_after_steal, macro_redone_half;
    uint64_t os_opens, os_reads, os_writes, os_syncs;
    PYJET_RECOVERY recovery;
} PYJET_STATS;
JET_EXPORT JET_ERR PyjetStats(JET_INSTANCE instance, PYJET_STATS *stats);

/* ---- an instance as a whole, as JSON: names, log, checkpoint, databases with the headers in memory; JetFreeBuffer ---- */
JET_EXPORT JET_ERR PyjetDumpInstance(JET_INSTANCE instance, char **ppsz);

/* ---- a file without an instance: read-only. The session and database it hands out serve JetOpenTable and all reading calls. ---- */
#define PYJET_bitAllowDirty 0x1u
JET_EXPORT JET_ERR PyjetOpenFile(const char *path, JET_GRBIT grbit, JET_SESID *psesid, JET_DBID *pdbid);
JET_EXPORT JET_ERR PyjetCloseFile(JET_SESID sesid);

/* ---- schema, without list tables. Calls visit for each; a negative return stops with it. Names are UTF-8. ---- */
typedef struct {
    const char *name;
    uint32_t objid, root, flags, pages, density;
} PYJET_TABLE;
typedef struct {
    const char *name;
    JET_COLUMNID columnid;
    JET_COLTYP coltyp;
    uint32_t cbMax, cp;
    JET_GRBIT grbit;
    const void *pvDefault; /* NULL: none */
    uint32_t cbDefault;
} PYJET_COLUMN;
typedef struct {
    const char *name;
    JET_GRBIT grbit; /* as for JetCreateIndex, and JET_bitIndexPrimary */
    uint32_t cbKeyMost, density, flags, objid, root;
    const char *locale;
    uint32_t cSegments;
    JET_COLUMNID segment[16];
    uint8_t descending[16];
} PYJET_INDEX;
JET_EXPORT JET_ERR PyjetVisitTables(JET_SESID sesid, JET_DBID dbid, JET_ERR (*visit)(void *context, const PYJET_TABLE *table), void *context);
JET_EXPORT JET_ERR PyjetVisitColumns(JET_SESID sesid, JET_TABLEID tableid, JET_ERR (*visit)(void *context, const PYJET_COLUMN *column), void *context);
JET_EXPORT JET_ERR PyjetVisitIndexes(JET_SESID sesid, JET_TABLEID tableid, JET_ERR (*visit)(void *context, const PYJET_INDEX *index), void *context);

/* ---- rows in batches ---- */
typedef struct {
    const void *pv; /* lives until the cursor's next call; not NULL for a value of zero length */
    uint32_t cb;
    uint32_t values; /* 0 or 1: pv is the value. More: pv points to that many PYJET_CELLs (values 0), in both directions */
    int32_t null;
} PYJET_CELL;
/* Fetches up to *pcRows rows from the current one on (within the index range) and moves on; row i's cell for column j is
 * cells[i * cColumns + j], its bookmark bookmarks[i] (may be NULL). *pcRows = rows fetched, 0 at the end. */
JET_EXPORT JET_ERR PyjetFetchRows(JET_SESID sesid, JET_TABLEID tableid, const JET_COLUMNID *columns, uint32_t cColumns, int32_t backwards, PYJET_CELL *cells, PYJET_CELL *bookmarks, uint32_t *pcRows);
/* One insert in one call; cells with pv NULL and null 0 are left to their defaults; pv not NULL and cb 0 is a value of zero length. bookmark may be NULL. */
JET_EXPORT JET_ERR PyjetInsertRow(JET_SESID sesid, JET_TABLEID tableid, const JET_COLUMNID *columns, const PYJET_CELL *cells, uint32_t cColumns, void *bookmark, uint32_t cbBookmark, uint32_t *pcbActual);
/* Many inserts in one call: row i has cells starts[i] to starts[i + 1], each of the column that stands in its place in columns.
 * Outside a transaction the rows are one of their own, all or none. Inside one, the rows before the one that is refused stay in it.
 * *pcInserted (may be NULL): how many rows went before the first that was refused. */
JET_EXPORT JET_ERR PyjetInsertRows(JET_SESID sesid, JET_TABLEID tableid, const JET_COLUMNID *columns, const PYJET_CELL *cells, const uint32_t *starts, uint32_t cRows, uint32_t *pcInserted);
/* JetMakeKey for each value, JetSeek (JET_bitSeekEQ) and the fetch of one row, in one call: JET_errRecordNotFound. key: null or
 * pv/cb as for JetMakeKey. With cKey 0: the row the cursor stands on (JET_errNoCurrentRecord). */
JET_EXPORT JET_ERR PyjetGetRow(JET_SESID sesid, JET_TABLEID tableid, const PYJET_CELL *key, uint32_t cKey, const JET_COLUMNID *columns, uint32_t cColumns, PYJET_CELL *cells, PYJET_CELL *bookmark);

/* ---- checking and dumping ---- */
typedef struct {
    int32_t kind;
    uint32_t pgno, objid;
    const char *table, *text;
} PYJET_FINDING;
typedef struct {
    uint64_t pages, pages_used, pages_available, pages_leaked, trees, tables, records, index_entries, long_values, findings, notes;
} PYJET_CHECK;
#define PYJET_bitCheckAlive 0x2u /* calls sink with NULL now and then, so that a long check can be ended */
JET_EXPORT JET_ERR PyjetCheckFile(const char *path, JET_GRBIT grbit, JET_ERR (*sink)(void *context, const PYJET_FINDING *finding), void *context, PYJET_CHECK *sum);
/* Header of a database, log or checkpoint as JSON; *ppsz is freed with JetFreeBuffer. */
/* Records of the logs in a folder as JSON, from generation first (0: the lowest) to last (0: the end); a negative return of line stops. */
JET_EXPORT JET_ERR PyjetDumpLog(const char *dir, const char *base_name, uint32_t first, uint32_t last, JET_ERR (*line)(void *context, const char *json), void *context);
JET_EXPORT JET_ERR PyjetDumpHeader(const char *path, char **ppsz);

/* ---- for tests ---- */
typedef struct {
    uint32_t ops; /* bit set, as os/os.h numbers them */
    const char *path_part;
    uint64_t after, count;
    int32_t error;
    uint32_t delay_ms;
} PYJET_FAULT;
JET_EXPORT void PyjetSetFault(const PYJET_FAULT *fault); /* NULL = off */
JET_EXPORT uint64_t PyjetFaultHits(void);
JET_EXPORT JET_ERR PyjetRecordStart(const char *dir, const char *trace);
JET_EXPORT void PyjetRecordStop(void);
JET_EXPORT void PyjetRecordMark(const char *text);
JET_EXPORT JET_ERR PyjetSetBackupPause(JET_INSTANCE instance, void (*fn)(void *context, uint32_t percent), void *context);

#ifdef __cplusplus
}
#endif

#endif
