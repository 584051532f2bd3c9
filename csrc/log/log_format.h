/* log: what is on disk (log-format.md 1.2, 2, 3.1, 5). Offsets, not structs: the fields are
 * unaligned. */
#ifndef LOG_LOG_FORMAT_H
#define LOG_LOG_FORMAT_H

#define LOG_MAJOR 8u
#define LOG_MINOR 4000u
#define LOG_UPDATE_MAJOR 5u /* what new sequences claim */
#define LOG_UPDATE_MINOR 16u
#define LOG_UPDATE_MAJOR_READ 130u /* newest breaking revision whose records the size table knows  \
                                    */
#define LOG_CHAIN_CHECKSUM_SINCE 13u
#define LOG_FILE_TYPE 3u
#define LOG_CHECKPOINT_TYPE 4u
#define LOG_SEGMENTS_MIN 4u
#define LOG_SEGMENTS_MAX 65535u
#define LOG_GENERATION_LAST 0x7FFFF800u

enum log_header_at {
    HDR_CHECKSUM = 0,
    HDR_GENERATION = 4,
    HDR_SEGMENT = 8,
    HDR_HEADER_SEGMENTS = 10,
    HDR_FILE_SEGMENTS = 12,
    HDR_PAGE_SIZE = 14,
    HDR_CREATED = 16,
    HDR_CREATED_PREVIOUS = 24,
    HDR_MAJOR = 32,
    HDR_MINOR = 36,
    HDR_UPDATE_MAJOR = 40,
    HDR_SIGNATURE = 44,
    HDR_DBMS = 72,
    HDR_FLAGS = 639,
    HDR_CHECKPOINT = 640,
    HDR_UPDATE_MINOR = 648,
    HDR_CHECKSUM_PREVIOUS = 653,
    HDR_FILE_TYPE = 667,
    HDR_ATTACH = 671,
};
enum log_header_flag { HDR_FROM_RESERVE = 1, HDR_CIRCULAR = 2, HDR_CIRCULAR_ONCE = 4 };

enum log_dbms_at {
    DBMS_SYSTEM_PATH = 0,
    DBMS_LOG_PATH = 261,
    DBMS_FLAGS = 522,
    DBMS_LOG_BUFFERS = 539,
    DBMS_FILE_SEGMENTS = 543,
    DBMS_SIZE_ON_DISK = 567,
    DBMS_PATH_ROOM = 261,
};

enum log_attach_at {
    ATT_DBID = 0,
    ATT_FLAGS = 1,
    ATT_NAME_SIZE = 2,
    ATT_DBTIME = 4,
    ATT_OBJID = 12,
    ATT_LGPOS_ATTACH = 20,
    ATT_LGPOS_CONSISTENT = 28,
    ATT_SIGNATURE = 36,
    ATT_NAMES = 64,
};
enum { ATT_UTF16 = 0x20 };

enum log_segment_at {
    SEG_CHECKSUM = 0,
    SEG_LGPOS = 8,
    SEG_TIME = 16,
    SEG_SUM = 24, /* these two: ours, in bytes that ESE leaves zero */
    SEG_SUM_MARK = 32,
    SEG_FLAGS = 36,
};
enum { SEG_FLAG_NEW_CHECKSUM = 0x2000, SEG_HAS_SUM = 0x534a50 /* "PJS" */ };

enum log_checkpoint_at {
    CHK_CHECKSUM = 0,
    CHK_LAST_FULL = 4,
    CHK_CHECKPOINT = 12,
    CHK_SIGNATURE = 20,
    CHK_DBMS = 48,
    CHK_FULL_BACKUP = 615,
    CHK_FULL_TIME = 623,
    CHK_INC_BACKUP = 631,
    CHK_INC_TIME = 639,
    CHK_VERSION = 647,
    CHK_CONSISTENCY = 648,
    CHK_FILE_TYPE = 667,
    CHK_ATTACH = 679,
};

/* framing */
enum { FRAGMENT_BEGIN_HEAD = 7, FRAGMENT_HEAD = 3, NOP2_HEAD = 5, FRAGMENT_ROOM_MIN = 32 };

#endif
