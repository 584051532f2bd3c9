#include "api/api_private.h"

/* Facts about databases, attached ones and files (backup-semantics.md 12.3). */

/* ---- databases ---- */

static void bkinfo_out(const struct bkinfo *from, JET_BKINFO *to)
{
    static_assert(sizeof *from == sizeof *to, "both as on disk");
    memcpy(to, from, sizeof *to);
}

static void logtime_out(const struct logtime *from, JET_LOGTIME *to)
{
    static_assert(sizeof *from == sizeof *to, "both as on disk");
    memcpy(to, from, sizeof *to);
}

static void lgpos_out(lgpos_t from, JET_LGPOS *to)
{
    static_assert(sizeof from == sizeof *to, "both as on disk");
    memcpy(to, &from, sizeof *to);
}

/* Offsets in the header (edb-format.md 2.2) of what only the raw bytes hold. */
enum {
    AT_OS_VERSION = 216,
    AT_REPAIR_COUNT = 240,
    AT_REPAIR_TIME = 244,
    AT_REPAIR_COUNT_OLD = 364,
    AT_ECC_SUCCESS = 368,
    AT_ECC_FAIL = 384,
    AT_BAD_CHECKSUM = 400,
    AT_RESEED = 476,
    AT_PAGE_PATCH = 492,
    AT_SCAN_PREVIOUS = 516,
    AT_SCAN_START = 524,
    AT_SCAN_PAGES = 532,
    AT_REATTACH_TIME = 564,
    AT_REATTACH = 572,
};

/* A count, when it last rose, and what it was before. */
static void counter_out(const uint8_t *raw, uint32_t *count, JET_LOGTIME *time, uint32_t *old)
{
    *count = load_u32(raw);
    memcpy(time, raw + 4, sizeof *time);
    *old = load_u32(raw + 12);
}

static void misc_from_raw(const uint8_t *raw, JET_DBINFOMISC7 *m)
{
    m->dwMajorVersion = load_u32(raw + AT_OS_VERSION);
    m->dwMinorVersion = load_u32(raw + AT_OS_VERSION + 4);
    m->dwBuildNumber = load_u32(raw + AT_OS_VERSION + 8);
    m->lSPNumber = (int32_t)load_u32(raw + AT_OS_VERSION + 12);
    m->ulRepairCount = load_u32(raw + AT_REPAIR_COUNT);
    memcpy(&m->logtimeRepair, raw + AT_REPAIR_TIME, sizeof m->logtimeRepair);
    m->ulRepairCountOld = load_u32(raw + AT_REPAIR_COUNT_OLD);
    counter_out(raw + AT_ECC_SUCCESS, &m->ulECCFixSuccess, &m->logtimeECCFixSuccess, &m->ulECCFixSuccessOld);
    counter_out(raw + AT_ECC_FAIL, &m->ulECCFixFail, &m->logtimeECCFixFail, &m->ulECCFixFailOld);
    counter_out(raw + AT_BAD_CHECKSUM, &m->ulBadChecksum, &m->logtimeBadChecksum, &m->ulBadChecksumOld);
    counter_out(raw + AT_RESEED, &m->ulIncrementalReseedCount, &m->logtimeIncrementalReseed, &m->ulIncrementalReseedCountOld);
    counter_out(raw + AT_PAGE_PATCH, &m->ulPagePatchCount, &m->logtimePagePatch, &m->ulPagePatchCountOld);
    memcpy(&m->logtimeChecksumPrev, raw + AT_SCAN_PREVIOUS, sizeof m->logtimeChecksumPrev);
    memcpy(&m->logtimeChecksumStart, raw + AT_SCAN_START, sizeof m->logtimeChecksumStart);
    m->cpgDatabaseChecked = load_u32(raw + AT_SCAN_PAGES);
    memcpy(&m->logtimeLastReAttach, raw + AT_REATTACH_TIME, sizeof m->logtimeLastReAttach);
    memcpy(&m->lgposLastReAttach, raw + AT_REATTACH, sizeof m->lgposLastReAttach);
}

void api_misc_out(const struct db_header *h, JET_DBINFOMISC7 *m)
{
    *m = (JET_DBINFOMISC7){
        .ulVersion = h->version,
        .ulUpdate = h->update_major,
        .dbstate = h->state,
        .fShadowingDisabled = h->db_flags0 & 1u,
        .fUpgradeDb = (h->db_flags0 & 2u) != 0,
        .cbPageSize = h->page_size,
        .genMinRequired = h->gen_min_required,
        .genMaxRequired = h->gen_max_required,
        .genCommitted = h->gen_max_committed,
    };
    misc_from_raw(h->raw, m);
    memcpy(&m->signDb, &h->sign_db, sizeof m->signDb);
    memcpy(&m->signLog, &h->sign_log, sizeof m->signLog);
    lgpos_out(h->lgpos_consistent, &m->lgposConsistent);
    lgpos_out(h->lgpos_attach, &m->lgposAttach);
    lgpos_out(h->lgpos_detach, &m->lgposDetach);
    logtime_out(&h->time_consistent, &m->logtimeConsistent);
    logtime_out(&h->time_attach, &m->logtimeAttach);
    logtime_out(&h->time_detach, &m->logtimeDetach);
    logtime_out(&h->time_gen_max_created, &m->logtimeGenMaxCreate);
    bkinfo_out(&h->full_prev, &m->bkinfoFullPrev);
    bkinfo_out(&h->inc_prev, &m->bkinfoIncPrev);
    bkinfo_out(&h->full_cur, &m->bkinfoFullCur);
    bkinfo_out(&h->copy_prev, &m->bkinfoCopyPrev);
    bkinfo_out(&h->diff_prev, &m->bkinfoDiffPrev);
}

/* Each form is the beginning of the next. */
static err_t give_misc(const struct db_header *h, void *to, uint32_t room)
{
    static const uint32_t sizes[] = {sizeof(JET_DBINFOMISC),  sizeof(JET_DBINFOMISC2), sizeof(JET_DBINFOMISC3), sizeof(JET_DBINFOMISC4),
                                     sizeof(JET_DBINFOMISC5), sizeof(JET_DBINFOMISC6), sizeof(JET_DBINFOMISC7)};
    JET_DBINFOMISC7 misc;
    bool known = false;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        known |= room == sizes[i];
    if (!known) {
        err_t err = RAISE(JET_errInvalidBufferSize);
        err_detail("no form of JET_DBINFOMISC has %u bytes", room);
        return err;
    }
    if (to == NULL)
        return api_invalid("a buffer for the answer is needed");
    api_misc_out(h, &misc);
    memcpy(to, &misc, room);
    return JET_errSuccess;
}

static err_t give_header(struct dbfile *db, void *to, uint32_t room)
{
    struct db_header *copy = malloc(sizeof *copy);
    if (copy == NULL)
        return RAISE(JET_errOutOfMemory);
    dbfile_copy_header(db, copy);
    err_t err = give_misc(copy, to, room);
    free(copy);
    return err;
}

static err_t tree_space(struct dbfile *db, pgno_t root, struct space_sum *sum)
{
    struct btree *tree;
    TRY_RETURN(btree_open(db, root, &tree));
    err_t err = space_sum(tree, sum);
    btree_close(tree);
    return err;
}

static err_t give_space(struct dbfile *db, bool owned, void *to, uint32_t room)
{
    struct space_sum sum;
    TRY_RETURN(tree_space(db, SYSTEM_ROOT, &sum));
    return info_give_u32(owned ? sum.owned : sum.available, to, room);
}

static err_t give_pages_on_disk(struct dbfile *db, void *to, uint32_t room)
{
    uint64_t bytes;
    TRY_RETURN(os_file_allocated(db->file, &bytes));
    return info_give_u32((uint32_t)(bytes / db->page_size), to, room);
}

static err_t database_info(struct dbfile *db, void *to, uint32_t room, uint32_t level, bool wide)
{
    switch (level) {
    case JET_DbInfoFilename:
        return text_give(db->path, wide, to, room);
    case JET_DbInfoConnect:
        return text_give("", wide, to, room);
    case JET_DbInfoCountry:
        return info_give_u32(1, to, room);
    case JET_DbInfoLCID:
        return info_give_u32(0x409, to, room);
    case JET_DbInfoCp:
        return info_give_u32(1252, to, room);
    case JET_DbInfoCollate:
        return info_give_u32(0, to, room);
    case JET_DbInfoOptions:
        return info_give_u32(db->read_only ? JET_bitDbReadOnly : 0, to, room);
    case JET_DbInfoTransactions:
        return info_give_u32(TRX_LEVEL_MAX, to, room);
    case JET_DbInfoVersion:
        return info_give_u32(db->header.version, to, room);
    case JET_DbInfoFilesize:
        return info_give_u32(atomic_load(&db->page_count), to, room);
    case JET_DbInfoSpaceOwned:
    case JET_DbInfoSpaceAvailable:
        return give_space(db, level == JET_DbInfoSpaceOwned, to, room);
    case JET_DbInfoMisc:
        return give_header(db, to, room);
    case JET_DbInfoPageSize:
        return info_give_u32(db->page_size, to, room);
    case JET_DbInfoFileType:
        return info_give_u32(JET_filetypeDatabase, to, room);
    case JET_DbInfoFilesizeOnDisk:
        return give_pages_on_disk(db, to, room);
    case JET_DbInfoIsam:
    case JET_DbInfoUpgrade:
    case JET_DbInfoDBInUse:
        return info_not_available(level);
    default:
        return info_unknown_level(level);
    }
}

static err_t get_database_info(JET_SESID sesid, JET_DBID dbid, void *to, uint32_t room, uint32_t level, bool wide)
{
    struct api_session *s;
    struct dbfile *db;
    TRY_RETURN(api_enter(sesid, &s));
    err_t err = api_database(s, dbid, &db);
    if (err >= 0)
        err = database_info(db, to, room, level, wide);
    api_leave(s);
    return err;
}

JET_ERR JetGetDatabaseInfoA(JET_SESID sesid, JET_DBID dbid, void *pvResult, uint32_t cbMax, uint32_t InfoLevel)
{
    return get_database_info(sesid, dbid, pvResult, cbMax, InfoLevel, false);
}
PLAIN_IS_A(JetGetDatabaseInfo);

JET_ERR JetGetDatabaseInfoW(JET_SESID sesid, JET_DBID dbid, void *pvResult, uint32_t cbMax, uint32_t InfoLevel)
{
    return get_database_info(sesid, dbid, pvResult, cbMax, InfoLevel, true);
}

/* ---- files ---- */

static err_t file_type(const char *path, uint32_t *type)
{
    struct db_header h;
    *type = JET_filetypeDatabase;
    if (db_header_read_path(path, &h) >= 0)
        return JET_errSuccess;
    struct log_header *log = malloc(sizeof *log);
    struct checkpoint *checkpoint = malloc(sizeof *checkpoint);
    if (log == NULL || checkpoint == NULL)
        *type = JET_filetypeUnknown;
    else if (log_read_header(path, log) >= 0)
        *type = JET_filetypeLog;
    else
        *type = log_checkpoint_read(path, checkpoint) >= 0 ? JET_filetypeCheckpoint : JET_filetypeUnknown;
    err_t err = log == NULL || checkpoint == NULL ? RAISE(JET_errOutOfMemory) : JET_errSuccess;
    free(log);
    free(checkpoint);
    return err;
}

static err_t read_header_of(const char *path, struct db_header *h)
{
    uint32_t type;
    err_t err = db_header_read_path(path, h);
    if (err >= 0)
        return err;
    TRY_RETURN(file_type(path, &type));
    if (type == JET_filetypeUnknown)
        return RAISE(err);
    return RAISE(JET_errFileInvalidType);
}

static err_t give_file_size(const char *path, bool on_disk, void *to, uint32_t room)
{
    struct os_file *f;
    uint64_t size;
    TRY_RETURN(os_file_open(path, OS_READ, &f));
    err_t err = on_disk ? os_file_allocated(f, &size) : os_file_size(f, &size);
    os_file_close(f);
    return err < 0 ? err : info_give_exact(&size, sizeof size, to, room);
}

/* Nothing to do: every database that can be read has the format of today. */
static err_t give_upgrade(const char *path, void *to, uint32_t room)
{
    struct db_header h;
    JET_DBINFOUPGRADE u;
    if (to == NULL)
        return api_invalid("a buffer for the answer is needed");
    if (room != sizeof u)
        return RAISE(JET_errInvalidBufferSize);
    memcpy(&u, to, sizeof u);
    if (u.cbStruct != sizeof u)
        return api_invalid("JET_DBINFOUPGRADE.cbStruct is wrong");
    TRY_RETURN(read_header_of(path, &h));
    u = (JET_DBINFOUPGRADE){.cbStruct = sizeof u};
    u.fAlreadyUpgraded = 1;
    memcpy(to, &u, sizeof u);
    return JET_errSuccess;
}

static err_t file_in_use(const char *path, uint32_t *in_use)
{
    struct os_file *f;
    TRY_RETURN(os_file_open(path, OS_READ, &f));
    err_t err = os_file_lock(f, false);
    *in_use = err == JET_errFileAccessDenied;
    if (err >= 0)
        os_file_unlock(f);
    os_file_close(f);
    return *in_use ? JET_errSuccess : err;
}

/* A database that this process has attached is answered from memory: the file lags behind. */
static bool header_in_memory(JET_INSTANCE handle, const char *full, struct db_header *h)
{
    struct api_instance *i;
    bool found = false;
    struct instance_facts *facts = malloc(sizeof *facts);
    if (facts != NULL && api_pin_instance(handle, false, &i) >= 0) {
        if (instance_facts(i->inst, facts) >= 0)
            for (int k = 0; k < facts->database_count && !found; k++)
                if ((found = strcmp(facts->databases[k].path, full) == 0))
                    *h = facts->databases[k].header;
        api_unpin_instance(i);
    }
    free(facts);
    return found;
}

static err_t header_of(const char *path, struct db_header *h)
{
    JET_INSTANCE list[64];
    char full[OS_PATH_MAX];
    TRY_RETURN(os_full_path(path, full, sizeof full));
    uint32_t n = api_instances(list, 64);
    for (uint32_t i = 0; i < n && i < 64; i++)
        if (header_in_memory(list[i], full, h))
            return JET_errSuccess;
    err_clear();
    return read_header_of(path, h);
}

static err_t give_in_use(const char *path, void *to, uint32_t room)
{
    uint32_t in_use;
    TRY_RETURN(file_in_use(path, &in_use));
    return info_give_u32(in_use, to, room);
}

static err_t give_type(const char *path, void *to, uint32_t room)
{
    uint32_t type;
    TRY_RETURN(file_type(path, &type));
    return info_give_u32(type, to, room);
}

JET_ERR JetGetDatabaseFileInfoA(JET_PCSTR szDatabaseName, void *pvResult, uint32_t cbMax, uint32_t InfoLevel)
{
    struct db_header h;
    if (szDatabaseName == NULL || szDatabaseName[0] == '\0')
        return api_invalid("a path is needed");
    if (!os_exists(szDatabaseName)) {
        err_t err = RAISE(JET_errFileNotFound);
        err_detail("%s is not there", szDatabaseName);
        return err;
    }
    switch (InfoLevel) {
    case JET_DbInfoFilesize:
    case JET_DbInfoFilesizeOnDisk:
        return give_file_size(szDatabaseName, InfoLevel == JET_DbInfoFilesizeOnDisk, pvResult, cbMax);
    case JET_DbInfoMisc:
        TRY_RETURN(header_of(szDatabaseName, &h));
        return give_misc(&h, pvResult, cbMax);
    case JET_DbInfoPageSize:
        TRY_RETURN(header_of(szDatabaseName, &h));
        return info_give_u32(h.page_size, pvResult, cbMax);
    case JET_DbInfoDBInUse:
        return give_in_use(szDatabaseName, pvResult, cbMax);
    case JET_DbInfoFileType:
        return give_type(szDatabaseName, pvResult, cbMax);
    case JET_DbInfoUpgrade:
        return give_upgrade(szDatabaseName, pvResult, cbMax);
    default:
        return info_unknown_level(InfoLevel);
    }
}
PLAIN_IS_A(JetGetDatabaseFileInfo);

JET_ERR JetGetDatabaseFileInfoW(JET_PCWSTR szDatabaseName, void *pvResult, uint32_t cbMax, uint32_t InfoLevel)
    WITH_TEXT(path, szDatabaseName, JetGetDatabaseFileInfoA(path, pvResult, cbMax, InfoLevel))
