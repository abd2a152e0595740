#include "comm/runtime/net_control.h"

#include <utility>

#include "comm/base/clock.h"

namespace tutti {
namespace {

constexpr int64_t kGraceNs = 2'000'000'000;
// A rank that had heard of a failure and went may be missed before the news of that come from the
// rank that tells everybody, on links that it has to make first.
constexpr int64_t kHearsayNs = 200'000'000;
// The answers of living peers take a few milliseconds; a stopped one never answers.
constexpr int64_t kAskNs = 1'500'000'000;

Membership with_board(Membership m) {
  m.board = std::make_shared<Board>(static_cast<int>(m.members.size()));
  m.board->set_present(m.rank);
  return m;
}

}  // namespace

NetControl::NetControl(ControlPlane& plane, Membership m)
    : plane_(plane), m_(with_board(std::move(m))), watched_(m_.members.size()) {
  plane_.join(m_);
}

NetControl::~NetControl() { plane_.leave(m_); }

void NetControl::fail(Code code, const std::string& text) {
  const Failure failure{m_.rank, code, text};
  if (board().fail(failure)) plane_.fail(m_, failure);
}

bool NetControl::left(int rank) const {
  if (rank < 0) return board().any_left();
  const int64_t at = board().left_at(rank);
  return at != 0 && now_ns() - at > kGraceNs;
}

// What a rank has said comes before the end of the link that it said it on; what others say of the
// failure that it went for does not.
bool NetControl::may_explain(int rank) const {
  const int64_t at = rank < 0 ? 0 : board().left_at(rank);
  return at == 0 || now_ns() - at < kHearsayNs;
}

void NetControl::watch(int rank) {
  if (rank < 0 || rank == m_.rank) return;
  if (watched_[static_cast<size_t>(rank)].exchange(true, std::memory_order_relaxed)) return;
  plane_.watch(m_, rank);
}

void NetControl::refresh() { plane_.ask_all(m_, Deadline::after_ns(kAskNs)); }

}  // namespace tutti
