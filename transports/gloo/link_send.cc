// Link, the sending side of its channels.
#include <cstring>

#include "transports/gloo/link.h"

namespace tutti {

bool Link::post(SendState* state, const OpHeader* header, const iovec* parts, int nparts) {
  MutexLock lock(mutex_);
  Record record{};
  record.key = state->key;
  record.generation = state->generation;
  record.number = state->posted;
  for (int i = 0; i < nparts; ++i) record.bytes += parts[i].iov_len;
  const bool large = record.bytes > kEagerBytes;
  const size_t payload_bytes = large ? 0 : record.bytes;
  if (state->posted - state->acked >= kWindow || !has_room(payload_bytes)) poll(nullptr);
  if (state->ended != Ended::kNo || state->posted - state->acked >= kWindow ||
      !has_room(payload_bytes)) {
    return false;
  }
  if (header != nullptr) {
    record.header = *header;
    record.flags = kRecordHasHeader;
  }
  if (large && !post_large(state, record, parts, nparts)) return false;
  if (!large) {
    record.kind = RecordKind::kEager;
    record.payload_bytes = static_cast<uint32_t>(payload_bytes);
    const auto answered = recvs_.find(state->key);
    if (answered != recvs_.end()) {
      record.acked = answered->second->unacked;
      answered->second->unacked = 0;
    }
    push(record, parts, nparts);
  }
  if (!failure_.ok()) return false;
  ++state->posted;
  while (!state->grants.empty() && state->grants.front().number < state->posted) {
    state->grants.pop_front();
  }
  return true;
}

bool Link::post_large(SendState* state, Record record, const iovec* parts, int nparts) {
  if (bulk_lost_) {
    state->wants_bulk = true;
    return false;
  }
  BulkSend message;
  message.number = state->posted;
  message.bytes = record.bytes;
  int filled = 0;
  for (int i = 0; i < nparts; ++i) {
    if (parts[i].iov_len == 0) continue;
    message.base = parts[i].iov_base;
    ++filled;
  }
  if (filled > 1) {
    message.packed = std::make_unique_for_overwrite<std::byte[]>(record.bytes);
    message.base = message.packed.get();
    std::byte* out = message.packed.get();
    for (int i = 0; i < nparts; ++i) {
      if (parts[i].iov_len == 0) continue;
      std::memcpy(out, parts[i].iov_base, parts[i].iov_len);
      out += parts[i].iov_len;
    }
  }
  record.kind = RecordKind::kBulk;
  push(record, nullptr, 0);
  if (!failure_.ok()) return false;
  state->bulks.push_back(std::move(message));
  const bool granted = !state->grants.empty() && state->grants.front().number == record.number;
  if (granted) start_bulk(&state->bulks.back(), state->grants.front());
  return true;
}

// The peer says where a message may go, posted here or not.
bool Link::take_grant(const Record& record) {
  if (record.cell >= kStampCells || record.stamp_value == 0) return false;
  const auto found = sends_.find(record.key);
  if (found == sends_.end()) return true;
  SendState& state = *found->second;
  if (state.generation != record.generation || state.ended != Ended::kNo) return true;
  if (record.number >= state.posted) {
    state.grants.push_back(record);
    return state.grants.size() <= kWindow;
  }
  for (BulkSend& message : state.bulks) {
    if (message.number == record.number) start_bulk(&message, record);
  }
  return true;
}

// It goes, all of it handed to Gloo at once.
void Link::start_bulk(BulkSend* message, const Record& grant) {
  if (!bulk_up() || message->buffer || message->bytes != grant.bytes) return;
  if (!bulk_.start(message, grant).ok()) bulk_lost_ = true;
}

void Link::forget_unused(SendState* state) {
  if (state->open) return;
  if (state->ended == Ended::kNo && state->posted != state->acked) return;
  sends_.erase(WireKey(state->key));
}

uint64_t Link::posted(const SendState& state) {
  MutexLock lock(mutex_);
  return state.posted;
}

uint64_t Link::sent(SendState* state) {
  MutexLock lock(mutex_);
  if (!state->bulks.empty()) poll(nullptr);
  if (state->ended == Ended::kNo) state->last_sent = state->sent();
  return state->last_sent;
}

uint64_t Link::acked(SendState* state) {
  MutexLock lock(mutex_);
  poll(nullptr);
  if (state->ended == Ended::kNo) state->last_acked = state->acked;
  return state->last_acked;
}

}  // namespace tutti
