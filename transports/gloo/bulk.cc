#include "transports/gloo/bulk.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace tutti {
namespace {

constexpr int kStampSlot = 0;
constexpr uint32_t kFirstRegion = 2;
constexpr uint32_t kRegions = 1u << 30;  // names before they start again; far more than can be open

}  // namespace

Status Bulk::open(GlooPair* pair, bool lower) {
  constexpr size_t kBytes = kStampCells * sizeof(uint64_t);
  pair_ = pair;
  first_region_ = kFirstRegion + (lower ? 0 : 1);
  for (uint32_t i = 0; i < kStampCells; ++i) cells_.push_back(kStampCells - 1 - i);
  stamps_in_.reset(static_cast<std::byte*>(std::calloc(1, kBytes)));
  stamps_out_.reset(static_cast<std::byte*>(std::calloc(1, kBytes)));
  if (!stamps_in_ || !stamps_out_) return error(Code::kOutOfMemory, "no memory for stamps");
  return gloo_try(Code::kSystemError, [&] {
    stamps_in_buffer_ = pair->createRecvBuffer(kStampSlot, stamps_in_.get(), kBytes);
    stamps_out_buffer_ = pair->createSendBuffer(kStampSlot, stamps_out_.get(), kBytes);
  });
}

void Bulk::close() {
  if (closed_) return;
  closed_ = true;
  (void)gloo_send([&] { pair_->close(); });
}

void Bulk::shut() {
  closed_ = true;
  stamps_in_buffer_.reset();
  stamps_out_buffer_.reset();
  buried_.clear();
}

void Bulk::bury(std::unique_ptr<GlooBuffer> buffer) {
  if (buffer) buried_.push_back(std::move(buffer));
}

Status Bulk::grant(void* base, size_t bytes, BulkRecv* out) {
  out->region = first_region_ + 2 * next_region_;
  out->bytes = bytes;
  TUTTI_TRY(gloo_try(Code::kRemoteError, [&] {
    out->buffer = pair_->createRecvBuffer(static_cast<int>(out->region), base, bytes);
  }));
  next_region_ = (next_region_ + 1) % (kRegions / 2);
  out->cell = cells_.back();
  cells_.pop_back();
  out->number = ++grants_;
  return Status();
}

bool Bulk::landed(const BulkRecv& message) const {
  auto* cell = reinterpret_cast<uint64_t*>(stamps_in_.get()) + message.cell;
  // A hint only, as in Ring::front: the waits below order our reads after Gloo's writes.
  if (std::atomic_ref<uint64_t>(*cell).load(std::memory_order_acquire) != message.number) {
    return false;
  }
  if (!message.buffer) return true;
  for (size_t at = 0; at < message.bytes; at += kPieceBytes) {
    // Fails when the pair has failed since; the stamp came behind the last piece all the same.
    if (!gloo_try(Code::kRemoteError, [&] { message.buffer->waitRecv(); }).ok()) break;
  }
  return true;
}

void Bulk::release(BulkRecv* message) {
  message->buffer.reset();
  message->bounce.reset();
  cells_.push_back(message->cell);
  message->number = 0;
}

Status Bulk::start(BulkSend* message, const Record& grant) {
  const auto at = size_t{grant.cell} * sizeof(uint64_t);
  std::memcpy(stamps_out_.get() + at, &grant.number, sizeof(uint64_t));
  return gloo_send([&] {
    message->buffer = pair_->createSendBuffer(static_cast<int>(grant.region),
                                              const_cast<void*>(message->base), message->bytes);
    for (size_t from = 0; from < message->bytes; from += kPieceBytes) {
      message->buffer->send(from, std::min(kPieceBytes, message->bytes - from), from);
    }
    stamps_out_buffer_->send(at, sizeof(uint64_t), at);
  });
}

Status Bulk::probe() {
  if (closed_) return Status();
  return gloo_send([&] { stamps_out_buffer_->send(0, 0, 0); });
}

}  // namespace tutti
