// What Mixture-of-Experts dispatch and combine must do, computed for all ranks at once by plain
// loops over (rank, token, k): the yardstick of the tests of comm/expert/.
//
// It is written from the contract alone and shares no code with the library. How to use it:
//
//   Problem p = ...;                      what every rank passes to GroupCreate .. Prepare
//   Prepared want = prepare(p);           what Prepare and GetInfo must say, and where rows lie
//   write_rows(p, want.layouts[r], x, bytes, out);     what Dispatch must leave in rank r's output
//   combine(p, want, c);                  what Combine must return, bit by bit
//   dispatch_traffic(...), combine_traffic(...)        what GetStats must report
//
// Symbols: R ranks; T tokens of a rank; maxT their bound; K = topk; E physical experts; L experts
// of a rank; N rows that a rank receives; H elements of a row. An *assignment* is (rank, token, k)
// with an expert. Tables [T][K] and the like are flat vectors, the last index running fastest;
// [R] in front means one vector per rank.
//
// Where the contract leaves room, a comment that begins with "Reading:" says what is assumed, here
// or in the .cc files. Expects the default floating-point environment. Thread-safe: no state.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tutti/tutti.h"

namespace tutti::oracle {

// Ends the program with `what` unless `ok`: a problem that is malformed is a bug of the test.
void require(bool ok, const char* what);

// ---- Problems -----------------------------------------------------------------------------------

enum class Layout { kFlat, kExpertMajor, kExpertSlab, kRankMajor };
enum class CapacityMode { kNone, kRank, kExpertPerSource, kExpertGlobal };
enum class Keep { kPosition, kWeight };
enum class Replica { kNone, kRoundRobin, kNearest };

struct RankInput {
  int64_t tokens = 0;          // T; may differ between ranks
  std::vector<int64_t> ids;    // [T][K] physical experts, or logical ones; negative: masked
  std::vector<float> weights;  // [T][K], or empty: none given
};

struct Problem {
  std::vector<RankInput> ranks;  // [R]
  int topk = 1;
  int64_t max_tokens = 0;  // maxT

  int num_experts = 1;               // E
  std::vector<int32_t> expert_rank;  // [E] owners; empty: expert e lives on e / ceil(E / R)
  // Reading: without redundant experts num_logical is 0 and ids are physical. With them an id is
  // legal below num_logical, and every logical expert has at least one physical one.
  int num_logical = 0;
  std::vector<int32_t> phys_to_log;  // [E]
  Replica replica = Replica::kNone;
  int ranks_per_node = 0;       // node = rank / ranks_per_node; 0: all ranks on one node
  std::vector<uint8_t> masked;  // [R], non-zero: masked; empty: nobody is

  Layout layout = Layout::kFlat;
  int alignment = 1;  // rows; EXPERT_MAJOR only. Reading: 0 is 1
  CapacityMode capacity_mode = CapacityMode::kNone;
  int64_t capacity = 0;
  // Reading: looked at by EXPERT_PER_SOURCE only; the larger weight wins, whatever its sign. Not
  // made for NaN weights.
  Keep keep = Keep::kPosition;
  bool pad_to_capacity = false;
  int64_t max_recv_rows = 0;  // 0: no bound
  // Rows of a zone of EXPERT_SLAB; -1: what zone_capacity() says.
  int64_t slab_rows = -1;

  int nranks() const { return static_cast<int>(ranks.size()); }
  bool is_masked(int rank) const { return !masked.empty() && masked[rank] != 0; }
  int node_of(int rank) const { return ranks_per_node > 0 ? rank / ranks_per_node : 0; }
  int nodes() const { return node_of(nranks() - 1) + 1; }
  bool has_expert_rows() const {
    return layout == Layout::kExpertMajor || layout == Layout::kExpertSlab;
  }
  int owner_of(int32_t expert) const;
  std::vector<int32_t> experts_of(int rank) const;  // [L], ascending; index = local expert
};

// The rows that one expert's zone is made for: slab_rows if set; else capacity under EXPERT_GLOBAL,
// R * capacity under EXPERT_PER_SOURCE, and without a capacity per expert (NONE, RANK): capacity if
// positive, else R * maxT.
// Reading: the contract writes [L,cap,H] and says nothing of cap under the latter two. A zone that
// cannot hold its rows (more than maxT * R only through duplicates) is a too small output.
int64_t zone_capacity(const Problem& p);

// ---- Routing ------------------------------------------------------------------------------------

struct Routing {
  // Physical expert of each assignment, or -1. `wanted` is before capacity drops anything, with
  // negative ids and masked ranks left out already; `kept` after.
  std::vector<std::vector<int32_t>> wanted;  // [R][T][K]
  std::vector<std::vector<int32_t>> kept;    // [R][T][K]
  std::vector<std::vector<uint8_t>> keep;    // [R][T][K] 1 where kept >= 0: LayoutInfo.keep
  std::vector<int64_t> dropped;              // [R] assignments of this rank that capacity dropped
  // What Prepare returns before layouts are looked at. tuttiInvalidArgument: an id >= E (or
  // num_logical), T > maxT, or KEEP_WEIGHT under EXPERT_PER_SOURCE without weights and with tokens;
  // tuttiRemoteError: that happened to another rank. Then nothing is wanted or kept by anybody.
  // Reading: a masked rank takes no part; its own input is not looked at, its verdict is success.
  std::vector<tuttiResult_t> verdict;  // [R]
};
Routing route(const Problem& p);

// ---- Layouts ------------------------------------------------------------------------------------

enum class Fill : uint8_t { kToken, kZero, kUntouched };

struct Row {
  Fill fill = Fill::kUntouched;  // kZero, kUntouched: padding
  int src = -1;                  // rank and token that the row holds
  int64_t token = -1;
  int k = -1;  // EXPERT_*: the assignment; other layouts hold a token once: -1
};

// One rank's view of what it receives. A masked rank receives nothing: N = 0, all counts 0.
struct RankLayout {
  // N, padding included.
  // Reading: EXPERT_SLAB has L * zone_capacity(p) rows and RANK_MAJOR R * maxT, whatever arrives.
  int64_t rows = 0;
  int64_t recv_tokens = 0;             // distinct (source, token) pairs
  std::vector<int32_t> experts;        // [L] physical ids
  std::vector<int64_t> expert_count;   // [L] kept assignments
  std::vector<int64_t> want_count;     // [L] assignments before dropping
  std::vector<int64_t> expert_offset;  // [L+1]; Reading: SLAB: i * zone; FLAT, RANK_MAJOR: empty
  std::vector<int64_t> src_count;      // [R] distinct tokens from each source
  std::vector<int64_t> row_src;        // [N] src * maxT + token, -1: padding
  // EXPERT_*: [N] k of the row, -1: padding. FLAT, RANK_MAJOR: [N][K] index of the local expert
  // that assignment k goes to, -1: not to this rank, or dropped, or padding.
  std::vector<int32_t> row_slot;
  std::vector<Row> row;   // [N] the same in words
  bool overflow = false;  // N above max_recv_rows, or a zone of SLAB too small for its rows
};
RankLayout lay_out(const Problem& p, const Routing& routing, int rank);

struct Prepared {
  Routing routing;
  std::vector<RankLayout> layouts;  // [R]; also when the verdict is an error: GetInfo tells N
  // Routing's verdict; if that is success everywhere, tuttiInvalidArgument on ranks whose layout
  // overflows and tuttiRemoteError on the others.
  // Reading: a bad id hides an overflow, since it leaves nothing to count.
  std::vector<tuttiResult_t> verdict;  // [R]
};
Prepared prepare(const Problem& p);

// ---- Dispatch -----------------------------------------------------------------------------------

// x[rank] = [T][row_bytes] is what every rank sends. `out` holds whatever was in the buffer of the
// layout's rank before, at least N rows and perhaps more; afterwards what Dispatch must leave
// there. Copy, FORWARD, quantised bytes and scales alike: any row size, 0 included.
void write_rows(const RankLayout& layout, const std::vector<std::vector<uint8_t>>& x,
                size_t row_bytes, std::vector<uint8_t>& out);

// The same for row_weight: weights[rank] = [T][K]; `out` is [N] for EXPERT_*, else [N][K] with 0
// where the assignment is not local.
void write_row_weights(const Problem& p, const RankLayout& layout,
                       const std::vector<std::vector<float>>& weights, std::vector<float>& out);

// Dispatch with dir = BWD and WEIGHT_APPLY, EXPERT_* only: x[rank] = [T][hidden] of dtype; each row
// is x times the weight of its assignment.
// Reading: the product is rounded to f32, then to dtype.
void write_weighted_rows(const Problem& p, const RankLayout& layout,
                         const std::vector<std::vector<uint8_t>>& x, tuttiDataType_t dtype,
                         int64_t hidden, const std::vector<std::vector<float>>& weights,
                         std::vector<uint8_t>& out);

// ---- Quantisation -------------------------------------------------------------------------------

enum class Quant { kFp8Block128, kFp8Block128Pow2, kInt8Token };

struct Quantised {
  std::vector<uint8_t> q;    // [T][hidden] e4m3 codes or int8
  std::vector<float> scale;  // [T][scales]; the value is q * scale
  int64_t scales = 1;        // per row: ceil(hidden / 128), or 1
};
// x = [T][hidden] of dtype (bf16, f16, f32).
Quantised quantise(Quant quant, tuttiDataType_t dtype, const std::vector<uint8_t>& x,
                   int64_t hidden);

// q * scale, exact; NaN if the scale is.
double dequantised(Quant quant, uint8_t q, float scale);

// How far that may be from the finite value v that was quantised: fp8 max(|v|/16, scale * 2^-10),
// int8 scale / 2; plus |v| * 2^-22, because v / scale is rounded to f32 first. An int8 scale that
// is zero or subnormal has lost bits itself: there max(|v|, scale).
double quantisation_bound(Quant quant, double v, float scale);

// ---- Combine ------------------------------------------------------------------------------------

enum class Reduce { kSlot, kRank, kNode };

struct CombineCase {
  Reduce reduce = Reduce::kSlot;
  bool apply = false;  // WEIGHT_APPLY, EXPERT_* only: with the weights of Problem::ranks
  int64_t hidden = 0;
  tuttiDataType_t row_type = tuttiFloat32;
  tuttiDataType_t partial = tuttiFloat32;  // spelled out: there is no "type of the rows" here
  tuttiDataType_t out_type = tuttiFloat32;
  std::vector<std::vector<uint8_t>> rows;                 // [R][N][hidden] of row_type
  std::array<std::vector<std::vector<uint8_t>>, 2> bias;  // [R][T][hidden] of out_type; empty: none
};

// What every rank gets, bit by bit: [R][T][hidden] of out_type.
//
// All sums are f32, acc = acc + (w * x) with both operations rounded, one rounding at the end.
//   start: bias0 + bias1, the one that is given, or +0
//   SLOT:  start, then ascending k. Where a row serves several k (FLAT, RANK_MAJOR) it is added
//          once, at the smallest
//   RANK:  per rank, from +0, ascending k, rounded to `partial`; then start, then ranks ascending
//   NODE:  the partials of RANK summed per node, from +0, ranks ascending, rounded to `partial`
//          again; then start, then nodes ascending
// Reading: partial sums start at +0, never at their first term; ranks and nodes with nothing of a
// token are left out; all ranks and nodes, the token's own too, are treated alike; a NaN result is
// the canonical one (docs/numbers.md), in f32 too; a single bias is taken bit by bit (-0 stays).
std::vector<std::vector<uint8_t>> combine(const Problem& p, const Prepared& prepared,
                                          const CombineCase& c);

// A wrong one: SLOT with the sum rounded to bf16 after each term. Error bounds must reject it.
std::vector<std::vector<uint8_t>> combine_bf16_accumulator(const Problem& p,
                                                           const Prepared& prepared,
                                                           const CombineCase& c);

// The same sum in f64, and how far a right result may be from it:
//   (u(out) + hops * u(partial) + (K + 2) * 2^-24) * sum, hops = 0 SLOT, 1 RANK, 2 NODE,
// sum = |bias0| + |bias1| + sum of |w * x|; u = 2^-8 bf16, 2^-11 f16, 2^-24 f32. With bf16 out that
// is the contract's 1, 2, 3 times 2^-8 (bf16 partials), the two terms more for the biases; plus
// half a subnormal for every value that is rounded. Not meant for sums beyond the range of a type.
struct Bounded {
  std::vector<double> value;  // [T][hidden]
  std::vector<double> bound;
};
std::vector<Bounded> combine_reference(const Problem& p, const Prepared& prepared,
                                       const CombineCase& c);

// row_value -> slot_value. values[rank] has the shape of row_weight; returns [R][T][K], 0 where
// nothing is kept.
std::vector<std::vector<float>> slot_values(const Problem& p, const Prepared& prepared,
                                            const std::vector<std::vector<float>>& values);

// ---- Traffic ------------------------------------------------------------------------------------

enum class Algorithm { kDirect, kHier };

// What AUTO stands for: DIRECT and RANK on one node, HIER and NODE on several.
Algorithm auto_algorithm(const Problem& p);
Reduce auto_reduce(const Problem& p);

// Payload sent by one rank, by tier: 0 to itself, 1 inside its node, 2 to other nodes.
struct Traffic {
  std::array<int64_t, 3> rows{};
  std::array<int64_t, 3> bytes{};
};

// Dispatch. DIRECT: a row per (token, destination rank). HIER: to other nodes a row per (token,
// node), to the lowest destination rank there, which copies it to the token's other destination
// ranks of that node.
// Reading: on its own node the source sends to each destination rank itself; what an entry rank
// keeps for itself is no row of its own. row_bytes counts scales.
std::vector<Traffic> dispatch_traffic(const Problem& p, const Routing& routing, Algorithm algorithm,
                                      int64_t row_bytes);

// Combine, the least that the reduction allows, and what must be reported. SLOT: a row per kept
// assignment (FLAT, RANK_MAJOR: per distinct rank, there is no more to send); RANK: one per
// distinct rank; NODE: one per distinct node.
// Reading: under NODE the mirror of HIER: other ranks of a foreign node hand their partial to the
// lowest one that has any, which sends the sum; on the token's node each rank sends its own.
// row_bytes: of a row for SLOT, of a partial for RANK and NODE.
std::vector<Traffic> combine_traffic(const Problem& p, const Routing& routing, Reduce reduce,
                                     int64_t row_bytes);

Traffic total(const std::vector<Traffic>& ranks);

// ---- Numbers ------------------------------------------------------------------------------------

// Exact up; nearest even down. NaN becomes the canonical one. f16 and bf16 overflow to infinity;
// e4m3 saturates to 448, and an infinity becomes NaN.
float from_bf16(uint16_t code);
float from_f16(uint16_t code);
float from_e4m3(uint8_t code);
uint16_t to_bf16(float value);
uint16_t to_f16(float value);
uint8_t to_e4m3(float value);

// bf16, f16, f32 by type.
size_t bytes_of(tuttiDataType_t dtype);
float load(tuttiDataType_t dtype, const uint8_t* from);
void store(tuttiDataType_t dtype, uint8_t* to, float value);
float round_to(tuttiDataType_t dtype, float value);
double unit_roundoff(tuttiDataType_t dtype);
std::vector<float> unpack(tuttiDataType_t dtype, const std::vector<uint8_t>& from);
std::vector<uint8_t> pack(tuttiDataType_t dtype, const std::vector<float>& from);

// ---- Random problems ----------------------------------------------------------------------------

// The same numbers for the same seed everywhere, unlike the distributions of <random>.
struct Random {
  uint64_t state;
  uint64_t next();
  int64_t below(int64_t n) { return static_cast<int64_t>(next() % static_cast<uint64_t>(n)); }
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  bool one_in(int64_t n) { return below(n) == 0; }
  double uniform();  // [0, 1)
  float normal();    // mean 0, deviation 1
};

struct Limits {
  int max_ranks = 8;
  int64_t max_tokens = 24;
  int max_topk = 64;
  int max_experts = 300;
  bool masks = true;     // masked ranks
  bool capacity = true;  // capacity modes and padding to capacity
  bool logical = true;   // redundant experts
};

// Ragged T, 0 among them; K 1..64; E below and above R; even, uneven and partly empty ranks;
// uniform, zipf and all-to-one routing; duplicates in a row; masked ids; every layout and mode.
// Weights are always given, some of them equal, some zero. Never an id out of range, and
// max_recv_rows is 0, but a SLAB may overflow: look at the verdict.
Problem random_problem(uint64_t seed, const Limits& limits);

}  // namespace tutti::oracle
