/* DateTime columns: OLE dates (days since 1899-12-30 as a double) and, in some Windows files,
 * FILETIME.
 *
 * A date before day 0 counts its fraction forward: -1.25 is 6 o'clock of 1899-12-29. A double holds
 * the microsecond of every date before the year 2079 (65,536 days), and about 40 microseconds in
 * the year 9999. */
#include "python/convert.h"

#include <datetime.h>
#include <math.h>

#define MICROS_A_DAY INT64_C(86400000000)
#define OLE_TO_ORDINAL 693594   /* proleptic ordinal of 1899-12-30 */
#define FILETIME_ORDINAL 584389 /* of 1601-01-01 */
#define ORDINAL_MAX 3652059     /* of 9999-12-31 */
#define OLE_END 2958466.0        /* 10000-01-01 */

/* What PyDateTime_IMPORT does, but the import's own exception stays: PyCapsule_Import makes an ImportError of each, of a MemoryError too. */
static PyDateTime_CAPI *datetime_calls(void)
{
    PyObject *module = PyImport_ImportModule("datetime");
    PyObject *capsule = module == NULL ? NULL : PyObject_GetAttrString(module, "datetime_CAPI");
    PyDateTime_CAPI *calls = capsule == NULL ? NULL : PyCapsule_GetPointer(capsule, PyDateTime_CAPSULE_NAME);
    Py_XDECREF(capsule); /* the module keeps its own */
    Py_XDECREF(module);
    return calls;
}

int time_setup(struct state *st)
{
    PyDateTime_CAPI *calls = datetime_calls();
    if (calls == NULL)
        return -1; /* the pointer is one for all modules of the process: another's stays */
    PyDateTimeAPI = calls;
    st->utc = Py_NewRef(PyDateTime_TimeZone_UTC);
    return 0;
}

static int64_t days_from_civil(int64_t y, int m, int d) /* ordinal: 0001-01-01 is 1 */
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400, doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 305;
}

static void civil_from_days(int64_t ordinal, int *y, int *m, int *d)
{
    int64_t z = ordinal + 305;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097, yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = (int)(yoe + era * 400 + (*m <= 2));
}

static PyObject *date_at(int64_t ordinal, int64_t micros)
{
    int y, m, d;
    civil_from_days(ordinal, &y, &m, &d);
    int64_t seconds = micros / 1000000;
    return PyDateTime_FromDateAndTime(y, m, d, (int)(seconds / 3600), (int)(seconds / 60 % 60),
                                      (int)(seconds % 60), (int)(micros % 1000000));
}

PyObject *date_from_ole(double value)
{
    if (!isfinite(value) || fabs(value) > 4e6)
        return PyFloat_FromDouble(value);
    double whole = trunc(value);
    int64_t ordinal = (int64_t)whole + OLE_TO_ORDINAL;
    int64_t micros = (int64_t)nearbyint(fabs(value - whole) * (double)MICROS_A_DAY);
    if (micros >= MICROS_A_DAY) {
        ordinal++;
        micros = 0;
    }
    if (ordinal < 1 || ordinal > ORDINAL_MAX)
        return PyFloat_FromDouble(value);
    return date_at(ordinal, micros);
}

PyObject *date_from_filetime(uint64_t ticks)
{
    uint64_t micros = ticks / 10;
    uint64_t days = micros / (uint64_t)MICROS_A_DAY;
    if (days > (uint64_t)(ORDINAL_MAX - FILETIME_ORDINAL))
        return PyLong_FromUnsignedLongLong(ticks);
    return date_at((int64_t)days + FILETIME_ORDINAL, (int64_t)(micros % (uint64_t)MICROS_A_DAY));
}

bool date_to_micros(struct state *st, PyObject *value, int64_t *days, int64_t *micros)
{
    PyObject *date = Py_NewRef(value);
    if (PyDateTime_Check(value) && PyDateTime_DATE_GET_TZINFO(value) != Py_None) {
        Py_SETREF(date, PyObject_CallMethodOneArg(value, st->str_astimezone, st->utc));
        if (date == NULL)
            return false;
    }
    if (!PyDate_Check(date)) {
        PyErr_Format(PyExc_TypeError, "expected datetime, got %s", Py_TYPE(value)->tp_name);
        Py_DECREF(date);
        return false;
    }
    *days = days_from_civil(PyDateTime_GET_YEAR(date), PyDateTime_GET_MONTH(date),
                            PyDateTime_GET_DAY(date));
    *micros = 0;
    if (PyDateTime_Check(date))
        *micros =
            ((PyDateTime_DATE_GET_HOUR(date) * INT64_C(60) + PyDateTime_DATE_GET_MINUTE(date)) *
                 60 +
             PyDateTime_DATE_GET_SECOND(date)) *
                1000000 +
            PyDateTime_DATE_GET_MICROSECOND(date);
    Py_DECREF(date);
    return true;
}

bool ole_from_date(struct state *st, PyObject *value, double *out)
{
    int64_t ordinal, micros;
    if (PyFloat_Check(value)) { /* what date_from_ole gives for bytes that are no date */
        *out = PyFloat_AS_DOUBLE(value);
        return true;
    }
    if (!date_to_micros(st, value, &ordinal, &micros))
        return false;
    int64_t days = ordinal - OLE_TO_ORDINAL;
    double part = (double)micros / (double)MICROS_A_DAY;
    *out = days >= 0 ? (double)days + part : (double)days - part;
    if (*out >= OLE_END) /* the last microseconds of 9999 stay in it */
        *out = nextafter(OLE_END, 0);
    return true;
}

bool filetime_from_date(struct state *st, PyObject *value, uint64_t *ticks)
{
    int64_t ordinal, micros;
    if (PyLong_Check(value)) {
        *ticks = PyLong_AsUnsignedLongLong(value);
        return !PyErr_Occurred();
    }
    if (!date_to_micros(st, value, &ordinal, &micros))
        return false;
    if (ordinal < FILETIME_ORDINAL) {
        PyErr_SetString(PyExc_ValueError, "FILETIME begins on 1601-01-01");
        return false;
    }
    *ticks =
        ((uint64_t)(ordinal - FILETIME_ORDINAL) * (uint64_t)MICROS_A_DAY + (uint64_t)micros) * 10;
    return true;
}
