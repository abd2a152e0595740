/* Tutti: collective communication between ranks. The C API (C99; C++ callers may prefer tutti.hpp).
 *
 * Words. A communicator joins nranks ranks, numbered 0..nranks-1; each rank holds its own handle.
 * count is in elements, bytes in bytes; counts and displacements are 64-bit. A collective must be
 * called by every rank of the communicator, in the same order, with matching arguments.
 *
 * Ownership. The caller owns every buffer and keeps it alive and untouched until the operation is
 * complete. Nothing is ever written outside [recvbuff, recvbuff + what the call says).
 *
 * Completion. With stream NULL a call returns when the operation is complete: the result is in
 * place, nobody will touch the caller's buffers any more, and nothing is left that would need this
 * process to reach a peer. With a stream the call returns at once; the operation runs after what
 * the stream holds already, and tuttiStreamSynchronize waits for it. Collectives of one
 * communicator run in the order of their calls whatever their streams.
 *
 * Threads. One thread at a time may use a communicator (a second one gets tuttiConcurrentUse);
 * different communicators may be used by different threads at once. tuttiCommAbort,
 * tuttiCommGetAsyncError, tuttiCommCount and tuttiCommUserRank may be called by any thread at any
 * time.
 *
 * Errors. Every call returns a tuttiResult_t; tuttiGetLastError tells what happened, with rank,
 * peer, operation, expected and got. tuttiInvalidArgument, tuttiInvalidUsage, tuttiUnsupported
 * and tuttiConcurrentUse are found before any byte moves and leave the communicator usable.
 * tuttiTimeout, tuttiRemoteError, tuttiMismatch, tuttiSystemError, tuttiAborted, and
 * tuttiOutOfMemory of an operation that has begun, end the communicator: every later operation on
 * it returns the same code, until it is destroyed. When a call returns an error, its result buffers
 * hold unspecified values.
 */
#ifndef TUTTI_TUTTI_H
#define TUTTI_TUTTI_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "tutti/export.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TUTTI_MAJOR 0
#define TUTTI_MINOR 1
#define TUTTI_PATCH 0
#define TUTTI_VERSION_CODE (TUTTI_MAJOR * 10000 + TUTTI_MINOR * 100 + TUTTI_PATCH)

/* ---- Results ------------------------------------------------------------------------------- */

/* Append-only: a value never changes its meaning. */
typedef enum {
  tuttiSuccess = 0,
  tuttiInvalidArgument = 1, /* an argument is wrong by itself: NULL, out of range, undefined pair */
  tuttiInvalidUsage = 2,    /* the call is not allowed now: wrong state, wrong order */
  tuttiUnsupported = 3,     /* well-formed, but not available here */
  tuttiSystemError = 4,     /* the operating system refused; the text has its errno */
  tuttiOutOfMemory = 5,
  tuttiRemoteError = 6,    /* a peer failed or is gone */
  tuttiTimeout = 7,        /* a peer did not answer before the deadline */
  tuttiAborted = 8,        /* tuttiCommAbort was called, here or by a peer */
  tuttiMismatch = 9,       /* ranks called different operations, or with different arguments */
  tuttiConcurrentUse = 10, /* another thread is inside this communicator */
  tuttiAuthFailed = 11,
  tuttiVersionMismatch = 12,
  tuttiForked = 13,       /* the handle belongs to the parent process */
  tuttiInProgress = 14,   /* non-blocking call accepted; ask tuttiCommGetAsyncError */
  tuttiInternalError = 15 /* a bug in Tutti */
} tuttiResult_t;

/* Writes TUTTI_VERSION_CODE of the library that is loaded. */
TUTTI_API tuttiResult_t tuttiGetVersion(int* version);

/* A short lower-case phrase for a code. Static storage, never NULL. */
TUTTI_API const char* tuttiGetErrorString(tuttiResult_t result);

typedef struct tuttiComm* tuttiComm_t;

/* The text of the last error: of `comm` when it is not NULL and has failed, else of the last
 * failing call of the calling thread; "" when there was none. Valid until the next Tutti call of
 * this thread. */
TUTTI_API const char* tuttiGetLastError(tuttiComm_t comm);

/* ---- Types and operators ------------------------------------------------------------------- */

typedef enum {
  tuttiInt8 = 0,
  tuttiUint8 = 1,
  tuttiInt16 = 2,
  tuttiUint16 = 3,
  tuttiInt32 = 4,
  tuttiUint32 = 5,
  tuttiInt64 = 6,
  tuttiUint64 = 7,
  tuttiFloat16 = 8,
  tuttiBfloat16 = 9,
  tuttiFloat32 = 10,
  tuttiFloat64 = 11,
  tuttiFloat8e4m3 = 12, /* OCP E4M3: no infinities, largest 448 */
  tuttiFloat8e5m2 = 13, /* OCP E5M2 */
  tuttiBool = 14        /* one byte; any non-zero is true, results are 0 or 1 */
} tuttiDataType_t;

/* Which pairs of type and operator are defined, and their exact meaning: docs/numbers.md. In short:
 * integers wrap; min and max of floats propagate NaN; avg divides the sum by nranks (integers:
 * toward zero); bitwise operators are for integers and bool; avg and pre-multiplied sums are not
 * for bool; pre-multiplied sums are for floats. Anything else: tuttiUnsupported, before a byte
 * moves. 8- and 16-bit floats are summed in 32 bits. Handles from tuttiRedOpCreatePreMulSum are
 * further values of this type. */
typedef enum {
  tuttiSum = 0,
  tuttiProd = 1,
  tuttiMax = 2,
  tuttiMin = 3,
  tuttiAvg = 4,
  tuttiBand = 5,
  tuttiBor = 6,
  tuttiBxor = 7,
  tuttiNumOps = 8,
  tuttiMaxRedOp = INT_MAX /* makes room for created operators */
} tuttiRedOp_t;

/* Creates an operator on `comm`: every rank's input is multiplied by *scalar (one element of
 * `dtype` in host memory, read before the call returns; each rank may give its own), rounded to
 * dtype, then summed. Local call. Only for `dtype`, only with `comm`. */
TUTTI_API tuttiResult_t tuttiRedOpCreatePreMulSum(tuttiRedOp_t* op, const void* scalar,
                                                  tuttiDataType_t dtype, tuttiComm_t comm);
/* Frees it. Operations already called with it are not disturbed. Local call. */
TUTTI_API tuttiResult_t tuttiRedOpDestroy(tuttiRedOp_t op, tuttiComm_t comm);

/* ---- Communicators ------------------------------------------------------------------------- */

/* Settings of a communicator: what is set here wins over the environment, which wins over the
 * defaults (`tutti-info` prints all three). Initialise with TUTTI_CONFIG_INITIALIZER, then set
 * fields. Append-only: `size` tells the library which fields the caller knows. */
typedef struct {
  size_t size;
  uint32_t magic;
  uint32_t version;
  int blocking;           /* 1: calls that create communicators wait; 0: they return tuttiInProgress
                             and tuttiCommGetAsyncError tells when. tuttiCommInitAll
                             is always complete on return. Unset: 1. */
  const char* algorithms; /* as TUTTI_ALGO: "all_reduce:ring,broadcast:chain" */
  const char* transport;  /* as TUTTI_TRANSPORT */
  double timeout_seconds; /* as TUTTI_TIMEOUT: of each operation, from when it starts to wait */
  int threads;            /* as TUTTI_THREADS: for large reductions and copies */
  uint64_t buffer_cap;    /* as TUTTI_BUFFER_CAP: bytes of scratch, and of copies for peers */
  const char* name;       /* shown in logs and errors; copied */
} tuttiConfig_t;

#define TUTTI_CONFIG_MAGIC 0x54755474u
#define TUTTI_CONFIG_UNSET_INT INT_MIN
#define TUTTI_CONFIG_INITIALIZER                                                                 \
  {                                                                                              \
    sizeof(tuttiConfig_t), TUTTI_CONFIG_MAGIC, TUTTI_VERSION_CODE, TUTTI_CONFIG_UNSET_INT, NULL, \
        NULL, 0.0, TUTTI_CONFIG_UNSET_INT, 0, NULL                                               \
  }

/* Creates one communicator of nranks (1 to 4096) ranks that live in this process: comms[r] is rank
 * r, meant for one thread each, or for one thread that groups its calls. config may be NULL. On
 * failure nothing is created and comms[] is set to NULL. */
TUTTI_API tuttiResult_t tuttiCommInitAll(tuttiComm_t* comms, int nranks,
                                         const tuttiConfig_t* config);

/* Ranks in several processes. All of the calls below are collective over the job: they return on
 * every rank when all have called, or with an error on every rank: tuttiTimeout names the absent
 * ranks at the deadline (timeout_seconds), tuttiMismatch or tuttiVersionMismatch the rank and the
 * setting that differ, tuttiAuthFailed a wrong secret. Settings that must agree: tutti-info says
 * which. With blocking 0 they return tuttiInProgress and *comm at once. *comm is set to NULL on
 * failure. Any thread; several ranks may live in one process, on threads of their own. */

#define TUTTI_UNIQUE_ID_BYTES 128
/* Names a job that is about to start. Whoever has these bytes can join it. */
typedef struct {
  char internal[TUTTI_UNIQUE_ID_BYTES];
} tuttiUniqueId;

/* Opens the rendezvous of a new job in this process, which must live until all ranks have joined.
 * Give the id to every rank, by whatever means. Each id serves one job. */
TUTTI_API tuttiResult_t tuttiGetUniqueId(tuttiUniqueId* id);

/* Joins the job `id` as `rank` of `nranks`. */
TUTTI_API tuttiResult_t tuttiCommInitRank(tuttiComm_t* comm, int nranks, tuttiUniqueId id,
                                          int rank);
TUTTI_API tuttiResult_t tuttiCommInitRankConfig(tuttiComm_t* comm, int nranks, tuttiUniqueId id,
                                                int rank, const tuttiConfig_t* config);

/* Joins the job that tutti-run, torchrun or mpirun has described in the environment
 * (docs/launching.md). tuttiInvalidUsage when none has. config may be NULL. */
TUTTI_API tuttiResult_t tuttiCommInitEnv(tuttiComm_t* comm, const tuttiConfig_t* config);

/* all[r * bytes ...] = rank r's mine[0..bytes), on every rank; returns 0 for success. */
typedef int (*tuttiAllGatherFn)(const void* mine, void* all, size_t bytes, void* context);
/* Joins a job whose ranks can already exchange bytes by a function of their own (MPI_Allgather,
 * say; see tutti/mpi.h). It is called a few times before the call returns, from the calling thread
 * (from another one when blocking is 0), and never afterwards. Its waits cannot be bounded here. */
TUTTI_API tuttiResult_t tuttiCommInitExchange(tuttiComm_t* comm, int nranks, int rank,
                                              tuttiAllGatherFn all_gather, void* context,
                                              const tuttiConfig_t* config);

#define TUTTI_SPLIT_NOCOLOR (-1)
/* Collective over `comm`: ranks that give the same color (>= 0) form a new communicator, ordered by
 * key, then by rank. TUTTI_SPLIT_NOCOLOR: *newcomm becomes NULL. config NULL: as the parent. */
TUTTI_API tuttiResult_t tuttiCommSplit(tuttiComm_t comm, int color, int key, tuttiComm_t* newcomm,
                                       const tuttiConfig_t* config);

/* Creates a communicator of ranks[0..nranks-1] of `comm`, in that order, called by these members
 * only, in any order relative to other creations and from any thread. `tag` (>= 0) tells creations
 * of the same members apart when they run at the same time. A missing member is named at the
 * deadline. */
TUTTI_API tuttiResult_t tuttiCommCreateGroup(tuttiComm_t comm, const int* ranks, int nranks,
                                             int tag, tuttiComm_t* newcomm,
                                             const tuttiConfig_t* config);

TUTTI_API tuttiResult_t tuttiCommCount(tuttiComm_t comm, int* nranks);
TUTTI_API tuttiResult_t tuttiCommUserRank(tuttiComm_t comm, int* rank);

/* Waits until every operation of this rank on `comm` is complete; no further one is accepted. On
 * the last communicator over the mpi transport, when Tutti has initialised MPI, this also finalises
 * MPI, which waits for the other ranks to do the same. */
TUTTI_API tuttiResult_t tuttiCommFinalize(tuttiComm_t comm);

/* Frees the handle. Local, never waits for a peer. tuttiInvalidUsage while operations are pending
 * (finalize or abort first) and while the communicator is still being created. NULL is fine. */
TUTTI_API tuttiResult_t tuttiCommDestroy(tuttiComm_t comm);

/* Ends all pending operations of `comm` with tuttiAborted, here at once and at its peers as soon as
 * they look. Local, bounded, any thread, idempotent. The handle must still be destroyed. */
TUTTI_API tuttiResult_t tuttiCommAbort(tuttiComm_t comm);

/* Writes tuttiSuccess, tuttiInProgress while a non-blocking creation runs, or the error that ended
 * the communicator. Any thread. */
TUTTI_API tuttiResult_t tuttiCommGetAsyncError(tuttiComm_t comm, tuttiResult_t* error);

/* ---- Memory and streams -------------------------------------------------------------------- */

/* Memory that peers on this host can reach directly. Aligned to a page. bytes 0 gives NULL. */
TUTTI_API tuttiResult_t tuttiMemAlloc(void** ptr, size_t bytes);
TUTTI_API tuttiResult_t tuttiMemFree(void* ptr); /* NULL is fine */

typedef struct tuttiWindow* tuttiWindow_t;
/* Makes [ptr, ptr + bytes) known to the transport of `comm`. Local: peers learn of it when first
 * used. The memory must stay until tuttiCommDeregister. */
TUTTI_API tuttiResult_t tuttiCommRegister(tuttiComm_t comm, void* ptr, size_t bytes,
                                          tuttiWindow_t* window);
#define TUTTI_WINDOW_DEFAULT 0
#define TUTTI_WINDOW_REMAP 1
/* The same with flags. TUTTI_WINDOW_REMAP makes memory that peers of this host cannot reach such
 * that they can, as if tuttiMemAlloc had given it, until it is deregistered: its whole pages are
 * replaced by others, address and contents stay. Messages that touch what is left at either end are
 * copied as before. Meanwhile, and while it is deregistered, no thread of this process may write
 * there and no operation may use it. tuttiInvalidArgument for memory that is not private and
 * writable, is locked, or is registered so already; then nothing has changed. No effect on memory
 * from tuttiMemAlloc, nor where processes share no memory (inproc, gloo, mpi). A forked child has
 * such memory to itself: see docs/shared-memory.md. */
TUTTI_API tuttiResult_t tuttiCommWindowRegister(tuttiComm_t comm, void* ptr, size_t bytes,
                                                tuttiWindow_t* window, int flags);
/* Of both. tuttiCommDestroy does the same to windows that are left. tuttiOutOfMemory when there is
 * none for private pages in place of shared ones: the window stays. */
TUTTI_API tuttiResult_t tuttiCommDeregister(tuttiComm_t comm, tuttiWindow_t window);

/* The native stream of the device that owns the buffers; NULL: do it now and wait. Operations on a
 * stream move on in other threads: over MPI below MPI_THREAD_MULTIPLE they are tuttiInvalidUsage.
 */
typedef void* tuttiStream_t;
TUTTI_API tuttiResult_t tuttiStreamCreate(tuttiStream_t* stream); /* of the host device */
TUTTI_API tuttiResult_t tuttiStreamDestroy(tuttiStream_t stream); /* tuttiInvalidUsage while busy */
/* Waits until everything the stream holds is done, advancing it. Returns the first error of the
 * operations enqueued on it since the last call. */
TUTTI_API tuttiResult_t tuttiStreamSynchronize(tuttiStream_t stream);
/* tuttiSuccess when the stream is empty, tuttiInProgress when it is not, else the first error. */
TUTTI_API tuttiResult_t tuttiStreamQuery(tuttiStream_t stream);

/* ---- Groups -------------------------------------------------------------------------------- */

/* Between Start and End, calls of this thread validate and record, and return; End runs them all as
 * one: no order among them can deadlock. Any mix of operations and communicators; Start and End
 * nest. End returns when the operations with stream NULL are complete, with the first error. */
TUTTI_API tuttiResult_t tuttiGroupStart(void);
TUTTI_API tuttiResult_t tuttiGroupEnd(void);

/* ---- Collectives --------------------------------------------------------------------------- */
/* In place means: sendbuff == recvbuff, or, where a call says so, the rank's own block of the
 * larger buffer. Ranks may differ in it. Buffers that overlap otherwise are refused. Zero counts
 * are fine, with NULL buffers. */

/* recvbuff[i] = op over all ranks of sendbuff[i], i < count, on every rank. */
TUTTI_API tuttiResult_t tuttiAllReduce(const void* sendbuff, void* recvbuff, size_t count,
                                       tuttiDataType_t dtype, tuttiRedOp_t op, tuttiComm_t comm,
                                       tuttiStream_t stream);
/* The same on `root` only; recvbuff is ignored elsewhere. */
TUTTI_API tuttiResult_t tuttiReduce(const void* sendbuff, void* recvbuff, size_t count,
                                    tuttiDataType_t dtype, tuttiRedOp_t op, int root,
                                    tuttiComm_t comm, tuttiStream_t stream);
/* recvbuff = root's sendbuff; sendbuff is ignored elsewhere. */
TUTTI_API tuttiResult_t tuttiBroadcast(const void* sendbuff, void* recvbuff, size_t count,
                                       tuttiDataType_t dtype, int root, tuttiComm_t comm,
                                       tuttiStream_t stream);
/* recvbuff[r * sendcount ...] = rank r's sendbuff. In place: sendbuff == recvbuff + rank *
 * sendcount. */
TUTTI_API tuttiResult_t tuttiAllGather(const void* sendbuff, void* recvbuff, size_t sendcount,
                                       tuttiDataType_t dtype, tuttiComm_t comm,
                                       tuttiStream_t stream);
/* recvbuff[displs[r] ...] = rank r's sendbuff of recvcounts[r] elements; recvcounts is the same on
 * all ranks, displs is local, sendcount == recvcounts[rank]. In place: sendbuff == recvbuff +
 * displs[rank]. */
TUTTI_API tuttiResult_t tuttiAllGatherV(const void* sendbuff, size_t sendcount, void* recvbuff,
                                        const size_t* recvcounts, const size_t* displs,
                                        tuttiDataType_t dtype, tuttiComm_t comm,
                                        tuttiStream_t stream);
/* recvbuff[i] = op over all ranks of sendbuff[rank * recvcount + i]. In place: recvbuff == sendbuff
 * + rank * recvcount. */
TUTTI_API tuttiResult_t tuttiReduceScatter(const void* sendbuff, void* recvbuff, size_t recvcount,
                                           tuttiDataType_t dtype, tuttiRedOp_t op, tuttiComm_t comm,
                                           tuttiStream_t stream);
/* Block r has sendcounts[r] elements at sendbuff + displs[r]; sendcounts is the same on all ranks,
 * displs is local, recvcount == sendcounts[rank]. In place: recvbuff == sendbuff + displs[rank]. */
TUTTI_API tuttiResult_t tuttiReduceScatterV(const void* sendbuff, const size_t* sendcounts,
                                            const size_t* displs, void* recvbuff, size_t recvcount,
                                            tuttiDataType_t dtype, tuttiRedOp_t op,
                                            tuttiComm_t comm, tuttiStream_t stream);
/* As AllGather, to `root` only. In place at the root: sendbuff == recvbuff + root * sendcount. */
TUTTI_API tuttiResult_t tuttiGather(const void* sendbuff, void* recvbuff, size_t sendcount,
                                    tuttiDataType_t dtype, int root, tuttiComm_t comm,
                                    tuttiStream_t stream);
/* recvcounts and displs matter at the root only. In place: sendbuff == recvbuff + displs[root]. */
TUTTI_API tuttiResult_t tuttiGatherV(const void* sendbuff, size_t sendcount, void* recvbuff,
                                     const size_t* recvcounts, const size_t* displs,
                                     tuttiDataType_t dtype, int root, tuttiComm_t comm,
                                     tuttiStream_t stream);
/* recvbuff = block `rank` of root's sendbuff. In place at the root: recvbuff == sendbuff + root *
 * recvcount. */
TUTTI_API tuttiResult_t tuttiScatter(const void* sendbuff, void* recvbuff, size_t recvcount,
                                     tuttiDataType_t dtype, int root, tuttiComm_t comm,
                                     tuttiStream_t stream);
/* sendcounts and displs matter at the root only. In place: recvbuff == sendbuff + displs[root]. */
TUTTI_API tuttiResult_t tuttiScatterV(const void* sendbuff, const size_t* sendcounts,
                                      const size_t* displs, void* recvbuff, size_t recvcount,
                                      tuttiDataType_t dtype, int root, tuttiComm_t comm,
                                      tuttiStream_t stream);
/* recvbuff block p = block `rank` of rank p's sendbuff; blocks of `count` elements. In place:
 * sendbuff == recvbuff. */
TUTTI_API tuttiResult_t tuttiAlltoAll(const void* sendbuff, void* recvbuff, size_t count,
                                      tuttiDataType_t dtype, tuttiComm_t comm,
                                      tuttiStream_t stream);
/* Sends sendcounts[p] elements at sendbuff + sdispls[p] to rank p, whose recvcounts[rank] must be
 * the same. In place: equal pointers with equal counts and displacements both ways. */
TUTTI_API tuttiResult_t tuttiAlltoAllV(const void* sendbuff, const size_t* sendcounts,
                                       const size_t* sdispls, void* recvbuff,
                                       const size_t* recvcounts, const size_t* rdispls,
                                       tuttiDataType_t dtype, tuttiComm_t comm,
                                       tuttiStream_t stream);
/* countmatrix[s * nranks + d]: elements from rank s to rank d, the same on all ranks. Blocks lie
 * back to back, ordered by peer, in both buffers. In place needs a symmetric own row and column. */
TUTTI_API tuttiResult_t tuttiAlltoAllVC(const void* sendbuff, void* recvbuff,
                                        const size_t* countmatrix, tuttiDataType_t dtype,
                                        tuttiComm_t comm, tuttiStream_t stream);
/* Complete on a rank only after every rank has called it. */
TUTTI_API tuttiResult_t tuttiBarrier(tuttiComm_t comm, tuttiStream_t stream);

/* ---- Point to point ------------------------------------------------------------------------ */
/* Messages from one rank to another with the same tag arrive in the order of their sends, and count
 * and type of a receive must be those of its send. Tags are >= 0; Send and Recv use a channel apart
 * from all tags. Sending to oneself is a copy (in a group, or with streams). Outside a group
 * a Send with stream NULL returns when the buffer may be used again, which for short messages can
 * be before the receiver has the data: never rely on it to synchronise. */

#define TUTTI_ANY_RANK (-1)

TUTTI_API tuttiResult_t tuttiSend(const void* sendbuff, size_t count, tuttiDataType_t dtype,
                                  int peer, tuttiComm_t comm, tuttiStream_t stream);
TUTTI_API tuttiResult_t tuttiRecv(void* recvbuff, size_t count, tuttiDataType_t dtype, int peer,
                                  tuttiComm_t comm, tuttiStream_t stream);
TUTTI_API tuttiResult_t tuttiSendTag(const void* sendbuff, size_t count, tuttiDataType_t dtype,
                                     int peer, int64_t tag, tuttiComm_t comm, tuttiStream_t stream);
/* peer may be TUTTI_ANY_RANK. *source (may be NULL) is set to the sender's rank by completion. */
TUTTI_API tuttiResult_t tuttiRecvTag(void* recvbuff, size_t count, tuttiDataType_t dtype, int peer,
                                     int64_t tag, int* source, tuttiComm_t comm,
                                     tuttiStream_t stream);

typedef enum { tuttiItemSend = 0, tuttiItemRecv = 1 } tuttiItemKind_t;
typedef struct {
  tuttiItemKind_t kind;
  void* buffer; /* not written when kind is tuttiItemSend */
  size_t count;
  tuttiDataType_t dtype;
  int peer;
} tuttiSendRecvItem_t;
/* All items at once, as a group of Send and Recv. */
TUTTI_API tuttiResult_t tuttiBatchSendRecv(const tuttiSendRecvItem_t* items, int nitems,
                                           tuttiComm_t comm, tuttiStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
