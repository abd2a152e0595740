// Run: one symbolic execution of a World with K slots a channel.
//
// Event-driven: a lane runs until it must wait, says what for, and is queued again when that
// happens. One interleaving is enough (Kahn 1974); races and offers are judged by order, not by
// when things happened to run. run() starts afresh each time and keeps memory between runs. Not
// thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/verify/expressions.h"
#include "comm/verify/order.h"
#include "comm/verify/row_expressions.h"
#include "comm/verify/value.h"
#include "comm/verify/world.h"

namespace tutti {

class Run {
 public:
  // `record` keeps the expressions, so that a defect tells what a chunk held: slower, same verdict.
  std::optional<Defect> run(const World& world, const VerifyOptions& options, bool record);

 private:
  struct Cell {
    Value value;
    uint32_t lent = 0;                 // messages of this rank that still borrow the cell
    uint32_t lent_channel = kNothing;  // lent on it since the last write; or kMany
    uint32_t lent_message = 0;         // the last such message, counted over all rounds
    uint32_t offer = 0;                // open window: index in World::offers, plus one
    uint16_t round = 0;                // of the last write
    bool written = false;
    bool touched = false;  // something was written or may have landed here
  };
  enum class Wait : uint8_t { kNone, kMessage, kSlot, kLent, kStep };
  struct LaneState {
    uint32_t step = 0, round = 0;
    uint32_t cursor = 0;  // conditions of the step that are known to hold
    Wait wait = Wait::kNone;
    uint64_t wait_for = 0;  // channel, cell or lane
    bool queued = false;
    bool finished = false;
  };
  static constexpr uint32_t kMany = kNothing - 1;

  void reset();
  void reset_cells();
  uint64_t cell_at(uint32_t rank, uint32_t cell, uint32_t round) const {
    const uint64_t in_rank = cell < world_->ranks[rank].data_cells
                                 ? uint64_t{round} * world_->ranks[rank].data_cells + cell
                                 : uint64_t{rounds_ - 1} * world_->ranks[rank].data_cells + cell;
    return first_cell_[rank] + in_rank;
  }
  // Visits the cells of a place, by their numbers in cells_, until a visit returns false.
  template <typename Visit>
  void each_cell(uint32_t rank, uint32_t place, uint32_t n, uint32_t round, Visit visit) const {
    if (!of_rows_) {
      const uint64_t first = cell_at(rank, place, round);
      for (uint64_t c = first; c < first + n; ++c) {
        if (!visit(c)) return;
      }
      return;
    }
    for (const uint32_t cell : world_->rows.cells(place)) {
      if (!visit(cell_at(rank, cell, round))) return;
    }
  }
  // Of a message of this round, counted over all rounds of its channel.
  uint32_t message_count(uint32_t message, uint32_t channel, uint32_t round) const {
    const WorldChannel& c = world_->channels[channel];
    return round * c.sent + (message - c.first_message);
  }
  bool watched(uint32_t rank) const { return order_.watches(rank); }

  void advance(uint32_t lane);  // until it waits, ends or fails
  bool can_start(uint32_t lane);
  bool operand_ready(uint32_t lane, const WorldStep& step, uint32_t k);
  bool block(uint32_t lane, Wait wait, uint64_t wait_for);
  void wake(uint32_t lane, Wait wait, uint64_t wait_for);
  bool execute(uint32_t lane);
  bool open_window(uint32_t lane);
  bool offer_cell(uint32_t lane, const WorldOffer& offer, bool reply, uint32_t offered,
                  uint64_t index, uint32_t cell);
  const Value* read(uint32_t lane, const WorldOperand& operand, uint32_t k);
  const Value* read_cell(uint32_t lane, uint32_t cell);
  bool gather(uint32_t lane, const WorldStep& step, uint32_t k, Value* value);
  bool land(uint32_t lane, const WorldOperand& operand, uint32_t cell);
  bool store(uint32_t lane, const WorldOperand& operand, uint32_t cell, const Value& value);
  void finish_messages(uint32_t lane, const WorldStep& step);
  void consume(uint32_t lane, const WorldOperand& operand);
  void post(uint32_t lane, const WorldOperand& operand, uint32_t nchunks);
  void lend(uint32_t lane, Cell* cell, uint32_t channel, uint32_t count);
  void finish_round(uint32_t lane);

  // Of schedules with rows.
  void reset_rows();
  bool execute_rows(uint32_t lane, const WorldStep& step);
  bool compute_rows(uint32_t lane, const WorldStep& step, const RowProgram& program);
  bool compute_row(uint32_t lane, const WorldStep& step, const RowProgram& program, uint32_t row);
  bool store_rows(uint32_t lane, const WorldStep& step, const RowProgram& program);
  const Value* read_row(uint32_t lane, const WorldOperand& operand, uint32_t row);
  void check_rows();
  void check_row(uint32_t rank, uint32_t round, Buffer buffer, uint32_t row);

  // Failing keeps the first defect and stops the run. All return false.
  bool fail(Defect::Kind kind, uint32_t lane, uint32_t cell, std::string expected, std::string got);
  bool fail_race(uint32_t lane, uint32_t cell, uint32_t other_lane, const char* access);
  bool fail_offered(uint32_t lane, uint32_t cell, uint32_t offer, const char* access);
  void report_deadlock();
  uint32_t waits_on(uint32_t lane) const;
  std::string wait_text(uint32_t lane) const;
  const WorldChannel* borrower(uint32_t lane, uint64_t cell) const;

  void check_results();
  void check_chunk(uint32_t rank, uint32_t round, uint32_t chunk, const Promise& promise);
  void check_barrier();
  std::string contents(const Cell& cell, uint32_t round) const;

  const World* world_ = nullptr;
  uint32_t slots_ = 1;
  uint32_t rounds_ = 1;
  bool record_ = false;
  bool of_rows_ = false;
  std::optional<Defect> defect_;

  std::vector<uint64_t> first_cell_;  // per rank, and one past the last
  std::vector<Cell> cells_;
  std::vector<LaneState> lanes_;
  std::vector<uint32_t> queue_;              // lanes that may be able to go on
  std::vector<uint32_t> posted_, consumed_;  // per channel, over all rounds
  // Per channel: messages on it that its sender knows to be consumed, told by messages coming back.
  std::vector<uint32_t> known_consumed_;
  LocalOrder order_;

  // Barrier: who is known to have entered, as bitsets of words_ words.
  uint32_t words_ = 0;
  std::vector<uint64_t> lane_knows_, message_knows_, rank_knows_;

  std::vector<uint64_t> expected_sums_;  // per round and input chunk, where reductions need them
  Expressions expressions_;
  std::vector<uint32_t> terms_;
  RowExpressions row_expressions_;
  std::vector<RowExpressions::Term> row_terms_;
  std::vector<Value> row_values_;  // of the step being run, in the order of its output rows
  struct Writer {
    uint32_t lane = kNothing, step = kNothing;
  };
  std::vector<Writer> writers_;  // per cell, when recording
};

}  // namespace tutti
