// Fuzz target: both sides of the handshake. Input: what to do, the size of the pieces, then bytes.
// They are either all that the other side says, and no side may be done without the secret; or they
// are laid over what an honest other side says, and nobody may be done unless nothing was changed.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "comm/base/check.h"
#include "comm/net/handshake.h"
#include "comm/net/secret.h"

namespace {

using tutti::ClientHandshake;
using tutti::Handshake;
using tutti::KeyRing;
using tutti::Secret;
using tutti::ServerHandshake;
using tutti::Status;

constexpr Secret kSecret = {0xd1, 0x5c, 0x0f, 0xfe, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
constexpr ClientHandshake::Nonce kClientNonce = {0xc1, 0xc2};
constexpr ClientHandshake::Nonce kServerNonce = {0x51, 0x52};
// Of victims that see no honest talk: libFuzzer picks up what passes through this program, honest
// proofs included, and would replay them.
constexpr ClientHandshake::Nonce kOtherNonce = {0x0f};
constexpr std::string_view kHello = "hello from rank 3";
constexpr size_t kMaxPiece = 100;

// Whether `side` was done at the end. A failure must last and end all it says, but for a refusal.
bool feed_all(Handshake* side, std::string_view bytes, size_t piece) {
  Status status;
  while (!bytes.empty()) {
    const std::string_view now = bytes.substr(0, piece);
    bytes.remove_prefix(now.size());
    const Status fed = side->feed(now);
    TUTTI_CHECK(status.ok() || fed.code() == status.code(), "a failure lasts");
    status = fed;
    if (!status.ok()) {
      TUTTI_CHECK(!side->done(), "not done with a failure");
      TUTTI_CHECK(!status.text().empty(), "a failure says why");
      const std::string last = side->take_outgoing();
      const bool refusal = fed.code() == tutti::Code::kAuthFailed && last == std::string(32, '\0');
      TUTTI_CHECK(last.empty() || refusal, "nothing more is said");
      TUTTI_CHECK(side->take_outgoing().empty(), "and that once");
    }
  }
  return side->done();
}

struct Honest {
  std::string client;
  std::string server;
};

Honest honest_talk(const KeyRing& keys) {
  ClientHandshake client(kSecret, kHello, kClientNonce);
  ServerHandshake server(keys, kServerNonce);
  Honest said;
  while (!client.done()) {
    const std::string forth = client.take_outgoing();
    TUTTI_CHECK(server.feed(forth).ok(), "an honest client");
    const std::string back = server.take_outgoing();
    TUTTI_CHECK(client.feed(back).ok(), "an honest server");
    said.client += forth;
    said.server += back;
  }
  return said;
}

std::string lay_over(std::string bytes, std::string_view mask) {
  for (size_t i = 0; i < bytes.size() && i < mask.size(); ++i) bytes[i] ^= mask[i];
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  KeyRing keys;
  keys.add(kSecret);
  const size_t piece = data[1] % kMaxPiece + 1;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 2), size - 2);
  const bool to_server = data[0] % 2 == 0;
  const bool alone = data[0] / 2 % 2 == 0;
  ClientHandshake client(kSecret, kHello, alone ? kOtherNonce : kClientNonce);
  ServerHandshake server(keys, alone ? kOtherNonce : kServerNonce);
  Handshake* const victim = to_server ? static_cast<Handshake*>(&server) : &client;
  if (alone) {
    if (!to_server) client.take_outgoing();
    TUTTI_CHECK(!feed_all(victim, bytes, piece), "done without the secret");
    return 0;
  }
  const Honest honest = honest_talk(keys);
  const std::string& original = to_server ? honest.client : honest.server;
  const std::string changed = lay_over(original, bytes);
  TUTTI_CHECK(feed_all(victim, changed, piece) == (changed == original),
              "done exactly when nothing was changed");
  if (to_server && server.done()) TUTTI_CHECK(server.hello() == kHello, "the hello");
  return 0;
}
