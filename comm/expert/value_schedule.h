// One number for each assignment, from where its token is to where its row is (weights), or back
// (their gradients): the part that dispatch and combine share. Such numbers are too small to travel
// one by one, so what goes to one rank is packed, in (token, k) order.
#pragma once

#include "comm/expert/expert_schedule.h"
#include "comm/schedule/row_builder.h"

namespace tutti {

// kInputValue to kOutputValue, through kScratchValue. At the token's rank the numbers lie as
// [T, K]; at the row's rank one a row, or [rows, K] in the layouts that have one row for a token.
// Those that no assignment has become zero, but for padding rows.
void build_values(const Routed& routed, bool back, RowBuilder* builder);

}  // namespace tutti
