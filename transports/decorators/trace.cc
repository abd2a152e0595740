#include "transports/decorators/trace.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <iterator>
#include <utility>

#include "comm/base/clock.h"

namespace tutti {
namespace {

constexpr const char* kCallNames[] = {"open_send",   "open_recv", "post_send", "place",
                                      "post_placed", "sent",      "view",      "release",
                                      "post_recv",   "received",  "offer",     "abort"};
static_assert(std::size(kCallNames) == static_cast<size_t>(TraceCall::kAbort) + 1);

constexpr const char* kPlaneNames[] = {"collective", "point-to-point", "expert"};

class TraceSendChannel final : public SendChannel {
 public:
  TraceSendChannel(TraceRing* ring, std::unique_ptr<SendChannel> inner, const ChannelKey& key)
      : ring_(ring), inner_(std::move(inner)), key_(key) {}

  bool post_send(const OpHeader* header, const iovec* parts, int nparts) override {
    const uint64_t ordinal = inner_->posted();
    if (!inner_->post_send(header, parts, nparts)) return false;
    uint64_t bytes = 0;
    for (int i = 0; i < nparts; ++i) bytes += parts[i].iov_len;
    ring_->add(key_, TraceCall::kPostSend, ordinal, bytes);
    return true;
  }
  void* place(size_t bytes, uint64_t fingerprint) override {
    void* base = inner_->place(bytes, fingerprint);
    if (base != nullptr) ring_->add(key_, TraceCall::kPlace, inner_->posted(), bytes);
    return base;
  }
  bool post_placed(const OpHeader* header, size_t bytes) override {
    const uint64_t ordinal = inner_->posted();
    if (!inner_->post_placed(header, bytes)) return false;
    ring_->add(key_, TraceCall::kPostPlaced, ordinal, bytes);
    return true;
  }
  uint64_t posted() const override { return inner_->posted(); }
  uint64_t sent() override {
    const uint64_t sent = inner_->sent();
    if (sent != sent_) ring_->add(key_, TraceCall::kSent, sent, 0);
    return sent_ = sent;
  }
  uint64_t consumed() override { return inner_->consumed(); }
  Status health() const override { return inner_->health(); }
  void lend_all(bool on) override { inner_->lend_all(on); }
  uint64_t copied_bytes() const override { return inner_->copied_bytes(); }

 private:
  TraceRing* ring_;
  std::unique_ptr<SendChannel> inner_;
  const ChannelKey key_;
  uint64_t sent_ = 0;
};

class TraceRecvChannel final : public RecvChannel {
 public:
  TraceRecvChannel(TraceRing* ring, std::unique_ptr<RecvChannel> inner, const ChannelKey& key)
      : ring_(ring), inner_(std::move(inner)), key_(key) {}

  const Message* view() override {
    const Message* message = inner_->view();
    if (message != nullptr && !showing_) {
      showing_ = true;
      ring_->add(key_, TraceCall::kView, received_, message->bytes);
    }
    return message;
  }
  bool release() override {
    const bool valid = inner_->release();
    showing_ = false;
    ring_->add(key_, TraceCall::kRelease, received_++, 0);
    return valid;
  }
  bool has_message() override { return inner_->has_message(); }
  void post_recv(const iovec* parts, int nparts) override {
    inner_->post_recv(parts, nparts);
    uint64_t bytes = 0;
    for (int i = 0; i < nparts; ++i) bytes += parts[i].iov_len;
    posted_ = std::max(posted_, received_ + showing_);
    ring_->add(key_, TraceCall::kPostRecv, posted_++, bytes);
  }
  uint64_t received() override {
    const uint64_t received = inner_->received();
    if (received > received_) {
      ring_->add(key_, TraceCall::kReceived, received - 1, inner_->last().bytes);
    }
    return received_ = received;
  }
  const Message& last() const override { return inner_->last(); }
  Status fetch(size_t offset, void* to, size_t bytes) override {
    return inner_->fetch(offset, to, bytes);
  }
  void offer(uint64_t ordinal, void* base, size_t bytes, uint64_t fingerprint) override {
    inner_->offer(ordinal, base, bytes, fingerprint);
    ring_->add(key_, TraceCall::kOffer, ordinal, bytes);
  }
  Status health() const override { return inner_->health(); }

 private:
  TraceRing* ring_;
  std::unique_ptr<RecvChannel> inner_;
  const ChannelKey key_;
  uint64_t received_ = 0;
  uint64_t posted_ = 0;
  bool showing_ = false;
};

}  // namespace

const char* name_of(TraceCall call) { return kCallNames[static_cast<size_t>(call)]; }

TraceRing::TraceRing(size_t capacity)
    : capacity_(std::max<size_t>(capacity, 1)), ring_(std::make_unique<Record[]>(capacity_)) {}

void TraceRing::add(const ChannelKey& key, TraceCall call, uint64_t ordinal, uint64_t bytes) {
  const uint64_t number = next_.fetch_add(1, std::memory_order_relaxed);
  Record& record = ring_[number % capacity_];
  const uint64_t words[] = {
      static_cast<uint64_t>(now_ns()),
      key.comm,
      uint64_t{key.epoch} << 32 | static_cast<uint32_t>(key.peer),
      key.order,
      static_cast<uint64_t>(key.plane) << 8 | static_cast<uint64_t>(call),
      ordinal,
      bytes,
  };
  // Acquire and release order the writers of one record among themselves.
  if (record.busy.exchange(true, std::memory_order_acquire)) return;
  // A writer that slept for a whole lap must not overwrite what is newer.
  if (record.stamp.load(std::memory_order_relaxed) <= number) {
    record.stamp.store(0, std::memory_order_relaxed);
    // Release, so that whoever sees a new word sees stamp 0 or later; pairs with the acquire loads
    // of the words in records().
    for (size_t i = 0; i < std::size(words); ++i) {
      record.words[i].store(words[i], std::memory_order_release);
    }
    record.stamp.store(number + 1, std::memory_order_release);  // pairs with records()
  }
  record.busy.store(false, std::memory_order_release);
}

std::vector<TraceRecord> TraceRing::records() const {
  const uint64_t end = next_.load(std::memory_order_acquire);
  const uint64_t begin = end > capacity_ ? end - capacity_ : 0;
  std::vector<TraceRecord> records;
  for (uint64_t number = begin; number < end; ++number) {
    const Record& record = ring_[number % capacity_];
    if (record.stamp.load(std::memory_order_acquire) != number + 1) continue;
    uint64_t words[7];
    for (size_t i = 0; i < std::size(words); ++i) {
      words[i] = record.words[i].load(std::memory_order_acquire);
    }
    // Overwritten meanwhile: the words may be of two records.
    if (record.stamp.load(std::memory_order_relaxed) != number + 1) continue;
    TraceRecord out;
    out.time_ns = static_cast<int64_t>(words[0]);
    out.key.comm = words[1];
    out.key.epoch = static_cast<uint32_t>(words[2] >> 32);
    out.key.peer = static_cast<int>(static_cast<uint32_t>(words[2]));
    out.key.order = words[3];
    out.key.plane = static_cast<Plane>(words[4] >> 8);
    out.call = static_cast<TraceCall>(words[4] & 0xff);
    out.ordinal = words[5];
    out.bytes = words[6];
    records.push_back(out);
  }
  return records;
}

TraceTransport::TraceTransport(std::unique_ptr<Transport> inner, size_t capacity)
    : inner_(std::move(inner)), ring_(capacity) {}

Status TraceTransport::connect(int peer, std::string_view address) {
  return inner_->connect(peer, address);
}

Result<std::unique_ptr<SendChannel>> TraceTransport::open_send(const ChannelKey& key) {
  Result<std::unique_ptr<SendChannel>> inner = inner_->open_send(key);
  if (!inner.ok()) return inner;
  ring_.add(key, TraceCall::kOpenSend, 0, 0);
  std::unique_ptr<SendChannel> channel =
      std::make_unique<TraceSendChannel>(&ring_, std::move(inner.value()), key);
  return channel;
}

Result<std::unique_ptr<RecvChannel>> TraceTransport::open_recv(const ChannelKey& key) {
  Result<std::unique_ptr<RecvChannel>> inner = inner_->open_recv(key);
  if (!inner.ok()) return inner;
  ring_.add(key, TraceCall::kOpenRecv, 0, 0);
  std::unique_ptr<RecvChannel> channel =
      std::make_unique<TraceRecvChannel>(&ring_, std::move(inner.value()), key);
  return channel;
}

Status TraceTransport::register_memory(void* base, size_t bytes, bool remap, uint64_t* handle) {
  return inner_->register_memory(base, bytes, remap, handle);
}

Status TraceTransport::deregister_memory(uint64_t handle) {
  return inner_->deregister_memory(handle);
}

void TraceTransport::abort(uint64_t comm) {
  ChannelKey key = {};
  key.comm = comm;
  key.peer = -1;
  ring_.add(key, TraceCall::kAbort, 0, 0);
  inner_->abort(comm);
}

std::string TraceTransport::text() const {
  const std::vector<TraceRecord> all = ring_.records();
  std::string text;
  for (const TraceRecord& r : all) {
    char line[192];
    std::snprintf(line, sizeof(line),
                  "%12.3f us  comm %" PRIu64 ".%" PRIu32 " %s peer %d order %" PRIu64
                  "  %-11s #%" PRIu64 "  %" PRIu64 " B\n",
                  static_cast<double>(r.time_ns - all.front().time_ns) / 1000, r.key.comm,
                  r.key.epoch, kPlaneNames[static_cast<size_t>(r.key.plane)], r.key.peer,
                  r.key.order, name_of(r.call), r.ordinal, r.bytes);
    text += line;
  }
  return text;
}

}  // namespace tutti
