#include "bench/perf/problem.h"

#include <algorithm>
#include <cstring>

#include "bench/perf/expert_problem.h"
#include "bench/perf/values.h"

namespace perf {

namespace {

constexpr size_t kPeriod = 8191;  // a prime

// Calls visit(at, from, n) for stretches that cover [0, count): n elements at `at`, found at `from`
// in a tile of `period`, the first of them at index `first` of the sequence.
template <typename Visit>
void each_stretch(size_t count, size_t first, size_t period, Visit visit) {
  size_t at = 0;
  while (at < count) {
    const size_t from = (first + at) % period;
    const size_t n = std::min(count - at, period - from);
    visit(at, from, n);
    at += n;
  }
}

}  // namespace

std::vector<Piece> expected_pieces(const Case& c, int rank, int nranks, int root) {
  const auto self = static_cast<size_t>(rank);
  std::vector<Piece> pieces;
  switch (c.collective) {
    case Collective::kAllReduce:
      return {{0, c.count, Piece::kReduced, 0}};
    case Collective::kReduce:
      if (rank == root) pieces.push_back({0, c.count, Piece::kReduced, 0});
      return pieces;
    case Collective::kReduceScatter:
      return {{0, c.count, Piece::kReduced, self * c.count}};
    case Collective::kBroadcast:
      return {{0, c.count, root, 0}};
    case Collective::kScatter:
      return {{0, c.count, root, self * c.count}};
    case Collective::kSendRecv:
      return {{0, c.count, (rank - 1 + nranks) % nranks, 0}};
    case Collective::kBarrier:
    case Collective::kExpertDispatch:
    case Collective::kExpertCombine:
    case Collective::kExpertRoundTrip:
      return pieces;
    case Collective::kGather:
      if (rank != root) return pieces;
      [[fallthrough]];
    case Collective::kAllGather:
      for (int r = 0; r < nranks; ++r) {
        pieces.push_back({static_cast<size_t>(r) * c.count, c.count, r, 0});
      }
      return pieces;
    case Collective::kAllToAll:
      for (int r = 0; r < nranks; ++r) {
        pieces.push_back({static_cast<size_t>(r) * c.count, c.count, r, self * c.count});
      }
      return pieces;
    case Collective::kAllToAllV: {
      const Blocks mine = received_blocks(c, rank, nranks);
      for (int r = 0; r < nranks; ++r) {
        const auto peer = static_cast<size_t>(r);
        pieces.push_back(
            {mine.displs[peer], mine.counts[peer], r, sent_blocks(c, r, nranks).displs[self]});
      }
      return pieces;
    }
  }
  return pieces;
}

std::unique_ptr<Problem> make_problem(const Case& c, int rank, int nranks) {
  if (is_expert(c.collective)) return std::make_unique<ExpertProblem>(c, rank, nranks);
  return std::make_unique<BlockProblem>(c, rank, nranks);
}

BlockProblem::BlockProblem(const Case& c, int rank, int nranks)
    : case_(c),
      rank_(rank),
      nranks_(nranks),
      width_(tutti::size_of(c.dtype)),
      period_(std::clamp<size_t>(std::max(perf::send_count(c, nranks), perf::recv_count(c, nranks)),
                                 1, kPeriod)),
      inputs_(static_cast<size_t>(nranks)) {}

size_t BlockProblem::send_bytes() const { return send_count(case_, nranks_) * width_; }

size_t BlockProblem::recv_bytes() const { return recv_count(case_, nranks_) * width_; }

Buffers BlockProblem::place(void* send_memory, void* recv_memory, int root) const {
  if (!case_.in_place) return {send_memory, recv_memory};
  const auto block = [&](void* base, int index) -> void* {
    return static_cast<uint8_t*>(base) + static_cast<size_t>(index) * case_.count * width_;
  };
  switch (case_.collective) {
    case Collective::kAllGather:
      return {block(recv_memory, rank_), recv_memory};
    case Collective::kReduceScatter:
      return {send_memory, block(send_memory, rank_)};
    case Collective::kGather:
      if (rank_ != root) return {send_memory, recv_memory};
      return {block(recv_memory, root), recv_memory};
    case Collective::kScatter:
      if (rank_ != root) return {send_memory, recv_memory};
      return {send_memory, block(send_memory, root)};
    default:
      return {recv_memory, recv_memory};
  }
}

const std::vector<uint8_t>& BlockProblem::tile(int source, uint64_t salt) {
  Tile& tile = source == Piece::kReduced ? reduced_ : inputs_[static_cast<size_t>(source)];
  if (tile.source == source && tile.salt == salt) return tile.bytes;
  tile.bytes.resize(period_ * width_);
  for (size_t i = 0; i < period_; ++i) {
    uint8_t* const out = &tile.bytes[i * width_];
    if (source == Piece::kReduced) {
      write_reduced(case_, nranks_, i, salt, out);
    } else {
      write_input(case_, source, nranks_, i, salt, out);
    }
  }
  tile.source = source;
  tile.salt = salt;
  return tile.bytes;
}

void BlockProblem::fill(const Buffers& buffers, int root, uint64_t salt) {
  auto* const recv = static_cast<uint8_t*>(buffers.recv);
  auto* const send = static_cast<uint8_t*>(buffers.send);
  for (const Piece& piece : expected_pieces(case_, rank_, nranks_, root)) {
    std::memset(recv + piece.at * width_, salt % 2 == 0 ? 0xa5 : 0x5a, piece.count * width_);
  }
  const std::vector<uint8_t>& contents = tile(rank_, salt);
  each_stretch(send_count(case_, nranks_), 0, period_, [&](size_t at, size_t from, size_t n) {
    std::memcpy(send + at * width_, &contents[from * width_], n * width_);
  });
}

uint64_t BlockProblem::wrong(const void* result, int root, uint64_t salt) {
  const auto* const got = static_cast<const uint8_t*>(result);
  uint64_t wrong = 0;
  for (const Piece& piece : expected_pieces(case_, rank_, nranks_, root)) {
    const std::vector<uint8_t>& contents = tile(piece.source, salt);
    each_stretch(piece.count, piece.from, period_, [&](size_t at, size_t from, size_t n) {
      const uint8_t* const a = got + (piece.at + at) * width_;
      const uint8_t* const b = &contents[from * width_];
      if (std::memcmp(a, b, n * width_) == 0) return;
      for (size_t i = 0; i < n; ++i) {
        wrong += std::memcmp(a + i * width_, b + i * width_, width_) != 0 ? 1 : 0;
      }
    });
  }
  return wrong;
}

}  // namespace perf
