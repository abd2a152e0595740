/* The binary interface of tutti/expert.h, fixed: programs that were compiled against this version
 * go on running. Structs are append-only. A field that is added goes behind the size of its struct
 * here, never into padding: that is how the library tells who knows it. */
#include <stddef.h>
#include <stdint.h>

#include "tutti/expert.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define HOLDS(condition) typedef char JOIN(holds_, __LINE__)[(condition) ? 1 : -1]
#define SIZE(type, bytes) HOLDS(sizeof(type) == (bytes))
#define FIELD(type, field, at) HOLDS(offsetof(type, field) == (at))
#define VALUE(name, value) HOLDS((name) == (value))

HOLDS(sizeof(void*) == 8);
VALUE(TUTTI_EP_MAGIC, 0x54755065u);

SIZE(tuttiEpHdr_t, 8);
FIELD(tuttiEpHdr_t, size, 0);
FIELD(tuttiEpHdr_t, magic, 4);

SIZE(tuttiEpTensor_t, 72);
FIELD(tuttiEpTensor_t, data, 0);
FIELD(tuttiEpTensor_t, dtype, 8);
FIELD(tuttiEpTensor_t, ndim, 12);
FIELD(tuttiEpTensor_t, dim, 16);
FIELD(tuttiEpTensor_t, row_stride_bytes, 48);
FIELD(tuttiEpTensor_t, win, 56);
FIELD(tuttiEpTensor_t, win_offset, 64);

SIZE(tuttiEpGroupConfig_t, 120);
FIELD(tuttiEpGroupConfig_t, hdr, 0);
FIELD(tuttiEpGroupConfig_t, num_experts, 8);
FIELD(tuttiEpGroupConfig_t, max_tokens_per_rank, 12);
FIELD(tuttiEpGroupConfig_t, max_topk, 16);
FIELD(tuttiEpGroupConfig_t, max_token_bytes, 24);
FIELD(tuttiEpGroupConfig_t, max_inflight, 32);
FIELD(tuttiEpGroupConfig_t, expert_rank, 40);
FIELD(tuttiEpGroupConfig_t, num_logical, 48);
FIELD(tuttiEpGroupConfig_t, phys_to_log, 56);
FIELD(tuttiEpGroupConfig_t, replica, 64);
FIELD(tuttiEpGroupConfig_t, ranks_per_node, 68);
FIELD(tuttiEpGroupConfig_t, algo, 72);
FIELD(tuttiEpGroupConfig_t, fault, 76);
FIELD(tuttiEpGroupConfig_t, num_channels, 80);
FIELD(tuttiEpGroupConfig_t, timeout_ns, 88);
FIELD(tuttiEpGroupConfig_t, alloc, 96);
FIELD(tuttiEpGroupConfig_t, release, 104);
FIELD(tuttiEpGroupConfig_t, alloc_ctx, 112);

SIZE(tuttiEpHandleConfig_t, 56);
FIELD(tuttiEpHandleConfig_t, hdr, 0);
FIELD(tuttiEpHandleConfig_t, layout, 8);
FIELD(tuttiEpHandleConfig_t, num_topk, 12);
FIELD(tuttiEpHandleConfig_t, alignment, 16);
FIELD(tuttiEpHandleConfig_t, cap, 20);
FIELD(tuttiEpHandleConfig_t, capacity, 24);
FIELD(tuttiEpHandleConfig_t, keep, 28);
FIELD(tuttiEpHandleConfig_t, pad_to_capacity, 32);
FIELD(tuttiEpHandleConfig_t, max_recv_rows, 40);
FIELD(tuttiEpHandleConfig_t, slab_rows, 48);

SIZE(tuttiEpLayoutInfo_t, 512);
FIELD(tuttiEpLayoutInfo_t, hdr, 0);
FIELD(tuttiEpLayoutInfo_t, expert_count, 8);
FIELD(tuttiEpLayoutInfo_t, expert_offset, 80);
FIELD(tuttiEpLayoutInfo_t, src_count, 152);
FIELD(tuttiEpLayoutInfo_t, keep, 224);
FIELD(tuttiEpLayoutInfo_t, want_count, 296);
FIELD(tuttiEpLayoutInfo_t, row_src, 368);
FIELD(tuttiEpLayoutInfo_t, row_slot, 440);

SIZE(tuttiEpHandleInfo_t, 56);
FIELD(tuttiEpHandleInfo_t, hdr, 0);
FIELD(tuttiEpHandleInfo_t, recv_rows, 8);
FIELD(tuttiEpHandleInfo_t, recv_tokens, 16);
FIELD(tuttiEpHandleInfo_t, num_tokens, 24);
FIELD(tuttiEpHandleInfo_t, dropped, 32);
FIELD(tuttiEpHandleInfo_t, algo, 40);
FIELD(tuttiEpHandleInfo_t, reduce_auto, 44);
FIELD(tuttiEpHandleInfo_t, mask_epoch, 48);

SIZE(tuttiEpDispatchIn_t, 224);
FIELD(tuttiEpDispatchIn_t, hdr, 0);
FIELD(tuttiEpDispatchIn_t, x, 8);
FIELD(tuttiEpDispatchIn_t, scale, 80);
FIELD(tuttiEpDispatchIn_t, weight, 152);

SIZE(tuttiEpDispatchOut_t, 224);
FIELD(tuttiEpDispatchOut_t, hdr, 0);
FIELD(tuttiEpDispatchOut_t, x, 8);
FIELD(tuttiEpDispatchOut_t, scale, 80);
FIELD(tuttiEpDispatchOut_t, row_weight, 152);

SIZE(tuttiEpCombineIn_t, 368);
FIELD(tuttiEpCombineIn_t, hdr, 0);
FIELD(tuttiEpCombineIn_t, x, 8);
FIELD(tuttiEpCombineIn_t, weight, 80);
FIELD(tuttiEpCombineIn_t, row_value, 152);
FIELD(tuttiEpCombineIn_t, bias, 224);

SIZE(tuttiEpCombineOut_t, 152);
FIELD(tuttiEpCombineOut_t, hdr, 0);
FIELD(tuttiEpCombineOut_t, x, 8);
FIELD(tuttiEpCombineOut_t, slot_value, 80);

SIZE(tuttiEpOpConfig_t, 40);
FIELD(tuttiEpOpConfig_t, hdr, 0);
FIELD(tuttiEpOpConfig_t, dir, 8);
FIELD(tuttiEpOpConfig_t, quant, 12);
FIELD(tuttiEpOpConfig_t, weight, 16);
FIELD(tuttiEpOpConfig_t, reduce, 20);
FIELD(tuttiEpOpConfig_t, partial, 24);
FIELD(tuttiEpOpConfig_t, send_only, 28);
FIELD(tuttiEpOpConfig_t, num_channels, 32);
FIELD(tuttiEpOpConfig_t, zero_copy, 36);

SIZE(tuttiEpStats_t, 120);
FIELD(tuttiEpStats_t, hdr, 0);
FIELD(tuttiEpStats_t, rows, 8);
FIELD(tuttiEpStats_t, payload_bytes, 32);
FIELD(tuttiEpStats_t, meta_bytes, 56);
FIELD(tuttiEpStats_t, staged_bytes, 80);
FIELD(tuttiEpStats_t, ops, 88);
FIELD(tuttiEpStats_t, dropped, 104);
FIELD(tuttiEpStats_t, timeouts, 112);

SIZE(tuttiEpAlgo_t, 4);
SIZE(tuttiEpLayout_t, 4);
SIZE(tuttiEpCapMode_t, 4);
SIZE(tuttiEpKeep_t, 4);
SIZE(tuttiEpWeight_t, 4);
SIZE(tuttiEpReduce_t, 4);
SIZE(tuttiEpDir_t, 4);
SIZE(tuttiEpQuant_t, 4);
SIZE(tuttiEpFault_t, 4);
SIZE(tuttiEpReplica_t, 4);
SIZE(tuttiEpOp_t, 4);

VALUE(TUTTI_EP_ALGO_AUTO, 0);
VALUE(TUTTI_EP_ALGO_DIRECT, 1);
VALUE(TUTTI_EP_ALGO_HIER, 2);
VALUE(TUTTI_EP_ALGO_ALLGATHER, 3);
VALUE(TUTTI_EP_FLAT, 0);
VALUE(TUTTI_EP_EXPERT_MAJOR, 1);
VALUE(TUTTI_EP_EXPERT_SLAB, 2);
VALUE(TUTTI_EP_RANK_MAJOR, 3);
VALUE(TUTTI_EP_CAP_NONE, 0);
VALUE(TUTTI_EP_CAP_RANK, 1);
VALUE(TUTTI_EP_CAP_EXPERT_PER_SOURCE, 2);
VALUE(TUTTI_EP_CAP_EXPERT_GLOBAL, 3);
VALUE(TUTTI_EP_KEEP_POSITION, 0);
VALUE(TUTTI_EP_KEEP_WEIGHT, 1);
VALUE(TUTTI_EP_WEIGHT_NONE, 0);
VALUE(TUTTI_EP_WEIGHT_APPLY, 1);
VALUE(TUTTI_EP_REDUCE_AUTO, 0);
VALUE(TUTTI_EP_REDUCE_SLOT, 1);
VALUE(TUTTI_EP_REDUCE_RANK, 2);
VALUE(TUTTI_EP_REDUCE_NODE, 3);
VALUE(TUTTI_EP_FWD, 0);
VALUE(TUTTI_EP_BWD, 1);
VALUE(TUTTI_EP_QUANT_NONE, 0);
VALUE(TUTTI_EP_QUANT_FORWARD, 1);
VALUE(TUTTI_EP_QUANT_FP8E4M3_B128, 2);
VALUE(TUTTI_EP_QUANT_FP8E4M3_B128_POW2, 3);
VALUE(TUTTI_EP_QUANT_INT8_TOKEN, 4);
VALUE(TUTTI_EP_QUANT_MXFP8_B32, 5);
VALUE(TUTTI_EP_QUANT_NVFP4_B16, 6);
VALUE(TUTTI_EP_FAULT_FAIL, 0);
VALUE(TUTTI_EP_FAULT_MASK, 1);
VALUE(TUTTI_EP_REPLICA_NONE, 0);
VALUE(TUTTI_EP_REPLICA_ROUND_ROBIN, 1);
VALUE(TUTTI_EP_REPLICA_NEAREST, 2);
VALUE(TUTTI_EP_OP_DISPATCH, 0);
VALUE(TUTTI_EP_OP_COMBINE, 1);
