#include "api/api_private.h"

/* Stopping backups and services (backup-semantics.md 9). */

static err_t with_instance(JET_INSTANCE instance, err_t (*fn)(struct instance *inst))
{
    struct api_instance *i;
    TRY_RETURN(api_pin_instance(instance, true, &i));
    err_t err = fn(i->inst);
    api_unpin_instance(i);
    return err;
}

JET_ERR JetStopBackupInstance(JET_INSTANCE instance)
{
    return with_instance(instance, instance_refuse_backups);
}

JET_ERR JetStopBackup(void)
{
    TRY_RETURN(api_require_single());
    return JetStopBackupInstance(0);
}

JET_ERR PyjetResumeBackupInstance(JET_INSTANCE instance)
{
    return with_instance(instance, instance_allow_backups);
}

JET_ERR JetStopServiceInstance2(JET_INSTANCE instance, const JET_GRBIT grbit)
{
    struct api_instance *i;
    TRY_RETURN(api_pin_instance(instance, true, &i));
    err_t err = instance_stop_service(i->inst, grbit);
    api_unpin_instance(i);
    return err;
}

JET_ERR JetStopServiceInstance(JET_INSTANCE instance)
{
    return JetStopServiceInstance2(instance, JET_bitStopServiceAll);
}

JET_ERR JetStopService(void)
{
    TRY_RETURN(api_require_single());
    return JetStopServiceInstance2(0, JET_bitStopServiceAll);
}
