// Plans: the channels of a communicator's collectives and the plans bound to them, cached by shape.
//
// The cache is keyed by what shapes a plan (collective, counts and displacements, type, operator,
// place, root), never by pointers, and bounded: the least recently used plan that no operation
// holds goes first. Thread: calls of one communicator, one at a time.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "comm/exec/plan.h"
#include "comm/runtime/call.h"
#include "comm/runtime/select.h"

namespace tutti {

struct BoundCall {
  std::unique_ptr<Plan> plan;
  uint64_t fingerprint = 0;
  uint64_t algorithm = 0;  // index in the catalogue
  int holders = 0;         // operations that are queued or run with it
};

class Plans final : public ChannelSource {
 public:
  // `peers[r]`: transport-wide number of rank r. All references outlive this.
  Plans(Transport& transport, uint64_t comm_id, int rank, std::vector<int> peers,
        const Config& config);

  // The plan for `call`, bound now if it is not cached. The caller counts itself among holders
  // while it needs it.
  Result<BoundCall*> find(const CollectiveCall& call);
  void release(BoundCall* bound) { --bound->holders; }

  Result<SendChannel*> send_channel(int peer, uint32_t lane) override;
  Result<RecvChannel*> recv_channel(int peer, uint32_t lane) override;

 private:
  struct Shape {
    uint64_t count;  // or the hash of blocks that differ
    uint32_t what;   // collective, dtype, op, in_place, and whether blocks differ
    int32_t root;
    bool operator==(const Shape&) const = default;
  };
  struct ShapeHash {
    size_t operator()(const Shape& s) const;
  };
  struct Cached {
    Shape shape;
    BoundCall bound;
    // Where blocks differ.
    uint64_t counts_hash;
    CollectiveCall::Blocks blocks;
  };
  static constexpr size_t kMostCached = 128;

  static Shape shape_of(const CollectiveCall& call);
  static bool is_for(const Cached& cached, const Shape& shape, const CollectiveCall& call);
  Status bind(const CollectiveCall& call, BoundCall* bound);
  void make_room();
  uint32_t slots_bound(const Algorithm& algorithm);

  Transport& transport_;
  const uint64_t comm_id_;
  const int rank_;
  const std::vector<int> peers_;
  const Config& config_;
  std::list<Cached> cache_;  // most recently used first
  std::unordered_map<Shape, std::list<Cached>::iterator, ShapeHash> index_;
  std::unordered_map<uint64_t, std::unique_ptr<SendChannel>> sends_;  // by lane << 32 | peer
  std::unordered_map<uint64_t, std::unique_ptr<RecvChannel>> recvs_;
  std::unordered_map<const Algorithm*, uint32_t> slots_;
  Schedule schedule_;  // arena for building
};

}  // namespace tutti
