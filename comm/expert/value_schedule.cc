#include "comm/expert/value_schedule.h"

#include <vector>

#include "comm/expert/slices.h"

namespace tutti {

namespace {

// Where the numbers of what this rank has at `peer` lie, by token.
void departing(const Routed& routed, int peer, std::vector<uint32_t>* out) {
  const Departures& d = *routed.departures;
  const auto p = static_cast<size_t>(peer);
  out->clear();
  for (uint32_t m = d.rank_rows[p]; m < d.rank_rows[p + 1]; ++m) {
    for (uint32_t a = d.first[m]; a < d.first[m + 1]; ++a) {
      out->push_back(d.token[m] * routed.shape->topk + d.k[a]);
    }
  }
}

// Where the numbers of what `peer` has here lie, by row.
void arriving(const Routed& routed, int peer, std::vector<uint32_t>* out) {
  const Arrivals& in = *routed.arrivals;
  const auto p = static_cast<size_t>(peer);
  out->clear();
  for (uint32_t m = in.source_rows[p]; m < in.source_rows[p + 1]; ++m) {
    for (uint32_t a = in.first[m]; a < in.first[m + 1]; ++a) {
      out->push_back(is_by_expert(routed.shape->layout)
                         ? routed.rows->row[a]
                         : routed.rows->row[m] * routed.shape->topk + in.k[a]);
    }
  }
}

// Of the [T, K] numbers of this rank those that did not travel.
void left_at_tokens(const Routed& routed, std::vector<uint32_t>* out) {
  const uint32_t all = routed.tokens * routed.shape->topk;
  std::vector<bool> travels(all);
  std::vector<uint32_t> some;
  for (int r = 0; r < routed.nranks; ++r) {
    departing(routed, r, &some);
    for (const uint32_t i : some) travels[i] = true;
  }
  out->clear();
  for (uint32_t i = 0; i < all; ++i) {
    if (!travels[i]) out->push_back(i);
  }
}

// Of the K numbers of a row those whose assignments are not local.
void left_at_rows(const Routed& routed, std::vector<uint32_t>* out) {
  out->clear();
  if (is_by_expert(routed.shape->layout)) return;
  const Arrivals& in = *routed.arrivals;
  const uint32_t topk = routed.shape->topk;
  for (uint32_t m = 0; m < in.rows; ++m) {
    uint32_t a = in.first[m];
    for (uint32_t k = 0; k < topk; ++k) {
      if (a < in.first[m + 1] && in.k[a] == k) {
        ++a;
      } else {
        out->push_back(routed.rows->row[m] * topk + k);
      }
    }
  }
}

void copy_in_order(RowBuilder& b, uint32_t input, size_t rows) {
  for (uint32_t i = 0; i < rows; ++i) b.row({{input, i, 1}});
}

}  // namespace

void build_values(const Routed& routed, bool back, RowBuilder* builder) {
  RowBuilder& b = *builder;
  std::vector<uint32_t> from;
  std::vector<uint32_t> to;
  uint32_t packed = 0;
  for (int i = 1; i < routed.nranks; ++i) {
    const int peer = send_peer(routed.rank, i, routed.nranks);
    (back ? arriving : departing)(routed, peer, &from);
    if (from.empty()) continue;
    const auto count = static_cast<uint32_t>(from.size());
    b.begin(RowKernel::kCopy);
    const uint32_t input = b.input(b.list(Buffer::kInputValue, from));
    b.output(b.run(Buffer::kScratchValue, packed, count), peer);
    copy_in_order(b, input, count);
    b.end();
    packed += count;
  }
  for (int i = 0; i < routed.nranks; ++i) {
    const int peer = recv_peer(routed.rank, i, routed.nranks);
    (back ? departing : arriving)(routed, peer, &to);
    if (to.empty()) continue;
    const auto count = static_cast<uint32_t>(to.size());
    b.begin(RowKernel::kCopy);
    uint32_t input;
    if (peer == routed.rank) {
      (back ? arriving : departing)(routed, peer, &from);
      input = b.input(b.list(Buffer::kInputValue, from));
    } else {
      // Where the transport cannot show it, it lands in one piece: its places may be many more than
      // a transport takes.
      input = b.input(b.run(Buffer::kScratchValue, packed, count), peer);
      packed += count;
    }
    b.output(b.list(Buffer::kOutputValue, to));
    copy_in_order(b, input, count);
    b.end();
  }
  (back ? left_at_tokens : left_at_rows)(routed, &to);
  if (to.empty()) return;
  b.begin(RowKernel::kCopy);
  b.output(b.list(Buffer::kOutputValue, to));
  for (size_t i = 0; i < to.size(); ++i) b.row(std::span<const RowTerm>());
  b.end();
}

}  // namespace tutti
