// What each collective promises, chunk by chunk, for the verifier and for in-place binding.
//
// Terms: input chunk (r, i) is chunk i of rank r's input before the call. An output chunk is either
// a copy of one input chunk or the reduction of one input chunk of every rank.
#pragma once

#include "comm/schedule/schedule.h"

namespace tutti {

// Number of blocks of input and output of a collective over nranks ranks.
constexpr uint32_t input_blocks(Collective collective, int nranks) {
  const bool one_for_each_rank = collective == Collective::kReduceScatter ||
                                 collective == Collective::kScatter ||
                                 collective == Collective::kAllToAll;
  return one_for_each_rank ? static_cast<uint32_t>(nranks) : 1;
}
constexpr uint32_t output_blocks(Collective collective, int nranks) {
  const bool one_of_each_rank = collective == Collective::kAllGather ||
                                collective == Collective::kGather ||
                                collective == Collective::kAllToAll;
  return one_of_each_rank ? static_cast<uint32_t>(nranks) : 1;
}

// Whether `rank` has an input (an output) at all: only the root scatters, only the root gathers.
bool has_input(const Schedule& s, int rank);
bool has_output(const Schedule& s, int rank);

// What output chunk `chunk` of s.rank must hold. kind kReduced: every rank's input chunk
// `input_chunk`; kCopied: rank `from`'s.
struct Promise {
  enum class Kind : uint8_t { kCopied, kReduced } kind;
  int from;
  uint32_t input_chunk;
};
Promise promise(const Schedule& s, uint32_t chunk);

// In place, input and output share memory: output chunk that input chunk `chunk` of s.rank lies at,
// or -1 when that chunk of the input has no counterpart (or the rank lacks one of the buffers).
int64_t aliased_output(const Schedule& s, uint32_t input_chunk);

}  // namespace tutti
