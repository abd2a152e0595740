#include "comm/verify/order.h"

#include <algorithm>

namespace tutti {

void LocalOrder::reset(const World& world, const std::vector<uint64_t>& first_cell, int rounds) {
  world_ = &world;
  first_cell_ = first_cell;
  const size_t n = world.ranks.size();
  first_clock_.assign(n, kUnwatched);
  first_write_.assign(n, 0);
  first_read_.assign(n, 0);
  uint64_t clocks = 0, cells = 0, reads = 0, snapshots = 0;
  snapshot_at_.assign(uint64_t{world.num_snapshots} * static_cast<uint64_t>(rounds), 0);
  for (size_t r = 0; r < n; ++r) {
    const uint64_t lanes = world.ranks[r].num_lanes;
    if (lanes < 2) continue;
    const uint64_t here = first_cell[r + 1] - first_cell[r];
    first_clock_[r] = clocks;
    first_write_[r] = cells;
    first_read_[r] = reads;
    clocks += lanes * lanes;
    cells += here;
    reads += here * lanes;
    const WorldRank& rank = world.ranks[r];
    for (uint32_t l = rank.first_lane; l < rank.first_lane + rank.num_lanes; ++l) {
      const WorldLane& lane = world.lanes[l];
      for (uint32_t i = lane.first_step; i < lane.first_step + lane.num_steps; ++i) {
        const uint32_t s = world.steps[i].snapshot;
        if (s == kNothing) continue;
        for (int round = 0; round < rounds; ++round) {
          snapshot_at_[static_cast<uint64_t>(round) * world.num_snapshots + s] = snapshots;
          snapshots += lanes;
        }
      }
    }
  }
  clocks_.assign(clocks, 0);
  writes_.assign(cells, LastWrite());
  reads_.assign(reads, 0);
  snapshots_.assign(snapshots, 0);
  // A lane's own entry also counts the step it is running: that comes after all the lane did.
  for (const WorldLane& lane : world.lanes) {
    if (first_clock_[lane.rank] == kUnwatched) continue;
    const uint64_t lanes = world.ranks[lane.rank].num_lanes;
    clocks_[first_clock_[lane.rank] + lane.index * lanes + lane.index] = 1;
  }
}

uint32_t LocalOrder::read(uint32_t lane, uint64_t cell) {
  const uint64_t at = watched_cell(lane, cell);
  const LastWrite& last = writes_[at];
  const WorldLane& me = world_->lanes[lane];
  const uint64_t lanes = num_lanes(lane);
  reads_[first_read_[me.rank] + (at - first_write_[me.rank]) * lanes + me.index] =
      clocks_[first_clock_[me.rank] + me.index * lanes + me.index];
  if (last.lane == kNothing || before(lane, last.lane, last.event)) return kNothing;
  return last.lane;
}

uint32_t LocalOrder::unordered(uint32_t lane, uint64_t cell) const {
  const uint64_t at = watched_cell(lane, cell);
  const LastWrite& last = writes_[at];
  const WorldLane& me = world_->lanes[lane];
  const auto lanes = num_lanes(lane);
  if (last.lane != kNothing && !before(lane, last.lane, last.event)) return last.lane;
  const uint32_t* reads =
      reads_.data() + first_read_[me.rank] + (at - first_write_[me.rank]) * lanes;
  for (uint32_t l = 0; l < lanes; ++l) {
    if (reads[l] != 0 && !before(lane, l, reads[l] - 1)) return l;
  }
  // A lend ends, for other lanes, only with a write of the lending lane: that step waited for it.
  if (last.lent_by == kNothing || last.lent_by == me.index) return kNothing;
  if (last.lent_by != kManyLanes) return last.lent_by;
  return me.index == 0 ? 1 : 0;
}

uint32_t LocalOrder::write(uint32_t lane, uint64_t cell) {
  const uint32_t other = unordered(lane, cell);
  const WorldLane& me = world_->lanes[lane];
  const uint64_t lanes = num_lanes(lane);
  const uint32_t event = clocks_[first_clock_[me.rank] + me.index * lanes + me.index] - 1;
  writes_[watched_cell(lane, cell)] = {me.index, event, kNothing};
  return other;
}

void LocalOrder::lend(uint32_t lane, uint64_t cell) {
  uint32_t& lent_by = writes_[watched_cell(lane, cell)].lent_by;
  const uint32_t self = world_->lanes[lane].index;
  lent_by = lent_by == kNothing || lent_by == self ? self : kManyLanes;
}

void LocalOrder::join(uint32_t lane, uint32_t snapshot, uint32_t round) {
  const WorldLane& me = world_->lanes[lane];
  const uint64_t lanes = num_lanes(lane);
  uint32_t* mine = clocks_.data() + first_clock_[me.rank] + me.index * lanes;
  const uint32_t* theirs =
      snapshots_.data() + snapshot_at_[uint64_t{round} * world_->num_snapshots + snapshot];
  for (uint64_t l = 0; l < lanes; ++l) mine[l] = std::max(mine[l], theirs[l]);
}

void LocalOrder::finish_step(uint32_t lane, uint32_t snapshot, uint32_t round) {
  const WorldLane& me = world_->lanes[lane];
  const uint64_t lanes = num_lanes(lane);
  uint32_t* mine = clocks_.data() + first_clock_[me.rank] + me.index * lanes;
  if (snapshot != kNothing) {
    std::copy(
        mine, mine + lanes,
        snapshots_.begin() +
            static_cast<int64_t>(snapshot_at_[uint64_t{round} * world_->num_snapshots + snapshot]));
  }
  ++mine[me.index];
}

}  // namespace tutti
