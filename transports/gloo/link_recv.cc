// Link, the receiving side of its channels.
#include <algorithm>
#include <cstring>

#include "comm/base/check.h"
#include "transports/gloo/link.h"

namespace tutti {
namespace {

void scatter(const std::byte* from, const Target& target) {
  for (int i = 0; i < target.nparts; ++i) {
    if (target.parts[i].iov_len == 0) continue;
    std::memcpy(target.parts[i].iov_base, from, target.parts[i].iov_len);
    from += target.parts[i].iov_len;
  }
}

bool covers(const std::unordered_map<uint64_t, uint32_t>& ended, const WireKey& key) {
  const auto found = ended.find(key.comm);
  return found != ended.end() && key.epoch <= found->second;
}

}  // namespace

bool Link::take_message(const Record& record, RecvState* asking) {
  const bool large = record.kind == RecordKind::kBulk;
  if (large ? record.bytes <= kEagerBytes : record.bytes != record.payload_bytes) return false;
  if (covers(ended_here_, record.key) || covers(ended_there_, record.key)) return true;
  auto& slot = recvs_[record.key];
  if (!slot) {
    slot = std::make_unique<RecvState>();
    slot->key = record.key;
  }
  RecvState* state = slot.get();
  note_sender(state, record);
  if (record.number != state->next_number++) return false;
  Arrived message;
  message.has_header = (record.flags & kRecordHasHeader) != 0;
  message.header = record.header;
  message.bytes = record.bytes;
  message.large = large;
  message.number = record.number;
  if (large) {
    state->arrived.push_back(std::move(message));
    if (state->ungranted != 0) grant_targets(state);
    return true;
  }
  const std::byte* payload = ring_.payload(record);
  if (state == asking && state->arrived.empty() && !state->targets.empty()) {
    if (state->targets.front().bytes == record.bytes) scatter(payload, state->targets.front());
    count_landed(state, message);
    return true;
  }
  // Nobody has room for it yet, or it is not the turn of the one who has.
  message.data = std::make_unique_for_overwrite<std::byte[]>(record.bytes);
  std::memcpy(message.data.get(), payload, record.bytes);
  state->arrived.push_back(std::move(message));
  return true;
}

void Link::post_recv(RecvState* state, const iovec* parts, int nparts) {
  MutexLock lock(mutex_);
  TUTTI_CHECK(state->targets.size() < kWindow, "more receives posted than slots");
  if (state->ended != Ended::kNo) return;
  Target target{parts, nparts, 0, {}};
  for (int i = 0; i < nparts; ++i) target.bytes += parts[i].iov_len;
  const bool large = target.bytes > kEagerBytes;
  state->targets.push_back(std::move(target));
  if (!large) return;
  ++state->ungranted;
  grant_targets(state);
}

// The peer's sending end of a channel that we receive on, now or perhaps later.
void Link::take_sender(const Record& record, bool closed) {
  if (covers(ended_here_, record.key) || covers(ended_there_, record.key)) return;
  auto& slot = recvs_[record.key];
  if (!slot) {
    slot = std::make_unique<RecvState>();
    slot->key = record.key;
  }
  RecvState* state = slot.get();
  state->peer_closed = closed;
  if (!closed) {
    note_sender(state, record);
    if (state->ungranted != 0) grant_targets(state);
    return;
  }
  if ((record.flags & kRecordCut) != 0) {
    // What was announced and not asked for will not come, nor what was to follow it.
    size_t kept = 0;
    while (kept < state->arrived.size() &&
           (!state->arrived[kept].large ||
            (kept < state->targets.size() && state->targets[kept].bulk.stamp != 0))) {
      ++kept;
    }
    state->arrived.erase(state->arrived.begin() + static_cast<ptrdiff_t>(kept),
                         state->arrived.end());
  }
  forget_unused(state);
}

// Numbers start again with every sending end, and nobody has seen the grants to the last one.
void Link::note_sender(RecvState* state, const Record& record) {
  if (state->generation == record.generation) return;
  state->generation = record.generation;
  state->next_number = record.number;
  for (Target& target : state->targets) {
    if (target.bulk.stamp == 0) continue;
    bulk_.bury(std::move(target.bulk.buffer));
    target.bulk.stamp = 0;
    ++state->ungranted;
  }
}

// Tells the sender where large messages go, those that have been posted and those that may be.
void Link::grant_targets(RecvState* state) {
  if (state->generation == 0 || !bulk_up()) return;
  for (size_t i = 0; i < state->targets.size() && state->ungranted != 0; ++i) {
    Target& target = state->targets[i];
    if (target.bytes <= kEagerBytes || target.bulk.stamp != 0) continue;
    uint64_t number = 0;
    if (i < state->arrived.size()) {
      const Arrived& message = state->arrived[i];
      if (!message.large || message.bytes != target.bytes) continue;
      number = message.number;
    } else {
      number = state->next_number + (i - state->arrived.size());
    }
    if (!grant(state, &target, number)) return;
  }
}

bool Link::grant(RecvState* state, Target* target, uint64_t number) {
  if (!bulk_.can_grant()) return false;
  const iovec* whole = std::find_if(target->parts, target->parts + target->nparts,
                                    [](const iovec& part) { return part.iov_len != 0; });
  void* base = whole->iov_base;
  if (whole->iov_len != target->bytes) {
    target->bulk.bounce = std::make_unique_for_overwrite<std::byte[]>(target->bytes);
    base = target->bulk.bounce.get();
  }
  if (!bulk_.grant(base, target->bytes, &target->bulk).ok()) {
    bulk_lost_ = true;
    return false;
  }
  --state->ungranted;
  Record record{};
  record.kind = RecordKind::kGrant;
  record.key = state->key;
  record.generation = state->generation;
  record.number = number;
  record.bytes = target->bytes;
  record.stamp_value = target->bulk.stamp;
  record.region = target->bulk.region;
  record.cell = target->bulk.cell;
  push_control(record);
  return true;
}

// The oldest message into the oldest target; false while it is not all here.
bool Link::land_front(RecvState* state) {
  Arrived& message = state->arrived.front();
  const Target& target = state->targets.front();
  if (target.bytes == message.bytes) {
    if (!message.large) {
      scatter(message.data.get(), target);
    } else {
      if (target.bulk.stamp == 0) grant_targets(state);
      if (target.bulk.stamp == 0 || !bulk_.landed(target.bulk)) return false;
      if (target.bulk.bounce) scatter(target.bulk.bounce.get(), target);
    }
  }
  const Arrived landed = std::move(message);
  state->arrived.pop_front();
  count_landed(state, landed);
  return true;
}

void Link::count_landed(RecvState* state, const Arrived& message) {
  Target& target = state->targets.front();
  if (target.bulk.stamp != 0) {
    bulk_.release(&target.bulk);  // all here, or void: the message is of another length
  } else if (target.bytes > kEagerBytes) {
    --state->ungranted;
  }
  state->targets.pop_front();
  state->last = {nullptr, nullptr, 0, message.bytes, false};
  if (message.has_header) {
    state->last_header = message.header;
    state->last.header = &state->last_header;
  }
  ++state->received;
  // A large message stays borrowed over there until we say so.
  note_ack(state, message.large);
}

bool Link::has_message(RecvState* state) {
  MutexLock lock(mutex_);
  poll(nullptr);
  return state->ended == Ended::kNo && !state->arrived.empty();
}

uint64_t Link::received(RecvState* state) {
  MutexLock lock(mutex_);
  if (state->targets.empty() || state->ended != Ended::kNo) return state->received;
  const uint64_t before = state->received;
  if (state->ungranted != 0) grant_targets(state);
  if (state->arrived.empty()) {
    poll(state);
  } else {
    poll(nullptr);
  }
  if (state->received == before && !state->arrived.empty() && !state->targets.empty()) {
    land_front(state);
  }
  return state->received;
}

void Link::forget_unused(RecvState* state) {
  if (state->open || state->ack_due) return;
  if (state->ended == Ended::kNo && !state->arrived.empty()) return;
  recvs_.erase(WireKey(state->key));
}

}  // namespace tutti
