// Bulk: how one link moves messages of more than kEagerBytes, memory to memory (record.h).
//
// The reader makes a Gloo buffer over where the message goes and grants it; the sender answers with
// the bytes, in pieces, and a stamp. From a grant until the stamp, or close(), Gloo may write the
// reader's memory; from start() until the reader has acknowledged, or close(), it may read the
// sender's. Nothing but close() takes memory back sooner, and it ends the connection.
//
// Threads: none of its own; the caller's lock (Link) guards it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "transports/gloo/library.h"
#include "transports/gloo/record.h"
#include "transports/gloo/ring.h"

namespace tutti {

// One message on its way in: granted, until released.
struct BulkRecv {
  uint64_t stamp = 0;  // 0: not granted
  uint32_t region = 0;
  uint32_t cell = 0;
  size_t bytes = 0;
  std::unique_ptr<std::byte[]> bounce;  // where the target is in several parts
  std::unique_ptr<GlooBuffer> buffer;
};

// One message on its way out.
struct BulkSend {
  uint64_t number = 0;  // in the channel
  const void* base = nullptr;
  size_t bytes = 0;
  std::unique_ptr<std::byte[]> packed;  // where the source is in several parts
  std::unique_ptr<GlooBuffer> buffer;   // since start()
};

class Bulk {
 public:
  Bulk() = default;
  Bulk(const Bulk&) = delete;
  Bulk& operator=(const Bulk&) = delete;

  // Before the pairs connect.
  Status open(GlooPair* out, GlooPair* in);
  // Whether both connections stand, seen from here. Fails when one will not.
  Result<bool> stands();
  // Ends the connections, which must stand at both ends: Gloo ends the process of a listener whose
  // peer has reset a connection before it was accepted. Gloo has left all memory when it returns.
  // Takes up to two ticks of its device thread (10 ms each).
  void close();
  void shut();  // after somebody else has closed the pairs
  // Keeps what Gloo may still name: of a message that may not have left, or may yet arrive.
  void bury(std::unique_ptr<GlooBuffer> buffer);

  bool can_grant() const { return !cells_.empty() && !closed_; }
  Status grant(void* base, size_t bytes, BulkRecv* out);
  // Whether all of it has landed.
  bool landed(const BulkRecv& message) const;
  void release(BulkRecv* message);
  Status start(BulkSend* message, const Record& grant);
  Status probe();  // as gloo_probe, of the pair for sending

 private:
  uint64_t stamp(uint32_t cell) const;

  GlooPair* out_ = nullptr;
  GlooPair* in_ = nullptr;
  ZeroedMemory stamps_in_;
  ZeroedMemory stamps_out_;
  std::unique_ptr<GlooBuffer> stamps_in_buffer_;
  std::unique_ptr<GlooBuffer> stamps_out_buffer_;
  std::vector<std::unique_ptr<GlooBuffer>> buried_;
  std::vector<uint32_t> cells_;  // free ones
  uint64_t grants_ = 0;
  uint32_t next_region_ = 0;
  bool out_stands_ = false;
  bool closed_ = false;
};

}  // namespace tutti
