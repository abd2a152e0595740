#include "comm/verify/row_expressions.h"

#include <bit>
#include <cstdio>

#include "comm/schedule/text.h"

namespace tutti {

namespace {

// A reader needs the beginning of a long expression.
constexpr size_t kMaxText = 400;
constexpr int kMaxDepth = 50;

// Hashes of the kinds start apart.
constexpr uint64_t kZeroSeed = 0x6f72657a;
constexpr uint64_t kSumSeed = 0x6d7573;
constexpr uint64_t kQuantisedSeed = 0x746e617571;
constexpr uint64_t kScalesSeed = 0x656c616373;

uint32_t bits_of(float weight) { return std::bit_cast<uint32_t>(weight); }

std::string weight_text(float weight) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(weight));
  return text;
}

}  // namespace

void RowExpressions::reset(bool record) {
  record_ = record;
  round_ = 0;
  nodes_.clear();
  terms_.clear();
}

uint32_t RowExpressions::keep(const Node& node) {
  if (!record_) return 0;
  nodes_.push_back(node);
  return static_cast<uint32_t>(nodes_.size() - 1);
}

Value RowExpressions::row(int rank, Buffer buffer, uint32_t row) {
  const auto number = static_cast<uint32_t>(rank);
  const uint64_t of_buffer = scramble(static_cast<uint64_t>(buffer));
  const uint64_t h = scramble(contribution(round_, number, row).order ^ of_buffer);
  return {h, h, keep({Kind::kRow, buffer, 0, 0, round_, number, row}), false};
}

Value RowExpressions::zero() {
  return {0, scramble(kZeroSeed), keep({Kind::kZero, Buffer::kInput, 0, 0, 0, 0, 0}), false};
}

Value RowExpressions::sum(std::span<const Term> terms) {
  if (terms.empty()) return zero();
  Value v;
  v.order = scramble(kSumSeed ^ (uint64_t{terms.size()} << 32));
  const auto first = static_cast<uint32_t>(terms_.size());
  for (const Term& t : terms) {
    const bool plain = bits_of(t.weight) == bits_of(1);
    const uint64_t weight = plain ? 0 : scramble(uint64_t{bits_of(t.weight)} + 1);
    v.sum += plain ? t.value.sum : scramble(t.value.sum ^ weight);
    v.order = scramble(v.order + scramble(t.value.order ^ weight));
    if (record_) terms_.push_back({t.value.expression, t.weight});
  }
  v.expression =
      keep({Kind::kSum, Buffer::kInput, first, static_cast<uint32_t>(terms.size()), 0, 0, 0});
  return v;
}

Value RowExpressions::derived(Kind kind, const Value& of) {
  const uint64_t seed = scramble(kind == Kind::kScales ? kScalesSeed : kQuantisedSeed);
  const auto first = static_cast<uint32_t>(terms_.size());
  if (record_) terms_.push_back({of.expression, 1});
  return {scramble(of.sum ^ seed), scramble(of.order ^ seed),
          keep({kind, Buffer::kInput, first, 1, 0, 0, 0}), false};
}

Value RowExpressions::quantised(const Value& of) { return derived(Kind::kQuantised, of); }
Value RowExpressions::scales(const Value& of) { return derived(Kind::kScales, of); }

std::string RowExpressions::text(const Value& value) const {
  std::string out;
  if (value.expression < nodes_.size()) write(value.expression, 0, &out);
  if (out.size() > kMaxText) {
    out.resize(kMaxText);
    out += "...";
  }
  return out;
}

// Every node writes something before those below it: that bounds how many are visited.
void RowExpressions::write(uint32_t node, int depth, std::string* out) const {
  const Node& n = nodes_[node];
  if (out->size() > kMaxText) return;
  switch (n.kind) {
    case Kind::kRow:
      *out += "rank " + std::to_string(n.rank) + "'s " + name_of(n.buffer) + "[" +
              std::to_string(n.row) + "]";
      if (n.round != round_) *out += " of round " + std::to_string(n.round + 1);
      return;
    case Kind::kZero:
      *out += "zero";
      return;
    case Kind::kSum:
      *out += "(";
      break;
    case Kind::kQuantised:
      *out += "quantised(";
      break;
    case Kind::kScales:
      *out += "scales(";
      break;
  }
  for (uint32_t i = 0; i < n.num_terms && depth < kMaxDepth && out->size() <= kMaxText; ++i) {
    const Link& link = terms_[n.first_term + i];
    if (i != 0) *out += " + ";
    write(link.node, depth + 1, out);
    if (bits_of(link.weight) != bits_of(1)) *out += " * " + weight_text(link.weight);
  }
  *out += depth < kMaxDepth ? ")" : "...)";
}

}  // namespace tutti
