#include "tests/matrix/rank_run.h"

#include <algorithm>
#include <cstring>

#include "tests/support/test_data.h"

namespace tutti {

namespace {

constexpr int kBarriers = 50;
constexpr size_t kMostScribbled = 64 * 1024;
constexpr size_t kSurelyAPage = 2 * 4096;  // wherever it begins

Memory kind_of(Memory kind, uint64_t mixed) {
  return kind == Memory::kMixed ? static_cast<Memory>(mixed % 3) : kind;
}

}  // namespace

RankRun::RankRun(const Problem& problem, Variant variant, int rank, uint64_t salt, tuttiComm_t comm,
                 RankAreas* areas)
    : problem_(problem),
      case_(problem.common()),
      rank_(rank),
      data_(problem.rank(rank)),
      comm_(comm),
      areas_(*areas),
      element_(problem.element_bytes()),
      dtype_(static_cast<tuttiDataType_t>(problem.common().dtype)) {
  const uint64_t mine = salt + static_cast<uint64_t>(rank);
  in_place_ =
      variant.place == Placement::kIn || (variant.place == Placement::kMixed && mine % 2 == 0);
  send_kind_ = kind_of(variant.memory, mine);
  recv_kind_ = kind_of(variant.memory, mine + 1);
  remaps_ = variant.memory == Memory::kMixed && mine / 3 % 2 == 0;
}

std::string RankRun::run(const Entries& entries) {
  if (case_.call == Call::kBarrier) return run_barriers(entries);
  if (in_place_) {
    lay_out_in_place();
  } else {
    lay_out();
  }
  if (is_reduction(case_.call)) op_ = static_cast<tuttiRedOp_t>(case_.op);
  const bool premul = is_reduction(case_.call) && case_.op == ReduceOp::kPreMulSum;
  if (premul && tuttiRedOpCreatePreMulSum(&op_, data_.scalar, dtype_, comm_) != tuttiSuccess) {
    return failure("RedOpCreatePreMulSum");
  }
  tuttiWindow_t windows[2] = {};
  Area* areas[2] = {&areas_.send, &areas_.recv};
  const Memory kinds[2] = {send_kind_, recv_kind_};
  for (int i = in_place_ ? 1 : 0; i < 2; ++i) {
    const bool remap =
        remaps_ && kinds[i] == Memory::kPlain && areas[i]->base_bytes() >= kSurelyAPage;
    if (kinds[i] != Memory::kRegistered && !remap) continue;
    const int flags = remap ? TUTTI_WINDOW_REMAP : TUTTI_WINDOW_DEFAULT;
    if (tuttiCommWindowRegister(comm_, areas[i]->base(), areas[i]->base_bytes(), &windows[i],
                                flags) != tuttiSuccess) {
      return failure("CommWindowRegister");
    }
  }
  std::string wrong = call_and_check();
  for (tuttiWindow_t window : windows) {
    if (window == nullptr) continue;
    if (tuttiCommDeregister(comm_, window) != tuttiSuccess && wrong.empty()) {
      wrong = failure("CommDeregister");
    }
  }
  if (remaps_ && wrong.empty()) {
    wrong = areas_.recv.difference(recv_pieces_, element_);
    if (!wrong.empty()) wrong = "recvbuff, deregistered: " + wrong;
  }
  if (premul && tuttiRedOpDestroy(op_, comm_) != tuttiSuccess && wrong.empty()) {
    wrong = failure("RedOpDestroy");
  }
  return wrong;
}

std::string RankRun::failure(const char* what) {
  call_failed_ = true;
  return std::string(what) + " failed: " + tuttiGetLastError(nullptr);
}

void RankRun::lay_out() {
  const size_t output_bytes = extent_of(data_.blocks.output) * element_;
  areas_.send.reset(data_.input.size(), send_kind_, element_);
  areas_.recv.reset(output_bytes, recv_kind_, element_);
  std::memcpy(areas_.send.data(), data_.input.data(), data_.input.size());
  send_pieces_.push_back({0, data_.input.size(), data_.input.data(), -1});
  for (uint32_t b = 0; b < data_.blocks.output.num; ++b) {
    recv_pieces_.push_back({data_.blocks.output.start(b) * element_,
                            data_.blocks.output.count(b) * element_, problem_.expected(rank_, b),
                            static_cast<int>(b)});
  }
  // An empty buffer may be null: the kind decides, so that both forms are tried.
  const auto pointer = [](Area& area, Memory kind) {
    return area.size() == 0 && kind != Memory::kMisaligned ? nullptr : area.data();
  };
  send_ = pointer(areas_.send, send_kind_);
  recv_ = pointer(areas_.recv, recv_kind_);
}

void RankRun::lay_out_in_place() {
  const BlockList& in = data_.blocks.input;
  const BlockList& out = data_.blocks.output;
  const auto own = static_cast<uint32_t>(rank_);
  const bool has_both = !is_rooted(case_.call) || rank_ == case_.root;
  size_t send_at = 0;
  size_t recv_at = 0;
  if (has_both && out.num > in.num) send_at = out.start(own) * element_;
  if (has_both && in.num > out.num) recv_at = in.start(own) * element_;
  const size_t bytes = std::max(send_at + data_.input.size(), recv_at + extent_of(out) * element_);
  areas_.recv.reset(bytes, recv_kind_, element_);
  send_ = areas_.recv.data() + send_at;
  recv_ = areas_.recv.data() + recv_at;
  for (uint32_t b = 0; b < out.num; ++b) {
    recv_pieces_.push_back({recv_at + out.start(b) * element_, out.count(b) * element_,
                            problem_.expected(rank_, b), static_cast<int>(b)});
  }
  for (uint32_t b = 0; b < in.num; ++b) {
    const size_t start = in.start(b) * element_;
    const size_t length = in.count(b) * element_;
    if (length == 0) continue;
    std::memcpy(send_ + start, data_.input.data() + start, length);
    const auto replaced = [&](const Content& p) {
      return p.bytes > 0 && p.offset == send_at + start;
    };
    if (std::none_of(recv_pieces_.begin(), recv_pieces_.end(), replaced)) {
      recv_pieces_.push_back({send_at + start, length, data_.input.data() + start, -1});
    }
  }
}

std::string RankRun::call_and_check() {
  if (call() != tuttiSuccess) return failure(info(case_.call).name);
  if (wrong_source_) return "a receive from any rank named another source";
  // On return nobody may use the buffers any more: the input is spoilt before anything else.
  if (!in_place_) {
    std::string changed = areas_.send.difference(send_pieces_, element_);
    if (!changed.empty()) return "sendbuff: " + changed;
    const size_t spoilt = std::min(areas_.send.size(), kMostScribbled);
    std::memset(areas_.send.data() + areas_.send.size() - spoilt, 0xEE, spoilt);
  }
  const std::string wrong = areas_.recv.difference(recv_pieces_, element_);
  return wrong.empty() ? wrong : "recvbuff: " + wrong;
}

std::string RankRun::run_barriers(const Entries& entries) {
  std::string wrong;
  for (int i = 0; i < kBarriers; ++i) {
    // Some ranks come late: a barrier that does not wait for them shows.
    const uint64_t dice = mix_bits(static_cast<uint64_t>(i) * 16 + static_cast<uint64_t>(rank_));
    volatile int delay = dice % 4 == 0 ? 20000 : 0;
    while (delay > 0) delay = delay - 1;
    const uint64_t entry = entries.turn * kBarriers + static_cast<uint64_t>(i) + 1;
    // release and acquire: what a rank counted before its barrier, all ranks see after theirs
    entries.counters[rank_].store(entry, std::memory_order_release);
    if (tuttiBarrier(comm_, nullptr) != tuttiSuccess) return failure("barrier");
    for (int r = 0; r < case_.nranks && wrong.empty(); ++r) {
      if (entries.counters[r].load(std::memory_order_acquire) >= entry) continue;
      wrong = "left barrier " + std::to_string(i) + " before rank " + std::to_string(r) +
              " had entered it";
    }
  }
  return wrong;
}

}  // namespace tutti
