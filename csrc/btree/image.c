/* Page images that splits, merges and page moves carry in the log (log-format.md 7.4). */
#include "btree/btree_format.h"
#include "record/record.h"

#define HEAD_SMALL 40u
#define HEAD_LARGE 80u
#define AT_FREE 28u
#define AT_TAG_STATE 34u
#define TAG_COUNT_MASK 0xfffu
#define SCHEME_XPRESS 3u

static err_t bad_image(const char *why)
{
    err_t err = RAISE(JET_errLogFileCorrupt);
    err_detail("page image: %s", why);
    return err;
}

static err_t inflate(struct slice image, uint32_t page_size, uint8_t *to, uint32_t *size)
{
    if (image.n < 3)
        return bad_image("too short");
    if (image.p[0] >> 3 != SCHEME_XPRESS)
        return bad_image("compressed in a way that is not known here");
    *size = load_u16(image.p + 1);
    if (*size > page_size)
        return bad_image("larger than a page");
    if (xpress_decompress(slice_after(image, 3), to, *size) < 0)
        return bad_image("does not decompress");
    return JET_errSuccess;
}

/* Puts the gap between data and tags back. */
static err_t rehydrate(uint8_t *p, uint32_t size, uint32_t page_size)
{
    uint32_t head = page_size > 8192 ? HEAD_LARGE : HEAD_SMALL, gap = page_size - size;
    if (size < head)
        return bad_image("too short");
    uint32_t tags = 4 * (load_u16(p + AT_TAG_STATE) & TAG_COUNT_MASK), free = load_u16(p + AT_FREE);
    if (tags > size - head || free + gap > page_size)
        return bad_image("tags do not fit");
    memmove(p + page_size - tags, p + size - tags, tags);
    memset(p + size - tags, 0, gap);
    store_u16(p + AT_FREE, (uint16_t)(free + gap));
    return JET_errSuccess;
}

err_t btree_image_unpack(struct slice image, uint32_t image_flags, uint32_t page_size, dbtime_t before, uint8_t *to)
{
    uint32_t size = image.n;
    if (image_flags & ~(uint32_t)(IMAGE_DEHYDRATED | IMAGE_COMPRESSED))
        return bad_image("flags that are not known here");
    if (image_flags & IMAGE_COMPRESSED)
        TRY_RETURN(inflate(image, page_size, to, &size));
    else if (size <= page_size)
        memcpy(to, image.p, size);
    if (size > page_size || (size != page_size && (image_flags & IMAGE_DEHYDRATED) == 0))
        return bad_image("not of the page's size");
    if (size != page_size)
        TRY_RETURN(rehydrate(to, size, page_size));
    struct page page = {to, page_size};
    TRY_RETURN(page_validate(page));
    page_set_dbtime(page, before);
    return JET_errSuccess;
}
