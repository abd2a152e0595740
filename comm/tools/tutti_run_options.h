// The command line of tutti-run. Everything from PROGRAM on belongs to it, options too. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/base/status.h"

namespace tutti {

inline constexpr int kMaxLocalRanks = 1024;
extern const char* const kRunUsage;

struct RunOptions {
  int nranks = 0;
  std::optional<int64_t> timeout_ns;
  int64_t grace_ns = 5'000'000'000;  // from SIGTERM to SIGKILL
  bool bind_cores = false;
  bool prefix = true;
  bool help = false;                 // the rest may be missing then
  std::vector<std::string> command;  // PROGRAM ARGS, never empty
};

// `arguments` without the name of the tool. kInvalidArgument says what was expected and found.
Result<RunOptions> parse_run_options(std::span<char* const> arguments);

}  // namespace tutti
