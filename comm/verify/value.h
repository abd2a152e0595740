// Value: what a chunk holds, as two hashes: which contributions, and folded in which order.
//
// `sum` adds up one hash per contribution, so it tells any two collections of contributions apart
// (but for chance, 2^-64) and forgets the order. `order` hashes the whole expression; it is blind
// only to swapping the first two operands of a fold, which changes no bit of a result.
#pragma once

#include <cstdint>

namespace tutti {

struct Value {
  uint64_t sum = 0;
  uint64_t order = 0;
  uint32_t expression = 0;  // node in Expressions, when the run records
  bool final = false;
};

inline uint64_t scramble(uint64_t x) {  // splitmix64's finaliser (Steele, Lea, Flood 2014)
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// Chunk `chunk` of `rank`'s input in round `round`.
inline Value contribution(uint32_t round, uint32_t rank, uint32_t chunk) {
  const uint64_t h = scramble((uint64_t{round} << 56) ^ (uint64_t{rank} << 32) ^ chunk);
  return {h, h, 0, false};
}

// Folds operands left to right; the number of operands counts, for each fold rounds once.
class Folding {
 public:
  explicit Folding(uint32_t terms) : terms_(terms) {}
  void add(const Value& v) {
    value_.sum += v.sum;
    if (seen_ == 0) {
      value_.order = terms_ == 1 ? scramble(v.order ^ 1) : v.order;
    } else if (seen_ == 1) {
      value_.order = scramble(scramble(value_.order) + scramble(v.order) + terms_);
    } else {
      value_.order = scramble(value_.order * 3 + scramble(v.order));
    }
    ++seen_;
  }
  const Value& value() const { return value_; }

 private:
  uint32_t terms_;
  uint32_t seen_ = 0;
  Value value_;
};

}  // namespace tutti
