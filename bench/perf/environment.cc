#include "bench/perf/environment.h"

#include <algorithm>
#include <cstdlib>
#include <unistd.h>

namespace perf {

namespace {

std::string name_in(const std::string& entry) { return entry.substr(0, entry.find('=')); }

}  // namespace

std::string environment_variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Launch find_launch() {
  static constexpr const char* kLaunchers[][2] = {
      {"TUTTI_RANK", "TUTTI_NRANKS"},
      {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
      {"RANK", "WORLD_SIZE"},
      {"PMI_RANK", "PMI_SIZE"},
  };
  for (const auto& [rank, size] : kLaunchers) {
    const std::string self = environment_variable(rank);
    const int nranks = std::atoi(environment_variable(size).c_str());
    if (!self.empty() && nranks > 0) return {rank, std::atoi(self.c_str()), nranks};
  }
  return {};
}

std::vector<std::string> environment_with(const Variables& extra) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string name = name_in(*entry);
    const bool replaced = std::any_of(extra.begin(), extra.end(),
                                      [&](const auto& variable) { return variable.first == name; });
    if (!replaced) result.emplace_back(*entry);
  }
  for (const auto& [name, value] : extra) result.emplace_back(name).append("=").append(value);
  return result;
}

Variables tutti_variables() {
  Variables result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = name_in(text);
    if (name.rfind("TUTTI_", 0) != 0 || name == "TUTTI_SECRET") continue;
    result.emplace_back(name, text.substr(std::min(text.size(), name.size() + 1)));
  }
  std::sort(result.begin(), result.end());
  return result;
}

}  // namespace perf
