#include "transports/gloo/ring.h"

#include <atomic>
#include <cstring>

#include "comm/base/check.h"

namespace tutti {
namespace {

constexpr int kRingSlot = 0;  // Gloo's name for a buffer, equal at both ends
constexpr int kProbeSlot = 1;
constexpr int kArenaSlot = 2;

// calloc: pages that no record has touched cost nothing.
ZeroedMemory zeroed(size_t bytes) {
  return ZeroedMemory(static_cast<std::byte*>(std::calloc(1, bytes)));
}

}  // namespace

Status Ring::open(GlooPair* out, GlooPair* in) {
  constexpr size_t kBytes = kRingSlots * kSlotBytes;
  inbox_ = zeroed(kBytes);
  outbox_ = zeroed(kBytes);
  arena_in_ = zeroed(kArenaBytes);
  arena_out_ = zeroed(kArenaBytes);
  if (!inbox_ || !outbox_ || !arena_in_ || !arena_out_)
    return error(Code::kOutOfMemory, "no memory for a ring");
  return gloo_try(Code::kSystemError, [&] {
    inbox_buffer_ = in->createRecvBuffer(kRingSlot, inbox_.get(), kBytes);
    outbox_buffer_ = out->createSendBuffer(kRingSlot, outbox_.get(), kBytes);
    arena_in_buffer_ = in->createRecvBuffer(kArenaSlot, arena_in_.get(), kArenaBytes);
    arena_out_buffer_ = out->createSendBuffer(kArenaSlot, arena_out_.get(), kArenaBytes);
    probe_in_ = in->createRecvBuffer(kProbeSlot, &probe_word_, sizeof(probe_word_));
    probe_out_ = out->createSendBuffer(kProbeSlot, &probe_word_, sizeof(probe_word_));
  });
}

void Ring::shut() {
  inbox_buffer_.reset();
  outbox_buffer_.reset();
  arena_in_buffer_.reset();
  arena_out_buffer_.reset();
  probe_in_.reset();
  probe_out_.reset();
}

// Where a payload would go: it stays in one piece.
uint64_t Ring::arena_start(size_t payload_bytes) const {
  const uint64_t left = kArenaBytes - arena_head_ % kArenaBytes;
  return left < payload_bytes ? arena_head_ + left : arena_head_;
}

bool Ring::fits(size_t payload_bytes, uint64_t slots) const {
  if (kRingSlots - (pushed_ - peer_taken_) <= slots) return false;
  if (payload_bytes <= kInlineBytes) return true;
  return arena_start(payload_bytes) + payload_bytes - arena_tail_ <= kArenaBytes;
}

Status Ring::push(Record record, const iovec* parts, int nparts) {
  TUTTI_CHECK(fits(record.payload_bytes, 0), "a record is pushed into a full ring");
  const bool arena = record.payload_bytes > kInlineBytes;
  std::byte* end = end_of_slot(outbox_.get(), pushed_);
  std::byte* payload = end - sizeof(Record) - record.payload_bytes;
  uint64_t arena_end = 0;
  if (arena) {
    const uint64_t start = arena_start(record.payload_bytes);
    record.arena_at = static_cast<uint32_t>(start % kArenaBytes);
    payload = arena_out_.get() + record.arena_at;
    arena_end = start + record.payload_bytes;
  }
  record.taken = taken_;
  record.stamp = pushed_ + 1;
  for (int i = 0; i < nparts; ++i) {
    if (parts[i].iov_len == 0) continue;
    std::memcpy(payload, parts[i].iov_base, parts[i].iov_len);
    payload += parts[i].iov_len;
  }
  std::memcpy(end - sizeof(Record), &record, sizeof(Record));
  const size_t bytes = sizeof(Record) + (arena ? 0 : record.payload_bytes);
  const auto at = static_cast<size_t>(end - outbox_.get()) - bytes;
  TUTTI_TRY(gloo_send([&] {
    if (arena) arena_out_buffer_->send(record.arena_at, record.payload_bytes, record.arena_at);
    outbox_buffer_->send(at, bytes, at);
  }));
  arena_ends_[pushed_ % kRingSlots] = arena_end;
  if (arena) arena_head_ = arena_end;
  ++pushed_;
  told_ = taken_;
  arena_untold_ = 0;
  return Status();
}

const Record* Ring::front() {
  std::byte* end = end_of_slot(inbox_.get(), taken_);
  const auto* record = reinterpret_cast<const Record*>(end - sizeof(Record));
  if (front_whole_) return record;
  auto* stamp = reinterpret_cast<uint64_t*>(end - sizeof(uint64_t));
  // A hint only, written by the kernel: no store of ours to pair with (see the top of ring.h).
  if (std::atomic_ref<uint64_t>(*stamp).load(std::memory_order_acquire) != taken_ + 1) {
    return nullptr;
  }
  // A failure means that the pair has failed since; its device thread, which reads records in
  // order, has then left this memory for good, and what has a stamp is whole.
  (void)gloo_try(Code::kRemoteError, [&] {
    inbox_buffer_->waitRecv();
    if (record->payload_bytes > kInlineBytes) arena_in_buffer_->waitRecv();
  });
  front_whole_ = true;
  return record;
}

const std::byte* Ring::payload(const Record& front) const {
  if (front.payload_bytes > kInlineBytes) return arena_in_.get() + front.arena_at;
  return end_of_slot(inbox_.get(), taken_) - sizeof(Record) - front.payload_bytes;
}

bool Ring::is_sane(const Record& record) {
  if (record.payload_bytes <= kInlineBytes) return true;
  return record.payload_bytes <= kEagerBytes &&
         uint64_t{record.arena_at} + record.payload_bytes <= kArenaBytes;
}

void Ring::pop() {
  Record record;
  std::memcpy(&record, end_of_slot(inbox_.get(), taken_) - sizeof(Record), sizeof(Record));
  if (record.payload_bytes > kInlineBytes) arena_untold_ += record.payload_bytes;
  ++taken_;
  front_whole_ = false;
}

bool Ring::note_taken(uint64_t taken) {
  if (taken < peer_taken_ || taken > pushed_) return false;
  for (; peer_taken_ < taken; ++peer_taken_) {
    const uint64_t arena_end = arena_ends_[peer_taken_ % kRingSlots];
    if (arena_end != 0) arena_tail_ = arena_end;
    // Taken there, so sent here: these waits are for the device thread's next few instructions.
    (void)gloo_try(Code::kRemoteError, [&] {
      outbox_buffer_->waitSend();
      if (arena_end != 0) arena_out_buffer_->waitSend();
    });
  }
  return true;
}

Status Ring::probe() { return gloo_probe(probe_out_.get()); }

}  // namespace tutti
