#include "bench/perf/tutti_rank.h"

#include <cstdio>
#include <thread>
#include <utility>
#include <vector>

namespace perf {

using tutti::Code;
using tutti::Result;
using tutti::Status;

Status status_of(tuttiResult_t result, tuttiComm_t comm) {
  if (result == tuttiSuccess) return {};
  return tutti::error(static_cast<Code>(result), "tutti: %s: %s", tuttiGetErrorString(result),
                      tuttiGetLastError(comm));
}

TuttiRank::TuttiRank(tuttiComm_t comm) : comm_(comm) {
  // Of a communicator that has just been made, these two cannot fail.
  tuttiCommUserRank(comm, &rank_);
  tuttiCommCount(comm, &nranks_);
}

std::string TuttiRank::version() const {
  int version = 0;
  tuttiGetVersion(&version);
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

std::string TuttiRank::lacks(const Case& c) const {
  if (has_operator(c.collective) && !tutti::is_defined(c.dtype, c.op)) {
    return std::string(tutti::name_of(c.op)) + " of " + tutti::name_of(c.dtype);
  }
  return "";
}

Result<void*> TuttiRank::allocate(const Case& c, size_t bytes) {
  registered_ = c.registered;
  allocated_[0] = std::exchange(allocated_[1], bytes);
  if (!registered_) return RankSystem::allocate(c, bytes);
  void* memory = nullptr;
  TUTTI_TRY(status_of(tuttiMemAlloc(&memory, bytes), nullptr));
  return memory;
}

void TuttiRank::free(void* memory) {
  if (registered_) {
    tuttiMemFree(memory);
  } else {
    RankSystem::free(memory);
  }
}

Status TuttiRank::register_buffers(void* send_memory, void* recv_memory) {
  void* const memory[2] = {send_memory, recv_memory};
  for (int i = 0; i < 2; ++i) {
    if (allocated_[i] == 0) continue;
    TUTTI_TRY(status_of(tuttiCommRegister(comm_, memory[i], allocated_[i], &windows_[i]), comm_));
  }
  return {};
}

Status TuttiRank::prepare(const Case& c, void* send_memory, void* recv_memory) {
  if (c.collective == Collective::kAllToAllV) {
    sent_ = sent_blocks(c, rank_, nranks_);
    received_ = received_blocks(c, rank_, nranks_);
  }
  if (c.registered) TUTTI_TRY(register_buffers(send_memory, recv_memory));
  if (!is_expert(c.collective)) return {};
  expert_ = std::make_unique<TuttiExpert>(comm_, c);
  return expert_->prepare(send_memory, recv_memory);
}

void TuttiRank::finish(const Case&) {
  expert_.reset();
  for (tuttiWindow_t& window : windows_) {
    if (window != nullptr) tuttiCommDeregister(comm_, window);
    window = nullptr;
  }
}

tuttiResult_t TuttiRank::send_recv(const Call& call) {
  const auto dtype = static_cast<tuttiDataType_t>(call.c.dtype);
  const int right = (rank_ + 1) % nranks_;
  const int left = (rank_ - 1 + nranks_) % nranks_;
  const tuttiSendRecvItem_t items[2] = {
      {tuttiItemSend, call.buffers.send, call.c.count, dtype, right},
      {tuttiItemRecv, call.buffers.recv, call.c.count, dtype, left}};
  return tuttiBatchSendRecv(items, 2, comm_, nullptr);
}

tuttiResult_t TuttiRank::submit(const Call& call) {
  const Case& c = call.c;
  const auto dtype = static_cast<tuttiDataType_t>(c.dtype);
  const auto op = static_cast<tuttiRedOp_t>(c.op);
  const void* const send = call.buffers.send;
  void* const recv = call.buffers.recv;
  switch (c.collective) {
    case Collective::kAllReduce:
      return tuttiAllReduce(send, recv, c.count, dtype, op, comm_, nullptr);
    case Collective::kReduce:
      return tuttiReduce(send, recv, c.count, dtype, op, call.root, comm_, nullptr);
    case Collective::kBroadcast:
      return tuttiBroadcast(send, recv, c.count, dtype, call.root, comm_, nullptr);
    case Collective::kAllGather:
      return tuttiAllGather(send, recv, c.count, dtype, comm_, nullptr);
    case Collective::kReduceScatter:
      return tuttiReduceScatter(send, recv, c.count, dtype, op, comm_, nullptr);
    case Collective::kGather:
      return tuttiGather(send, recv, c.count, dtype, call.root, comm_, nullptr);
    case Collective::kScatter:
      return tuttiScatter(send, recv, c.count, dtype, call.root, comm_, nullptr);
    case Collective::kAllToAll:
      return tuttiAlltoAll(send, recv, c.count, dtype, comm_, nullptr);
    case Collective::kAllToAllV:
      return tuttiAlltoAllV(send, sent_.counts.data(), sent_.displs.data(), recv,
                            received_.counts.data(), received_.displs.data(), dtype, comm_,
                            nullptr);
    case Collective::kSendRecv:
      return send_recv(call);
    case Collective::kBarrier:
      return tuttiBarrier(comm_, nullptr);
    case Collective::kExpertDispatch:
    case Collective::kExpertCombine:
    case Collective::kExpertRoundTrip:
      return expert_->run();
  }
  return tuttiInternalError;
}

Status TuttiRank::run(const Call& call) { return status_of(submit(call), comm_); }

Status TuttiRank::barrier() { return status_of(tuttiBarrier(comm_, nullptr), comm_); }

namespace {

tuttiConfig_t config_of(const TuttiSettings& settings) {
  tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
  if (!settings.transport.empty()) config.transport = settings.transport.c_str();
  if (!settings.algorithms.empty()) config.algorithms = settings.algorithms.c_str();
  config.name = "perf";
  return config;
}

int serve_rank(const std::string& socket, tuttiComm_t comm) {
  TuttiRank system(comm);
  const int code = serve(socket, system);
  // A rank that failed, or that nobody drives any more, cannot wait for the others.
  if (code != 0) tuttiCommAbort(comm);
  const Status left = leave(comm);
  if (code == 0 && !left.ok()) {
    std::fprintf(stderr, "rank %d: %s\n", system.rank(), left.text().c_str());
    return 1;
  }
  return code;
}

}  // namespace

Status leave(tuttiComm_t comm) {
  const Status finalized = status_of(tuttiCommFinalize(comm), comm);
  const Status destroyed = status_of(tuttiCommDestroy(comm), nullptr);
  return finalized.ok() ? destroyed : finalized;
}

Result<tuttiComm_t> join_launched_ranks(const TuttiSettings& settings) {
  const tuttiConfig_t config = config_of(settings);
  tuttiComm_t comm = nullptr;
  TUTTI_TRY(status_of(tuttiCommInitEnv(&comm, &config), nullptr));
  return comm;
}

int serve_tutti(const std::string& socket, const TuttiSettings& settings, int threads) {
  if (threads == 0) {
    const Result<tuttiComm_t> comm = join_launched_ranks(settings);
    if (comm.ok()) return serve_rank(socket, comm.value());
    std::fprintf(stderr, "%s\n", comm.status().text().c_str());
    return 1;
  }
  const tuttiConfig_t config = config_of(settings);
  std::vector<tuttiComm_t> comms(static_cast<size_t>(threads));
  const Status made = status_of(tuttiCommInitAll(comms.data(), threads, &config), nullptr);
  if (!made.ok()) {
    std::fprintf(stderr, "%s\n", made.text().c_str());
    return 1;
  }
  std::vector<int> codes(comms.size());
  std::vector<std::thread> ranks;
  for (size_t r = 0; r < comms.size(); ++r) {
    ranks.emplace_back([&, r] { codes[r] = serve_rank(socket, comms[r]); });
  }
  for (std::thread& rank : ranks) rank.join();
  for (const int code : codes) {
    if (code != 0) return code;
  }
  return 0;
}

}  // namespace perf
