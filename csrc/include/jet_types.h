/* Scalars and constants of the ESE API: many of them are stored on disk, so every floor may read this
 * file. Values are ESE's (checked against the Windows headers), the arrangement is ours. */
#ifndef JET_TYPES_H
#define JET_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifndef JET_VERSION
# define JET_VERSION 0x0A01 /* of the API, as in the Windows headers */
#endif

typedef int32_t JET_ERR;
typedef uint64_t JET_API_PTR;
typedef JET_API_PTR JET_INSTANCE;
typedef JET_API_PTR JET_SESID;
typedef JET_API_PTR JET_TABLEID;
typedef JET_API_PTR JET_HANDLE;
typedef JET_API_PTR JET_LS;
typedef JET_API_PTR JET_OSSNAPID;
typedef uint32_t JET_DBID;
typedef uint32_t JET_COLUMNID;
typedef uint32_t JET_COLTYP;
typedef uint32_t JET_GRBIT;
typedef uint32_t JET_OBJTYP;
typedef uint32_t JET_SNP;
typedef uint32_t JET_SNT;
typedef uint32_t JET_CBTYP;
typedef uint16_t JET_WCHAR; /* UTF-16 unit, also where wchar_t is wider */

enum jet_error {
#define JET_ERROR(name, value, category, text) name = value,
#define JET_ERROR_ALIAS(name, value) name = value,
#include "include/jet_errors.def"
#undef JET_ERROR
#undef JET_ERROR_ALIAS
};

enum jet_param {
#define JET_PARAM(name, id, kind, scope, dflt, min, max, when, text) name = id,
#include "include/jet_params.def"
#undef JET_PARAM
};

/* grbits */
#define JET_bitConfigStoreReadControlInhibitRead 0x00000001u
#define JET_bitConfigStoreReadControlDisableAll 0x00000002u
#define JET_bitConfigStoreReadControlDefault 0x00000000u
#define JET_bitDefragmentBatchStart 0x00000001u
#define JET_bitDefragmentBatchStop 0x00000002u
#define JET_bitDefragmentAvailSpaceTreesOnly 0x00000040u
#define JET_bitDefragmentNoPartialMerges 0x00000080u
#define JET_bitDefragmentBTree 0x00000100u
#define JET_bitTableInfoUpdatable 0x00000001u
#define JET_bitTableInfoBookmark 0x00000002u
#define JET_bitTableInfoRollback 0x00000004u
#define JET_bitObjectSystem 0x80000000u
#define JET_bitObjectTableFixedDDL 0x40000000u
#define JET_bitObjectTableTemplate 0x20000000u
#define JET_bitObjectTableDerived 0x10000000u
#define JET_bitObjectTableNoFixedVarColumnsInDerivedTables 0x04000000u
#define JET_bitDurableCommitCallbackLogUnavailable 0x00000001u
#define JET_bitNil 0x00000000u
#define JET_bitESE98FileNames 0x00000001u
#define JET_bitEightDotThreeSoftCompat 0x00000002u
#define JET_bitHungIOEvent 0x00000001u
#define JET_bitShrinkDatabaseOff 0x00000000u
#define JET_bitShrinkDatabaseOn 0x00000001u
#define JET_bitShrinkDatabaseRealtime 0x00000002u
#define JET_bitShrinkDatabaseTrim 0x00000001u
#define JET_bitReplayIgnoreMissingDB 0x00000004u
/* JET_RSTMAP2.grbit */
#define JET_bitRestoreMapIgnoreWhenMissing 0x00000001u
#define JET_bitRestoreMapFailWhenMissing 0x00000002u
#define JET_bitRestoreMapOverwriteOnCreate 0x00000004u
#define JET_bitRecoveryWithoutUndo 0x00000008u
#define JET_bitTruncateLogsAfterRecovery 0x00000010u
#define JET_bitReplayMissingMapEntryDB 0x00000020u
#define JET_bitLogStreamMustExist 0x00000040u
#define JET_bitReplayIgnoreLostLogs 0x00000080u
#define JET_bitKeepDbAttachedAtEndOfRecovery 0x00001000u
#define JET_bitTermComplete 0x00000001u
#define JET_bitTermAbrupt 0x00000002u
#define JET_bitTermStopBackup 0x00000004u
#define JET_bitTermDirty 0x00000008u
#define JET_bitIdleFlushBuffers 0x00000001u
#define JET_bitIdleCompact 0x00000002u
#define JET_bitIdleStatus 0x00000004u
#define JET_bitDbReadOnly 0x00000001u
#define JET_bitDbExclusive 0x00000002u
#define JET_bitDbDeleteCorruptIndexes 0x00000010u
#define JET_bitDbDeleteUnicodeIndexes 0x00000400u
#define JET_bitDbUpgrade 0x00000200u
#define JET_bitDbEnableBackgroundMaintenance 0x00000800u
#define JET_bitDbPurgeCacheOnAttach 0x00001000u
#define JET_bitForceDetach 0x00000001u
#define JET_bitForceCloseAndDetach 0x00000003u
#define JET_bitDbRecoveryOff 0x00000008u
#define JET_bitDbShadowingOff 0x00000080u
#define JET_bitDbOverwriteExisting 0x00000200u
#define JET_bitBackupIncremental 0x00000001u
#define JET_bitBackupAtomic 0x00000004u
#if JET_VERSION >= 0x0501
#define JET_bitBackupSnapshot 0x00000010u
#endif
#define JET_bitInternalCopy 0x00000040u
#define JET_bitBackupEndNormal 0x00000001u
#define JET_bitBackupEndAbort 0x00000002u
#define JET_bitBackupTruncateDone 0x00000100u
#define JET_bitBackupNoDbHeaderUpdate 0x00000200u
#define JET_bitTableCreateFixedDDL 0x00000001u
#define JET_bitTableCreateTemplateTable 0x00000002u
#define JET_bitTableCreateNoFixedVarColumnsInDerivedTables 0x00000004u
#define JET_bitTableCreateImmutableStructure 0x00000008u
#define JET_bitColumnFixed 0x00000001u
#define JET_bitColumnTagged 0x00000002u
#define JET_bitColumnNotNULL 0x00000004u
#define JET_bitColumnVersion 0x00000008u
#define JET_bitColumnAutoincrement 0x00000010u
#define JET_bitColumnUpdatable 0x00000020u
#define JET_bitColumnTTKey 0x00000040u
#define JET_bitColumnTTDescending 0x00000080u
#define JET_bitColumnMultiValued 0x00000400u
#define JET_bitColumnEscrowUpdate 0x00000800u
#define JET_bitColumnUnversioned 0x00001000u
#define JET_bitColumnMaybeNull 0x00002000u
#define JET_bitColumnFinalize 0x00004000u
#define JET_bitColumnUserDefinedDefault 0x00008000u
#define JET_bitColumnDeleteOnZero 0x00020000u
#define JET_bitColumnCompressed 0x00080000u
#define JET_bitDeleteColumnIgnoreTemplateColumns 0x00000001u
#define JET_bitMoveFirst 0x00000000u
#define JET_bitNoMove 0x00000002u
#define JET_bitNewKey 0x00000001u
#define JET_bitStrLimit 0x00000002u
#define JET_bitSubStrLimit 0x00000004u
#define JET_bitNormalizedKey 0x00000008u
#define JET_bitKeyDataZeroLength 0x00000010u
#define JET_bitFullColumnStartLimit 0x00000100u
#define JET_bitFullColumnEndLimit 0x00000200u
#define JET_bitPartialColumnStartLimit 0x00000400u
#define JET_bitPartialColumnEndLimit 0x00000800u
#define JET_bitRangeInclusive 0x00000001u
#define JET_bitRangeUpperLimit 0x00000002u
#define JET_bitRangeInstantDuration 0x00000004u
#define JET_bitRangeRemove 0x00000008u
#define JET_bitReadLock 0x00000001u
#define JET_bitWriteLock 0x00000002u
#define JET_bitMoveKeyNE 0x00000001u
#define JET_bitSeekEQ 0x00000001u
#define JET_bitSeekLT 0x00000002u
#define JET_bitSeekLE 0x00000004u
#define JET_bitSeekGE 0x00000008u
#define JET_bitSeekGT 0x00000010u
#define JET_bitSetIndexRange 0x00000020u
#define JET_bitCheckUniqueness 0x00000040u
#define JET_bitBookmarkPermitVirtualCurrency 0x00000001u
#define JET_bitIndexColumnMustBeNull 0x00000001u
#define JET_bitIndexColumnMustBeNonNull 0x00000002u
#define JET_bitRecordInIndex 0x00000001u
#define JET_bitRecordNotInIndex 0x00000002u
#define JET_bitIndexUnique 0x00000001u
#define JET_bitIndexPrimary 0x00000002u
#define JET_bitIndexDisallowNull 0x00000004u
#define JET_bitIndexIgnoreNull 0x00000008u
#define JET_bitIndexIgnoreAnyNull 0x00000020u
#define JET_bitIndexIgnoreFirstNull 0x00000040u
#define JET_bitIndexLazyFlush 0x00000080u
#define JET_bitIndexEmpty 0x00000100u
#define JET_bitIndexUnversioned 0x00000200u
#define JET_bitIndexSortNullsHigh 0x00000400u
#define JET_bitIndexUnicode 0x00000800u
#define JET_bitIndexTuples 0x00001000u
#define JET_bitIndexTupleLimits 0x00002000u
#define JET_bitIndexCrossProduct 0x00004000u
#define JET_bitIndexKeyMost 0x00008000u
#define JET_bitIndexDisallowTruncation 0x00010000u
#define JET_bitIndexNestedTable 0x00020000u
#define JET_bitIndexDotNetGuid 0x00040000u
#define JET_bitIndexImmutableStructure 0x00080000u
#define JET_bitKeyAscending 0x00000000u
#define JET_bitKeyDescending 0x00000001u
#define JET_bitTableDenyWrite 0x00000001u
#define JET_bitTableDenyRead 0x00000002u
#define JET_bitTableReadOnly 0x00000004u
#define JET_bitTableUpdatable 0x00000008u
#define JET_bitTablePermitDDL 0x00000010u
#define JET_bitTableNoCache 0x00000020u
#define JET_bitTablePreread 0x00000040u
#define JET_bitTableOpportuneRead 0x00000080u
#define JET_bitTableSequential 0x00008000u
#define JET_bitTableClassMask 0x001F0000u
#define JET_bitTableClassNone 0x00000000u
#define JET_bitTableClass1 0x00010000u
#define JET_bitTableClass2 0x00020000u
#define JET_bitTableClass3 0x00030000u
#define JET_bitTableClass4 0x00040000u
#define JET_bitTableClass5 0x00050000u
#define JET_bitTableClass6 0x00060000u
#define JET_bitTableClass7 0x00070000u
#define JET_bitTableClass8 0x00080000u
#define JET_bitTableClass9 0x00090000u
#define JET_bitTableClass10 0x000A0000u
#define JET_bitTableClass11 0x000B0000u
#define JET_bitTableClass12 0x000C0000u
#define JET_bitTableClass13 0x000D0000u
#define JET_bitTableClass14 0x000E0000u
#define JET_bitTableClass15 0x000F0000u
#define JET_bitLSReset 0x00000001u
#define JET_bitLSCursor 0x00000002u
#define JET_bitLSTable 0x00000004u
#define JET_bitPrereadForward 0x00000001u
#define JET_bitPrereadBackward 0x00000002u
#define JET_bitPrereadFirstPage 0x00000004u
#define JET_bitPrereadNormalizedKey 0x00000008u
#define JET_bitTTIndexed 0x00000001u
#define JET_bitTTUnique 0x00000002u
#define JET_bitTTUpdatable 0x00000004u
#define JET_bitTTScrollable 0x00000008u
#define JET_bitTTSortNullsHigh 0x00000010u
#define JET_bitTTForceMaterialization 0x00000020u
#define JET_bitTTErrorOnDuplicateInsertion 0x00000020u
#define JET_bitTTForwardOnly 0x00000040u
#define JET_bitTTIntrinsicLVsOnly 0x00000080u
#define JET_bitTTDotNetGuid 0x00000100u
#define JET_bitSetAppendLV 0x00000001u
#define JET_bitSetOverwriteLV 0x00000004u
#define JET_bitSetSizeLV 0x00000008u
#define JET_bitSetZeroLength 0x00000020u
#define JET_bitSetSeparateLV 0x00000040u
#define JET_bitSetUniqueMultiValues 0x00000080u
#define JET_bitSetUniqueNormalizedMultiValues 0x00000100u
#define JET_bitSetRevertToDefaultValue 0x00000200u
#define JET_bitSetIntrinsicLV 0x00000400u
#define JET_bitSetUncompressed 0x00010000u
#define JET_bitSetCompressed 0x00020000u
#define JET_bitSetContiguousLV 0x00040000u
#define JET_bitSpaceHintsUtilizeParentSpace 0x00000001u
#define JET_bitCreateHintAppendSequential 0x00000002u
#define JET_bitCreateHintHotpointSequential 0x00000004u
#define JET_bitRetrieveHintReserve1 0x00000008u
#define JET_bitRetrieveHintTableScanForward 0x00000010u
#define JET_bitRetrieveHintTableScanBackward 0x00000020u
#define JET_bitRetrieveHintReserve2 0x00000040u
#define JET_bitRetrieveHintReserve3 0x00000080u
#define JET_bitDeleteHintTableSequential 0x00000100u
#define JET_bitUpdateCheckESE97Compatibility 0x00000001u
#define JET_bitEscrowNoRollback 0x00000001u
#define JET_bitRetrieveCopy 0x00000001u
#define JET_bitRetrieveFromIndex 0x00000002u
#define JET_bitRetrieveFromPrimaryBookmark 0x00000004u
#define JET_bitRetrieveTag 0x00000008u
#define JET_bitRetrieveNull 0x00000010u
#define JET_bitRetrieveIgnoreDefault 0x00000020u
#define JET_bitRetrieveTuple 0x00000800u
#define JET_bitZeroLength 0x00000001u
#define JET_bitEnumerateCopy 0x00000001u
#define JET_bitEnumerateIgnoreDefault 0x00000020u
#define JET_bitEnumeratePresenceOnly 0x00020000u
#define JET_bitEnumerateTaggedOnly 0x00040000u
#define JET_bitEnumerateCompressOutput 0x00080000u
#define JET_bitEnumerateIgnoreUserDefinedDefault 0x00100000u
#define JET_bitEnumerateInRecordOnly 0x00200000u
#define JET_bitRecordSizeInCopyBuffer 0x00000001u
#define JET_bitRecordSizeRunningTotal 0x00000002u
#define JET_bitRecordSizeLocal 0x00000004u
#define JET_bitTransactionReadOnly 0x00000001u
#define JET_bitCommitLazyFlush 0x00000001u
#define JET_bitWaitLastLevel0Commit 0x00000002u
#define JET_bitWaitAllLevel0Commit 0x00000008u
#define JET_bitForceNewLog 0x00000010u
#define JET_bitRollbackAll 0x00000001u
#define JET_bitIncrementalSnapshot 0x00000001u
#define JET_bitCopySnapshot 0x00000002u
#define JET_bitContinueAfterThaw 0x00000004u
#define JET_bitExplicitPrepare 0x00000008u
#define JET_bitAllDatabasesSnapshot 0x00000001u
#define JET_bitAbortSnapshot 0x00000001u
#define JET_bitCompactStats 0x00000020u
#define JET_bitCompactRepair 0x00000040u
#define JET_bitResizeDatabaseOnlyGrow 0x00000001u
#define JET_bitResizeDatabaseOnlyShrink 0x00000002u
#define JET_bitStopServiceAll 0x00000000u
#define JET_bitStopServiceBackgroundUserTasks 0x00000002u
#define JET_bitStopServiceQuiesceCaches 0x00000004u
#define JET_bitStopServiceStopAndEmitLog 0x00000008u
#define JET_bitStopServiceResume 0x80000000u
#define JET_bitDumpMinimum 0x00000001u
#define JET_bitDumpMaximum 0x00000002u
#define JET_bitDumpCacheMinimum 0x00000004u
#define JET_bitDumpCacheMaximum 0x00000008u
#define JET_bitDumpCacheIncludeDirtyPages 0x00000010u
#define JET_bitDumpCacheIncludeCachedPages 0x00000020u
#define JET_bitDumpCacheIncludeCorruptedPages 0x00000040u
#define JET_bitDumpCacheNoDecommit 0x00000080u

/* cbtyp */
#define JET_cbtypNull 0
#define JET_cbtypFinalize 1
#define JET_cbtypBeforeInsert 2
#define JET_cbtypAfterInsert 4
#define JET_cbtypBeforeReplace 8
#define JET_cbtypAfterReplace 16
#define JET_cbtypBeforeDelete 32
#define JET_cbtypAfterDelete 64
#define JET_cbtypUserDefinedDefaultValue 128
#define JET_cbtypOnlineDefragCompleted 256
#define JET_cbtypFreeCursorLS 512
#define JET_cbtypFreeTableLS 1024

/* count */
#define cObjectInfoCols 9
#define cColumnInfoCols 14
#define cIndexInfoCols 15

/* limit */
#define JET_MAX_COMPUTERNAME_LENGTH 15

/* handle */
#define JET_instanceNil (~(JET_API_PTR)0)
#define JET_sesidNil (~(JET_API_PTR)0)
#define JET_tableidNil (~(JET_API_PTR)0)

/* limit */
#define JET_cbBookmarkMost 256
#define JET_cbBookmarkMostMost 2000
#define JET_cbNameMost 64
#define JET_cbFullNameMost 255
#define JET_cbColumnLVPageOverhead 82
#define JET_cbLVDefaultValueMost 255
#define JET_cbColumnMost 255
#define JET_cbLVColumnMost 2147483647
#define JET_cbKeyMostMost 2000
#define JET_cbKeyMost32KBytePage 2000
#define JET_cbKeyMost16KBytePage 2000
#define JET_cbKeyMost8KBytePage 2000
#define JET_cbKeyMost4KBytePage 1000
#define JET_cbKeyMost2KBytePage 500
#define JET_cbKeyMostMin 255
#define JET_cbKeyMost 255
#define JET_cbLimitKeyMost 256
#define JET_cbPrimaryKeyMost 255
#define JET_cbSecondaryKeyMost 255
#define JET_ccolKeyMost 16
#define JET_ccolMost 65248
#define JET_ccolFixedMost 127
#define JET_ccolVarMost 128
#define JET_ccolTaggedMost 64993

/* JET_paramEventLoggingLevel */
#define JET_EventLoggingDisable 0
#define JET_EventLoggingLevelMin 1
#define JET_EventLoggingLevelLow 25
#define JET_EventLoggingLevelMedium 50
#define JET_EventLoggingLevelHigh 75
#define JET_EventLoggingLevelMax 100

/* JET_paramIOPriority */
#define JET_IOPriorityNormal 0
#define JET_IOPriorityLow 1

/* JET_paramConfiguration */
#define JET_configDefault 1
#define JET_configRemoveQuotas 2
#define JET_configLowDiskFootprint 4
#define JET_configMediumDiskFootprint 8
#define JET_configLowMemory 16
#define JET_configDynamicMediumMemory 32
#define JET_configLowPower 64
#define JET_configSSDProfileIO 128
#define JET_configRunSilent 256
#define JET_configUnthrottledMemory 512
#define JET_configHighConcurrencyScaling 1024

/* sesparam */
#define JET_sesparamCommitDefault 4097
#define JET_sesparamTransactionLevel 4099
#define JET_sesparamOperationContext 4100
#define JET_sesparamCorrelationID 4101
#define JET_sesparamMaxValueInvalid 4111

/* handle */
#define JET_dbidNil 0xFFFFFFFF

/* JET_Move */
#define JET_MoveFirst (-2147483647 - 1)
#define JET_MovePrevious (-1)
#define JET_MoveNext (1)
#define JET_MoveLast (2147483647)

/* handle */
#define JET_LSNil (~(JET_API_PTR)0)

/* JET_prep */
#define JET_prepInsert 0
#define JET_prepReplace 2
#define JET_prepCancel 3
#define JET_prepReplaceNoLock 4
#define JET_prepInsertCopy 5
#define JET_prepInsertCopyDeleteOriginal 7
#define JET_prepInsertCopyReplaceOriginal 9

/* JET_paramEnableSqm */
#define JET_sqmDisable 0
#define JET_sqmEnable 1
#define JET_sqmFromCEIP 2

/* JET_DbInfo */
#define JET_DbInfoFilename 0
#define JET_DbInfoConnect 1
#define JET_DbInfoCountry 2
#define JET_DbInfoLCID 3
#define JET_DbInfoLangid 3
#define JET_DbInfoCp 4
#define JET_DbInfoCollate 5
#define JET_DbInfoOptions 6
#define JET_DbInfoTransactions 7
#define JET_DbInfoVersion 8
#define JET_DbInfoIsam 9
#define JET_DbInfoFilesize 10
#define JET_DbInfoSpaceOwned 11
#define JET_DbInfoSpaceAvailable 12
#define JET_DbInfoUpgrade 13
#define JET_DbInfoMisc 14
#define JET_DbInfoDBInUse 15
#define JET_DbInfoPageSize 17
#define JET_DbInfoFileType 19
#define JET_DbInfoFilesizeOnDisk 21

/* dbstate */
#define JET_dbstateJustCreated 1
#define JET_dbstateDirtyShutdown 2
#define JET_dbstateCleanShutdown 3
#define JET_dbstateBeingConverted 4
#define JET_dbstateForceDetach 5

/* filetype */
#define JET_filetypeUnknown 0
#define JET_filetypeDatabase 1
#define JET_filetypeLog 3
#define JET_filetypeCheckpoint 4
#define JET_filetypeTempDatabase 5
#define JET_filetypeFlushMap 7

/* coltyp */
#define JET_coltypNil 0
#define JET_coltypBit 1
#define JET_coltypUnsignedByte 2
#define JET_coltypShort 3
#define JET_coltypLong 4
#define JET_coltypCurrency 5
#define JET_coltypIEEESingle 6
#define JET_coltypIEEEDouble 7
#define JET_coltypDateTime 8
#define JET_coltypBinary 9
#define JET_coltypText 10
#define JET_coltypLongBinary 11
#define JET_coltypLongText 12
#define JET_coltypMax 19
#define JET_coltypSLV 13
#define JET_coltypUnsignedLong 14
#define JET_coltypLongLong 15
#define JET_coltypGUID 16
#define JET_coltypUnsignedShort 17
#define JET_coltypUnsignedLongLong 18

/* JET_ObjInfo */
#define JET_ObjInfo 0
#define JET_ObjInfoListNoStats 1
#define JET_ObjInfoList 2
#define JET_ObjInfoSysTabCursor 3
#define JET_ObjInfoListACM 4
#define JET_ObjInfoNoStats 5
#define JET_ObjInfoSysTabReadOnly 6
#define JET_ObjInfoRulesLoaded 7
#define JET_ObjInfoMax 8

/* JET_TblInfo */
#define JET_TblInfo 0
#define JET_TblInfoName 1
#define JET_TblInfoDbid 2
#define JET_TblInfoMostMany 3
#define JET_TblInfoRvt 4
#define JET_TblInfoOLC 5
#define JET_TblInfoResetOLC 6
#define JET_TblInfoSpaceUsage 7
#define JET_TblInfoDumpTable 8
#define JET_TblInfoSpaceAlloc 9
#define JET_TblInfoSpaceOwned 10
#define JET_TblInfoSpaceAvailable 11
#define JET_TblInfoTemplateTableName 12
#define JET_TblInfoSpaceOwnedLV 17
#define JET_TblInfoSpaceAvailableLV 18

/* JET_IdxInfo */
#define JET_IdxInfo 0
#define JET_IdxInfoList 1
#define JET_IdxInfoSysTabCursor 2
#define JET_IdxInfoOLC 3
#define JET_IdxInfoResetOLC 4
#define JET_IdxInfoSpaceAlloc 5
#define JET_IdxInfoLCID 6
#define JET_IdxInfoLangid 6
#define JET_IdxInfoCount 7
#define JET_IdxInfoVarSegMac 8
#define JET_IdxInfoIndexId 9
#define JET_IdxInfoKeyMost 10
#define JET_IdxInfoCreateIndex 11
#define JET_IdxInfoCreateIndex2 12
#define JET_IdxInfoCreateIndex3 13
#define JET_IdxInfoLocaleName 14
#define JET_IdxInfoSpaceOwned 18
#define JET_IdxInfoSpaceAvailable 19

/* JET_ColInfo */
#define JET_ColInfo 0
#define JET_ColInfoList 1
#define JET_ColInfoSysTabCursor 3
#define JET_ColInfoBase 4
#define JET_ColInfoListCompact 5
#define JET_ColInfoByColid 6
#define JET_ColInfoListSortColumnid 7
#define JET_ColInfoBaseByColid 8

/* JET_ColInfo grbit */
#define JET_ColInfoGrbitNonDerivedColumnsOnly 0x80000000
#define JET_ColInfoGrbitMinimalInfo 0x40000000
#define JET_ColInfoGrbitSortByColumnid 0x20000000

/* JET_LogInfo */
#define JET_LogInfoMisc 0
#define JET_LogInfoMisc2 1
#define JET_LogInfoMisc3 2

/* JET_InstanceMiscInfo */
#define JET_InstanceMiscInfoLogSignature 0
#define JET_InstanceMiscInfoRBS 2

/* objtyp */
#define JET_objtypNil 0
#define JET_objtypTable 1

/* JET_SNP */
#define JET_snpRepair 2
#define JET_snpCompact 4
#define JET_snpRestore 8
#define JET_snpBackup 9
#define JET_snpUpgrade 10
#define JET_snpScrub 11
#define JET_snpUpgradeRecordFormat 12

/* JET_SNT */
#define JET_sntBegin 5
#define JET_sntRequirements 7
#define JET_sntProgress 0
#define JET_sntComplete 6
#define JET_sntFail 3

/* JET_paramExceptionAction */
#define JET_ExceptionMsgBox 1
#define JET_ExceptionNone 2
#define JET_ExceptionFailFast 4

/* JET_paramEnableOnlineDefrag */
#define JET_OnlineDefragDisable 0
#define JET_OnlineDefragAllOBSOLETE 1
#define JET_OnlineDefragDatabases 2
#define JET_OnlineDefragSpaceTrees 4
#define JET_OnlineDefragAll 65535

/* JetGetErrorInfoW level */
#define JET_ErrorInfoSpecificErr 1

/* limit */
#define JET_BASE_NAME_LENGTH 3

/* JET_RELOP */
#define JET_relopEquals 0
#define JET_relopPrefixEquals 1
#define JET_relopNotEquals 2
#define JET_relopLessThanOrEqual 3
#define JET_relopLessThan 4
#define JET_relopGreaterThanOrEqual 5
#define JET_relopGreaterThan 6
#define JET_relopBitmaskEqualsZero 7
#define JET_relopBitmaskNotEqualsZero 8

/* JET_ERRCAT */
#define JET_errcatUnknown 0
#define JET_errcatError 1
#define JET_errcatOperation 2
#define JET_errcatFatal 3
#define JET_errcatIO 4
#define JET_errcatResource 5
#define JET_errcatMemory 6
#define JET_errcatQuota 7
#define JET_errcatDisk 8
#define JET_errcatData 9
#define JET_errcatCorruption 10
#define JET_errcatInconsistent 11
#define JET_errcatFragmentation 12
#define JET_errcatApi 13
#define JET_errcatUsage 14
#define JET_errcatState 15
#define JET_errcatObsolete 16
#define JET_errcatMax 17

/* JET_paramEnableIndexChecking */
#define JET_IndexCheckingOff 0
#define JET_IndexCheckingOn 1
#define JET_IndexCheckingDeferToOpenTable 2
#define JET_IndexCheckingMax 3

/* sesparam */
#define JET_sesparamCommitGenericContext 4098

/* JET_SNT */
#define JET_sntRecoveryStep 8

#endif
