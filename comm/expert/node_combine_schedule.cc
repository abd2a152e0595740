// Combine with a sum of each node: what the entry of a token gets from its mates it adds up, and
// sends one row to the rank of the token, which adds up the nodes.
//
//   round j   for each rank of other nodes, in the same order on all ranks of the node:
//               give     a partial sum of slice j of its tokens to each mate that is their entry
//               gather   one step later: what mates have given, and this rank's own, to that rank
//             the same for the tokens of the node itself, whose entry is the token's rank
//   j + 3     finish     the sums of slice j over nodes
//
// A rank waits only for what others do no later than itself, counted in such steps: nobody waits in
// a circle, and what is under way is bounded, whatever the routing.
#include <algorithm>
#include <array>
#include <numeric>

#include "comm/expert/expert_schedule.h"
#include "comm/expert/partial_sums.h"
#include "comm/expert/slices.h"
#include "comm/expert/value_schedule.h"
#include "comm/schedule/row_builder.h"

namespace tutti {

namespace {

constexpr uint32_t kAhead = 1;                   // steps between give and gather
constexpr uint32_t kGiven = kAhead + 1;          // slots of sums for each mate
constexpr uint32_t kDepth = kCombineWindow + 1;  // slots of sums for each rank of a token

// kScratch, in slots of a slice: sums given to each other mate (kGiven); this rank's own; where
// those of other mates land; sums of the node for each rank of other nodes, and for this one
// (kDepth); where those of other nodes land.
class NodeCombineBuilder {
 public:
  NodeCombineBuilder(const Routed& routed, const CombineWork& work, Schedule* out)
      : routed_(routed),
        work_(work),
        b_(routed.nranks, routed.rank, out),
        sums_(routed, work, &b_),
        out_going_(routed.arrivals->source_rows, routed.arrivals->token, work.slice),
        in_coming_(routed.departures->rank_rows, routed.departures->token, work.slice),
        first_mate_(routed.rank / routed.ranks_per_node * routed.ranks_per_node),
        num_mates_(std::min(routed.ranks_per_node, routed.nranks - first_mate_)),
        num_far_(routed.nranks - num_mates_) {}

  void build() {
    const uint32_t rounds = (routed_.shape->max_tokens + work_.slice - 1) / work_.slice;
    const int items = num_far_ + 1;
    for (uint32_t round = 0; round < rounds + kCombineWindow; ++round) {
      for (int i = 0; round < rounds && i < items + static_cast<int>(kAhead); ++i) {
        if (i < items) give(round, i);
        if (i >= static_cast<int>(kAhead)) gather(round, i - static_cast<int>(kAhead));
      }
      if (round >= kCombineWindow) finish(round - kCombineWindow);
    }
    if (work_.values) build_values(routed_, true, &b_);
  }

 private:
  // What a step adds up for one rank: the rows of an input, one after the other.
  struct Input {
    uint32_t number = 0;
    uint32_t next = 0;
    RowTerm term() { return {number, next++, 1}; }
  };

  // --- places ---

  // Ranks of other nodes are counted from behind this one on, as all its mates do.
  int far_rank(int i) const { return (first_mate_ + num_mates_ + i) % routed_.nranks; }
  bool is_near(int rank) const { return rank >= first_mate_ && rank < first_mate_ + num_mates_; }
  uint32_t mate_number(int rank) const {  // among the other mates
    return static_cast<uint32_t>((rank < routed_.rank ? rank : rank - 1) - first_mate_);
  }
  uint32_t far_number(int rank) const {
    return static_cast<uint32_t>(rank < first_mate_ ? rank : rank - num_mates_);
  }
  uint32_t others() const { return static_cast<uint32_t>(num_mates_ - 1); }
  uint32_t far() const { return static_cast<uint32_t>(num_far_); }
  uint32_t given_slot(int mate, int item) const {
    return (mate_number(mate) * kGiven + static_cast<uint32_t>(item) % kGiven) * work_.slice;
  }
  uint32_t own_slot() const { return others() * kGiven * work_.slice; }
  uint32_t near_landing(int mate) const {
    return own_slot() + (1 + mate_number(mate)) * work_.slice;
  }
  uint32_t node_slot(uint32_t number, uint32_t round) const {  // number far(): of this rank
    return own_slot() + (1 + others() + number * kDepth + round % kDepth) * work_.slice;
  }
  uint32_t far_landing(int rank) const {
    return node_slot(far() + 1, 0) + far_number(rank) * work_.slice;
  }

  // --- within the node ---

  void give(uint32_t round, int item) {
    const int me = routed_.rank - first_mate_;
    if (item < num_far_) {
      range_ = out_going_.next(far_rank(item), round);
      ranges_[static_cast<size_t>(item) % kGiven] = range_;
    }
    for (int i = 1; i < num_mates_; ++i) {
      const int mate = first_mate_ + send_peer(me, i, num_mates_);
      if (item == num_far_) range_ = out_going_.next(mate, round);
      list_entering(mate, item == num_far_);
      if (list_.empty()) continue;
      if (sums_.are_rows()) {
        b_.send(mate, b_.list(Buffer::kInput, sums_.rows(list_)));
      } else {
        sums_.add_up(list_, given_slot(mate, item), mate);
      }
    }
  }

  // Of range_ the rows whose entry is `rank`; or `all`.
  void list_entering(int rank, bool all) {
    list_.clear();
    for (uint32_t m = range_.begin; m < range_.end; ++m) {
      const bool enters = all || routed_.arrival_entries->rank[m] == static_cast<uint32_t>(rank);
      if (enters) list_.push_back(m);
    }
  }

  void gather(uint32_t round, int item) {
    if (item == num_far_) return gather_own(round);
    range_ = ranges_[static_cast<size_t>(item) % kGiven];
    list_entering(routed_.rank, false);
    if (list_.empty()) return;
    begin_gather(true);
    for (int i = 0; i < num_mates_; ++i) {
      const int rank = first_mate_ + i;
      uint32_t rows = 0;
      for (const uint32_t m : list_) rows += needs(rank, m) ? 1 : 0;
      add_input(rank, rows);
    }
    const auto num = static_cast<uint32_t>(list_.size());
    const int to = far_rank(item);
    b_.output(b_.run(Buffer::kScratch, node_slot(far_number(to), round), num), to);
    for (const uint32_t m : list_) {
      terms_.clear();
      each_mate(first_mate_, routed_.arrival_entries->mates_of(m), [&](int rank) {
        terms_.push_back(inputs_[static_cast<size_t>(rank - first_mate_)].term());
      });
      b_.row(terms_);
    }
    b_.end();
  }

  bool needs(int rank, uint32_t m) const {
    const auto bit = static_cast<uint32_t>(rank - first_mate_);
    return (routed_.arrival_entries->mates_of(m)[bit / 32] >> bit % 32 & 1) != 0;
  }

  // list_ has the rows of arrivals that this rank has something of itself.
  void begin_gather(bool any) {
    if (any && !sums_.are_rows()) sums_.add_up(list_, own_slot(), kLocal);
    b_.begin(RowKernel::kSum);
    inputs_.assign(static_cast<size_t>(num_mates_), {});
  }

  // `rows` partial sums of `rank`, in order.
  void add_input(int rank, uint32_t rows) {
    if (rows == 0) return;
    Input& input = inputs_[static_cast<size_t>(rank - first_mate_)];
    if (rank != routed_.rank) {
      input.number = b_.input(b_.run(Buffer::kScratch, near_landing(rank), rows), rank);
    } else if (sums_.are_rows()) {
      input.number = b_.input(b_.list(Buffer::kInput, sums_.rows(list_)));
    } else {
      input.number = b_.input(b_.run(Buffer::kScratch, own_slot(), rows));
    }
  }

  // Of this rank's own tokens.
  void gather_own(uint32_t round) {
    std::vector<uint32_t>& tokens = near_[round % kDepth];
    tokens.clear();
    mate_ranges_.clear();
    for (int i = 0; i < num_mates_; ++i) {
      mate_ranges_.push_back(in_coming_.next(first_mate_ + i, round));
      const Slices::Range& r = mate_ranges_.back();
      const auto some = routed_.departures->token.subspan(r.begin, r.size());
      tokens.insert(tokens.end(), some.begin(), some.end());
    }
    std::sort(tokens.begin(), tokens.end());
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    range_ = out_going_.next(routed_.rank, round);
    if (tokens.empty()) return;
    list_entering(routed_.rank, true);
    begin_gather(!list_.empty());
    for (int i = 0; i < num_mates_; ++i) {
      add_input(first_mate_ + i, mate_ranges_[static_cast<size_t>(i)].size());
    }
    const auto num = static_cast<uint32_t>(tokens.size());
    b_.output(b_.run(Buffer::kScratch, node_slot(far(), round), num));
    for (const uint32_t token : tokens) {
      terms_.clear();
      for (size_t i = 0; i < inputs_.size(); ++i) {
        Slices::Range& left = mate_ranges_[i];
        if (left.empty() || routed_.departures->token[left.begin] != token) continue;
        ++left.begin;
        terms_.push_back(inputs_[i].term());
      }
      b_.row(terms_);
    }
    b_.end();
  }

  // --- over nodes ---

  // Tokens of a slice of which a rank sends the sum of its node, in order.
  struct Share {
    Input input;
    std::vector<uint32_t> tokens;
    bool has(uint32_t token) const {
      return input.next < tokens.size() && tokens[input.next] == token;
    }
  };

  void finish(uint32_t round) {
    const uint32_t begin = round * work_.slice;
    const uint32_t end = std::min(begin + work_.slice, routed_.tokens);
    list_shares(round);
    if (begin >= end) return;
    b_.begin(RowKernel::kSum);
    for (uint32_t i = 0; i < work_.num_biases; ++i) {
      b_.bias(b_.run(i == 0 ? Buffer::kBias0 : Buffer::kBias1, begin, end - begin));
    }
    for (int r = 0; r < routed_.nranks; ++r) {
      Share& share = shares_[static_cast<size_t>(r)];
      const auto rows = static_cast<uint32_t>(share.tokens.size());
      if (rows == 0) continue;
      share.input.number = r == routed_.rank
                               ? b_.input(b_.run(Buffer::kScratch, node_slot(far(), round), rows))
                               : b_.input(b_.run(Buffer::kScratch, far_landing(r), rows), r);
    }
    b_.output(b_.run(Buffer::kOutput, begin, end - begin));
    for (uint32_t t = begin; t < end; ++t) {
      terms_.clear();
      // Of a node one rank at most has it: by ascending rank is by ascending node.
      for (Share& share : shares_) {
        if (share.has(t)) terms_.push_back(share.input.term());
      }
      b_.row(terms_);
    }
    b_.end();
  }

  // By rank; that of this node is its own.
  void list_shares(uint32_t round) {
    shares_.assign(static_cast<size_t>(routed_.nranks), {});
    for (int r = 0; r < routed_.nranks; ++r) {
      if (is_near(r)) continue;
      const Slices::Range range = in_coming_.next(r, round);
      for (uint32_t m = range.begin; m < range.end; ++m) {
        if (routed_.departure_entries->rank[m] != static_cast<uint32_t>(r)) continue;
        shares_[static_cast<size_t>(r)].tokens.push_back(routed_.departures->token[m]);
      }
    }
    shares_[static_cast<size_t>(routed_.rank)].tokens = near_[round % kDepth];
  }

  const Routed& routed_;
  const CombineWork& work_;
  RowBuilder b_;
  PartialSums sums_;
  Slices out_going_;
  Slices in_coming_;
  const int first_mate_;
  const int num_mates_;                             // this rank included
  const int num_far_;                               // ranks of other nodes
  Slices::Range range_ = {};                        // of arrivals
  std::array<Slices::Range, kGiven> ranges_ = {};   // of the last items given
  std::array<std::vector<uint32_t>, kDepth> near_;  // own tokens that the node has, by round
  std::vector<Slices::Range> mate_ranges_;          // of departures
  std::vector<uint32_t> list_;                      // rows of arrivals
  std::vector<RowTerm> terms_;
  std::vector<Input> inputs_;  // by mate
  std::vector<Share> shares_;  // by rank
};

}  // namespace

uint64_t node_combine_scratch_rows(int nranks, uint32_t slice) {
  // g mates: (g - 1) kGiven + 1 + (g - 1) + (R - g + 1) kDepth + R - g, which is most for g = 1.
  return (1 + uint64_t{kDepth} * static_cast<uint64_t>(nranks) +
          static_cast<uint64_t>(nranks - 1)) *
         slice;
}

void build_node_combine(const Routed& routed, const CombineWork& work, Schedule* out) {
  NodeCombineBuilder(routed, work, out).build();
}

}  // namespace tutti
