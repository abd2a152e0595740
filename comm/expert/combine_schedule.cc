#include <algorithm>
#include <numeric>

#include "comm/expert/expert_schedule.h"
#include "comm/expert/partial_sums.h"
#include "comm/expert/slices.h"
#include "comm/expert/value_schedule.h"
#include "comm/schedule/row_builder.h"

namespace tutti {

namespace {

constexpr uint32_t kDepth = kCombineWindow + 1;  // slots of partial sums for each peer

// kScratch: for each other rank kDepth slots of partial sums that it is to take; this rank's own;
// and where messages land that cannot be shown, for each other rank.
class CombineBuilder {
 public:
  CombineBuilder(const Routed& routed, const CombineWork& work, Schedule* out)
      : routed_(routed),
        work_(work),
        b_(routed.nranks, routed.rank, out),
        sums_(routed, work, &b_),
        out_going_(routed.arrivals->source_rows, routed.arrivals->token, work.slice),
        in_coming_(routed.departures->rank_rows, routed.departures->token, work.slice) {}

  void build() {
    const uint32_t rounds = (routed_.shape->max_tokens + work_.slice - 1) / work_.slice;
    for (uint32_t round = 0; round < rounds + kCombineWindow; ++round) {
      if (round < rounds) send(round);
      if (round >= kCombineWindow) sum(round - kCombineWindow);
    }
    if (work_.values) build_values(routed_, true, &b_);
  }

 private:
  bool by_expert() const { return is_by_expert(routed_.shape->layout); }
  bool slot_order() const { return work_.reduce == ExpertReduce::kSlot; }
  // Rows travel as they are: all of them, or those that are the partial sum already.
  bool plain() const { return slot_order() || sums_.are_rows(); }

  std::span<const uint32_t> all_of(const Slices::Range& range) {
    list_.resize(range.size());
    std::iota(list_.begin(), list_.end(), range.begin);
    return list_;
  }

  uint32_t number_of(int peer) const {  // among the others
    return static_cast<uint32_t>(peer < routed_.rank ? peer : peer - 1);
  }
  uint32_t slot_of(int peer, uint32_t round) const {
    return (number_of(peer) * kDepth + round % kDepth) * work_.slice;
  }
  uint32_t own_slot() const {
    return static_cast<uint32_t>(routed_.nranks - 1) * kDepth * work_.slice;
  }
  uint32_t landing_of(int peer) const {
    const uint32_t rows = slot_order() ? work_.slice * routed_.shape->topk : work_.slice;
    return own_slot() + work_.slice + number_of(peer) * rows;
  }

  void send(uint32_t round) {
    for (int i = 1; i < routed_.nranks; ++i) {
      const int peer = send_peer(routed_.rank, i, routed_.nranks);
      const Slices::Range range = out_going_.next(peer, round);
      if (range.empty()) continue;
      if (plain()) {
        b_.send(peer, b_.list(Buffer::kInput, sums_.rows(all_of(range))));
      } else {
        sums_.add_up(all_of(range), slot_of(peer, round), peer);
      }
    }
  }

  // What is added up for the tokens of a slice, by rank.
  struct Share {
    int rank;
    Slices::Range range;  // of departures
    uint32_t input = 0;
    uint32_t next_row = 0;   // of departures
    uint32_t next_term = 0;  // row of the input
  };

  void sum(uint32_t round) {
    const uint32_t begin = round * work_.slice;
    const uint32_t end = std::min(begin + work_.slice, routed_.tokens);
    shares_.clear();
    for (int r = 0; r < routed_.nranks; ++r) {
      const Slices::Range range = in_coming_.next(r, round);
      if (!range.empty()) shares_.push_back({r, range, 0, range.begin, 0});
    }
    const Slices::Range own = out_going_.next(routed_.rank, round);
    if (begin >= end) return;
    if (!own.empty() && !plain()) sums_.add_up(all_of(own), own_slot(), kLocal);
    b_.begin(RowKernel::kSum, slot_order() && work_.weighted);
    for (uint32_t i = 0; i < work_.num_biases; ++i) {
      b_.bias(b_.run(i == 0 ? Buffer::kBias0 : Buffer::kBias1, begin, end - begin));
    }
    for (Share& share : shares_) add_input(share, own);
    b_.output(b_.run(Buffer::kOutput, begin, end - begin));
    for (uint32_t t = begin; t < end; ++t) {
      terms_.clear();
      if (slot_order()) {
        add_slots(t);
      } else {
        add_ranks(t);
      }
      b_.row(terms_);
    }
    b_.end();
  }

  void add_input(Share& share, const Slices::Range& own) {
    const Departures& d = *routed_.departures;
    const bool all_slots = slot_order() && by_expert();
    const uint32_t rows =
        all_slots ? d.first[share.range.end] - d.first[share.range.begin] : share.range.size();
    if (share.rank != routed_.rank) {
      share.input = b_.input(b_.run(Buffer::kScratch, landing_of(share.rank), rows), share.rank);
    } else if (plain()) {
      share.input = b_.input(b_.list(Buffer::kInput, sums_.rows(all_of(own))));
    } else {
      share.input = b_.input(b_.run(Buffer::kScratch, own_slot(), rows));
    }
  }

  // By ascending rank.
  void add_ranks(uint32_t token) {
    for (Share& share : shares_) {
      if (share.next_row == share.range.end || routed_.departures->token[share.next_row] != token) {
        continue;
      }
      ++share.next_row;
      terms_.push_back({share.input, share.next_term++, 1});
    }
  }

  // By ascending k; rows that serve several, once, at the smallest.
  void add_slots(uint32_t token) {
    const Departures& d = *routed_.departures;
    const uint32_t topk = routed_.shape->topk;
    by_k_.clear();
    for (Share& share : shares_) {
      if (share.next_row == share.range.end || d.token[share.next_row] != token) continue;
      const uint32_t m = share.next_row++;
      const uint32_t last = by_expert() ? d.first[m + 1] : d.first[m] + 1;
      for (uint32_t a = d.first[m]; a < last; ++a) {
        const float weight = work_.weighted ? routed_.weights[size_t{token} * topk + d.k[a]] : 1;
        by_k_.push_back({d.k[a], {share.input, share.next_term++, weight}});
      }
    }
    std::sort(by_k_.begin(), by_k_.end(), [](const ByK& a, const ByK& b) { return a.k < b.k; });
    for (const ByK& one : by_k_) terms_.push_back(one.term);
  }

  struct ByK {
    uint8_t k;
    RowTerm term;
  };
  const Routed& routed_;
  const CombineWork& work_;
  RowBuilder b_;
  PartialSums sums_;
  Slices out_going_;
  Slices in_coming_;
  std::vector<uint32_t> list_;
  std::vector<RowTerm> terms_;
  std::vector<Share> shares_;
  std::vector<ByK> by_k_;
};

}  // namespace

uint64_t combine_scratch_rows(int nranks, uint32_t slice, uint32_t slots) {
  const auto others = static_cast<uint64_t>(nranks - 1);
  return (others * kDepth + 1 + others * slots) * slice;
}

void build_combine(const Routed& routed, const CombineWork& work, Schedule* out) {
  if (work.reduce == ExpertReduce::kNode) return build_node_combine(routed, work, out);
  CombineBuilder(routed, work, out).build();
}

}  // namespace tutti
