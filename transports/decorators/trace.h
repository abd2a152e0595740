// TraceTransport: notes what happens on the channels of a transport in a ring of records, for
// looking at after something went wrong.
//
// Only what had an effect is noted (a poll that shows nothing is not), so a stuck channel does not
// flood the ring. The ring keeps the newest `capacity` records and allocates nothing after
// construction. Channels must not outlive their TraceTransport.
// Threads: as transport.h; records() and text() may be called at any time and leave out records
// that are being written.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "transports/transport.h"

namespace tutti {

enum class TraceCall : uint8_t {
  kOpenSend,
  kOpenRecv,
  kPostSend,  // bytes of the message; ordinal: its number
  kPlace,     // an address was given for message `ordinal`
  kPostPlaced,
  kSent,  // messages below `ordinal` are no longer borrowed
  kView,  // message `ordinal` was shown for the first time
  kRelease,
  kPostRecv,
  kReceived,  // message `ordinal` landed
  kOffer,
  kAbort,
};

// A lower-case name, e.g. "post_send". Static storage.
const char* name_of(TraceCall call);

struct TraceRecord {
  int64_t time_ns;  // monotonic
  ChannelKey key;
  TraceCall call;
  uint64_t ordinal;
  uint64_t bytes;
};

// The ring. Many threads may add at once; a record is lost when the ring comes round to one that is
// still being written.
class TraceRing {
 public:
  explicit TraceRing(size_t capacity);
  void add(const ChannelKey& key, TraceCall call, uint64_t ordinal, uint64_t bytes);
  std::vector<TraceRecord> records() const;  // oldest first

 private:
  // Words, because a reader may look while a writer overwrites: every access is atomic, and `stamp`
  // (number of the record + 1, 0 while it is written) tells whether the words belong together.
  struct Record {
    std::atomic<bool> busy{false};  // a writer that finds it set loses its record
    std::atomic<uint64_t> stamp{0};
    std::array<std::atomic<uint64_t>, 7> words{};
  };
  const size_t capacity_;
  const std::unique_ptr<Record[]> ring_;
  std::atomic<uint64_t> next_{0};
};

class TraceTransport final : public Transport {
 public:
  // `capacity`: records kept, at least 1.
  TraceTransport(std::unique_ptr<Transport> inner, size_t capacity);

  const char* name() const override { return inner_->name(); }
  const Capabilities& capabilities() const override { return inner_->capabilities(); }
  std::string address() const override { return inner_->address(); }
  Status connect(int peer, std::string_view address) override;
  Status settle() override { return inner_->settle(); }
  Result<std::unique_ptr<SendChannel>> open_send(const ChannelKey& key) override;
  Result<std::unique_ptr<RecvChannel>> open_recv(const ChannelKey& key) override;
  Result<std::unique_ptr<KernelGate>> open_gate(uint64_t comm) override {
    return inner_->open_gate(comm);
  }
  Result<void*> alloc(size_t bytes) override { return inner_->alloc(bytes); }
  void free(void* base) override { inner_->free(base); }
  Status register_memory(void* base, size_t bytes, bool remap, uint64_t* handle) override;
  Status deregister_memory(uint64_t handle) override;
  bool is_shared(const void* base, size_t bytes) const override {
    return inner_->is_shared(base, bytes);
  }
  void progress() override { inner_->progress(); }
  int wait_fd() const override { return inner_->wait_fd(); }
  void begin_wait() override { inner_->begin_wait(); }
  void end_wait() override { inner_->end_wait(); }
  void abort(uint64_t comm) override;
  std::string still_lent(uint64_t comm) const override { return inner_->still_lent(comm); }
  Status finalize() override { return inner_->finalize(); }

  std::vector<TraceRecord> records() const { return ring_.records(); }
  // One line per record, oldest first: microseconds since the oldest, channel, call, ordinal,
  // bytes.
  std::string text() const;

 private:
  const std::unique_ptr<Transport> inner_;
  TraceRing ring_;
};

}  // namespace tutti
