#include "comm/runtime/call.h"

#include <algorithm>

#include "comm/base/hash.h"

namespace tutti {

namespace {

std::string text_of(Collective collective, uint64_t count, DataType dtype, ReduceOp op, bool equal,
                    const char* algorithm) {
  std::string text = name_of(collective);
  if (!equal) text += "_v";
  if (collective == Collective::kBarrier) return text;
  text += " of " + std::to_string(count) + ' ' + name_of(dtype);
  std::string how;
  if (is_reduction(collective)) how = name_of(op);
  if (algorithm != nullptr) how += (how.empty() ? "" : ", ") + std::string(algorithm);
  if (!how.empty()) text += " (" + how + ')';
  return text;
}

}  // namespace

uint64_t fingerprint(const CollectiveCall& call, int nranks, uint64_t plan_id) {
  const struct {
    uint64_t what, count, plan;
    int32_t root, nranks;
  } key = {static_cast<uint64_t>(call.collective) | static_cast<uint64_t>(call.dtype) << 8 |
               static_cast<uint64_t>(call.op) << 16 | uint64_t{call.equal()} << 24,
           call.count, plan_id, call.root, nranks};
  return hash64(&key, sizeof key, call.counts_hash);
}

CallRecord record_of(const CollectiveCall& call, uint64_t fingerprint, uint64_t algorithm) {
  CallRecord r;
  r.fingerprint = fingerprint;
  r.count =
      call.equal() ? call.count : std::max(call.blocks->input.total(), call.blocks->output.total());
  r.what = static_cast<uint32_t>(call.collective) | static_cast<uint32_t>(call.dtype) << 8 |
           static_cast<uint32_t>(call.op) << 16 | uint32_t{call.equal()} << 24;
  r.root = call.root;
  r.algorithm = algorithm;
  return r;
}

std::string describe(const CallRecord& r) {
  const auto collective = static_cast<Collective>(r.what & 0xff);
  std::string text = text_of(collective, r.count, static_cast<DataType>(r.what >> 8 & 0xff),
                             static_cast<ReduceOp>(r.what >> 16 & 0xff), (r.what >> 24 & 1) != 0,
                             catalog()[r.algorithm].name);
  if (is_rooted(collective)) text += " root " + std::to_string(r.root);
  return text + ", call " + std::to_string(r.sequence);
}

std::string describe(const CollectiveCall& call) {
  return text_of(call.collective, call.equal() ? call.count : call.blocks->input.total(),
                 call.dtype, call.op, call.equal(), nullptr);
}

uint64_t point_to_point_fingerprint(DataType dtype, size_t count) {
  const uint64_t key[2] = {0x7032700000000000u | static_cast<uint64_t>(dtype), count};
  return hash64(key, sizeof key);
}

std::string describe_point_to_point(uint64_t fingerprint, size_t bytes) {
  for (int d = 0; d < kNumDataTypes; ++d) {
    const auto dtype = static_cast<DataType>(d);
    const size_t count = bytes / size_of(dtype);
    if (point_to_point_fingerprint(dtype, count) == fingerprint) {
      return std::to_string(count) + ' ' + name_of(dtype);
    }
  }
  return std::to_string(bytes) + " bytes";
}

}  // namespace tutti
