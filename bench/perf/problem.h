// Problem: the buffers of one rank for one case: how large, where in-place calls put them, what
// goes in and what must come out.
//
// Contents repeat with a prime period, so that filling and checking are block copies and compares,
// while no chunk of a power of two can pass for another one. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "bench/perf/case.h"

namespace perf {

// A run of elements of a buffer and where they come from.
struct Piece {
  static constexpr int kReduced = -1;
  size_t at;     // in the buffer
  size_t count;  // elements
  int source;    // the rank whose send buffer holds them; kReduced: the reduction of all
  size_t from;   // index there
};

// What must lie in the receive buffer of `rank` when a call is complete; nothing: it is ignored.
std::vector<Piece> expected_pieces(const Case& c, int rank, int nranks, int root);

// The pointers a call takes.
struct Buffers {
  void* send;
  void* recv;
};

class Problem {
 public:
  virtual ~Problem() = default;
  virtual size_t send_bytes() const = 0;
  virtual size_t recv_bytes() const = 0;
  // The arguments of a call, of the rank's two allocations of that many bytes.
  virtual Buffers place(void* send_memory, void* recv_memory, int root) const = 0;

  // Another `salt`, other contents. What a call must write is spoilt first.
  virtual void fill(const Buffers& buffers, int root, uint64_t salt) = 0;
  // The number of elements at `result` that are not what they must be.
  virtual uint64_t wrong(const void* result, int root, uint64_t salt) = 0;
};

// Of any case.
std::unique_ptr<Problem> make_problem(const Case& c, int rank, int nranks);

// Of collectives that move blocks.
class BlockProblem : public Problem {
 public:
  BlockProblem(const Case& c, int rank, int nranks);

  size_t send_bytes() const override;
  size_t recv_bytes() const override;
  Buffers place(void* send_memory, void* recv_memory, int root) const override;
  void fill(const Buffers& buffers, int root, uint64_t salt) override;
  uint64_t wrong(const void* result, int root, uint64_t salt) override;

 private:
  // One period of contents.
  struct Tile {
    std::vector<uint8_t> bytes;
    int source = -2;  // none yet
    uint64_t salt = 0;
  };
  const std::vector<uint8_t>& tile(int source, uint64_t salt);

  Case case_;
  int rank_;
  int nranks_;
  size_t width_;   // bytes of an element
  size_t period_;  // elements
  Tile reduced_;
  std::vector<Tile> inputs_;  // by rank; made when first needed
};

}  // namespace perf
