// RowExpressions: what rows hold, as expressions over the rows that ranks put in. Both sides of a
// verdict are made here: what a run computes, and what the caller promises (row_contract.h).
//
// An expression is a Value: `order` tells any two apart (a sum of sums from a flat one, operands
// that are swapped, a sum of one from that one), `sum` only which contributions with which weights
// there are, so that a sum in a wrong order is told from one of wrong rows. A weight of 1 is none.
// The words are kept only when recording. Not thread-safe.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "comm/schedule/step.h"
#include "comm/verify/value.h"

namespace tutti {

class RowExpressions {
 public:
  struct Term {
    Value value;
    float weight = 1;
  };

  void reset(bool record);
  void set_round(uint32_t round) { round_ = round; }  // that the rows put in belong to

  // Row `row` of a buffer that the call of `rank` brings: kInput, kInputSide, kBias0, kBias1.
  Value row(int rank, Buffer buffer, uint32_t row);
  Value zero();
  Value sum(std::span<const Term> terms);  // of none: zero
  Value sum(std::initializer_list<Term> terms) {
    return sum(std::span<const Term>(terms.begin(), terms.size()));
  }
  Value quantised(const Value& of);  // what RowKernel::kQuantise makes: the values,
  Value scales(const Value& of);     // and what they are multiplied with

  // "(rank 0's input[3] * 0.5 + rank 1's input[7])"; for values made since a reset(true).
  std::string text(const Value& value) const;

 private:
  enum class Kind : uint8_t { kRow, kZero, kSum, kQuantised, kScales };
  struct Node {
    Kind kind;
    Buffer buffer;
    uint32_t first_term, num_terms;  // in terms_
    uint32_t round, rank, row;
  };
  struct Link {
    uint32_t node;
    float weight;
  };
  Value derived(Kind kind, const Value& of);
  uint32_t keep(const Node& node);
  void write(uint32_t node, int depth, std::string* out) const;

  bool record_ = false;
  uint32_t round_ = 0;
  std::vector<Node> nodes_;
  std::vector<Link> terms_;
};

}  // namespace tutti
