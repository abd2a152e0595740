// The job secret: what every connection proves to know before anything else on it is read.
//
// Values; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "comm/base/mutex.h"
#include "comm/base/status.h"

namespace tutti {

using Secret = std::array<uint8_t, 16>;
using Digest = std::array<uint8_t, 32>;

// Starts the crypto library. Its clean-up at the exit of the process comes after that of whatever
// is registered with atexit() later: threads that use it can be joined there.
void start_crypto();

// From the kernel. kSystemError when there is no randomness to be had.
Status random_bytes(void* out, size_t bytes);
Result<Secret> make_secret();
// 32 hexadecimal digits, either case; nothing else.
std::optional<Secret> parse_secret(std::string_view hex);
std::string print_secret(const Secret& secret);

// HMAC-SHA256 (RFC 2104) of `message` under `secret`.
Digest hmac(const Secret& secret, std::string_view message);
// Takes the same time wherever they differ.
bool same(const Digest& a, const Digest& b);
// Tells which secret a connection is about without telling anything about it: a tag of 8 bytes
// derived from it (hmac of a fixed text, cut).
uint64_t key_id(const Secret& secret);

// The secrets a listener accepts. Any thread.
class KeyRing {
 public:
  void add(const Secret& secret);  // counts: as many removes take it away
  void remove(const Secret& secret);
  std::optional<Secret> find(uint64_t key_id) const;

 private:
  struct Entry {
    Secret secret;
    int uses;
  };
  mutable Mutex mutex_;
  std::map<uint64_t, Entry> entries_ TUTTI_GUARDED_BY(mutex_);
};

}  // namespace tutti
