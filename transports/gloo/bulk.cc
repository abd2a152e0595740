#include "transports/gloo/bulk.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace tutti {
namespace {

constexpr int kStampSlot = 0;
constexpr uint32_t kFirstRegion = 1;
constexpr uint32_t kRegions = 1u << 30;  // names before they start again; far more than can be open
// A stamp of its own tells that a connection stands.
constexpr uint32_t kHelloCell = 0;
constexpr uint64_t kHelloStamp = UINT64_MAX;

}  // namespace

Status Bulk::open(GlooPair* out, GlooPair* in) {
  constexpr size_t kBytes = kStampCells * sizeof(uint64_t);
  out_ = out;
  in_ = in;
  for (uint32_t i = kStampCells - 1; i > kHelloCell; --i) cells_.push_back(i);
  stamps_in_.reset(static_cast<std::byte*>(std::calloc(1, kBytes)));
  stamps_out_.reset(static_cast<std::byte*>(std::calloc(1, kBytes)));
  if (!stamps_in_ || !stamps_out_) return error(Code::kOutOfMemory, "no memory for stamps");
  return gloo_try(Code::kSystemError, [&] {
    stamps_in_buffer_ = in->createRecvBuffer(kStampSlot, stamps_in_.get(), kBytes);
    stamps_out_buffer_ = out->createSendBuffer(kStampSlot, stamps_out_.get(), kBytes);
  });
}

uint64_t Bulk::stamp(uint32_t cell) const {
  // A hint only, written by the kernel: no store of ours to pair with (see the top of ring.h).
  auto* at = reinterpret_cast<uint64_t*>(stamps_in_.get()) + cell;
  return std::atomic_ref<uint64_t>(*at).load(std::memory_order_acquire);
}

Result<bool> Bulk::stands() {
  if (!out_stands_) {
    const Status status = probe();
    if (status.code() == Code::kInProgress) return false;
    TUTTI_TRY(status);
    constexpr size_t kAt = kHelloCell * sizeof(uint64_t);
    std::memcpy(stamps_out_.get() + kAt, &kHelloStamp, sizeof(uint64_t));
    TUTTI_TRY(gloo_send([&] { stamps_out_buffer_->send(kAt, sizeof(uint64_t), kAt); }));
    out_stands_ = true;
  }
  return stamp(kHelloCell) == kHelloStamp;
}

void Bulk::close() {
  if (closed_) return;
  closed_ = true;
  (void)gloo_send([&] { out_->close(); });
  (void)gloo_send([&] { in_->close(); });
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
  out->region = kFirstRegion + next_region_;
  out->bytes = bytes;
  TUTTI_TRY(gloo_try(Code::kRemoteError, [&] {
    out->buffer = in_->createRecvBuffer(static_cast<int>(out->region), base, bytes);
  }));
  next_region_ = (next_region_ + 1) % kRegions;
  out->cell = cells_.back();
  cells_.pop_back();
  out->stamp = ++grants_;
  return Status();
}

bool Bulk::landed(const BulkRecv& message) const {
  if (stamp(message.cell) != message.stamp) return false;
  // These waits order our reads after Gloo's writes.
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
  message->stamp = 0;
}

Status Bulk::start(BulkSend* message, const Record& grant) {
  const auto at = size_t{grant.cell} * sizeof(uint64_t);
  std::memcpy(stamps_out_.get() + at, &grant.stamp_value, sizeof(uint64_t));
  return gloo_send([&] {
    message->buffer = out_->createSendBuffer(static_cast<int>(grant.region),
                                             const_cast<void*>(message->base), message->bytes);
    for (size_t from = 0; from < message->bytes; from += kPieceBytes) {
      message->buffer->send(from, std::min(kPieceBytes, message->bytes - from), from);
    }
    stamps_out_buffer_->send(at, sizeof(uint64_t), at);
  });
}

Status Bulk::probe() { return gloo_probe(stamps_out_buffer_.get()); }

}  // namespace tutti
