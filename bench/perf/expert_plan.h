// ExpertPlan: what goes where in one case of dispatch or combine, for one rank: the routing of all
// ranks, the rows of its own, and where everything lies in its two buffers. The plain computation
// that every system's result is compared with; nothing of Tutti is used here. A value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bench/perf/case.h"

namespace perf {

// A row of a layout, and whose it is.
struct ExpertRow {
  int source;  // rank
  int token;   // there
  int k;       // -1 in layouts that have one row for each token
  size_t at;   // index in the buffer of rows
};

class ExpertPlan {
 public:
  ExpertPlan(const Case& c, int rank, int nranks);

  // The assignments of all ranks: [nranks, T, K], distinct experts for each token.
  const std::vector<int32_t>& ids() const { return ids_; }
  const int32_t* ids_of(int source) const;  // [T, K]
  int expert_of(int source, int token, int k) const;
  int rank_of(int expert) const { return expert / per_rank_; }

  // Of this rank, by index.
  const std::vector<ExpertRow>& rows() const { return rows_; }
  // Rows that its buffer has room for; of one slab.
  size_t room() const { return room_; }
  size_t slab_rows() const { return slab_rows_; }
  int local_experts() const;  // of this rank

  // Where things begin in the buffer to send from: the tokens, their scales, and the rows that
  // Combine takes; and in the other one: the rows that Dispatch brings, their scales, and sums.
  struct Places {
    size_t x = 0, x_scale = 0, expert_rows = 0, send_bytes = 0;
    size_t rows = 0, row_scale = 0, y = 0, recv_bytes = 0;
  };
  const Places& places() const { return places_; }

 private:
  void lay_out();
  void lay_out_by_expert();
  void lay_out_by_rank();
  void place(Collective collective);
  bool goes_to(int source, int token, int rank) const;

  ExpertShape shape_;
  int rank_;
  int nranks_;
  int per_rank_;  // experts, of all ranks but the last ones
  std::vector<int32_t> ids_;
  std::vector<ExpertRow> rows_;
  size_t room_ = 0;
  size_t slab_rows_ = 0;
  Places places_;
};

// Bytes of payload that have to cross between ranks, all of them together, scales included: for
// Dispatch a row for each token and other rank that needs it, for Combine the same, or, of a sum by
// k in a layout by expert, a row for each assignment. What goes over nodes crosses to each of them
// once, and is handed on there.
Tiers least_bytes(const Case& c, int nranks);

}  // namespace perf
