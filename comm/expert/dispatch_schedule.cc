#include <algorithm>

#include "comm/expert/expert_schedule.h"
#include "comm/expert/slices.h"
#include "comm/expert/value_schedule.h"
#include "comm/schedule/row_builder.h"

namespace tutti {

namespace {

class DispatchBuilder {
 public:
  DispatchBuilder(const Routed& routed, const DispatchWork& work, Schedule* out)
      : routed_(routed),
        work_(work),
        b_(routed.nranks, routed.rank, out),
        out_going_(routed.departures->rank_rows, routed.departures->token, work.slice),
        in_coming_(routed.arrivals->source_rows, routed.arrivals->token, work.slice) {}

  void build() {
    const uint32_t rounds = (routed_.shape->max_tokens + work_.slice - 1) / work_.slice;
    zero_padding();
    for (uint32_t round = 0; round < rounds + kDispatchWindow; ++round) {
      if (round < rounds) send(round);
      if (round >= kDispatchWindow) receive(round - kDispatchWindow);
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

  void send(uint32_t round) {
    if (work_.quantise) quantise(round);
    for (int i = 1; i < routed_.nranks; ++i) {
      const int peer = send_peer(routed_.rank, i, routed_.nranks);
      const Slices::Range rows = out_going_.next(peer, round);
      if (rows.empty()) continue;
      const auto tokens = routed_.departures->token.subspan(rows.begin, rows.size());
      b_.send(peer, b_.list(source(), tokens));
      if (work_.scales) b_.send(peer, b_.list(source_side(), tokens));
    }
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

  void receive(uint32_t round) {
    for (int i = 0; i < routed_.nranks; ++i) {
      const int peer = recv_peer(routed_.rank, i, routed_.nranks);
      const Slices::Range rows = in_coming_.next(peer, round);
      if (rows.empty()) continue;
      scatter(peer, rows, source(), Buffer::kOutput);
      if (work_.scales) scatter(peer, rows, source_side(), Buffer::kOutputSide);
    }
  }

  // Each row to all its places. A message that cannot be shown lands in the first of them; what is
  // to be multiplied must stay as it is for all of them, and lands in kScratch.
  void scatter(int peer, const Slices::Range& rows, Buffer from, Buffer to) {
    landing_.clear();
    places_.clear();
    const bool weighted = work_.weighted && to == Buffer::kOutput;
    b_.begin(weighted ? RowKernel::kSum : RowKernel::kCopy, weighted);
    uint32_t input;
    if (peer == routed_.rank) {
      input = b_.input(b_.list(from, routed_.arrivals->token.subspan(rows.begin, rows.size())));
    } else if (weighted) {
      const auto other = static_cast<uint32_t>(peer < routed_.rank ? peer : peer - 1);
      input = b_.input(b_.run(Buffer::kScratch, other * work_.slice, rows.size()), peer);
    } else {
      for (uint32_t m = rows.begin; m < rows.end; ++m) landing_.push_back(first_output(m));
      input = b_.input(b_.list(to, landing_), peer);
    }
    for (uint32_t m = rows.begin; m < rows.end; ++m) outputs_of(m, &places_);
    b_.output(b_.list(to, places_));
    const std::span<const uint32_t> first = routed_.arrivals->first;
    const bool by_expert = is_by_expert(routed_.shape->layout);
    for (uint32_t m = rows.begin; m < rows.end; ++m) {
      const uint32_t copies = by_expert ? first[m + 1] - first[m] : 1;
      for (uint32_t c = 0; c < copies; ++c) {
        const float weight = weighted ? routed_.arrivals->weight[first[m] + c] : 1;
        b_.row({{input, m - rows.begin, weight}});
      }
    }
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
  std::vector<uint32_t> landing_;
  std::vector<uint32_t> places_;
};

}  // namespace

void build_dispatch(const Routed& routed, const DispatchWork& work, Schedule* out) {
  DispatchBuilder(routed, work, out).build();
}

}  // namespace tutti
