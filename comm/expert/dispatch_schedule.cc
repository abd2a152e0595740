#include <algorithm>

#include "comm/expert/expert_schedule.h"
#include "comm/expert/slices.h"
#include "comm/expert/value_schedule.h"
#include "comm/schedule/row_builder.h"

namespace tutti {

namespace {

// Pieces that a rank hands its mates ahead of those that it takes.
constexpr uint32_t kPiecesAhead = 2;

// Straight to every rank is once to every node where each rank is a node of its own: then there are
// no mates, and every rank is the entry of its tokens.
class DispatchBuilder {
 public:
  DispatchBuilder(const Routed& routed, const DispatchWork& work, Schedule* out)
      : routed_(routed),
        work_(work),
        b_(routed.nranks, routed.rank, out),
        out_going_(routed.departures->rank_rows, routed.departures->token, work.slice),
        in_coming_(routed.arrivals->source_rows, routed.arrivals->token, work.slice) {
    const int node_ranks = work.algo == ExpertAlgo::kHier ? routed.ranks_per_node : 1;
    first_mate_ = routed.rank / node_ranks * node_ranks;
    const int last = std::min(first_mate_ + node_ranks, routed.nranks);
    for (int r = first_mate_; r < last; ++r) mates_.push_back({r, {}, {}, {}, {}});
  }

  void build() {
    const uint32_t rounds = (routed_.shape->max_tokens + work_.slice - 1) / work_.slice;
    zero_padding();
    for (uint32_t round = 0; round < rounds + kDispatchWindow; ++round) {
      if (round < rounds) send(round);
      if (round < kDispatchWindow) continue;
      receive(round - kDispatchWindow);
      if (has_mates()) exchange(round - kDispatchWindow);
    }
    if (work_.values) build_values(routed_, false, &b_);
  }

 private:
  // Of the outputs of row m of arrivals, first those that hold payload.
  void outputs_of(uint32_t m, std::vector<uint32_t>* rows) const {
    const RowsOfArrivals& to = *routed_.rows;
    if (!is_by_expert(routed_.shape->layout)) {
      rows->push_back(to.row[m]);
      return;
    }
    for (uint32_t a = routed_.arrivals->first[m]; a < routed_.arrivals->first[m + 1]; ++a) {
      rows->push_back(to.row[a]);
    }
  }

  Buffer source() const { return work_.quantise ? Buffer::kScratch : Buffer::kInput; }
  Buffer source_side() const { return work_.quantise ? Buffer::kScratchSide : Buffer::kInputSide; }

  bool has_mates() const { return mates_.size() > 1; }
  // Whether rows go to the entries of other nodes, there to be handed on.
  bool by_entries() const {
    return work_.algo == ExpertAlgo::kHier && routed_.departure_entries->words > 0;
  }
  bool is_mate(int peer) const {
    return peer >= first_mate_ && peer < first_mate_ + static_cast<int>(mates_.size());
  }

  // To the ranks of other nodes.
  void send(uint32_t round) {
    if (work_.quantise) quantise(round);
    for (int i = 1; i < routed_.nranks; ++i) {
      const int peer = send_peer(routed_.rank, i, routed_.nranks);
      if (is_mate(peer)) continue;
      post(peer, source(), source_side(), tokens_entering(peer, out_going_.next(peer, round)));
    }
  }

  void post(int peer, Buffer from, Buffer from_side, std::span<const uint32_t> rows) {
    if (rows.empty()) return;
    b_.send(peer, b_.list(from, rows));
    if (work_.scales) b_.send(peer, b_.list(from_side, rows));
  }

  // Of rows of departures to `peer`.
  std::span<const uint32_t> tokens_entering(int peer, const Slices::Range& range) {
    const std::span<const uint32_t> tokens =
        routed_.departures->token.subspan(range.begin, range.size());
    if (!by_entries()) return tokens;
    rows_.clear();
    for (uint32_t m = range.begin; m < range.end; ++m) {
      const bool enters = routed_.departure_entries->rank[m] == static_cast<uint32_t>(peer);
      if (enters) rows_.push_back(routed_.departures->token[m]);
    }
    return rows_;
  }

  // All tokens of the slice once, wherever they go.
  void quantise(uint32_t round) {
    const uint32_t begin = round * work_.slice;
    const uint32_t end = std::min(begin + work_.slice, routed_.tokens);
    if (begin >= end) return;
    b_.begin(RowKernel::kQuantise);
    const uint32_t x = b_.input(b_.run(Buffer::kInput, begin, end - begin));
    b_.output(b_.run(Buffer::kScratch, begin, end - begin));
    b_.output(b_.run(Buffer::kScratchSide, begin, end - begin));
    for (uint32_t t = begin; t < end; ++t) b_.row({{x, t - begin, 1}});
    b_.end();
  }

  // From the ranks of other nodes, and from itself.
  void receive(uint32_t number) {
    for (int i = 0; i < routed_.nranks; ++i) {
      const int peer = recv_peer(routed_.rank, i, routed_.nranks);
      if (peer != routed_.rank && is_mate(peer)) continue;
      const Slices::Range range = in_coming_.next(peer, number);
      rows_.clear();
      for (uint32_t m = range.begin; m < range.end; ++m) {
        if (peer == routed_.rank || enters_here(m)) rows_.push_back(m);
      }
      take(peer, rows_);
      if (by_entries() && peer != routed_.rank) list_relays(peer);
    }
  }

  // Whether row m of arrivals comes from its source; else its entry hands it on, later.
  bool enters_here(uint32_t m) {
    if (!by_entries()) return true;
    const uint32_t entry = routed_.arrival_entries->rank[m];
    if (entry == static_cast<uint32_t>(routed_.rank)) return true;
    mates_[entry - static_cast<uint32_t>(first_mate_)].relay_in.push_back(m);
    return false;
  }

  // Those of rows_, which have come from `peer`, that mates need, and where each of them lies.
  void list_relays(int peer) {
    for (uint32_t i = 0; i < rows_.size(); ++i) {
      const uint32_t at = work_.weighted ? slot_of(peer) + i : first_output(rows_[i]);
      each_mate(first_mate_, routed_.arrival_entries->mates_of(rows_[i]), [&](int rank) {
        if (rank == routed_.rank) return;
        mates_[static_cast<size_t>(rank - first_mate_)].relay_out.push_back(at);
      });
    }
  }

  // A rank of the same node, and what the two have for each other of one slice.
  struct Mate {
    int rank;
    Slices::Range out, in;            // of its tokens, and of this rank's
    std::vector<uint32_t> relay_out;  // rows of tokens of other nodes, where they lie here
    std::vector<uint32_t> relay_in;   // rows of arrivals
  };

  // Within the node: a piece to every mate, and a little later a piece from every mate, until all
  // have all: first what each has itself, then what it hands on, `slice` rows at a time.
  void exchange(uint32_t number) {
    uint32_t pieces = 0;
    for (Mate& mate : mates_) {
      if (mate.rank == routed_.rank) continue;
      mate.out = out_going_.next(mate.rank, number);
      mate.in = in_coming_.next(mate.rank, number);
      pieces = std::max({pieces, num_pieces(mate.out, mate.relay_out),
                         num_pieces(mate.in, mate.relay_in) + kPiecesAhead});
    }
    const auto num = static_cast<int>(mates_.size());
    const int me = routed_.rank - first_mate_;
    for (uint32_t piece = 0; piece < pieces; ++piece) {
      for (int i = 1; i < num; ++i) give(mates_[static_cast<size_t>(send_peer(me, i, num))], piece);
      for (int i = 1; i < num && piece >= kPiecesAhead; ++i) {
        take_from(mates_[static_cast<size_t>(recv_peer(me, i, num))], piece - kPiecesAhead);
      }
    }
    for (Mate& mate : mates_) {
      mate.relay_out.clear();
      mate.relay_in.clear();
    }
  }

  uint32_t num_pieces(const Slices::Range& own, const std::vector<uint32_t>& relays) const {
    const auto num = static_cast<uint32_t>(relays.size());
    return (own.empty() ? 0 : 1) + (num + work_.slice - 1) / work_.slice;
  }

  std::span<const uint32_t> piece_of(const std::vector<uint32_t>& relays, uint32_t piece) const {
    const size_t begin = std::min(relays.size(), size_t{piece} * work_.slice);
    return std::span(relays).subspan(begin, std::min<size_t>(work_.slice, relays.size() - begin));
  }

  void give(const Mate& mate, uint32_t piece) {
    if (!mate.out.empty() && piece == 0) {
      post(mate.rank, source(), source_side(),
           routed_.departures->token.subspan(mate.out.begin, mate.out.size()));
      return;
    }
    post(mate.rank, work_.weighted ? Buffer::kScratch : Buffer::kOutput, Buffer::kOutputSide,
         piece_of(mate.relay_out, piece - (mate.out.empty() ? 0 : 1)));
  }

  void take_from(const Mate& mate, uint32_t piece) {
    if (!mate.in.empty() && piece == 0) {
      rows_.clear();
      for (uint32_t m = mate.in.begin; m < mate.in.end; ++m) rows_.push_back(m);
      take(mate.rank, rows_);
      return;
    }
    take(mate.rank, piece_of(mate.relay_in, piece - (mate.in.empty() ? 0 : 1)));
  }

  // Rows of arrivals, as `peer` has sent them.
  void take(int peer, std::span<const uint32_t> rows) {
    if (rows.empty()) return;
    scatter(peer, rows, source(), Buffer::kOutput);
    if (work_.scales) scatter(peer, rows, source_side(), Buffer::kOutputSide);
  }

  uint32_t slot_of(int peer) const {  // of kScratch
    return static_cast<uint32_t>(peer < routed_.rank ? peer : peer - 1) * work_.slice;
  }

  // Each row to all its places. A message that cannot be shown lands in the first of them; what is
  // to be multiplied must stay as it is for all of them, and lands in kScratch; there it is kept
  // where mates may need it.
  void scatter(int peer, std::span<const uint32_t> rows, Buffer from, Buffer to) {
    landing_.clear();
    places_.clear();
    const auto num = static_cast<uint32_t>(rows.size());
    const bool weighted = work_.weighted && to == Buffer::kOutput;
    const bool kept = weighted && by_entries() && !is_mate(peer);
    if (kept) keep(peer, num);
    b_.begin(weighted ? RowKernel::kSum : RowKernel::kCopy, weighted);
    uint32_t input;
    if (peer == routed_.rank) {
      for (const uint32_t m : rows) landing_.push_back(routed_.arrivals->token[m]);
      input = b_.input(b_.list(from, landing_));
    } else if (weighted) {
      input = b_.input(b_.run(Buffer::kScratch, slot_of(peer), num), kept ? kLocal : peer);
    } else {
      for (const uint32_t m : rows) landing_.push_back(first_output(m));
      input = b_.input(b_.list(to, landing_), peer);
    }
    for (const uint32_t m : rows) outputs_of(m, &places_);
    b_.output(b_.list(to, places_));
    const std::span<const uint32_t> first = routed_.arrivals->first;
    const bool by_expert = is_by_expert(routed_.shape->layout);
    for (uint32_t i = 0; i < num; ++i) {
      const uint32_t m = rows[i];
      const uint32_t copies = by_expert ? first[m + 1] - first[m] : 1;
      for (uint32_t c = 0; c < copies; ++c) {
        const float weight = weighted ? routed_.arrivals->weight[first[m] + c] : 1;
        b_.row({{input, i, weight}});
      }
    }
    b_.end();
  }

  void keep(int peer, uint32_t num) {
    b_.begin(RowKernel::kCopy);
    const uint32_t input = b_.input(b_.run(Buffer::kScratch, slot_of(peer), num), peer);
    b_.output(b_.run(Buffer::kScratch, slot_of(peer), num));
    for (uint32_t i = 0; i < num; ++i) b_.row({{input, i, 1}});
    b_.end();
  }

  uint32_t first_output(uint32_t m) const {
    return is_by_expert(routed_.shape->layout) ? routed_.rows->row[routed_.arrivals->first[m]]
                                               : routed_.rows->row[m];
  }

  // Rows of zones that hold no assignment, where they are to be zero.
  void zero_padding() {
    const ExpertLayout layout = routed_.shape->layout;
    const bool zeros = layout == ExpertLayout::kExpertMajor ||
                       (layout == ExpertLayout::kExpertSlab && routed_.shape->pad_to_capacity);
    if (!zeros) return;
    places_.clear();
    const RowsOfArrivals& rows = *routed_.rows;
    for (size_t i = 0; i < rows.count.size(); ++i) {
      for (int64_t row = rows.offset[i] + rows.count[i]; row < rows.offset[i + 1]; ++row) {
        places_.push_back(static_cast<uint32_t>(row));
      }
    }
    if (places_.empty()) return;
    zero(Buffer::kOutput, places_);
    if (work_.scales) zero(Buffer::kOutputSide, places_);
    if (work_.values) zero(Buffer::kOutputValue, places_);
  }

  void zero(Buffer buffer, std::span<const uint32_t> rows) {
    b_.begin(RowKernel::kCopy);
    b_.output(b_.list(buffer, rows));
    for (size_t i = 0; i < rows.size(); ++i) b_.row(std::span<const RowTerm>());
    b_.end();
  }

  const Routed& routed_;
  const DispatchWork& work_;
  RowBuilder b_;
  Slices out_going_;
  Slices in_coming_;
  int first_mate_ = 0;
  std::vector<Mate> mates_;  // ranks of the node, this one included
  std::vector<uint32_t> rows_;
  std::vector<uint32_t> landing_;
  std::vector<uint32_t> places_;
};

}  // namespace

void build_dispatch(const Routed& routed, const DispatchWork& work, Schedule* out) {
  DispatchBuilder(routed, work, out).build();
}

}  // namespace tutti
