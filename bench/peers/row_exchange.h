// RowExchange: dispatch and combine as users of an all-to-all with counts write them: rows are
// packed by destination, exchanged, and unpacked. Everything that depends on the routing alone is
// made beforehand: lists of rows, counts, addresses. What moves and adds rows here are Tutti's own
// kernels, so that systems differ in how rows travel and how often they are copied on the way.
//
// dedup: a row for each (token, destination rank), which the receiver copies to all its experts;
// back comes the sum of their rows, rounded once. assign: a row for each (token, k), both ways.
//
// One thread. Borrows the rank's two buffers. All counts are of rows.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/perf/expert_plan.h"
#include "comm/base/status.h"
#include "comm/device/row_sum.h"

namespace perf {

enum class RowWay : uint8_t { kDedup, kAssign };

// How a peer writes `bytes` when it packs, copies or adds: past the caches where that is faster, if
// the case says so.
tutti::Stores peer_stores(const Case& c, size_t bytes);

class RowExchange {
 public:
  // An exchange of rows of `row_bytes`, from and to blocks by rank without gaps.
  struct Blocks {
    const uint8_t* send;
    const std::vector<size_t>& send_rows;
    uint8_t* recv;
    const std::vector<size_t>& recv_rows;
    size_t row_bytes;
  };
  using Exchange = std::function<tutti::Status(const Blocks&)>;

  // Why `c` cannot be done in this way; "" when it can.
  static std::string lacks(const Case& c, RowWay way);

  RowExchange(const Case& c, RowWay way, int rank, int nranks, void* send_memory,
              void* recv_memory);

  tutti::Status run(const Exchange& exchange) const;
  // Bytes that a call sends to other ranks: payload alone.
  Tiers sent_bytes() const;

 private:
  // A row that travels: of a token, for all its experts of a rank, or (assign) for k.
  struct Item {
    int token;
    int k;  // dedup: the smallest one there
  };
  struct Memory {
    std::vector<uint8_t> bytes;
    uint8_t* aligned(size_t size);
  };
  // One list of rows to copy to another.
  struct Copies {
    std::vector<int32_t> from, to;
  };

  std::vector<Item> items(int source, int dest) const;
  void list_arrivals();
  void plan_dispatch();
  void plan_combine();
  void add_sum(const std::vector<const void*>& terms, void* to, std::vector<tutti::RowSum>* sums);
  tutti::Status dispatch(const Exchange& exchange) const;
  tutti::Status combine(const Exchange& exchange) const;
  void copy(const uint8_t* from, uint8_t* to, const Copies& rows) const;

  Case case_;
  RowWay way_;
  int rank_;
  int nranks_;
  ExpertPlan plan_;
  size_t row_bytes_;
  uint8_t* send_memory_;
  uint8_t* recv_memory_;

  std::vector<size_t> out_rows_;             // that this rank's tokens send, by rank
  std::vector<size_t> in_rows_;              // that its experts get, by rank
  std::vector<std::vector<size_t>> places_;  // of each row that arrives: its rows, by ascending k
  bool lands_ = false;                       // what arrives is the layout already

  Memory packed_memory_, arrived_memory_;
  uint8_t* packed_ = nullptr;   // rows by destination; what comes back likewise
  uint8_t* arrived_ = nullptr;  // rows by source; what goes back likewise
  Copies pack_, unpack_, repack_;
  // Of combine: sums of what goes back, and of what came back. Each points into its terms.
  std::vector<std::vector<const void*>> terms_;
  std::vector<tutti::RowSum> partials_, sums_;
};

}  // namespace perf
