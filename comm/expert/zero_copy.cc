#include "comm/expert/zero_copy.h"

#include <algorithm>
#include <array>

#include "comm/runtime/communicator.h"

namespace tutti {

namespace {

// What messages may lie in, in the words of the caller.
struct Memory {
  Buffer buffer;
  void* RunBuffers::*base;
  const char* name;
};
constexpr Memory kMemories[] = {
    {Buffer::kInput, &RunBuffers::input, "in.x"},
    {Buffer::kInputSide, &RunBuffers::input_side, "in.scale"},
    {Buffer::kOutput, &RunBuffers::output, "out.x"},
    {Buffer::kOutputSide, &RunBuffers::output_side, "out.scale"},
    {Buffer::kScratch, &RunBuffers::scratch, "the group's memory"},
    {Buffer::kScratchSide, &RunBuffers::scratch_side, "the group's memory"},
    {Buffer::kScratchValue, &RunBuffers::scratch_value, "the group's memory"},
};

struct Stretch {
  size_t low = SIZE_MAX;
  size_t high = 0;
};

// From the first to the last row that messages of the plan lend, by buffer.
std::array<Stretch, kNumBuffers> lent_by(const Plan& plan) {
  std::array<Stretch, kNumBuffers> lent;
  for (const BoundStep& step : plan.steps) {
    for (uint32_t k = step.n_in; k < uint32_t{step.n_in} + step.n_out; ++k) {
      const BoundOperand& o = plan.operands[step.first + k];
      if (o.channel == kNoChannel) continue;
      Stretch& stretch = lent[static_cast<size_t>(o.buffer)];
      for (uint32_t i = o.first_part; i < o.first_part + o.num_parts; ++i) {
        const Extent& part = plan.parts[i];
        stretch.low = std::min(stretch.low, part.offset);
        stretch.high = std::max(stretch.high, part.offset + part.bytes);
      }
    }
  }
  return lent;
}

}  // namespace

Status check_zero_copy(const Plan& plan, const RunBuffers& buffers, const Communicator& comm,
                       const char* name) {
  const Transport& transport = *comm.parts().transport;
  if (comm.nranks() > 1 && !transport.capabilities().view) {
    return error(Code::kInvalidUsage,
                 "%s: %s: zero_copy: expected a transport whose ranks read each other's memory, "
                 "got %s",
                 comm.who().c_str(), name, transport.name());
  }
  const std::array<Stretch, kNumBuffers> lent = lent_by(plan);
  for (const Memory& memory : kMemories) {
    const Stretch& stretch = lent[static_cast<size_t>(memory.buffer)];
    if (stretch.low >= stretch.high) continue;
    const char* const base = static_cast<const char*>(buffers.*memory.base) + stretch.low;
    const size_t bytes = stretch.high - stretch.low;
    if (transport.is_shared(base, bytes)) continue;
    return error(Code::kInvalidUsage,
                 "%s: %s: zero_copy: expected %s in memory that peers can read (tuttiMemAlloc, "
                 "TUTTI_WINDOW_REMAP), got %zu bytes at %p that they cannot",
                 comm.who().c_str(), name, memory.name, bytes, static_cast<const void*>(base));
  }
  return Status();
}

void apply_zero_copy(ZeroCopy how, Plan* plan) {
  plan->copies_shown = how == ZeroCopy::kForbid;
  for (const SendEnd& end : plan->sends) end.channel->lend_all(how == ZeroCopy::kRequire);
}

}  // namespace tutti
