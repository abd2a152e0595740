// Lists of numbers of ranks as users write them: "1..64,127..129,256". Pure.
#pragma once

#include <string_view>
#include <vector>

#include "comm/base/status.h"

namespace tutti {

// Sorted, without repeats, each from 1 to 65536. Refuses with what was expected and what was found.
Result<std::vector<int>> parse_rank_list(std::string_view text);

}  // namespace tutti
