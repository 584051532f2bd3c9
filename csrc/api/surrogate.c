#include "api/api_private.h"

/* Surrogate backups: only the book-keeping of one that was taken from another copy (backup-semantics.md 12.2). */

struct range {
    bool begins;
    uint32_t first, last;
    JET_GRBIT grbit;
};

static err_t run(JET_INSTANCE instance, const struct range *r)
{
    struct api_instance *i;
    struct backup *b;
    TRY_RETURN(api_pin_instance(instance, true, &i));
    err_t err = instance_enter_backup(i->inst, &b);
    if (err >= 0) {
        err = r->begins ? backup_begin_surrogate(b, r->first, r->last, r->grbit) : backup_end_surrogate(b, r->grbit);
        err = instance_leave_backup(i->inst, err);
    }
    api_unpin_instance(i);
    return err;
}

JET_ERR JetBeginSurrogateBackup(JET_INSTANCE instance, uint32_t lgenFirst, uint32_t lgenLast, JET_GRBIT grbit)
{
    return run(instance, &(struct range){true, lgenFirst, lgenLast, grbit});
}

JET_ERR JetEndSurrogateBackup(JET_INSTANCE instance, JET_GRBIT grbit)
{
    return run(instance, &(struct range){.grbit = grbit});
}
