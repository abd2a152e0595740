#include "comm/net/handshake.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "comm/base/bytes.h"
#include "comm/base/check.h"

namespace tutti {
namespace {

constexpr char kFormat = 1;
constexpr std::string_view kMagic = "TUTI";
constexpr std::string_view kOpening("TUTI\1\0\0\0", 8);
constexpr size_t kKeyIdBytes = 8;
constexpr size_t kNonceBytes = 16;
constexpr size_t kClientOpeningBytes = 32;
constexpr size_t kServerOpeningBytes = 24;
constexpr size_t kProofBytes = 32;
constexpr size_t kLengthBytes = 2;

static_assert(kClientOpeningBytes == kOpening.size() + kKeyIdBytes + kNonceBytes);
static_assert(kServerOpeningBytes == kOpening.size() + kNonceBytes);
static_assert(kProofBytes == sizeof(Digest));

// No proof looks like this.
std::string refusal() { return std::string(kProofBytes, '\0'); }

template <typename Bytes>
std::string to_string(const Bytes& bytes) {
  return std::string(bytes.begin(), bytes.end());
}

Digest to_digest(std::string_view bytes) {
  Digest digest;
  std::copy_n(bytes.begin(), digest.size(), digest.begin());
  return digest;
}

Digest client_proof(const Secret& secret, const std::string& client_nonce,
                    const std::string& server_nonce, const std::string& hello) {
  return hmac(secret, "client" + client_nonce + server_nonce + hello);
}

Digest server_proof(const Secret& secret, const std::string& client_nonce,
                    const std::string& server_nonce) {
  return hmac(secret, "server" + client_nonce + server_nonce);
}

// Judges as few bytes as there are: who speaks something else is told apart at the first wrong one.
Status check_opening(std::string_view pending) {
  const size_t bytes = std::min(pending.size(), kOpening.size());
  if (pending.substr(0, bytes) == kOpening.substr(0, bytes)) return Status();
  const size_t magic = kMagic.size();
  if (bytes > magic && pending.substr(0, magic) == kMagic && pending[magic] != kFormat) {
    return error(Code::kInvalidArgument, "speaks format %d of the handshake, not %d",
                 static_cast<uint8_t>(pending[magic]), kFormat);
  }
  return error(Code::kInvalidArgument, "does not speak this protocol");
}

}  // namespace

std::string Handshake::take_outgoing() { return std::exchange(outgoing_, std::string()); }

std::string Handshake::take(size_t bytes) {
  if (pending_.size() < bytes) return std::string();
  std::string taken = pending_.substr(0, bytes);
  pending_.erase(0, bytes);
  return taken;
}

Status Handshake::feed(std::string_view bytes) {
  if (!failure_.ok()) return failure_;
  pending_.append(bytes);
  if (done_) return Status();
  failure_ = advance();
  if (!failure_.ok()) outgoing_ = std::exchange(verdict_, std::string());
  return failure_;
}

ClientHandshake::ClientHandshake(const Secret& secret, std::string_view hello, const Nonce& nonce)
    : secret_(secret), hello_(hello), nonce_(to_string(nonce)) {
  TUTTI_CHECK(hello.size() <= kMaxHelloBytes, "a hello that no server takes");
  outgoing_ += kOpening;
  outgoing_ += BytesWriter().number(key_id(secret)).bytes();
  outgoing_ += nonce_;
}

Status ClientHandshake::advance() {
  if (!proved_) {
    TUTTI_TRY(check_opening(pending_));
    const std::string opening = take(kServerOpeningBytes);
    if (opening.empty()) return Status();
    const std::string server_nonce = opening.substr(kOpening.size());
    expected_ = server_proof(secret_, nonce_, server_nonce);
    outgoing_ += to_string(client_proof(secret_, nonce_, server_nonce, hello_));
    outgoing_ += BytesWriter().number(static_cast<uint16_t>(hello_.size())).bytes();
    outgoing_ += hello_;
    proved_ = true;
  }
  const std::string proof = take(kProofBytes);
  if (proof.empty()) return Status();
  if (proof == refusal()) return error(Code::kAuthFailed, "does not accept the secret");
  if (!same(to_digest(proof), expected_)) {
    return error(Code::kAuthFailed, "does not know the secret");
  }
  done_ = true;
  return Status();
}

ServerHandshake::ServerHandshake(const KeyRing& keys, const ClientHandshake::Nonce& nonce)
    : keys_(keys), nonce_(to_string(nonce)) {}

Status ServerHandshake::advance() {
  if (step_ == Step::kOpening) {
    TUTTI_TRY(check_opening(pending_));
    const std::string opening = take(kClientOpeningBytes);
    if (opening.empty()) return Status();
    BytesReader fields(std::string_view(opening).substr(kOpening.size()));
    key_ = fields.number<uint64_t>();
    client_nonce_ = fields.raw(kNonceBytes);
    // An unknown key is answered like a known one: it is the proof that decides, and the client
    // learns from its refusal that the secret is wrong.
    outgoing_ += kOpening;
    outgoing_ += nonce_;
    step_ = Step::kProof;
  }
  if (step_ == Step::kProof) {
    const std::string proof = take(kProofBytes + kLengthBytes);
    if (proof.empty()) return Status();
    BytesReader fields(proof);
    proof_ = to_digest(fields.raw(kProofBytes));
    hello_bytes_ = fields.number<uint16_t>();
    if (hello_bytes_ > kMaxHelloBytes) {
      return error(Code::kInvalidArgument, "announces a hello of %zu bytes, the limit is %zu",
                   hello_bytes_, kMaxHelloBytes);
    }
    step_ = Step::kHello;
  }
  if (pending_.size() < hello_bytes_) return Status();
  return judge(take(hello_bytes_));
}

Status ServerHandshake::judge(std::string hello) {
  const std::optional<Secret> secret = keys_.find(key_);
  const Secret tried = secret.value_or(Secret{});  // as much work for an unknown key
  const bool proved = same(proof_, client_proof(tried, client_nonce_, nonce_, hello));
  if (!secret || !proved) {
    verdict_ = refusal();
    return error(Code::kAuthFailed, "does not know the secret");
  }
  outgoing_ += to_string(server_proof(*secret, client_nonce_, nonce_));
  hello_ = std::move(hello);
  done_ = true;
  return Status();
}

}  // namespace tutti
