// Slices: walks the rows that one rank has with each other one, in order of tokens, slice by slice.
// A value.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tutti {

class Slices {
 public:
  // Rows [first[r], first[r + 1]) are of rank r, their tokens ascending.
  Slices(std::span<const uint32_t> first, std::span<const uint32_t> token, uint32_t slice)
      : first_(first), token_(token), slice_(slice), at_(first.begin(), first.end() - 1) {}

  struct Range {
    uint32_t begin, end;
    bool empty() const { return begin == end; }
    uint32_t size() const { return end - begin; }
  };
  // Rows of `rank` with tokens of slice `number`, which rises from call to call.
  Range next(int rank, uint32_t number) {
    const auto r = static_cast<size_t>(rank);
    const uint64_t limit = (uint64_t{number} + 1) * slice_;
    const uint32_t begin = at_[r];
    while (at_[r] < first_[r + 1] && token_[at_[r]] < limit) ++at_[r];
    return {begin, at_[r]};
  }

 private:
  std::span<const uint32_t> first_;
  std::span<const uint32_t> token_;
  uint32_t slice_;
  std::vector<uint32_t> at_;
};

// The other ranks in the order in which `rank` sends to them, and in which it takes from them:
// everybody begins with another one.
inline int send_peer(int rank, int i, int nranks) { return (rank + i) % nranks; }
inline int recv_peer(int rank, int i, int nranks) { return (rank + nranks - i) % nranks; }

}  // namespace tutti
