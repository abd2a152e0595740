// LocalOrder: happens-before between the lanes of one rank.
//
// Only two things order lanes of a rank: a lane runs its steps in order, and an explicit wait
// (wait_lane, wait_step). Messages through other ranks do not count: the executor makes no memory
// visible between lanes on their account. Vector clocks (Mattern 1989), kept for ranks with several
// lanes only. Accesses that are not ordered are found in any interleaving. Not thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/verify/world.h"

namespace tutti {

class LocalOrder {
 public:
  // Cells are numbered as the run numbers them: rank by rank, `first_cell[rank]` onwards.
  void reset(const World& world, const std::vector<uint64_t>& first_cell, int rounds);
  bool watches(uint32_t rank) const { return first_clock_[rank] != kUnwatched; }

  // Access by the lane's current step. Return a lane (index in its rank) that has an access to the
  // cell that is not ordered before this one, or kNothing.
  uint32_t read(uint32_t lane, uint64_t cell);
  uint32_t write(uint32_t lane, uint64_t cell);
  uint32_t unordered(uint32_t lane, uint64_t cell) const;  // what write() would return
  // The cell is lent to a peer until a step of this very lane writes it.
  void lend(uint32_t lane, uint64_t cell);

  void join(uint32_t lane, uint32_t snapshot, uint32_t round);
  void finish_step(uint32_t lane, uint32_t snapshot, uint32_t round);

 private:
  static constexpr uint64_t kUnwatched = ~uint64_t{0};
  static constexpr uint32_t kManyLanes = kNothing - 1;

  struct LastWrite {
    uint32_t lane = kNothing;
    uint32_t event = 0;
    uint32_t lent_by = kNothing;
  };
  bool before(uint32_t lane, uint32_t other, uint32_t event) const {
    return clocks_[first_clock_[world_->lanes[lane].rank] +
                   uint64_t{world_->lanes[lane].index} * num_lanes(lane) + other] > event;
  }
  uint32_t num_lanes(uint32_t lane) const {
    return world_->ranks[world_->lanes[lane].rank].num_lanes;
  }
  uint64_t watched_cell(uint32_t lane, uint64_t cell) const {
    const uint32_t rank = world_->lanes[lane].rank;
    return cell - first_cell_[rank] + first_write_[rank];
  }

  const World* world_ = nullptr;
  std::vector<uint64_t> first_cell_;
  std::vector<uint64_t> first_clock_, first_write_, first_read_;  // per rank
  std::vector<uint32_t> clocks_;   // rank, lane: events of each lane known to be over; own: all
  std::vector<LastWrite> writes_;  // per watched cell
  std::vector<uint32_t> reads_;    // per watched cell and lane: last reading event + 1
  std::vector<uint32_t> snapshots_;
  std::vector<uint64_t> snapshot_at_;  // per snapshot and round: where in snapshots_
};

}  // namespace tutti
