/* Checksums (edb-format.md 3): the XOR sum of headers and old pages, XOR + ECC of pages and log
 * segments.
 *
 * The ECC is, for each bit k of a bit's index, the parity of all set bits whose index has bit k. A
 * block is folded as a binary tree over its 32-byte rows: at each level the odd member of a pair
 * goes into that level's sum, both go up as one. So the whole costs two XORs a row, and only about
 * a dozen rows' parities are taken at the end. */
#include "page/page_private.h"

#define CHECKSUM_SEED 0x89abcdefu
#define ROW 32u        /* bytes: 256 bits, index bits 0-7 */
#define CHUNK_ROWS 16u /* index bits 8-11 */
#define CHUNK (ROW * CHUNK_ROWS)
#define BLOCK_MAX 8192u /* 65536 bits: a half of the ECC has 16 bits */
#define CHUNKS_MAX (BLOCK_MAX / CHUNK)

/* May alias any bytes; lowered to two SSE2 or NEON registers where there is no AVX2. */
typedef uint64_t row_t __attribute__((vector_size(ROW)));

struct fold {
    row_t all;     /* XOR of all rows */
    row_t odd[8];  /* XOR of the rows whose number has bit k */
    unsigned bits; /* how many of them */
};

/* One level of the tree over a pair of rows; kept a macro so that no vector crosses a call. */
#define PAIR(sum, level, a, b) ((level) ^= (b), (sum) = (a) ^ (b))

static inline
    __attribute__((always_inline)) void fold_rows(const uint8_t *block, uint32_t n, struct fold *f)
{
    row_t chunk[CHUNKS_MAX], odd0 = {0}, odd1 = {0}, odd2 = {0}, odd3 = {0};
    uint32_t count = n / CHUNK;
    for (uint32_t c = 0; c < count; c++) {
        const uint8_t *at = block + c * CHUNK;
        row_t quarter[4];
        for (int q = 0; q < 4; q++, at += 4 * ROW) {
            row_t r0, r1, r2, r3, s0, s1;
            memcpy(&r0, at, ROW);
            memcpy(&r1, at + ROW, ROW);
            memcpy(&r2, at + 2 * ROW, ROW);
            memcpy(&r3, at + 3 * ROW, ROW);
            PAIR(s0, odd0, r0, r1);
            PAIR(s1, odd0, r2, r3);
            PAIR(quarter[q], odd1, s0, s1);
        }
        PAIR(quarter[0], odd2, quarter[0], quarter[1]);
        PAIR(quarter[2], odd2, quarter[2], quarter[3]);
        PAIR(chunk[c], odd3, quarter[0], quarter[2]);
    }
    f->odd[0] = odd0;
    f->odd[1] = odd1;
    f->odd[2] = odd2;
    f->odd[3] = odd3;
    f->bits = 4;
    for (; count > 1; count /= 2, f->bits++) {
        row_t odd = {0};
        for (uint32_t i = 0; i < count / 2; i++)
            PAIR(chunk[i], odd, chunk[2 * i], chunk[2 * i + 1]);
        f->odd[f->bits] = odd;
    }
    f->all = chunk[0];
}

static void fold_portable(const uint8_t *block, uint32_t n, struct fold *f)
{
    fold_rows(block, n, f);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static void fold_avx2(const uint8_t *block, uint32_t n,
                                                      struct fold *f)
{
    fold_rows(block, n, f);
}
#endif

static void fold_block(const uint8_t *block, uint32_t n, struct fold *f)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) {
        fold_avx2(block, n, f);
        return;
    }
#endif
    fold_portable(block, n, f);
}

static inline uint32_t parity(uint64_t x)
{
    return (uint32_t)__builtin_parityll(x);
}

/* The half of the ECC whose index bits are set; the other half follows from the parity of the
 * whole. */
static uint32_t ecc_low_half(const struct fold *f)
{
    static const uint64_t lane_bits[6] = {0xaaaaaaaaaaaaaaaau, 0xccccccccccccccccu,
                                          0xf0f0f0f0f0f0f0f0u, 0xff00ff00ff00ff00u,
                                          0xffff0000ffff0000u, 0xffffffff00000000u};
    uint64_t lane = f->all[0] ^ f->all[1] ^ f->all[2] ^ f->all[3];
    uint32_t low = 0;
    for (unsigned k = 0; k < 6; k++)
        low |= parity(lane & lane_bits[k]) << k;
    low |= parity(f->all[1] ^ f->all[3]) << 6;
    low |= parity(f->all[2] ^ f->all[3]) << 7;
    for (unsigned k = 0; k < f->bits; k++)
        low |= parity(f->odd[k][0] ^ f->odd[k][1] ^ f->odd[k][2] ^ f->odd[k][3]) << (8 + k);
    return low;
}

static uint32_t half_mask(uint32_t n)
{
    return n * 8 - 1;
}

uint64_t checksum_ecc(const void *block, uint32_t n, uint32_t pgno, bool header_block)
{
    ENFORCE(n == 2048 || n == 4096 || n == 8192);
    struct fold f;
    fold_block(block, n, &f);
    /* The stored checksum lies in row 0, which is part of no odd sum: taking it out of `all` is
     * enough. */
    if (header_block)
        f.all[0] ^= load_u64(block);
    uint64_t lane = f.all[0] ^ f.all[1] ^ f.all[2] ^ f.all[3];
    uint32_t low = ecc_low_half(&f);
    uint32_t high = parity(lane) ? low ^ half_mask(n) : low;
    uint32_t sum = (uint32_t)lane ^ (uint32_t)(lane >> 32) ^ pgno;
    return (uint64_t)(high << 16 | low) << 32 | sum;
}

/* The index of the one flipped bit that explains the difference; -1 when none does. */
static int32_t flipped_bit(uint32_t n, uint64_t stored, uint64_t computed)
{
    uint64_t difference = stored ^ computed;
    uint32_t low = (difference >> 32) & 0xffff, high = (uint32_t)(difference >> 48);
    uint32_t column = (uint32_t)difference;
    if ((low ^ high) != half_mask(n) || low > half_mask(n) || column != 1u << (low % 32))
        return -1;
    return (int32_t)low;
}

bool checksum_ecc_correct(void *block, uint32_t n, uint64_t stored, uint64_t computed)
{
    int32_t bit = flipped_bit(n, stored, computed);
    if (bit < 0)
        return false;
    ((uint8_t *)block)[bit / 8] ^= (uint8_t)(1u << bit % 8);
    return true;
}

uint32_t checksum_xor(const void *block, uint32_t n)
{
    ENFORCE(n >= 4 && n % 4 == 0);
    const uint8_t *at = block;
    uint32_t sum = CHECKSUM_SEED;
    for (uint32_t i = 4; i < n; i += 4)
        sum ^= load_u32(at + i);
    return sum;
}

/* ---- pages ---- */

static err_t verify_failure(pgno_t pgno, const char *what)
{
    err_t err = RAISE(JET_errReadVerifyFailure);
    err_detail("page %u: %s", pgno, what);
    return err;
}

/* Brings block and stored checksum into agreement, by one flipped bit at most. Bits 0-63 of a
 * header block are the checksum itself, and bit FORMAT_BIT decided which checksum this is: neither
 * can be the flipped one. */
static bool repair_block(uint8_t *block, uint32_t n, uint8_t *stored_at, uint64_t computed,
                         bool header_block)
{
    enum { FORMAT_BIT = AT_FLAGS * 8 + 13 };
    uint64_t stored = load_u64(stored_at), difference = stored ^ computed;
    /* A single wrong bit in the stored ECC with the XOR right: no damage of the data looks like
     * that. (The same in the XOR part would: a page written to the wrong place, with another page
     * number.) */
    if ((uint32_t)difference == 0 && __builtin_popcountll(difference) == 1) {
        store_u64(stored_at, computed);
        return true;
    }
    int32_t bit = flipped_bit(n, stored, computed);
    if (header_block && (bit < 64 || bit == FORMAT_BIT))
        return false;
    return checksum_ecc_correct(block, n, stored, computed);
}

static err_t verify_block(struct page page, pgno_t pgno, uint32_t i, uint32_t block_size,
                          bool *corrected)
{
    uint8_t *block = page.p + i * block_size;
    uint8_t *stored_at = page.p + (i == 0 ? AT_CHECKSUM : AT_BLOCK_CHECKSUMS + 8 * (i - 1));
    uint64_t computed = checksum_ecc(block, block_size, pgno, i == 0);
    if (computed == load_u64(stored_at))
        return JET_errSuccess;
    if (!repair_block(block, block_size, stored_at, computed, i == 0))
        return verify_failure(pgno, "checksum");
    *corrected = true;
    return JET_errSuccess;
}

static err_t verify_old_format(struct page page, pgno_t pgno)
{
    if (load_u32(page.p) != checksum_xor(page.p, page.size))
        return verify_failure(pgno, "checksum of the old format");
    if (load_u32(page.p + 4) != pgno)
        return verify_failure(pgno, "it carries another page number");
    return JET_errSuccess;
}

err_t page_verify(struct page page, pgno_t pgno, bool *corrected)
{
    *corrected = false;
    if (load_u64(page.p) == 0 && page_is_all_zero(page)) {
        err_t err = RAISE(JET_errPageNotInitialized);
        err_detail("page %u", pgno);
        return err;
    }
    if (!page_is_large(page)) {
        if ((page_flags(page) & PAGE_NEW_CHECKSUM) == 0)
            return verify_old_format(page, pgno);
        return verify_block(page, pgno, 0, page.size, corrected);
    }
    /* Block 0 first: it covers the checksums of the others. */
    for (uint32_t i = 0; i < 4; i++)
        TRY_RETURN(verify_block(page, pgno, i, page.size / 4, corrected));
    if (load_u32(page.p + AT_PGNO) != pgno)
        return verify_failure(pgno, "it carries another page number");
    return JET_errSuccess;
}

void page_seal(struct page page, pgno_t pgno)
{
    page_set_flags(page, page_flags(page) | PAGE_NEW_CHECKSUM);
    uint32_t block = page.size;
    if (page_is_large(page)) {
        block = page.size / 4;
        store_u32(page.p + AT_PGNO, pgno);
        for (uint32_t i = 1; i < 4; i++)
            store_u64(page.p + AT_BLOCK_CHECKSUMS + 8 * (i - 1),
                      checksum_ecc(page.p + i * block, block, pgno, false));
    }
    store_u64(page.p + AT_CHECKSUM, checksum_ecc(page.p, block, pgno, true));
}
