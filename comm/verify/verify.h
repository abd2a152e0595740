// The verifier: runs the schedules of all ranks symbolically, against exactly the model that the
// executor and the channels implement, and says what is wrong with them.
//
// Model. Lanes run in order. Lane l of rank a and lane l of rank b are joined by one FIFO channel
// per direction with K slots. A send is done for its lane when posted, which needs a free slot; the
// place is lent until the receiver has consumed the message, and a later step of the sender that
// writes the place waits for that. A step with messages among its inputs starts when all of them
// have arrived and, with messages among its outputs, when all those channels have a free slot; it
// consumes and posts at its end. Because lanes are in order and channels FIFO this is a Kahn
// network (Kahn 1974): one interleaving decides results and deadlocks of all.
//
// Checked: every chunk of every output holds what contract.h promises, each rank's contribution
// exactly once; the order of reduction is the same on every rank up to swapping the first two
// operands of a fold; reductions are final exactly once; no step reads scratch that was not written
// or writes an input that is not shared with the output; no two lanes of a rank touch a chunk
// without an order between them; no step touches a place between its offer and the message; a reply
// claim (kReply) is true; nobody deadlocks; two rounds run back to back are still right. For a
// barrier: nobody leaves before everybody has entered. Also: messages and places have equal sizes
// for any counts, tails and uneven blocks included; a step has at most one message of each peer in
// each direction (a channel shows one at a time); the places of a step coincide or keep apart.
//
// What depends on timing counts as wrong. A lent place is free for an offer only when the lane has
// itself waited for the message to be consumed (by writing the place), has since had a message from
// that peer that tells so, or when the claim kReply is true. Another lane may write a lent place
// only after the lending lane has. A copy whose two places are the same memory writes nothing.
//
// Schedules with rows (rows.h): a row is a chunk, and there is neither sharing of input and output
// nor an offer. What the outputs must hold is said by the caller, row by row (row_contract.h): the
// rows put in, with their weights, in the order and nesting of the sums. Besides: messages agree in
// their number of rows and in being main or side rows; a step writes each row once, and reads a row
// that it writes only for that very row; where a message may land the step touches nothing, but for
// an output row that is a copy of just what lands there.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "comm/schedule/catalog.h"
#include "comm/schedule/schedule.h"

namespace tutti {

struct RowContract;

struct Defect {
  static constexpr uint32_t kNoStep = 0xffffffff;
  enum class Kind : uint8_t {
    kDeadlock,
    kWrongResult,
    kReductionOrder,
    kNotFinal,
    kUnwrittenRead,
    kForbiddenWrite,
    kRace,
    kOfferConflict,
    kFalseReply,
    kUnmatched,  // a message nobody receives, or sizes that differ
    kMalformed,  // chunk, peer or lane out of range
    kBarrierLeak,
  } kind = Kind::kMalformed;
  int rank = 0;
  uint32_t lane = 0;
  uint32_t step = kNoStep;   // kNoStep: the rank as a whole, e.g. a result
  uint32_t chunk = kNoStep;  // or row
  int round = 0;             // counted from 0
  std::string place;         // "scratch[3]", where a chunk is to blame
  std::string expected;
  std::string got;
  std::string step_text;  // the step, as print_step writes it
};
const char* name_of(Defect::Kind kind);
std::string describe(const Defect& defect);  // several lines, for people

struct VerifyOptions {
  uint32_t slots = 1;  // K of every channel
  int rounds = 2;      // times the schedule is run back to back over fresh data (1 to 16)
};

// Gives the schedule of one rank. Called once a rank, and again for the rank of a defect.
using ScheduleOf = std::function<void(int rank, Schedule* out)>;

// Nothing found: nullopt. Never crashes, whatever the schedules say: what is out of range is a
// kMalformed defect.
std::optional<Defect> verify(int nranks, const ScheduleOf& schedule_of,
                             const VerifyOptions& options);

// The smallest K with which the algorithm does not deadlock (K counts only for deadlock), or the
// defect that no K up to `most` cures.
struct MinimumSlots {
  uint32_t slots = 0;
  std::optional<Defect> defect;
};
MinimumSlots minimum_slots(int nranks, const ScheduleOf& schedule_of, uint32_t most);

// The same for schedules with rows. Without a contract, by the functions above, all is checked but
// what the outputs hold; there are as many rows then as operands name, up to 4 M in all.
std::optional<Defect> verify_rows(int nranks, const ScheduleOf& schedule_of,
                                  const RowContract& contract, const VerifyOptions& options);
MinimumSlots minimum_slots_of_rows(int nranks, const ScheduleOf& schedule_of,
                                   const RowContract& contract, uint32_t most);

}  // namespace tutti
