// Exchange: a collective that moves bytes among the ranks of an expert group, on the group's own
// channels, as a part of an operation of the group. Resumable; nothing in it blocks. Thread: the
// holder of the communicator's drive mutex.
#pragma once

#include <memory>

#include "comm/exec/execution.h"
#include "comm/runtime/communicator.h"

namespace tutti {

class Exchange {
 public:
  Exchange(Communicator& comm, ChannelSource& channels) : comm_(comm), channels_(channels) {}

  // all[r * bytes ...] = rank r's mine[0 .. bytes), its own included.
  Status start_all_gather(const void* mine, void* all, size_t bytes, const OpHeader& header);
  // Blocks of bytes by rank, at the given places; counts known pair by pair.
  Status start_all_to_all(const void* send, BlockList send_blocks, void* recv,
                          BlockList recv_blocks, const OpHeader& header);
  Execution::State advance();
  const Execution& execution() const { return execution_; }
  const Plan& plan() const { return *plan_; }  // of the last start

 private:
  Status start(Collective collective, BlockList input, BlockList output, const RunBuffers& buffers,
               const OpHeader& header);

  Communicator& comm_;
  ChannelSource& channels_;
  Schedule schedule_;
  std::unique_ptr<Plan> plan_;
  Execution execution_;
};

}  // namespace tutti
