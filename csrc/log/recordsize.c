/* The size of a record follows from its fixed fields alone (log-format.md 6): one table, no record
 * is understood. */
#include "log/log.h"

enum { PAGE_HEAD = 32, NODE_HEAD = 44, RESTART_HEAD = 26, DBMS_SIZE = 567 };

/* One named length: `width` bytes at offset `at`, masked. width 0 ends the list. */
struct length {
    uint8_t at, width;
    uint16_t mask; /* 0 = all bits */
};
#define LENGTHS_MAX 4
struct shape {
    uint16_t fixed; /* 0 = no such record */
    struct length length[LENGTHS_MAX];
};

#define U16(at_) {(at_), 2, 0}
#define U32(at_) {(at_), 4, 0}
/* types 67-75 and 82-91: the u32 at 1 counts all that follows it */
/* clang-format off */
#define COUNTED {5, {U32(1)}}
/* clang-format on */

static const struct shape shapes[] = {
    [LOG_NOP] = {1, {{0}}},
    [LOG_Init] = {1 + DBMS_SIZE, {{0}}},
    [LOG_Term] = {18, {{0}}},
    [LOG_MS] = {9, {{0}}},
    [LOG_End] = {1, {{0}}},
    [LOG_Begin] = {4, {{0}}},
    [LOG_Commit] = {4, {{0}}},
    [LOG_Rollback] = {4, {{0}}},
    [LOG_Begin0] = {8, {{0}}},
    [LOG_Commit0] = {8, {{0}}},
    [LOG_Refresh] = {7, {{0}}},
    [LOG_MacroBegin] = {11, {{0}}},
    [LOG_MacroCommit] = {11, {{0}}},
    [LOG_MacroAbort] = {11, {{0}}},
    [LOG_CreateDB] = {43, {U16(40)}}, /* + 4 when flags & 4, see below */
    [LOG_AttachDB] = {75, {U16(72)}},
    [LOG_DetachDB] = {7, {U16(4)}},
    [LOG_RecoveryUndo] = {1, {{0}}},
    [LOG_RecoveryQuit] = {18, {{0}}},
    [LOG_FullBackup] = {3, {U16(1)}},
    [LOG_IncBackup] = {3, {U16(1)}},
    [LOG_JetOp] = {4, {{0}}},
    [LOG_Trace] = {5, {U16(3)}},
    [LOG_ShutDownMark] = {1, {{0}}},
    [LOG_CreateMultipleExtentFDP] = {PAGE_HEAD + 24, {{0}}},
    [LOG_CreateSingleExtentFDP] = {PAGE_HEAD + 16, {{0}}},
    [LOG_ConvertFDP] = {PAGE_HEAD + 28, {{0}}},
    [LOG_Split] = {102, {U16(100), U16(96), U16(98)}},
    [LOG_Merge] = {88, {U16(86)}},
    [LOG_Insert] = {NODE_HEAD + 6, {U16(44), U16(46), U16(48)}},
    [LOG_FlagInsert] = {NODE_HEAD + 4, {U16(44), U16(46)}},
    [LOG_FlagInsertAndReplaceData] = {NODE_HEAD + 8, {U16(44), U16(46)}},
    [LOG_FlagDelete] = {NODE_HEAD, {{0}}},
    [LOG_Replace] = {NODE_HEAD + 6, {{44, 2, 0x7fff}}},
    [LOG_ReplaceD] = {NODE_HEAD + 6, {{44, 2, 0x7fff}}},
    [LOG_Delete] = {NODE_HEAD, {{0}}},
    [LOG_UndoInfo] = {NODE_HEAD + 12, {U16(44), U16(46), U16(54)}},
    [LOG_Delta] = {NODE_HEAD + 10, {U16(44), U16(46)}},
    [LOG_SetExternalHeader] = {NODE_HEAD + 2, {U16(44)}},
    [LOG_Undo] = {NODE_HEAD + 7, {U16(44), U16(46)}},
    [LOG_Checksum] = {22, {{0}}},
    [LOG_ExtRestore] = {3, {U16(1)}},
    [LOG_BackupOld] = {5, {U16(3)}},
    [LOG_EmptyTree] = {NODE_HEAD + 2, {U16(44)}},
    [LOG_Init2] = {1 + DBMS_SIZE + 8, {{0}}},
    [LOG_Term2] = {RESTART_HEAD, {{0}}},
    [LOG_RecoveryUndo2] = {9, {{0}}},
    [LOG_RecoveryQuit2] = {RESTART_HEAD, {{0}}},
    [LOG_BeginDT] = {8, {{0}}},
    [LOG_PrepCommit] = {7, {U32(3)}},
    [LOG_PrepRollback] = {3, {{0}}},
    [LOG_ForceWriteLog] = {3, {{0}}},
    [LOG_ConvertFDP2] = {PAGE_HEAD + 36, {{0}}},
    [LOG_ExtRestore2] = {3, {U16(1)}},
    [LOG_Backup2] = {35, {U16(33)}},
    [LOG_ForceLogRollover] = {5, {U16(3)}},
    [LOG_Split2] = {110, {U16(100), U16(96), U16(98), U32(106)}},
    [LOG_Merge2] = {96, {U16(86), U32(92)}},
    [LOG_Scrub] = {NODE_HEAD + 10, {U16(52)}},
    [LOG_PageMove] = {96, {U32(88), U32(92)}},
    [LOG_PagePatchRequest] = {14 + 32, {{0}}},
    [LOG_MacroInfo] = COUNTED,
    [LOG_ExtendDB] = COUNTED,
    [LOG_CommitCtx] = COUNTED,
    [LOG_ScanCheck] = COUNTED,
    [LOG_NOP2] = COUNTED,
    [LOG_ReAttach] = COUNTED,
    [LOG_MacroInfo2] = COUNTED,
    [LOG_FreeFDP] = COUNTED,
    [LOG_Ignored9] = COUNTED,
    [LOG_FragmentBegin] = {7, {U16(5)}},
    [LOG_Fragment] = {3, {U16(1)}},
    [LOG_ShrinkDB] = {10, {{0}}},
    [LOG_CreateDBFinish] = {4, {{0}}},
    [LOG_RecoveryQuitKeepAttachments] = {RESTART_HEAD, {{0}}},
    [LOG_TrimDB] = {10, {{0}}},
    [LOG_Ignored10] = COUNTED,
    [LOG_Ignored11] = COUNTED,
    [LOG_Ignored12] = COUNTED,
    [LOG_Ignored13] = COUNTED,
    [LOG_Ignored14] = COUNTED,
    [LOG_Ignored15] = COUNTED,
    [LOG_Ignored16] = COUNTED,
    [LOG_Ignored17] = COUNTED,
    [LOG_Ignored18] = COUNTED,
    [LOG_Ignored19] = COUNTED,
    [LOG_SetDbVersion] = {14, {{0}}},
    [LOG_Delta64] = {NODE_HEAD + 14, {U16(44), U16(46)}},
    [LOG_ShrinkDB2] = {10, {{0}}},
    [LOG_NewPage] = {20, {{0}}},
    [LOG_RootPageMove] = {16, {{0}}},
    [LOG_SignalAttachDB] = {2, {{0}}},
    [LOG_ScanCheck2] = {27, {{0}}},
    [LOG_ShrinkDB3] = {18, {{0}}},
    [LOG_ExtentFreed] = {11, {{0}}},
    [LOG_ExtentFreed2] = {19, {{0}}},
};
#define TYPE_COUNT (sizeof shapes / sizeof shapes[0])
/* No record is near this; a length beyond it is garbage. */
#define RECORD_MOST (1u << 28)

static uint64_t length_of(const struct length *l, const uint8_t *record)
{
    uint32_t n = l->width == 2 ? load_u16(record + l->at) : load_u32(record + l->at);
    return l->mask != 0 ? n & l->mask : n;
}

err_t log_record_size(struct slice bytes, uint32_t *size)
{
    *size = 0;
    if (bytes.n == 0)
        return JET_errSuccess;
    unsigned type = bytes.p[0];
    if (type >= TYPE_COUNT || shapes[type].fixed == 0) {
        err_t err = RAISE(JET_errLogFileCorrupt);
        err_detail("record type %u", type);
        return err;
    }
    const struct shape *shape = &shapes[type];
    uint64_t total = shape->fixed;
    for (int i = 0; i < LENGTHS_MAX && shape->length[i].width != 0; i++) {
        const struct length *l = &shape->length[i];
        if (bytes.n < (uint32_t)l->at + l->width)
            return JET_errSuccess;
        total += length_of(l, bytes.p);
    }
    if (type == LOG_CreateDB) {
        if (bytes.n < 43)
            return JET_errSuccess;
        total += (bytes.p[42] & 4) != 0 ? 4 : 0;
    }
    if (total > RECORD_MOST) {
        err_t err = RAISE(JET_errLogFileCorrupt);
        err_detail("%s record of %llu bytes", log_type_name(type), (unsigned long long)total);
        return err;
    }
    *size = (uint32_t)total;
    return JET_errSuccess;
}

const char *log_type_name(unsigned type)
{
    switch (type) {
#define LOG_TYPE(number, name, room)                                                               \
    case number:                                                                                   \
        return #name;
#include "log/logtypes.def"
#undef LOG_TYPE
    default:
        return "?";
    }
}
