#include "transports/gloo/link.h"

#include <algorithm>
#include <cstring>

#include "comm/base/clock.h"

namespace tutti {
namespace {

// Acknowledgements that nothing carries along leave this late: soon enough for a sender that has
// run out of room, late enough that they mostly ride with the next message.
constexpr int64_t kAckDelayNs = 300'000;

// How often to look whether a peer is there, until it is.
constexpr int64_t kLookNs = 200'000;

Record record_of(RecordKind kind) {
  Record record{};
  record.kind = kind;
  return record;
}

}  // namespace

Status Link::open_pairs(const std::array<GlooPair*, kPairs>& pairs) {
  MutexLock lock(mutex_);
  pairs_ = pairs;
  const bool up = number_ < peer_;
  TUTTI_TRY(ring_.open(pairs[up ? kUpRing : kDownRing], pairs[up ? kDownRing : kUpRing]));
  TUTTI_TRY(bulk_.open(pairs[up ? kUpBulk : kDownBulk], pairs[up ? kDownBulk : kUpBulk]));
  return gloo_try(Code::kSystemError, [&] {
    for (size_t k = 0; k < kPairs; ++k) own_[k] = pairs[k]->address().bytes();
  });
}

Result<bool> Link::set_peer(const PairAddresses& peer) {
  MutexLock lock(mutex_);
  if (has_peer_) {
    if (peer == peer_address_) return false;
    return error(Code::kInvalidUsage, "gloo %d: peer %d is connected to another endpoint", number_,
                 peer_);
  }
  peer_address_ = peer;
  has_peer_ = true;
  bool any = false;
  for (size_t k = 0; k < kPairs; ++k) any = any || connects(own_[k], peer[k]);
  return any;
}

void Link::run_connects() {
  PairAddresses peer;
  {
    MutexLock lock(mutex_);
    peer = peer_address_;
  }
  for (size_t k = 0; k < kPairs; ++k) {
    if (!connects(own_[k], peer[k])) continue;
    const Status status = gloo_send([&] { pairs_[k]->connect(peer[k]); });
    if (status.ok()) continue;
    MutexLock lock(mutex_);
    return fail(status);
  }
}

// Whoever listens is not told when the peer has connected: it shows when something can be sent.
void Link::look_for_peer() {
  const int64_t now = now_ns();
  if (bulk_stands_ || !failure_.ok() || now - looked_ns_ < kLookNs) return;
  looked_ns_ = now;
  if (!ring_up_) {
    const Status status = ring_.probe();
    if (status.code() == Code::kInProgress) return;
    if (!status.ok()) return fail(status);
    ring_up_ = true;
    say_hello();
  }
  const Result<bool> stands = bulk_.stands();
  if (!stands.ok()) return fail(stands.status());
  if (!stands.value()) return;
  bulk_stands_ = true;
  push_control(record_of(RecordKind::kBulkUp));
}

// The first record of each side, as long as a record can be.
void Link::say_hello() {
  Record hello = record_of(RecordKind::kHello);
  hello.payload_bytes = kEagerBytes;
  push(hello, nullptr, 0);
}

void Link::fail(const Status& status) {
  if (failure_.ok()) failure_ = status;
}

bool Link::has_room(size_t payload_bytes) const {
  return ring_up_ && failure_.ok() && !shut_ && waiting_.empty() &&
         ring_.fits(payload_bytes, kReservedSlots);
}

void Link::push(const Record& record, const iovec* parts, int nparts) {
  const Status status = ring_.push(record, parts, nparts);
  if (!status.ok()) fail(status);
  if (record.kind == RecordKind::kBye) bye_ = ring_.pushed();
}

void Link::push_control(const Record& record) {
  if (has_room(0)) {
    push(record, nullptr, 0);
  } else {
    waiting_.push_back(record);
  }
}

void Link::poll(RecvState* asking) {
  if (!has_peer_ || shut_) return;
  if (!bulk_stands_) look_for_peer();
  bool landed = false;
  while (!landed) {
    const Record* front = ring_.front();
    if (front == nullptr) break;
    Record record;
    std::memcpy(&record, front, sizeof(record));
    const uint64_t before = asking == nullptr ? 0 : asking->received;
    const bool right =
        Ring::is_sane(record) && ring_.note_taken(record.taken) && take(record, asking);
    ring_.pop();
    ++moved_;
    if (!right) fail(error(Code::kRemoteError, "it sent a record that makes no sense"));
    landed = asking != nullptr && asking->received != before;
  }
  if (!failure_.ok()) return;
  give_credit();
  while (!waiting_.empty() && ring_up_ && ring_.fits(0, kReservedSlots) && failure_.ok()) {
    const Record record = waiting_.front();
    waiting_.pop_front();
    ++moved_;
    push(record, nullptr, 0);
  }
}

// False for what no peer of this build sends.
bool Link::take(const Record& record, RecvState* asking) {
  if (record.acked != 0) acknowledge(record.key, record.acked);
  switch (record.kind) {
    case RecordKind::kHello:
      return true;
    case RecordKind::kBulkUp:
      bulk_stands_there_ = true;
      return true;
    case RecordKind::kEager:
    case RecordKind::kBulk:
      return take_message(record, asking);
    case RecordKind::kGrant:
      return take_grant(record);
    case RecordKind::kAck:
      return take_acks(record);
    case RecordKind::kCredit:
      return true;
    case RecordKind::kOpened:
    case RecordKind::kClosed:
      take_open_or_close(record);
      return true;
    case RecordKind::kAbort:
      take_abort(record);
      return true;
    case RecordKind::kBye:
      credit_due_ = true;
      return true;
  }
  return false;
}

bool Link::take_acks(const Record& record) {
  if (record.payload_bytes % sizeof(Ack) != 0) return false;
  const std::byte* from = ring_.payload(record);
  for (size_t at = 0; at < record.payload_bytes; at += sizeof(Ack)) {
    Ack ack;
    std::memcpy(&ack, from + at, sizeof(ack));
    acknowledge(ack.key, ack.count);
  }
  return true;
}

void Link::acknowledge(const WireKey& key, uint64_t count) {
  const auto found = sends_.find(key);
  if (found == sends_.end()) return;
  SendState& state = *found->second;
  if (state.ended != Ended::kNo) return;
  state.acked = std::min(state.posted, state.acked + count);
  while (!state.bulks.empty() && state.bulks.front().number < state.acked) {
    state.bulks.pop_front();
  }
  forget_unused(&state);
}

// The peer stops at kReservedSlots free slots; it hears of half a ring long before.
void Link::give_credit() {
  if (!ring_up_ || !ring_.fits(0, 0) || !(credit_due_ || ring_.owes_credit())) return;
  credit_due_ = false;
  push(record_of(RecordKind::kCredit), nullptr, 0);
}

void Link::note_ack(RecvState* state, bool now) {
  ++state->unacked;
  if (!state->ack_due) {
    if (unacked_.empty()) unacked_since_ns_ = now_ns();
    state->ack_due = true;
    unacked_.push_back(state);
  }
  if (now || state->unacked >= kWindow / 2) flush_acks();
}

void Link::flush_acks() {
  if (unacked_.empty() || !has_room(0)) return;
  constexpr size_t kMost = kInlineBytes / sizeof(Ack);
  std::vector<Ack> acks;
  while (!unacked_.empty() && acks.size() < kMost) {
    RecvState* state = unacked_.back();
    unacked_.pop_back();
    // 0: they have left with a message since.
    if (state->unacked != 0) acks.push_back({state->key, state->unacked});
    state->unacked = 0;
    state->ack_due = false;
    forget_unused(state);
  }
  if (acks.empty()) return;
  Record record = record_of(RecordKind::kAck);
  record.payload_bytes = static_cast<uint32_t>(acks.size() * sizeof(Ack));
  const iovec part{acks.data(), record.payload_bytes};
  push(record, &part, 1);
}

uint64_t Link::progress() {
  MutexLock lock(mutex_);
  poll(nullptr);
  if (!unacked_.empty() && now_ns() - unacked_since_ns_ > kAckDelayNs) flush_acks();
  return moved_;
}

}  // namespace tutti
