#include "api/api_private.h"

/* Databases: create, attach, open, close, detach. */

static err_t no_size_limit(uint32_t pages)
{
    if (pages == 0)
        return JET_errSuccess;
    err_t err = RAISE(JET_errFeatureNotAvailable);
    err_detail("a greatest size of a database cannot be set: give 0");
    return err;
}

static err_t check_path(JET_PCSTR path)
{
    if (path != NULL && path[0] != '\0')
        return JET_errSuccess;
    err_t err = RAISE(JET_errDatabaseInvalidPath);
    err_detail("a path of a database is needed");
    return err;
}

JET_ERR JetCreateDatabase2A(JET_SESID sesid, JET_PCSTR szFilename, const uint32_t cpgDatabaseSizeMax, JET_DBID *pdbid, JET_GRBIT grbit)
{
    struct api_session *s;
    JET_DBID dbid = JET_dbidNil;
    TRY_RETURN(api_enter_writer(sesid, &s));
    err_t err = pdbid == NULL ? api_invalid("a place for the database id is needed") : check_path(szFilename);
    if (err >= 0)
        err = no_size_limit(cpgDatabaseSizeMax);
    if (err >= 0)
        err = session_create_database(s->session, szFilename, grbit, &dbid);
    if (pdbid != NULL)
        *pdbid = dbid;
    api_leave(s);
    return err;
}
PLAIN_IS_A(JetCreateDatabase2);

JET_ERR JetCreateDatabase2W(JET_SESID sesid, JET_PCWSTR szFilename, const uint32_t cpgDatabaseSizeMax, JET_DBID *pdbid, JET_GRBIT grbit)
    WITH_TEXT(path, szFilename, JetCreateDatabase2A(sesid, path, cpgDatabaseSizeMax, pdbid, grbit))

JET_ERR JetCreateDatabaseA(JET_SESID sesid, JET_PCSTR szFilename, JET_PCSTR szConnect, JET_DBID *pdbid, JET_GRBIT grbit)
{
    (void)szConnect;
    return JetCreateDatabase2A(sesid, szFilename, 0, pdbid, grbit);
}
PLAIN_IS_A(JetCreateDatabase);

JET_ERR JetCreateDatabaseW(JET_SESID sesid, JET_PCWSTR szFilename, JET_PCWSTR szConnect, JET_DBID *pdbid, JET_GRBIT grbit)
{
    (void)szConnect;
    return JetCreateDatabase2W(sesid, szFilename, 0, pdbid, grbit);
}

JET_ERR JetAttachDatabase2A(JET_SESID sesid, JET_PCSTR szFilename, const uint32_t cpgDatabaseSizeMax, JET_GRBIT grbit)
{
    struct api_session *s;
    TRY_RETURN(api_enter_writer(sesid, &s));
    err_t err = check_path(szFilename);
    if (err >= 0)
        err = no_size_limit(cpgDatabaseSizeMax);
    if (err >= 0)
        err = session_attach_database(s->session, szFilename, grbit);
    api_leave(s);
    return err;
}
PLAIN_IS_A(JetAttachDatabase2);

JET_ERR JetAttachDatabase2W(JET_SESID sesid, JET_PCWSTR szFilename, const uint32_t cpgDatabaseSizeMax, JET_GRBIT grbit)
    WITH_TEXT(path, szFilename, JetAttachDatabase2A(sesid, path, cpgDatabaseSizeMax, grbit))

JET_ERR JetAttachDatabaseA(JET_SESID sesid, JET_PCSTR szFilename, JET_GRBIT grbit)
{
    return JetAttachDatabase2A(sesid, szFilename, 0, grbit);
}
PLAIN_IS_A(JetAttachDatabase);

JET_ERR JetAttachDatabaseW(JET_SESID sesid, JET_PCWSTR szFilename, JET_GRBIT grbit)
{
    return JetAttachDatabase2W(sesid, szFilename, 0, grbit);
}

JET_ERR JetDetachDatabase2A(JET_SESID sesid, JET_PCSTR szFilename, JET_GRBIT grbit)
{
    struct api_session *s;
    TRY_RETURN(api_enter_writer_ending(sesid, &s));
    err_t err = JET_errSuccess;
    if ((grbit & ~(JET_GRBIT)JET_bitForceCloseAndDetach) != 0)
        err = RAISE(JET_errInvalidGrbit);
    else if (grbit != 0)
        err = RAISE(JET_errForceDetachNotAllowed);
    else
        err = session_detach_database(s->session, szFilename, grbit);
    api_leave(s);
    return err;
}
PLAIN_IS_A(JetDetachDatabase2);

JET_ERR JetDetachDatabase2W(JET_SESID sesid, JET_PCWSTR szFilename, JET_GRBIT grbit)
    WITH_TEXT(path, szFilename, JetDetachDatabase2A(sesid, path, grbit))

JET_ERR JetDetachDatabaseA(JET_SESID sesid, JET_PCSTR szFilename)
{
    return JetDetachDatabase2A(sesid, szFilename, 0);
}
PLAIN_IS_A(JetDetachDatabase);

JET_ERR JetDetachDatabaseW(JET_SESID sesid, JET_PCWSTR szFilename)
{
    return JetDetachDatabase2W(sesid, szFilename, 0);
}

JET_ERR JetOpenDatabaseA(JET_SESID sesid, JET_PCSTR szFilename, JET_PCSTR szConnect, JET_DBID *pdbid, JET_GRBIT grbit)
{
    (void)szConnect;
    struct api_session *s;
    JET_DBID dbid = JET_dbidNil;
    TRY_RETURN(api_enter_writer(sesid, &s));
    err_t err = pdbid == NULL ? api_invalid("a place for the database id is needed") : check_path(szFilename);
    if (err >= 0)
        err = session_open_database(s->session, szFilename, grbit, &dbid);
    if (pdbid != NULL)
        *pdbid = dbid;
    api_leave(s);
    return err;
}
PLAIN_IS_A(JetOpenDatabase);

JET_ERR JetOpenDatabaseW(JET_SESID sesid, JET_PCWSTR szFilename, JET_PCWSTR szConnect, JET_DBID *pdbid, JET_GRBIT grbit)
{
    (void)szConnect;
    WITH_TEXT(path, szFilename, JetOpenDatabaseA(sesid, path, NULL, pdbid, grbit))
}

JET_ERR JetCloseDatabase(JET_SESID sesid, JET_DBID dbid, JET_GRBIT grbit)
{
    struct api_session *s;
    TRY_RETURN(api_enter_writer_ending(sesid, &s));
    err_t err = grbit != 0 ? RAISE(JET_errInvalidGrbit) : session_close_database(s->session, dbid);
    if (err >= 0)
        api_drop_dead_cursors(s);
    api_leave(s);
    return err;
}
