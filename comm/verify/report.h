// Making Defects, and the small words they are written in. Pure.
#pragma once

#include <string>

#include "comm/schedule/step.h"
#include "comm/verify/verify.h"

namespace tutti {

inline Defect defect(Defect::Kind kind, int rank, std::string expected, std::string got) {
  Defect d;
  d.kind = kind;
  d.rank = rank;
  d.expected = std::move(expected);
  d.got = std::move(got);
  return d;
}

inline Defect defect_at(Defect::Kind kind, int rank, uint32_t lane, uint32_t step,
                        std::string expected, std::string got) {
  Defect d = defect(kind, rank, std::move(expected), std::move(got));
  d.lane = lane;
  d.step = step;
  return d;
}

}  // namespace tutti
