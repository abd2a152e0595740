#include "comm/expert/exchange.h"

#include <utility>

namespace tutti {

Status Exchange::start_all_gather(const void* mine, void* all, size_t bytes,
                                  const OpHeader& header) {
  const auto nranks = static_cast<uint32_t>(comm_.nranks());
  return start(Collective::kAllGather, {1, bytes, {}, {}}, {nranks, bytes, {}, {}},
               {const_cast<void*>(mine), all, nullptr}, header);
}

Status Exchange::start_all_to_all(const void* send, BlockList send_blocks, void* recv,
                                  BlockList recv_blocks, const OpHeader& header) {
  return start(Collective::kAllToAll, std::move(send_blocks), std::move(recv_blocks),
               {const_cast<void*>(send), recv, nullptr}, header);
}

Status Exchange::start(Collective collective, BlockList input, BlockList output,
                       const RunBuffers& buffers, const OpHeader& header) {
  // Needs no scratch.
  const Algorithm* const algorithm = find_algorithm(collective, "direct");
  Params params;
  params.nranks = comm_.nranks();
  params.rank = comm_.rank();
  make_schedule(*algorithm, params, &schedule_);
  const DataLayout layout(std::move(input), std::move(output), schedule_.shape.chunks_per_block, 1,
                          0, 0);
  Result<std::unique_ptr<Plan>> plan =
      Plan::bind(schedule_, layout, comm_.transport().capabilities(), channels_);
  if (!plan.ok()) return plan.status();
  plan_ = std::move(plan.value());
  execution_.start(plan_.get(), buffers, header, Arithmetic(), &comm_.device(), &comm_.gate());
  return Status();
}

Execution::State Exchange::advance() {
  const uint64_t before = execution_.steps_run();
  const Execution::State state = execution_.advance();
  comm_.count_steps(execution_.steps_run() - before);
  return state;
}

}  // namespace tutti
