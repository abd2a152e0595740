// The environment variables that tutti-perf looks at, and the environments it makes for what it
// starts: the only file of bench/ that touches the environment. Not thread-safe against setenv.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace perf {

using Variables = std::vector<std::pair<std::string, std::string>>;

std::string environment_variable(const char* name);  // "" when unset

// Whether a launcher started this process as one of its ranks, by the variable that says so.
struct Launch {
  std::string variable;  // "": no launcher
  int rank = 0;
  int nranks = 0;
};
Launch find_launch();

// This process's environment with `extra` in place of variables of the same names.
std::vector<std::string> environment_with(const Variables& extra);

// The variables whose names begin with TUTTI_, without the secret: part of what was measured.
Variables tutti_variables();

}  // namespace perf
