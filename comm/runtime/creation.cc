#include "comm/runtime/creation.h"

#include <algorithm>
#include <utility>

#include "comm/base/clock.h"
#include "comm/base/cores.h"
#include "comm/base/hash.h"
#include "comm/base/wait.h"
#include "comm/runtime/net_control.h"
#include "transports/builtin.h"

namespace tutti {

Result<std::vector<std::unique_ptr<Communicator>>> create_all(Process& process, int nranks,
                                                              const Config& config,
                                                              const std::string& name) {
  const std::string transport = config.transport == "auto" ? "inproc" : config.transport;
  std::vector<std::shared_ptr<Transport>> transports;
  std::vector<int> peers;
  const HostShare host = {nranks, usable_cores()};
  for (int r = 0; r < nranks; ++r) {
    TransportContext context;
    context.crowded = host.crowded();
    context.domain = process.domain();
    context.number = r;
    context.nranks = nranks;
    Result<std::unique_ptr<Transport>> made = make_transport(transport, context);
    if (!made.ok()) return made.status();
    transports.push_back(std::move(made.value()));
    peers.push_back(r);
  }
  for (int r = 0; r < nranks; ++r) {
    for (int p = 0; p < nranks; ++p) {
      if (p == r) continue;
      TUTTI_TRY(transports[static_cast<size_t>(r)]->connect(
          p, transports[static_cast<size_t>(p)]->address()));
    }
  }
  const uint64_t id = hash_combine(0x7475747469u, process.next_number());
  const std::shared_ptr<Board> board = process.meetings().join(id, nranks, false);
  std::vector<std::unique_ptr<Communicator>> all;
  for (int r = 0; r < nranks; ++r) {
    CommunicatorParts parts;
    parts.id = id;
    parts.rank = r;
    parts.peers = peers;
    parts.host = host;
    parts.machine = machine_class(host.crowded());
    parts.transport = transports[static_cast<size_t>(r)];
    parts.control = std::make_unique<InprocControl>(board, r);
    parts.config = config;
    parts.name = name;
    parts.device = &process.device();
    parts.cache_bytes = process.cache_bytes();
    parts.log = process.log();
    Result<std::unique_ptr<Communicator>> made = Communicator::create(std::move(parts));
    if (!made.ok()) return made.status();
    all.push_back(std::move(made.value()));
  }
  return all;
}

Creation::Creation(Process& process, Communicator* parent, Config config, std::string name)
    : process_(process), config_(std::move(config)), name_(std::move(name)), held_(parent) {
  if (held_ != nullptr) held_->creations.fetch_add(1, std::memory_order_relaxed);
}

Creation::~Creation() {
  if (!ended() && held_ != nullptr) held_->creations.fetch_sub(1, std::memory_order_release);
}

bool Creation::poll_once() {
  if (ended()) return false;
  // Whoever holds the mutex does the same.
  if (!mutex_.try_lock()) return true;
  const bool over = ended() || advance();
  if (over && !ended()) {
    // release: result_ and made_ before it; pairs with the acquire in ended().
    ended_.store(true, std::memory_order_release);
    // release: our last use of the parent; pairs with the acquire in tuttiCommDestroy.
    if (held_ != nullptr) held_->creations.fetch_sub(1, std::memory_order_release);
  }
  mutex_.unlock();
  return !over;
}

void Creation::abort() {
  abort_requested_.store(true, std::memory_order_release);
  (void)poll_once();
}

void Creation::wait() {
  WaitLadder ladder(held_ != nullptr ? held_->rungs() : WaitRungs());
  while (poll_once()) {
    help();
    ladder.tick();
  }
}

Status DerivedCreation::make(uint64_t id, const std::vector<int>& members, bool all_come) {
  const auto own = std::find(members.begin(), members.end(), parent_.rank());
  CommunicatorParts parts;
  parts.id = id;
  parts.rank = static_cast<int>(own - members.begin());
  for (int r : members) parts.peers.push_back(parent_.parts().peers[static_cast<size_t>(r)]);
  parts.host = parent_.parts().host;
  parts.machine = parent_.parts().machine;
  parts.transport = parent_.parts().transport;
  parts.open = parent_.parts().open;
  parts.world = parent_.parts().world;
  if (parts.world) {
    parts.control = std::make_unique<NetControl>(
        process_.control_plane(), Membership{id, parts.rank, parts.peers, nullptr, parts.world});
  } else {
    parts.control = std::make_unique<InprocControl>(
        process_.meetings().join(id, static_cast<int>(members.size()), all_come), parts.rank);
  }
  parts.config = config_;
  parts.name = name_;
  parts.device = &process_.device();
  parts.cache_bytes = process_.cache_bytes();
  parts.log = process_.log();
  Result<std::unique_ptr<Communicator>> made = Communicator::create(std::move(parts));
  if (made.ok()) made_ = std::move(made.value());
  return made.status();
}

SplitCreation::SplitCreation(Process& process, Communicator& parent, int color, int key,
                             uint64_t number, Config config, std::string name)
    : DerivedCreation(process, parent, std::move(config), std::move(name)),
      own_{color, key},
      number_(number),
      all_(static_cast<size_t>(parent.nranks())) {}

SplitCreation::~SplitCreation() = default;

Status SplitCreation::start() {
  CollectiveCall call;
  call.collective = Collective::kAllGather;
  call.dtype = DataType::kInt32;
  call.send = &own_;
  call.recv = all_.data();
  // As a call with blocks, marked so that no all-gather of a user can be taken for it.
  call.counts_hash = hash64("split", 5);
  call.blocks = std::make_unique<CollectiveCall::Blocks>();
  call.blocks->input = {1, 2, {}, {}};
  call.blocks->output = {static_cast<uint32_t>(parent_.nranks()), 2, {}, {}};
  Result<std::unique_ptr<Operation>> made = parent_.make(std::move(call));
  if (!made.ok()) return made.status();
  gather_ = std::move(made.value());
  parent_.enqueue(Order{}, gather_.get());
  return Status();
}

void SplitCreation::help() { parent_.poll_once(); }

bool SplitCreation::advance() {
  if (!gather_->finished.load(std::memory_order_acquire)) return false;
  result_ = gather_->result;
  parent_.discard(std::move(gather_));
  if (!result_.ok() || own_.color < 0) return true;
  std::vector<int> members;
  for (int r = 0; r < parent_.nranks(); ++r) {
    if (all_[static_cast<size_t>(r)].color == own_.color) members.push_back(r);
  }
  std::stable_sort(members.begin(), members.end(), [this](int a, int b) {
    return all_[static_cast<size_t>(a)].key < all_[static_cast<size_t>(b)].key;
  });
  const uint64_t id =
      hash_combine(hash_combine(parent_.id(), number_), static_cast<uint32_t>(own_.color));
  result_ = make(id, members, true);
  return true;
}

GroupCreation::GroupCreation(Process& process, Communicator& parent, std::vector<int> members,
                             uint64_t id, Config config, std::string name)
    : DerivedCreation(process, parent, std::move(config), std::move(name)),
      members_(std::move(members)),
      id_(id) {}

Status GroupCreation::start() {
  if (config_.timeout_ns != kTimeoutNever) deadline_ns_ = now_ns() + config_.timeout_ns;
  TUTTI_TRY(make(id_, members_, false));
  made_->control().announce();
  return Status();
}

bool GroupCreation::advance() {
  std::string missing;
  for (size_t r = 0; r < members_.size(); ++r) {
    if (made_->control().present(static_cast<int>(r))) continue;
    missing += (missing.empty() ? "" : ", ") + std::to_string(members_[r]);
  }
  if (missing.empty()) return true;
  Status parent = parent_.error();
  if (parent.ok() && abort_requested_.load(std::memory_order_acquire)) {
    parent = error(Code::kAborted, "%s: creating a group of %zu ranks was aborted",
                   parent_.who().c_str(), members_.size());
  }
  if (parent.ok() && now_ns() < deadline_ns_) return false;
  result_ = !parent.ok() ? parent
                         : error(Code::kTimeout,
                                 "%s: creating a group of %zu ranks: these ranks of the parent "
                                 "have not called within %.3f s: %s",
                                 parent_.who().c_str(), members_.size(),
                                 static_cast<double>(config_.timeout_ns) * 1e-9, missing.c_str());
  made_.reset();
  return true;
}

}  // namespace tutti
