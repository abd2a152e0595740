/* Tutti: expert-parallel dispatch and combine for Mixture-of-Experts layers. C99; docs/expert.md
 * has pictures, a worked example and what porters of other libraries need.
 *
 * Words. T tokens on this rank (ranks may differ), at most maxT; H elements of a row; K experts a
 * token is routed to; E physical experts of the group, L of them on this rank; R ranks; N rows that
 * a rank receives. An assignment is (t, k) with an expert: topk_idx[t][k] >= 0. One that is masked,
 * dropped, or whose expert lives on a masked rank does not travel.
 *
 * Use. A group holds memory, channels and the placement of experts. A handle holds one routing:
 * tuttiEpPrepare agrees on it, then tuttiEpDispatch brings every token's row to its experts and
 * tuttiEpCombine brings their rows back and adds them up, any number of times, forward and
 * backward.
 *
 * Structs. Each begins with TUTTI_EP_HDR(type); everything else zero is the default:
 *     tuttiEpHandleConfig_t config = {TUTTI_EP_HDR(tuttiEpHandleConfig_t)};
 * They are append-only: `size` tells the library which fields the caller knows.
 *
 * Ownership. The caller owns every input and output and keeps them alive and, but for outputs,
 * unchanged until the operation is complete; inputs are never written.
 *
 * Calls marked C are collective over the group, in the same order on all its ranks; the others are
 * local. Streams and completion as in tutti.h. One thread at a time may use a group, its handles
 * and its communicator.
 *
 * Errors. tuttiInvalidArgument: NULL, type, shape, range, alignment, also when ranks differ in what
 * must agree. tuttiInvalidUsage: the wrong state. What one rank has wrong gives tuttiRemoteError on
 * the others (of Dispatch and Combine: on those that exchange rows with it), and the group can be
 * used again. Other errors end the group's communicator, as in tutti.h. */
#ifndef TUTTI_EXPERT_H
#define TUTTI_EXPERT_H

#include "tutti/tutti.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tuttiEpGroup* tuttiEpGroup_t;
typedef struct tuttiEpHandle* tuttiEpHandle_t;

/* ---- What is wanted ------------------------------------------------------------------------- */

typedef enum {
  TUTTI_EP_ALGO_AUTO = 0,     /* DIRECT on one node, HIER on several */
  TUTTI_EP_ALGO_DIRECT = 1,   /* a row crosses once to every rank that needs it */
  TUTTI_EP_ALGO_HIER = 2,     /* once to every node; there the entry rank hands it on */
  TUTTI_EP_ALGO_ALLGATHER = 3 /* every row to every rank: few messages, for small T */
} tuttiEpAlgo_t;

/* Rows of the output of Dispatch. Their order is a function of the routing alone. */
typedef enum {
  TUTTI_EP_FLAT = 0,         /* [N, H]: a row per (source rank, token), in that order */
  TUTTI_EP_EXPERT_MAJOR = 1, /* [N, H]: zone i of expert i, by (source rank, token, k); zones begin
                                at multiples of `alignment`; padding rows are zero */
  TUTTI_EP_EXPERT_SLAB = 2,  /* [L, S, H]: the first count[i] rows of slab i */
  TUTTI_EP_RANK_MAJOR = 3    /* [R, maxT, H]: the rows from rank r first in its block, by token */
} tuttiEpLayout_t;

typedef enum {
  TUTTI_EP_CAP_NONE = 0,              /* nothing is ever dropped */
  TUTTI_EP_CAP_RANK = 1,              /* `capacity` tokens at each rank, by (source rank, token) */
  TUTTI_EP_CAP_EXPERT_PER_SOURCE = 2, /* `capacity` assignments of each expert from each rank */
  TUTTI_EP_CAP_EXPERT_GLOBAL = 3      /* `capacity` of each expert, by (source rank, token, k) */
} tuttiEpCapMode_t;

/* Which assignments EXPERT_PER_SOURCE keeps: the first; or those of greatest weight, ties to the
 * lower token, then the lower k (needs topk_weight). */
typedef enum { TUTTI_EP_KEEP_POSITION = 0, TUTTI_EP_KEEP_WEIGHT = 1 } tuttiEpKeep_t;

typedef enum { TUTTI_EP_WEIGHT_NONE = 0, TUTTI_EP_WEIGHT_APPLY = 1 } tuttiEpWeight_t;

/* The order in which Combine adds up the rows of a token, all of it in f32:
 * SLOT: one sum by ascending k, rounded once: the same bits whatever R and the placement; all rows
 * travel. RANK: a sum per rank by ascending k, rounded to `partial`, then those by ascending rank.
 * NODE: one level more. AUTO: RANK on one node, NODE on several. */
typedef enum {
  TUTTI_EP_REDUCE_AUTO = 0,
  TUTTI_EP_REDUCE_SLOT = 1,
  TUTTI_EP_REDUCE_RANK = 2,
  TUTTI_EP_REDUCE_NODE = 3
} tuttiEpReduce_t;

typedef enum { TUTTI_EP_FWD = 0, TUTTI_EP_BWD = 1 } tuttiEpDir_t;

/* How Dispatch packs rows of bf16, f16 or f32; value = quantised * scale. A block (INT8: a row)
 * with a NaN or an infinity has scale NaN and zeros, so it stays visible. */
typedef enum {
  TUTTI_EP_QUANT_NONE = 0,
  TUTTI_EP_QUANT_FORWARD = 1,           /* x and scale as they are, byte by byte */
  TUTTI_EP_QUANT_FP8E4M3_B128 = 2,      /* per 128 elements: scale = max(amax, 1e-4) / 448 */
  TUTTI_EP_QUANT_FP8E4M3_B128_POW2 = 3, /* that scale rounded up to a power of two */
  TUTTI_EP_QUANT_INT8_TOKEN = 4,        /* per row: scale = amax / 127 */
  TUTTI_EP_QUANT_MXFP8_B32 = 5,         /* reserved */
  TUTTI_EP_QUANT_NVFP4_B16 = 6          /* reserved */
} tuttiEpQuant_t;

/* When a peer fails: FAIL ends the group; MASK goes on without it (tuttiUnsupported so far). */
typedef enum { TUTTI_EP_FAULT_FAIL = 0, TUTTI_EP_FAULT_MASK = 1 } tuttiEpFault_t;

/* Which copy of a logical expert rank r takes for token t: the lowest; number (r + t) modulo their
 * count; or that among those on its own rank, else on its own node, else among all. */
typedef enum {
  TUTTI_EP_REPLICA_NONE = 0,
  TUTTI_EP_REPLICA_ROUND_ROBIN = 1,
  TUTTI_EP_REPLICA_NEAREST = 2
} tuttiEpReplica_t;

typedef enum { TUTTI_EP_OP_DISPATCH = 0, TUTTI_EP_OP_COMBINE = 1 } tuttiEpOp_t;

/* ---- Structs -------------------------------------------------------------------------------- */

#define TUTTI_EP_MAGIC 0x54755065u
#define TUTTI_EP_HDR(type) \
  { (uint32_t)sizeof(type), TUTTI_EP_MAGIC }
typedef struct {
  uint32_t size, magic;
} tuttiEpHdr_t;

/* Row-major, the last dimension without gaps. data may be NULL where there are no elements, and,
 * for what is optional, to say that it is not given or not wanted. */
typedef struct {
  void* data;
  tuttiDataType_t dtype;
  int32_t ndim;
  int64_t dim[4];
  int64_t row_stride_bytes; /* from row to row (dim[ndim - 1] elements each); 0: no gaps */
  tuttiWindow_t win;        /* may be NULL: the window that data lies in */
  uint64_t win_offset;      /* data - start of the window */
} tuttiEpTensor_t;

typedef struct {
  tuttiEpHdr_t hdr;
  int32_t num_experts;         /* E >= 1 */
  int32_t max_tokens_per_rank; /* maxT >= 0, the same on all ranks */
  int32_t max_topk;            /* 1 to 64 */
  int64_t max_token_bytes;     /* the longest row of any operation, scales included */
  int32_t max_inflight;        /* 2 to 64, the same on all ranks; 0: 2. See tuttiEpComplete */
  const int32_t* expert_rank;  /* [E] any map; NULL: blocks of ceil(E / R) */
  int32_t num_logical;         /* > 0: ids name logical experts */
  const int32_t* phys_to_log;  /* [E], with num_logical > 0 */
  tuttiEpReplica_t replica;
  int32_t ranks_per_node; /* 0: as the ranks lie on hosts; > 0: node n has [n * it, (n + 1) * it) */
  tuttiEpAlgo_t algo;
  tuttiEpFault_t fault;
  int32_t num_channels; /* 0: as many as suit */
  int64_t timeout_ns;   /* of each operation; 0: the communicator's */
  /* Where the group's memory comes from; NULL: from the library, such that peers reach it. */
  void* (*alloc)(size_t bytes, void* ctx);
  void (*release)(void* memory, void* ctx);
  void* alloc_ctx;
} tuttiEpGroupConfig_t;

typedef struct {
  tuttiEpHdr_t hdr;
  tuttiEpLayout_t layout;
  int32_t num_topk;  /* K, 1 to the group's max_topk */
  int32_t alignment; /* of zones, in rows: a power of two; 0: 1; EXPERT_MAJOR only */
  tuttiEpCapMode_t cap;
  int32_t capacity; /* of the mode; the caller computes ceil(T * K * factor / E) */
  tuttiEpKeep_t keep;
  int32_t pad_to_capacity; /* 1: with a capacity per expert, zones have at least slab_rows rows, and
                              slabs are zero beyond their count */
  int64_t max_recv_rows;   /* FLAT, EXPERT_MAJOR: the most that the output has room for; 0: learn N
                              from tuttiEpHandleGetInfo */
  int32_t slab_rows;       /* S; 0: capacity of EXPERT_GLOBAL, R * that of EXPERT_PER_SOURCE, else
                              capacity, or R * maxT when that is 0 */
} tuttiEpHandleConfig_t;

/* What Prepare writes; each is optional. */
typedef struct {
  tuttiEpHdr_t hdr;
  tuttiEpTensor_t expert_count;  /* i32 or i64 [L]: assignments of each local expert */
  tuttiEpTensor_t expert_offset; /* i64 [L + 1]: EXPERT_*: first row of each zone; the last is N */
  tuttiEpTensor_t src_count;     /* i32 or i64 [R]: distinct tokens from each rank */
  tuttiEpTensor_t keep;          /* u8 [T, K]: 1 for what travels */
  tuttiEpTensor_t want_count;    /* i64 [L]: assignments before any were dropped */
  tuttiEpTensor_t row_src;       /* i64 [>= N]: source rank * maxT + token; -1 for padding */
  tuttiEpTensor_t row_slot;      /* i32. EXPERT_*: [>= N]: k of the row, -1 for padding. Others:
                                    [>= N, K] without gaps: the local expert of slot k, or -1 */
} tuttiEpLayoutInfo_t;

typedef struct {
  tuttiEpHdr_t hdr;
  int64_t recv_rows;   /* N, padding included; what was needed, after a failed Prepare too */
  int64_t recv_tokens; /* distinct (source rank, token) */
  int64_t num_tokens;  /* T */
  int64_t dropped;     /* assignments of this rank that a capacity dropped */
  tuttiEpAlgo_t algo;
  tuttiEpReduce_t reduce_auto;
  uint64_t mask_epoch; /* of the masks that its Prepare went by (tuttiEpMaskGet) */
} tuttiEpHandleInfo_t;

typedef struct {
  tuttiEpHdr_t hdr;
  tuttiEpTensor_t x;      /* [T, H]; backward: the gradient of the combined output */
  tuttiEpTensor_t scale;  /* [T, S] of QUANT_FORWARD: any type of 1, 2 or 4 bytes */
  tuttiEpTensor_t weight; /* f32 [T, K]: carried to row_weight. WEIGHT_APPLY, backward only,
                             multiplies rows of floats by the weights given to Prepare */
} tuttiEpDispatchIn_t;

typedef struct {
  tuttiEpHdr_t hdr;
  tuttiEpTensor_t
      x; /* FLAT, EXPERT_MAJOR [>= N, H]; EXPERT_SLAB [L, S, H]; RANK_MAJOR [R, maxT, H] */
  tuttiEpTensor_t scale;      /* as x, the last dimension scales: FORWARD as the input, FP8
                                 f32 ceil(H / 128), INT8 f32 1 */
  tuttiEpTensor_t row_weight; /* f32. EXPERT_*: one per row. Others: [rows, K], 0 where not local */
} tuttiEpDispatchOut_t;

typedef struct {
  tuttiEpHdr_t hdr;
  tuttiEpTensor_t x;         /* rows as Dispatch laid them out: f32, bf16, f16 */
  tuttiEpTensor_t weight;    /* f32 [T, K] of SLOT with WEIGHT_APPLY; NULL: Prepare's */
  tuttiEpTensor_t row_value; /* f32, as row_weight: brought back to slot_value */
  tuttiEpTensor_t bias[2];   /* [T, H] of the type of out.x: the sum starts from them */
} tuttiEpCombineIn_t;

typedef struct {
  tuttiEpHdr_t hdr;
  tuttiEpTensor_t x;          /* [T, H] f32, bf16, f16 */
  tuttiEpTensor_t slot_value; /* f32 [T, K]; 0 for what did not travel */
} tuttiEpCombineOut_t;

typedef struct {
  tuttiEpHdr_t hdr;
  tuttiEpDir_t dir;
  tuttiEpQuant_t quant;   /* Dispatch */
  tuttiEpWeight_t weight; /* APPLY: EXPERT_* only */
  tuttiEpReduce_t reduce; /* Combine */
  int32_t partial;        /* RANK, NODE: a tuttiDataType_t (bf16, f16, f32); 0: the type of in.x */
  int32_t send_only;      /* 1: return once sends are posted; see tuttiEpComplete */
  int32_t num_channels;   /* 0: the group's */
  int32_t zero_copy;      /* 0: receivers read rows where they lie, if they can and it is no slower;
                             1: tuttiInvalidUsage, before anything moves, on a rank that would have
                             to copy what it sends; 2: what this rank receives is copied first.
                             Ranks may differ: each sees to its own end */
} tuttiEpOpConfig_t;

/* What this rank has sent, by tier: 0 to itself, 1 inside its node, 2 to other nodes; in dispatches
 * and combines that have succeeded, and in Prepare. A row is what travels as one: a token to a
 * rank, a partial sum, or with SLOT an assignment's row. Its payload is its elements and its
 * scales. The rest is metadata: what Prepare exchanges, and in.weight and in.row_value. */
typedef struct {
  tuttiEpHdr_t hdr;
  uint64_t rows[3], payload_bytes[3], meta_bytes[3];
  uint64_t staged_bytes; /* of messages that were not read where the sender's rows lay: copied on
                            the way, by the one who counts them. What is computed before it travels
                            (quantised rows, partial sums), and gathered (in.weight, in.row_value),
                            lies where it was written */
  uint64_t ops[2];       /* dispatches, combines (tuttiEpOp_t) that have succeeded */
  uint64_t dropped;      /* assignments of this rank, by every Prepare that has succeeded */
  uint64_t timeouts;     /* operations that a peer kept waiting beyond the deadline */
} tuttiEpStats_t;

/* ---- Calls ---------------------------------------------------------------------------------- */

/* Version of this header's contract: 1. */
TUTTI_API tuttiResult_t tuttiEpGetVersion(int* version);

/* C. All memory that the group will ever use is allocated here: as much as tuttiEpGroupMemory
 * says, whatever the routing. */
TUTTI_API tuttiResult_t tuttiEpGroupCreate(tuttiEpGroup_t* group, tuttiComm_t comm,
                                           const tuttiEpGroupConfig_t* config);
/* Its handles must be gone. */
TUTTI_API tuttiResult_t tuttiEpGroupDestroy(tuttiEpGroup_t group);
TUTTI_API tuttiResult_t tuttiEpGroupMemory(const tuttiEpGroupConfig_t* config, int nranks,
                                           size_t* bytes);

/* C. Moves the experts: arguments as at creation, for as many experts and ids. Returns once all
 * ranks agree, whatever the stream; not between tuttiGroupStart and tuttiGroupEnd, and
 * tuttiInvalidUsage while operations of the group are pending. Its handles have no routing
 * afterwards, and L may be another; no memory moves. */
TUTTI_API tuttiResult_t tuttiEpSetPlacement(tuttiEpGroup_t group, const int32_t* expert_rank,
                                            const int32_t* phys_to_log, tuttiStream_t stream);

/* Proposes to mask a rank of the group, any, or takes that back (`masked` 0). The next Prepare that
 * is called masks whom any rank has proposed, on all ranks alike, a refused one too: from then on
 * an assignment of that rank, or to an expert there, is as though its id were negative. A masked
 * rank keeps calling what is collective, but nothing comes to it (N = 0 in every layout) and
 * nothing goes out; its routing is not looked at. What all have agreed on only tuttiEpReadmit takes
 * back: tuttiInvalidUsage. Any thread. */
TUTTI_API tuttiResult_t tuttiEpMaskSet(tuttiEpGroup_t group, int rank, int masked);
/* masked [R] or NULL: 1 for ranks that are masked or that this rank has proposed. epoch or NULL:
 * how often masks have changed on all ranks. Any thread. */
TUTTI_API tuttiResult_t tuttiEpMaskGet(tuttiEpGroup_t group, uint8_t* masked, uint64_t* epoch);
/* C, the masked rank included. It takes part again from the next Prepare on; no rank has it
 * proposed any more. Returns, and is refused, as tuttiEpSetPlacement. */
TUTTI_API tuttiResult_t tuttiEpReadmit(tuttiEpGroup_t group, int rank, tuttiStream_t stream);

/* `memory`: tuttiEpHandleMemSize bytes, which any placement of the experts does with, 64-aligned,
 * until the handle is destroyed; NULL: the library's. */
TUTTI_API tuttiResult_t tuttiEpHandleMemSize(tuttiEpGroup_t group,
                                             const tuttiEpHandleConfig_t* config, size_t* bytes);
TUTTI_API tuttiResult_t tuttiEpHandleCreate(tuttiEpHandle_t* handle, tuttiEpGroup_t group,
                                            const tuttiEpHandleConfig_t* config, void* memory);
TUTTI_API tuttiResult_t tuttiEpHandleDestroy(tuttiEpHandle_t handle);

/* C. Takes the routing topk_idx, i32 or i64 [T, K], and the weights, f32 [T, K] or NULL, and agrees
 * with all ranks on what goes where. The handle keeps what it needs of them. Again on the same
 * handle: a new routing; tuttiInvalidUsage while its operations are under way. */
TUTTI_API tuttiResult_t tuttiEpPrepare(tuttiEpHandle_t handle, const tuttiEpTensor_t* topk_idx,
                                       const tuttiEpTensor_t* topk_weight,
                                       const tuttiEpLayoutInfo_t* info, tuttiStream_t stream);
/* Waits until Prepare is done. */
TUTTI_API tuttiResult_t tuttiEpHandleGetInfo(tuttiEpHandle_t handle, tuttiEpHandleInfo_t* info);

/* C. Brings the row of each token to its experts, as the handle's layout says. `config` NULL: all
 * default. tuttiInvalidUsage without a routing. */
TUTTI_API tuttiResult_t tuttiEpDispatch(tuttiEpHandle_t handle, const tuttiEpDispatchIn_t* in,
                                        const tuttiEpDispatchOut_t* out,
                                        const tuttiEpOpConfig_t* config, tuttiStream_t stream);
/* C. Brings the rows of each token's assignments back and adds them up. */
TUTTI_API tuttiResult_t tuttiEpCombine(tuttiEpHandle_t handle, const tuttiEpCombineIn_t* in,
                                       const tuttiEpCombineOut_t* out,
                                       const tuttiEpOpConfig_t* config, tuttiStream_t stream);

/* With send_only 1 Dispatch and Combine return once the operation is under way: begun, and its
 * first messages posted, where no operation of the group is before it; in any case it moves on
 * without the caller. `stream`: what it waits for before it begins; nothing waits for it there.
 * Only tuttiEpComplete tells its result. Inputs and outputs are the library's until then.
 *
 * Waits for the oldest send_only operation of that kind of the handle that is not completed, and
 * returns its result; a created stream waits instead, and tells it when it is synchronised. In any
 * order of handles and kinds; not between tuttiGroupStart and tuttiGroupEnd. tuttiInvalidUsage
 * where there is no such operation.
 *
 * max_inflight: so many operations of a group may be under way: each send_only one from its call to
 * its tuttiEpComplete, and as one together those on one stream, until it was synchronised
 * (tuttiStreamSynchronize, or tuttiStreamQuery with tuttiSuccess). A call for one more, of any
 * kind, gets tuttiInvalidUsage and has not happened: complete one, and call again. A handle with an
 * operation to be completed is neither destroyed nor prepared again: tuttiInvalidUsage. */
TUTTI_API tuttiResult_t tuttiEpComplete(tuttiEpHandle_t handle, tuttiEpOp_t op,
                                        tuttiStream_t stream);

/* What the group has done since it was created, or since the last call with reset != 0.
 * peer_wait_ns: [R], how long operations and Prepare could not go on for want of each peer; a wait
 * counts when it is over. expert_rows: [L], assignments that Dispatch has brought to each local
 * expert since they have moved last. Either may be NULL. Operations on streams may be under way:
 * what is not complete is not in it. After a failure, too. */
TUTTI_API tuttiResult_t tuttiEpGetStats(tuttiEpGroup_t group, tuttiEpStats_t* stats,
                                        uint64_t* peer_wait_ns, int64_t* expert_rows, int reset);

/* The first failure of this group's operations that nobody has been told of, and the rank it is
 * down to; tuttiSuccess and -1 for none. A refusal on a stream is told once, the rank this one
 * where its own arguments were wrong. What has ended the communicator is told every time: the rank
 * that was waited for in vain, or else the one that has told of a failure; -1 where there is none.
 * Either pointer may be NULL. Any thread. */
TUTTI_API tuttiResult_t tuttiEpGetAsyncError(tuttiEpGroup_t group, tuttiResult_t* error, int* rank);

#ifdef __cplusplus
}
#endif

#endif /* TUTTI_EXPERT_H */
