// The text form of a schedule: printed by tutti-schedule, parsed by tests and by it.
//
//   schedule all_reduce nranks 4 rank 1 root 0 in_place 0
//   shape input_blocks 1 output_blocks 1 chunks_per_block 4 scratch 3
//   lane 0
//     send                   input[0] -> 0
//     recv                   2 -> scratch[0] as input[1]
//     recv_reduce_copy_send  final input[1] + 2:scratch[0] -> output[1], 0:output[1]
//     offer                  0 message 1 -> output[0]
//     copy                   scratch[0..4) -> output[4..8) wait 1:7
//
// A place is buffer[chunk] or buffer[first..end); "peer:place" is a message, and a bare peer one
// whose place is that of the first operand on the other side. "as" names the data that gives the
// step its size where the first place does not; "wait lane:step" is a wait. Operand flags follow
// the operand: "reply", "keep" (a message whose place must be written too), "nokeep" (a place that
// need not be). Text from # to the end of a line is ignored. print() then parse() gives an equal
// schedule.
//
// Schedules with rows (rows.h) have no shape, and places that are sets of rows:
//
//   schedule rows nranks 3 rank 1
//   lane 0
//     send                   input{0..63 70 72} -> 2
//     recv_rows              copy 0:output{0..3} + 2:output{4} -> output{0..5} {0:0..3 1:0 ()}
//     rows                   sum weighted scratch{3 7} -> output{0} {(0:0 * 0.5 + 0:1)}
//
// {3..7} counts both ends in. What a step of rows computes stands last: for each output row the
// terms "input:row * weight" that it is made of, () for none; "0:0..3" is four output rows of one
// term each. A weight that is no number is given by its bits.
#pragma once

#include <string>
#include <string_view>

#include "comm/base/status.h"
#include "comm/schedule/schedule.h"

namespace tutti {

std::string print(const Schedule& schedule);
std::string print_step(const Schedule& schedule, const Step& step);  // one line, no newline

const char* name_of(Buffer buffer);  // "input", "output", ...; static storage

// "send", "recv_reduce_copy_send", ...: the operation and what its operands make of it.
std::string name_of(const Schedule& schedule, const Step& step);

// Refuses with line number (counted from first_line), what was expected and what was found. Never
// trusts a number: chunk and peer ranges are checked against the header, sizes are bounded (at most
// 1 M steps, 1 M ranks, 1024 lanes, 16 M chunks a buffer, 4 M rows and 4 M terms). Whether the
// steps make sense is the verifier's business.
Result<Schedule> parse_schedule(std::string_view text, int first_line = 1);

}  // namespace tutti
