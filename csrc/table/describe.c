/* Names and ids of a description. */
#include "table/table_private.h"

/* Names are code page 1252; only ASCII letters are folded, as in the catalog's keys. */
static uint8_t fold(char ch)
{
    uint8_t b = (uint8_t)ch;
    return b >= 'a' && b <= 'z' ? (uint8_t)(b - 0x20) : b;
}

static bool same_name(const char *a, const char *b)
{
    while (*a != '\0' && fold(*a) == fold(*b)) {
        a++;
        b++;
    }
    return fold(*a) == fold(*b);
}

const struct table_column *table_find_column(const struct table_desc *desc, const char *name)
{
    for (uint32_t i = 0; i < desc->column_count; i++) {
        const struct table_column *column = &desc->columns[i];
        if ((column->def.flags & COLUMN_DELETED) == 0 && same_name(column->name, name))
            return column;
    }
    return NULL;
}

const struct table_column *table_column_by_id(const struct table_desc *desc, colid_t id)
{
    uint32_t low = 0, high = desc->column_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (desc->columns[middle].def.id < id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == desc->column_count || desc->columns[low].def.id != id ||
        (desc->columns[low].def.flags & COLUMN_DELETED) != 0)
        return NULL;
    return &desc->columns[low];
}

const struct table_index *table_find_index(const struct table_desc *desc, const char *name)
{
    for (uint32_t i = 0; i < desc->index_count; i++)
        if (same_name(desc->indexes[i].name, name))
            return &desc->indexes[i];
    return NULL;
}
