// Fuzz target: any environment either loads or fails with a message, and what loaded prints as a
// text that loads to the same settings. Input: NAME=VALUE lines; a line "!FIELD=VALUE" is an
// override instead.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "comm/base/check.h"
#include "comm/base/config.h"

namespace {

struct Input {
  tutti::Environment environment;
  tutti::ConfigOverrides overrides;
};

void add_line(std::string_view line, Input* input) {
  const size_t equals = line.find('=');
  if (equals == std::string_view::npos) return;
  const std::string name(line.substr(0, equals));
  std::string value(line.substr(equals + 1));
  if (name == "!algorithms") {
    input->overrides.algorithms = std::move(value);
  } else if (name == "!transport") {
    input->overrides.transport = std::move(value);
  } else if (name == "!log") {
    input->overrides.log = std::move(value);
  } else if (name == "!timeout") {
    int64_t ns = 0;
    for (const char c : value) ns = static_cast<int64_t>(static_cast<uint64_t>(ns) * 257u + c);
    input->overrides.timeout_ns = ns;
  } else {
    input->environment.variables.emplace_back(name, std::move(value));
  }
}

Input parse_input(std::string_view text) {
  Input input;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    add_line(text.substr(0, end), &input);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return input;
}

// Loads the printed form of every setting and compares.
void check_round_trip(const tutti::Config& config) {
  tutti::Environment printed;
  for (const tutti::Setting& setting : tutti::settings()) {
    printed.variables.emplace_back(setting.variable, setting.print(config));
  }
  const tutti::Result<tutti::Config> again = tutti::load_config(printed);
  TUTTI_CHECK(again.ok(), "what was printed can be parsed");
  TUTTI_CHECK(again.value().algorithms == config.algorithms, "algorithms");
  TUTTI_CHECK(again.value().transport == config.transport, "transport");
  // A value above 2^51 ns (26 days) loses nanoseconds in the seconds that a user writes.
  TUTTI_CHECK(
      config.timeout_ns > (int64_t{1} << 51) || again.value().timeout_ns == config.timeout_ns,
      "timeout");
  TUTTI_CHECK(again.value().log == config.log, "log");
  TUTTI_CHECK(again.value().threads == config.threads, "threads");
  TUTTI_CHECK(again.value().buffer_cap == config.buffer_cap, "buffer_cap");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Input input = parse_input(std::string_view(reinterpret_cast<const char*>(data), size));
  const tutti::Result<tutti::Config> config =
      tutti::load_config(input.environment, input.overrides);
  if (!config.ok()) {
    TUTTI_CHECK(!config.status().text().empty(), "a failure says why");
    return 0;
  }
  TUTTI_CHECK(config.value().timeout_ns > 0, "timeout in range");
  TUTTI_CHECK(config.value().threads >= 1 && config.value().threads <= 1024, "threads in range");
  TUTTI_CHECK(config.value().buffer_cap >= 65536, "buffer cap in range");
  check_round_trip(config.value());
  return 0;
}
