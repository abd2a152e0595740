#include "transports/gloo/link.h"

#include <algorithm>
#include <cstring>

#include "comm/base/clock.h"

namespace tutti {
namespace {

// Acknowledgements that nothing carries along leave this late: soon enough for a sender that has
// run out of room, late enough that they mostly ride with the next message.
constexpr int64_t kAckDelayNs = 300'000;

Record record_of(RecordKind kind) {
  Record record{};
  record.kind = kind;
  return record;
}

}  // namespace

Status Link::open_pairs(GlooPair* ring_pair, GlooPair* bulk_pair) {
  MutexLock lock(mutex_);
  pairs_[kRingPair] = ring_pair;
  pairs_[kBulkPair] = bulk_pair;
  TUTTI_TRY(ring_.open(ring_pair));
  TUTTI_TRY(bulk_.open(bulk_pair, number_ < peer_));
  return gloo_try(Code::kSystemError, [&] {
    for (size_t k = 0; k < own_.size(); ++k) own_[k] = pairs_[k]->address().bytes();
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
  return connects(own_[kRingPair], peer[kRingPair]) || connects(own_[kBulkPair], peer[kBulkPair]);
}

void Link::run_connects() {
  PairAddresses peer;
  {
    MutexLock lock(mutex_);
    peer = peer_address_;
  }
  for (int k : {kRingPair, kBulkPair}) {
    const auto i = static_cast<size_t>(k);
    if (!connects(own_[i], peer[i])) continue;
    const Status status = gloo_send([&] { pairs_[k]->connect(peer[i]); });
    MutexLock lock(mutex_);
    if (shut_) return;
    connected(k, status);
  }
}

void Link::connected(int pair, const Status& status) {
  if (!status.ok()) {
    fail(status);
  } else if (pair == kRingPair) {
    ring_up_ = true;
    say_hello();
  } else {
    push_control(record_of(RecordKind::kBulkUp));
  }
}

// Used only when both ends know that it stands: Gloo ends the process of a listener whose peer has
// closed the connection before it was accepted.
void Link::bulk_is_up() {
  bulk_up_ = true;
  std::deque<Record> grants;
  grants.swap(early_grants_);
  for (const Record& grant : grants) take_grant(grant);
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

// The side that has connected says so first, the side that was listening answers.
void Link::take_bulk_up() {
  const std::vector<char>& peer = peer_address_[kBulkPair];
  if (!connects(own_[kBulkPair], peer)) {
    // Connected as far as the kernel is concerned: this waits for the device thread to notice.
    const Status status = gloo_send([&] { pairs_[kBulkPair]->connect(peer); });
    if (!status.ok()) return fail(status);
    push_control(record_of(RecordKind::kBulkUp));
  }
  bulk_is_up();
}

// False for what no peer of this build sends.
bool Link::take(const Record& record, RecvState* asking) {
  if (record.acked != 0) acknowledge(record.key, record.acked);
  switch (record.kind) {
    case RecordKind::kHello:
      // The side that listens learns from this that it has been connected to.
      if (!ring_up_) {
        ring_up_ = true;
        say_hello();
      }
      return true;
    case RecordKind::kBulkUp:
      take_bulk_up();
      return true;
    case RecordKind::kEager:
    case RecordKind::kBulk:
      return take_message(record, asking);
    case RecordKind::kGrant:
      if (record.cell >= kStampCells) return false;
      take_grant(record);
      return true;
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
  while (!state.bulks.empty() && state.bulks.front().message < state.acked) {
    tickets_.erase(state.bulks.front().ticket);
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
