#include "backup/backup_private.h"

/* JetStopBackupInstance: the running streaming backup ends, and none is begun until the application says so (ruling 17-C3). The mark
 * is of the instance's life: an end of the instance takes it away. */

static bool is_streaming(const struct backup *b)
{
    return b->driver == DRIVER_ENGINE || b->driver == DRIVER_CALLER;
}

void backup_refuse(struct backup *b)
{
    os_lock_take(&b->lock);
    b->refused = true;
    if (is_streaming(b))
        atomic_store(&b->stop, JET_errBackupAbortByServer);
    os_lock_release(&b->lock);
}

err_t backup_allow(struct backup *b)
{
    os_lock_take(&b->lock);
    bool ends = b->refused && is_streaming(b);
    if (!ends)
        b->refused = false;
    os_lock_release(&b->lock);
    if (!ends)
        return JET_errSuccess;
    err_t err = RAISE(JET_errBackupInProgress);
    err_detail("the backup that was stopped has not ended yet; end it, then allow backups again");
    return err;
}

err_t stop__refused(void)
{
    err_t err = RAISE(JET_errBackupAbortByServer);
    err_detail("backups of this instance were stopped (JetStopBackupInstance); allow them again with PyjetResumeBackupInstance, "
               "inst.resume_backup() in Python, or restart the instance");
    return err;
}
