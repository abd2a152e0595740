#include "comm/net/secret.h"

#include <cerrno>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

#include "comm/base/check.h"

namespace tutti {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";
constexpr std::string_view kKeyIdText = "tutti key id";

// -1 for what is no hexadecimal digit.
int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

void start_crypto() { OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CRYPTO_STRINGS, nullptr); }

Status random_bytes(void* out, size_t bytes) {
  auto* next = static_cast<uint8_t*>(out);
  while (bytes > 0) {
    const ssize_t got = getrandom(next, bytes, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return error(Code::kSystemError, "no random bytes from the kernel: %m");
    next += got;
    bytes -= static_cast<size_t>(got);
  }
  return Status();
}

Result<Secret> make_secret() {
  Secret secret;
  TUTTI_TRY(random_bytes(secret.data(), secret.size()));
  return secret;
}

std::optional<Secret> parse_secret(std::string_view hex) {
  Secret secret;
  if (hex.size() != 2 * secret.size()) return std::nullopt;
  for (size_t i = 0; i < secret.size(); ++i) {
    const int high = digit_value(hex[2 * i]);
    const int low = digit_value(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    secret[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return secret;
}

std::string print_secret(const Secret& secret) {
  std::string hex;
  for (const uint8_t byte : secret) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

Digest hmac(const Secret& secret, std::string_view message) {
  Digest digest;
  unsigned int bytes = 0;
  const unsigned char* const done =
      HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
           reinterpret_cast<const unsigned char*>(message.data()), message.size(), digest.data(),
           &bytes);
  TUTTI_CHECK(done != nullptr && bytes == digest.size(), "OpenSSL computes HMAC-SHA256");
  return digest;
}

bool same(const Digest& a, const Digest& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

uint64_t key_id(const Secret& secret) {
  const Digest digest = hmac(secret, kKeyIdText);
  uint64_t id = 0;
  for (size_t i = 0; i < sizeof(id); ++i) id |= uint64_t{digest[i]} << (8 * i);
  return id;
}

void KeyRing::add(const Secret& secret) {
  const uint64_t id = key_id(secret);
  const MutexLock lock(mutex_);
  ++entries_.try_emplace(id, Entry{secret, 0}).first->second.uses;
}

void KeyRing::remove(const Secret& secret) {
  const uint64_t id = key_id(secret);
  const MutexLock lock(mutex_);
  const auto entry = entries_.find(id);
  if (entry != entries_.end() && --entry->second.uses == 0) entries_.erase(entry);
}

std::optional<Secret> KeyRing::find(uint64_t key_id) const {
  const MutexLock lock(mutex_);
  const auto entry = entries_.find(key_id);
  if (entry == entries_.end()) return std::nullopt;
  return entry->second.secret;
}

}  // namespace tutti
