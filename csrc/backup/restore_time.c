#include "backup/restore_private.h"

/* The moment of a time in the logs of a set and those that follow it. */

static err_t look_through(const struct restore_set *set, const char *dir, uint32_t first, uint32_t last, uint32_t current,
                          const struct logtime *time, bool *later, lgpos_t *stop)
{
    char path[OS_PATH_MAX];
    for (uint32_t g = first; g <= last && !*later; g++) {
        TRY_RETURN(log_find(dir, set->base_name, g == current ? 0 : g, path));
        TRY_RETURN(log_find_time(path, time, later, stop));
    }
    return JET_errSuccess;
}

err_t restore_find_time(const struct restore_set *set, const char *roll_forward_dir, const struct logtime *time, lgpos_t *stop)
{
    bool later = false;
    struct log_survey live = {0};
    *stop = LGPOS_MIN;
    TRY_RETURN(look_through(set, set->dir, set->gen_low, set->gen_high, 0, time, &later, stop));
    if (later && *stop == LGPOS_MIN)
        *stop = 1; /* before the first log of all: earlier than any set, but not "no stop" */
    if (later || roll_forward_dir == NULL)
        return JET_errSuccess;
    TRY_RETURN(log_survey(roll_forward_dir, set->base_name, &live));
    if (!live.any)
        return JET_errSuccess;
    uint32_t first = live.gen_first > set->gen_high ? live.gen_first : set->gen_high + 1;
    return look_through(set, roll_forward_dir, first, live.gen_last, live.current ? live.gen_last : 0, time, &later, stop);
}
