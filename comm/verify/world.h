// World: the schedules of all ranks in one compiled form, and the checks that need no run.
//
// Flat arrays in rank, lane, step order; places resolved to cells; every message matched to the
// step that makes it and the step that takes it, which in-order lanes over FIFO channels fix
// beforehand. Whatever load() lets through is in range, so the run (run.h) indexes without
// checking. Reusable: load() keeps the memory of the load before. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/schedule/contract.h"
#include "comm/schedule/schedule.h"
#include "comm/verify/verify.h"
#include "comm/verify/world_rows.h"

namespace tutti {

inline constexpr uint32_t kNothing = 0xffffffff;

// Cells are the chunks of a rank's memory: data cells (input and output, shared where in place),
// then scratch cells. Numbered from 0 in each rank; run.h lays rounds out behind one another.
struct WorldRank {
  uint32_t first_lane, num_lanes;
  uint32_t data_cells, scratch_cells;
  uint32_t input_base, num_inputs;  // cell of input chunk 0; 0 chunks where there is no input
  uint32_t output_base, num_outputs;
  bool has_waits;

  bool is_output(uint32_t cell) const {
    return cell >= output_base && cell - output_base < num_outputs;
  }
};

struct WorldLane {
  uint32_t rank, index;
  uint32_t first_step, num_steps;
};

struct WorldOperand {
  uint32_t cell;     // first cell of the place; of rows: the place (world_rows.h)
  uint32_t channel;  // kNothing: local
  uint32_t message;  // index in World::messages; offers: the message offered for
  uint8_t flags;
};
// Operand flags: what the step does to the place of an output operand.
inline constexpr uint8_t kWrites = 1;   // the first operand of the step that writes this place
inline constexpr uint8_t kDefines = 2;  // and some operand keeps it: readable afterwards
// Input operand with a message: its place is written as a landing place, content undefined.
inline constexpr uint8_t kLands = 4;

struct WorldStep {
  Op op;
  uint8_t flags;
  uint16_t n_in, n_out;
  uint32_t first;  // in World::operands
  uint32_t nchunks;
  uint32_t wait_lane;  // index in World::lanes, or kNothing
  uint32_t wait_step;
  uint32_t snapshot;  // some lane waits for this step: number of that event, or kNothing
};

// Channels come in pairs: channel c and c ^ 1 join the same two lanes, one for each direction.
struct WorldChannel {
  uint32_t from_rank, to_rank, lane;
  uint32_t from_lane, to_lane;  // indices in World::lanes
  uint32_t first_message, sent, received;
};

struct WorldMessage {
  uint32_t channel;
  uint32_t cell;       // of the sender: the place it lends
  uint32_t nchunks;    // as the sender says
  uint32_t send_step;  // steps count within their lanes; kNothing: nobody does
  uint32_t receive_step;
  uint32_t receive_nchunks;
  uint32_t receive_cell;
  uint32_t acks;  // messages the sender had consumed from the receiver when making this one
  uint64_t size_key, receive_size_key;  // equal keys: equal bytes, tails included
  uint32_t offer;                       // index in World::offers, or kNothing
  bool reply;                           // the receiver claims kReply
};

struct WorldOffer {
  uint32_t lane, step;  // index in World::lanes, step within it
  uint32_t channel;     // peer -> this rank
  uint32_t ordinal;
  uint32_t cell, nchunks;
  uint32_t sent_before;      // messages to that peer posted before the offer in this lane
  uint32_t received_before;  // messages from it received before the offer
};

class World {
 public:
  // `contract`: of schedules with rows, kept until the next load; without one nothing is promised.
  std::optional<Defect> load(int nranks, const ScheduleOf& schedule_of,
                             const RowContract* contract = nullptr);

  // "scratch[3]" for a cell of a rank; `chunk` gets the 3 when not null.
  std::string cell_name(uint32_t rank, uint32_t cell, uint32_t* chunk) const;

  Collective collective = Collective::kBarrier;
  int nranks = 0;
  uint32_t num_snapshots = 0;
  uint64_t cells_total = 0;
  std::vector<WorldRank> ranks;
  std::vector<WorldLane> lanes;
  std::vector<WorldStep> steps;
  std::vector<WorldOperand> operands;
  std::vector<WorldChannel> channels;
  std::vector<WorldMessage> messages;
  std::vector<WorldOffer> offers;
  // What each output chunk must hold, in rank and chunk order.
  std::vector<Promise> promises;
  WorldRows rows;  // empty for collectives

 private:
  using Found = std::optional<Defect>;
  void clear();
  Found check_rank(const Schedule& s, int rank) const;
  Found check_header(const Schedule& s, int rank);
  void lay_out(const Schedule& s);
  Found add_rank(const Schedule& s);
  Found add_step(const Schedule& s, uint32_t lane, uint32_t index);
  Found check_form(const Schedule& s, uint32_t lane, uint32_t index);
  Found add_operand(const Schedule& s, uint32_t lane, uint32_t index, uint32_t k);
  Found classify(const Schedule& s, uint32_t lane, uint32_t index);
  Found mark_peers(const Schedule& s, uint32_t lane, uint32_t index);
  Found mark_inputs(const Schedule& s, uint32_t lane, uint32_t index);
  Found mark_outputs(const Schedule& s, uint32_t lane, uint32_t index);
  Found resolve_waits(const Schedule& s, uint32_t lane, uint32_t index);
  Found load_rows(const ScheduleOf& schedule_of, const RowContract* contract);
  static std::array<uint64_t, kNumBuffers> named_rows(const Schedule& s);
  Found lay_out_rows(const Schedule& s);
  Found add_row_step(const Schedule& s, uint32_t lane, uint32_t index);
  Found check_row_form(const Schedule& s, uint32_t lane, uint32_t index) const;
  Found add_row_operand(const Schedule& s, uint32_t lane, uint32_t index, uint32_t k);
  Found add_program(const Schedule& s, uint32_t lane, uint32_t index);
  Found check_program(const Schedule& s, const RowProgram& program, uint32_t lane,
                      uint32_t index) const;
  std::span<const uint32_t> row_place(uint32_t k) const;
  Found row_conflict(const Schedule& s, uint32_t lane, uint32_t index, uint32_t cell,
                     std::string expected, const char* what) const;
  Found mark_landings(const Schedule& s, uint32_t lane, uint32_t index);
  Found mark_reads(const Schedule& s, uint32_t lane, uint32_t index);
  Found mark_writes(const Schedule& s, uint32_t lane, uint32_t index);
  std::string row_cell_name(uint32_t rank, uint32_t cell, uint32_t* row) const;
  uint32_t channel_to(uint32_t lane, uint32_t from, uint32_t to);
  void match_messages();
  void match_lane(uint32_t lane);
  Found check_messages() const;
  Found check_offers();
  Found check_reply(const WorldOffer& offer, const WorldMessage& message) const;

  Shape shape_;
  int root_ = 0;
  std::vector<uint32_t> channel_table_;  // open addressing: channel pair + 1, or 0
  std::vector<uint64_t> size_keys_;      // per operand that is a message
  // How the step being added (number serial_) uses the cells of its rank, and the channels.
  struct Mark {
    uint64_t step = 0;
    uint32_t offset = 0;  // which chunk of the step's data lies here
    uint8_t bits = 0;
  };
  std::vector<Mark> marks_;
  // The same of rows: which row of which message lands in a cell, which output row reads it.
  struct RowMark {
    uint64_t step = 0;
    uint32_t input = 0, row = 0;
    uint32_t reader = kNothing;
    uint8_t bits = 0;
  };
  std::vector<RowMark> row_marks_;
  std::vector<uint64_t> channel_marks_;
  uint64_t serial_ = 0;
  std::vector<uint32_t> sent_, received_;  // per channel, while matching
  Schedule scratch_schedule_;
};

}  // namespace tutti
