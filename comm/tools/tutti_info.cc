// tutti-info: what this copy of Tutti is and which settings are in force here, where each came from
// and what it means. Exits 1 when a setting is bad, with the message that init would give.
#include <cstdio>
#include <string>
#include <string_view>

#include "tutti/tutti.h"

#include "comm/base/config.h"
#include "comm/base/cores.h"

namespace tutti {
namespace {

constexpr const char* kUsage =
    "usage: tutti-info [--help]\n"
    "\n"
    "Prints the version and every setting: its value, where the value came from (default,\n"
    "environment, config), the variable that sets it and what it means.\n";

void print_settings(const Config& config) {
  std::printf("%-13s %-16s %-12s %-20s %s\n", "setting", "value", "source", "variable", "meaning");
  for (size_t i = 0; i < kNumSettings; ++i) {
    const Setting& setting = settings()[i];
    const std::string value = setting.print(config);
    std::printf("%-13s %-16s %-12s %-20s %s%s\n", setting.name, value.empty() ? "-" : value.c_str(),
                name_of(config.sources[i]), setting.variable, setting.meaning,
                setting.all_ranks_agree ? " (the same on all ranks)" : "");
    std::printf("%64s expects %s\n", "", setting.expected);
  }
}

// The secret itself is nobody's business.
void print_launch(const Environment& environment) {
  std::printf("\nlaunched with:");
  bool any = false;
  for (const LaunchVariable& v : launch_variables()) {
    const std::string* value = environment.find(v.variable);
    if (value == nullptr) continue;
    const bool hidden = std::string_view(v.variable) == "TUTTI_SECRET";
    std::printf("\n  %s=%s (%s)", v.variable, hidden ? "..." : value->c_str(), v.meaning);
    any = true;
  }
  std::printf("%s\n", any ? "" : " no launch variables");
}

int run() {
  std::printf("tutti %d.%d.%d\nusable cores: %d\n\n", TUTTI_MAJOR, TUTTI_MINOR, TUTTI_PATCH,
              usable_cores());
  const Environment environment = Environment::of_process();
  const Result<Config> config = load_config(environment);
  if (!config.ok()) {
    std::fflush(stdout);
    std::fprintf(stderr, "tutti-info: %s\n", config.status().text().c_str());
    return 1;
  }
  print_settings(config.value());
  print_launch(environment);
  for (const std::string& name : config.value().unknown) {
    std::printf("\nunknown variable: %s (ignored)", name.c_str());
  }
  if (!config.value().unknown.empty()) std::printf("\n");
  return 0;
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) {
  if (argc == 1) return tutti::run();
  const std::string_view first = argv[1];
  if (argc == 2 && (first == "--help" || first == "-h")) {
    std::fputs(tutti::kUsage, stdout);
    return 0;
  }
  std::fprintf(stderr, "tutti-info: unexpected argument \"%s\"\n\n%s", argv[1], tutti::kUsage);
  return 2;
}
