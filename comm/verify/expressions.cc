#include "comm/verify/expressions.h"

#include <algorithm>
#include <tuple>

namespace tutti {

namespace {
// Doubling a value at every step makes expressions of any length: a reader needs the beginning.
constexpr size_t kMaxLeaves = 4096;
constexpr size_t kMaxText = 400;
constexpr int kMaxDepth = 200;

void append_run(std::string* out, uint32_t first, uint32_t last) {
  if (!out->empty() && out->back() != '{') *out += ',';
  *out += std::to_string(first);
  if (last == first) return;
  *out += last == first + 1 ? "," : "..";
  *out += std::to_string(last);
}

// "{0,1,1,3..7}" for sorted numbers, repeats kept.
std::string number_set(const std::vector<uint32_t>& numbers) {
  std::string out = "{";
  for (size_t i = 0; i < numbers.size();) {
    size_t j = i;
    while (j + 1 < numbers.size() && numbers[j + 1] == numbers[j] + 1) ++j;
    append_run(&out, numbers[i], numbers[j]);
    i = j + 1;
    if (out.size() > kMaxText) return out + ",...}";
  }
  return out + "}";
}
}  // namespace

uint32_t Expressions::contribution(uint32_t round, uint32_t rank, uint32_t chunk) {
  nodes_.push_back({0, 0, round, rank, chunk});
  return static_cast<uint32_t>(nodes_.size() - 1);
}

uint32_t Expressions::fold(const std::vector<uint32_t>& terms) {
  const auto first = static_cast<uint32_t>(terms_.size());
  terms_.insert(terms_.end(), terms.begin(), terms.end());
  nodes_.push_back({first, static_cast<uint32_t>(terms.size()), 0, 0, 0});
  return static_cast<uint32_t>(nodes_.size() - 1);
}

void Expressions::collect(uint32_t node, std::vector<Node>* leaves) const {
  std::vector<uint32_t> open{node};
  while (!open.empty() && leaves->size() < kMaxLeaves) {
    const Node& n = nodes_[open.back()];
    open.pop_back();
    if (n.num_terms == 0) leaves->push_back(n);
    for (uint32_t i = 0; i < n.num_terms; ++i) open.push_back(terms_[n.first_term + i]);
  }
}

std::string Expressions::contents(uint32_t node, uint32_t round) const {
  std::vector<Node> leaves;
  collect(node, &leaves);
  std::sort(leaves.begin(), leaves.end(), [](const Node& a, const Node& b) {
    return std::tie(a.round, a.chunk, a.rank) < std::tie(b.round, b.chunk, b.rank);
  });
  std::string out;
  for (size_t i = 0; i < leaves.size();) {
    size_t j = i;
    std::vector<uint32_t> ranks;
    for (; j < leaves.size() && leaves[j].round == leaves[i].round &&
           leaves[j].chunk == leaves[i].chunk;
         ++j) {
      ranks.push_back(leaves[j].rank);
    }
    if (!out.empty()) out += " and ";
    const std::string of = "input[" + std::to_string(leaves[i].chunk) + "]";
    out += ranks.size() == 1 ? "rank " + std::to_string(ranks[0]) + "'s " + of
                             : "the sum over ranks " + number_set(ranks) + " of " + of;
    if (leaves[i].round != round) out += " of round " + std::to_string(leaves[i].round + 1);
    if (out.size() > kMaxText) return out + " ...";
    i = j;
  }
  if (leaves.size() >= kMaxLeaves) out += " ...";
  return out;
}

std::string Expressions::order(uint32_t node) const {
  std::string out;
  write_order(node, 0, &out);
  if (out.size() > kMaxText) {
    out.resize(kMaxText);
    out += "...";
  }
  return out;
}

void Expressions::write_order(uint32_t node, int depth, std::string* out) const {
  const Node& n = nodes_[node];
  if (out->size() > kMaxText) return;
  if (n.num_terms == 0) {
    *out += std::to_string(n.rank);
    return;
  }
  if (depth > kMaxDepth) {
    *out += "...";
    return;
  }
  *out += '(';
  for (uint32_t i = 0; i < n.num_terms; ++i) {
    if (i != 0) *out += " + ";
    write_order(terms_[n.first_term + i], depth + 1, out);
  }
  *out += ')';
}

std::string Expressions::sum_over_all(int nranks, uint32_t chunk) {
  std::vector<uint32_t> all(static_cast<size_t>(nranks));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint32_t>(i);
  return "the sum over ranks " + number_set(all) + " of input[" + std::to_string(chunk) + "]";
}

}  // namespace tutti
