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
  Arrived message;
  message.has_header = (record.flags & kRecordHasHeader) != 0;
  message.header = record.header;
  message.bytes = record.bytes;
  message.large = large;
  message.ticket = record.ticket;
  if (large) {
    state->arrived.push_back(std::move(message));
    grant_posted(state);
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
  Target target{parts, nparts, 0};
  for (int i = 0; i < nparts; ++i) target.bytes += parts[i].iov_len;
  state->targets.push_back(target);
  grant_posted(state);
}

// Tells the sender of every large message that has a target, and fits it, where it goes.
void Link::grant_posted(RecvState* state) {
  const size_t known = std::min(state->arrived.size(), state->targets.size());
  for (size_t i = 0; i < known && bulk_up_ && !bulk_lost_ && bulk_.can_grant(); ++i) {
    Arrived& message = state->arrived[i];
    const Target& target = state->targets[i];
    if (!message.large || message.bulk.number != 0 || target.bytes != message.bytes) continue;
    const iovec* whole = std::find_if(target.parts, target.parts + target.nparts,
                                      [](const iovec& part) { return part.iov_len != 0; });
    void* base = whole->iov_base;
    if (whole->iov_len != message.bytes) {
      message.bulk.bounce = std::make_unique_for_overwrite<std::byte[]>(message.bytes);
      base = message.bulk.bounce.get();
    }
    if (!bulk_.grant(base, message.bytes, &message.bulk).ok()) {
      bulk_lost_ = true;
      return;
    }
    Record record{};
    record.kind = RecordKind::kGrant;
    record.key = state->key;
    record.ticket = message.ticket;
    record.number = message.bulk.number;
    record.region = message.bulk.region;
    record.cell = message.bulk.cell;
    push_control(record);
  }
}

// The oldest message into the oldest target; false while it is not all here.
bool Link::land_front(RecvState* state) {
  Arrived& message = state->arrived.front();
  const Target& target = state->targets.front();
  if (target.bytes == message.bytes) {
    if (!message.large) {
      scatter(message.data.get(), target);
    } else {
      if (message.bulk.number == 0) grant_posted(state);
      if (message.bulk.number == 0 || !bulk_.landed(message.bulk)) return false;
      if (message.bulk.bounce) scatter(message.bulk.bounce.get(), target);
      bulk_.release(&message.bulk);
    }
  }
  const Arrived landed = std::move(message);
  state->arrived.pop_front();
  count_landed(state, landed);
  return true;
}

void Link::count_landed(RecvState* state, const Arrived& message) {
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

uint64_t Link::received(RecvState* state) {
  MutexLock lock(mutex_);
  if (state->targets.empty() || state->ended != Ended::kNo) return state->received;
  const uint64_t before = state->received;
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
