#include "comm/bootstrap/tcp_exchange.h"

#include <algorithm>
#include <optional>
#include <poll.h>

#include "comm/base/bytes.h"
#include "comm/bootstrap/rendezvous.h"

namespace tutti {
namespace {

// For one candidate of several, before the next one gets its turn.
constexpr int64_t kTurnNs = 1'000'000'000;
// Between two rounds over all candidates.
constexpr int kPauseMs = 10;
// For the answer who is missing, once the deadline has passed.
constexpr int64_t kAskNs = 1'000'000'000;

Status failure_of(const Frame& frame, int rank, int nranks) {
  BytesReader in(frame.payload);
  const auto code = in.number<uint32_t>();
  const std::string text(in.text());
  const bool known = code > 0 && code < static_cast<uint32_t>(kNumCodes);
  return error(known && in.ok() ? static_cast<Code>(code) : Code::kRemoteError, "rank %d of %d: %s",
               rank, nranks, text.c_str());
}

}  // namespace

Result<std::unique_ptr<TcpExchange>> TcpExchange::join(const std::vector<SocketAddress>& candidates,
                                                       const Secret& secret, int rank, int nranks,
                                                       const Patience& patience) {
  const std::string hello = BytesWriter()
                                .text("rendezvous")
                                .number(static_cast<uint32_t>(rank))
                                .number(static_cast<uint32_t>(nranks))
                                .take();
  std::optional<Status> refused;
  Status why;
  do {
    for (const SocketAddress& candidate : candidates) {
      Patience turn = patience;
      if (candidates.size() > 1 && patience.deadline.at_ns() - now_ns() > kTurnNs) {
        turn.deadline = Deadline::after_ns(kTurnNs);
      }
      Result<Connection> made = connect_to(candidate, secret, hello, turn);
      if (made.ok()) {
        return std::unique_ptr<TcpExchange>(new TcpExchange(std::move(made.value()), rank, nranks));
      }
      why = made.status();
      if (why.code() == Code::kAborted) return why;
      if (why.code() == Code::kAuthFailed) refused = why;
    }
    if (refused.has_value()) return *refused;
    // What failed at once may do so again: no reason to keep a core busy until the deadline.
    poll(nullptr, 0, kPauseMs);
  } while (!patience.deadline.expired(now_ns()));
  return error(why.code(), "rank %d of %d: joining the job: %s", rank, nranks, why.text().c_str());
}

// The text of a missed deadline.
Status TcpExchange::who_is_missing() {
  const Patience little{Deadline::after_ns(kAskNs), nullptr};
  std::vector<int> missing;
  Status asked = connection_.send(kMissing, "", little);
  while (asked.ok()) {
    Result<Frame> frame = connection_.receive(little);
    if (!frame.ok()) break;
    if (frame.value().type == kFailed) return failure_of(frame.value(), rank_, nranks_);
    if (frame.value().type != kMissing) continue;
    BytesReader in(frame.value().payload);
    while (!in.at_end() && in.ok()) missing.push_back(static_cast<int>(in.number<uint32_t>()));
    break;
  }
  if (missing.empty()) {
    return error(Code::kTimeout, "rank %d of %d: the rendezvous at %s did not answer in time",
                 rank_, nranks_, connection_.peer().text().c_str());
  }
  return error(Code::kTimeout, "rank %d of %d: %s did not join before the deadline", rank_, nranks_,
               name_ranks(missing).c_str());
}

Result<std::vector<std::string>> TcpExchange::all_gather(std::string_view mine,
                                                         const Patience& patience) {
  const std::string piece = BytesWriter().number(round_).raw(mine).take();
  TUTTI_TRY(connection_.send(kPiece, piece, patience));
  Result<Frame> frame = connection_.receive(patience);
  if (!frame.ok()) {
    if (frame.status().code() == Code::kTimeout) return who_is_missing();
    return error(frame.status().code(), "rank %d of %d: joining the job: %s", rank_, nranks_,
                 frame.status().text().c_str());
  }
  if (frame.value().type == kFailed) return failure_of(frame.value(), rank_, nranks_);
  BytesReader in(frame.value().payload);
  const auto round = in.number<uint32_t>();
  std::vector<std::string> all;
  for (int r = 0; r < nranks_ && in.ok(); ++r) all.emplace_back(in.text());
  if (frame.value().type != kAll || round != round_ || !in.at_end()) {
    return error(Code::kInternalError, "rank %d of %d: the rendezvous answered nonsense", rank_,
                 nranks_);
  }
  ++round_;
  return all;
}

}  // namespace tutti
