// Expressions: what every chunk holds written out, kept only when a run that found something wrong
// is repeated to explain it. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tutti {

class Expressions {
 public:
  uint32_t contribution(uint32_t round, uint32_t rank, uint32_t chunk);
  uint32_t fold(const std::vector<uint32_t>& terms);

  // "the sum over ranks {0,1,1,3} of input[2]", "rank 3's input[2]"; `round` is the one expected,
  // others are named.
  std::string contents(uint32_t node, uint32_t round) const;
  // "((0 + 1) + 2)": ranks in the order of the folds.
  std::string order(uint32_t node) const;

  static std::string sum_over_all(int nranks, uint32_t chunk);

 private:
  struct Node {
    uint32_t first_term, num_terms;  // num_terms 0: a contribution
    uint32_t round, rank, chunk;
  };
  void collect(uint32_t node, std::vector<Node>* leaves) const;
  void write_order(uint32_t node, int depth, std::string* out) const;

  std::vector<Node> nodes_;
  std::vector<uint32_t> terms_;
};

}  // namespace tutti
