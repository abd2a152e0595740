// Link, how things begin and end: opening and closing channels, aborts, health, the end of all.
#include <algorithm>

#include "comm/base/clock.h"
#include "transports/gloo/link.h"

namespace tutti {
namespace {

// How often somebody who waits looks whether the peer is still there.
constexpr int64_t kProbeNs = 20'000'000;

WireKey wire_key(const ChannelKey& key) {
  return {key.comm, key.order, key.epoch, static_cast<uint32_t>(key.plane)};
}

bool is_of(const WireKey& key, uint64_t comm, uint32_t epoch) {
  return key.comm == comm && key.epoch <= epoch;
}

Record end_record(RecordKind kind, const WireKey& key, uint8_t flags) {
  Record record{};
  record.kind = kind;
  record.key = key;
  record.flags = flags;
  return record;
}

}  // namespace

Status Link::may_open(const ChannelKey& key, bool mail) {
  if (shut_) return error(Code::kAborted, "gloo: this endpoint has been destroyed");
  if (!has_peer_) {
    return error(Code::kInvalidUsage, "gloo %d: peer %d is not connected", number_, peer_);
  }
  poll(nullptr);
  const auto here = ended_here_.find(key.comm);
  const auto there = ended_there_.find(key.comm);
  Ended ended = Ended::kNo;
  if (there != ended_there_.end() && key.epoch <= there->second) ended = Ended::kThere;
  if (here != ended_here_.end() && key.epoch <= here->second) ended = Ended::kHere;
  if (mail && ended == Ended::kNo) return Status();
  probe();
  return health_of(wire_key(key), ended, false, false);
}

Result<SendState*> Link::open_send(const ChannelKey& key) {
  MutexLock lock(mutex_);
  TUTTI_TRY(may_open(key, false));
  const WireKey wire = wire_key(key);
  auto& slot = sends_[wire];
  if (!slot) {
    slot = std::make_unique<SendState>();
    slot->generation = ++generations_;
  }
  if (slot->open) {
    return error(Code::kInvalidUsage, "gloo: the send end of order %llu with peer %d is open",
                 static_cast<unsigned long long>(key.order), peer_);
  }
  slot->key = wire;
  slot->open = true;
  Record record = end_record(RecordKind::kOpened, wire, 0);
  record.generation = slot->generation;
  record.number = slot->posted;
  push_control(record);
  return slot.get();
}

Result<RecvState*> Link::open_recv(const ChannelKey& key) {
  MutexLock lock(mutex_);
  const WireKey wire = wire_key(key);
  poll(nullptr);
  const auto known = recvs_.find(wire);
  TUTTI_TRY(may_open(key, known != recvs_.end() && !known->second->arrived.empty()));
  auto& slot = recvs_[wire];
  if (!slot) slot = std::make_unique<RecvState>();
  if (slot->open) {
    return error(Code::kInvalidUsage, "gloo: the receive end of order %llu with peer %d is open",
                 static_cast<unsigned long long>(key.order), peer_);
  }
  slot->key = wire;
  slot->open = true;
  push_control(end_record(RecordKind::kOpened, wire, kRecordReceiving));
  return slot.get();
}

bool Link::lends(const SendState& state) {
  return std::any_of(state.bulks.begin(), state.bulks.end(),
                     [](const BulkSend& message) { return message.buffer != nullptr; });
}

bool Link::lends(const RecvState& state) {
  return std::any_of(state.targets.begin(), state.targets.end(),
                     [](const Target& target) { return target.bulk.stamp != 0; });
}

void Link::drop_bulk(SendState* state) {
  if (lends(*state)) {
    bulk_.close();
    bulk_lost_ = true;
  }
  for (BulkSend& message : state->bulks) {
    bulk_.bury(std::move(message.buffer));
  }
  state->bulks.clear();
}

void Link::drop_targets(RecvState* state) {
  if (lends(*state)) {
    bulk_.close();
    bulk_lost_ = true;
  }
  for (Target& target : state->targets) {
    if (target.bulk.stamp != 0) bulk_.release(&target.bulk);
  }
  state->targets.clear();
  state->ungranted = 0;
}

void Link::close(SendState* state) {
  MutexLock lock(mutex_);
  const bool cut = !state->bulks.empty();
  drop_bulk(state);
  if (cut) state->acked = state->posted;
  if (!shut_ && state->ended == Ended::kNo) {
    push_control(end_record(RecordKind::kClosed, state->key, cut ? kRecordCut : 0));
  }
  state->open = false;
  forget_unused(state);
}

void Link::close(RecvState* state) {
  MutexLock lock(mutex_);
  drop_targets(state);
  if (!shut_ && state->ended == Ended::kNo) {
    push_control(end_record(RecordKind::kClosed, state->key, kRecordReceiving));
  }
  state->open = false;
  forget_unused(state);
}

void Link::take_open_or_close(const Record& record) {
  const bool closed = record.kind == RecordKind::kClosed;
  if ((record.flags & kRecordReceiving) != 0) {
    const auto found = sends_.find(record.key);
    if (found != sends_.end()) found->second->peer_closed = closed;
    return;
  }
  take_sender(record, closed);
}

void Link::end(SendState* state, Ended how) {
  state->ended = how;
  if (how == Ended::kHere) drop_bulk(state);
}

void Link::end(RecvState* state, Ended how) {
  state->ended = how;
  if (how != Ended::kHere) return;
  drop_targets(state);
  state->arrived.clear();
}

uint32_t Link::highest_epoch(uint64_t comm) {
  MutexLock lock(mutex_);
  uint32_t epoch = 0;
  for (const auto& [key, state] : sends_) {
    if (key.comm == comm) epoch = std::max(epoch, key.epoch);
  }
  for (const auto& [key, state] : recvs_) {
    if (key.comm == comm) epoch = std::max(epoch, key.epoch);
  }
  return epoch;
}

void Link::abort(uint64_t comm, uint32_t epoch) {
  MutexLock lock(mutex_);
  const auto [known, first] = ended_here_.emplace(comm, epoch);
  if (!first && known->second >= epoch) return;
  known->second = epoch;
  for (auto& [key, state] : sends_) {
    if (is_of(key, comm, epoch)) end(state.get(), Ended::kHere);
  }
  for (auto& [key, state] : recvs_) {
    if (is_of(key, comm, epoch)) end(state.get(), Ended::kHere);
  }
  if (shut_) return;
  Record record{};
  record.kind = RecordKind::kAbort;
  record.key.comm = comm;
  record.key.epoch = epoch;
  push_control(record);
}

void Link::take_abort(const Record& record) {
  uint32_t& epoch = ended_there_[record.key.comm];
  epoch = std::max(epoch, record.key.epoch);
  for (auto& [key, state] : sends_) {
    const bool ends = is_of(key, record.key.comm, epoch) && state->ended == Ended::kNo;
    if (ends) end(state.get(), Ended::kThere);
  }
  for (auto& [key, state] : recvs_) {
    const bool ends = is_of(key, record.key.comm, epoch) && state->ended == Ended::kNo;
    if (ends) end(state.get(), Ended::kThere);
  }
}

void Link::probe() {
  const int64_t now = now_ns();
  if (!ring_up_ || shut_ || !failure_.ok() || now - probed_ns_ < kProbeNs) return;
  probed_ns_ = now;
  const Status status = ring_.probe();
  if (!status.ok()) {
    poll(nullptr);  // what it sent before
    fail(status);
  }
  if (bulk_up() && !bulk_.probe().ok()) bulk_lost_ = true;
}

Status Link::health_of(const WireKey& key, Ended ended, bool closed, bool needs_bulk) {
  const auto comm = static_cast<unsigned long long>(key.comm);
  if (shut_) return error(Code::kAborted, "gloo: this endpoint has been destroyed");
  if (ended == Ended::kHere) {
    return error(Code::kAborted, "gloo: communicator %llu epoch %u was aborted here", comm,
                 key.epoch);
  }
  if (!failure_.ok()) {
    return error(Code::kRemoteError, "gloo: peer %d %s (%s)", peer_,
                 ring_up_ ? "is gone" : "cannot be reached", failure_.text().c_str());
  }
  const char* what = ended == Ended::kThere ? "has aborted"
                     : closed               ? "has closed its end of the channel"
                     : needs_bulk && bulk_lost_
                         ? "can be sent no large messages: an abort has ended that connection"
                         : nullptr;
  if (what == nullptr) return Status();
  return error(Code::kRemoteError, "gloo: peer %d %s (communicator %llu epoch %u order %llu)",
               peer_, what, comm, key.epoch, static_cast<unsigned long long>(key.order));
}

Status Link::health(const SendState& state) {
  MutexLock lock(mutex_);
  poll(nullptr);
  probe();
  return health_of(state.key, state.ended, state.peer_closed,
                   state.wants_bulk || !state.bulks.empty());
}

Status Link::health(const RecvState& state) {
  MutexLock lock(mutex_);
  poll(nullptr);
  probe();
  const bool large = !state.arrived.empty() && state.arrived.front().large;
  return health_of(state.key, state.ended, state.peer_closed, large);
}

bool Link::bye() {
  MutexLock lock(mutex_);
  poll(nullptr);
  probe();
  if (!ring_up_ || !failure_.ok()) return true;
  Record record{};
  record.kind = RecordKind::kBye;
  if (!bye_said_) push_control(record);
  bye_said_ = true;
  return bye_ != 0 && ring_.peer_taken() >= bye_;
}

void Link::shut() {
  MutexLock lock(mutex_);
  shut_ = true;
  bulk_lost_ = true;
  for (auto& [key, state] : sends_) state->bulks.clear();
  for (auto& [key, state] : recvs_) state->targets.clear();
  bulk_.shut();
  ring_.shut();
}

}  // namespace tutti
