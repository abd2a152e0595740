// tutti-run: starts N ranks of a program on this host and waits for them (docs/launching.md).
// Exits as the first rank that failed; 2 when the usage is wrong.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <vector>

#include "comm/net/secret.h"
#include "comm/tools/tutti_run_environment.h"
#include "comm/tools/tutti_run_job.h"
#include "comm/tools/tutti_run_options.h"

namespace tutti {
namespace {

// Pipes must not take the numbers 0, 1 and 2, whatever the caller has closed.
void fill_standard_streams() {
  int fd = 0;
  while (fd >= 0 && fd <= 2) fd = open("/dev/null", O_RDWR);
  if (fd > 2) close(fd);
}

std::string folder_for_temporaries(const std::vector<std::string>& environment) {
  const std::string name = "TMPDIR=";
  for (const std::string& variable : environment) {
    if (variable.starts_with(name) && variable.size() > name.size()) {
      return variable.substr(name.size());
    }
  }
  return "/tmp";
}

int cannot_start(const Status& status) {
  std::fprintf(stderr, "tutti-run: %s\n", status.text().c_str());
  return kRunCannotStart;
}

int run(std::span<char* const> arguments, const std::vector<std::string>& environment) {
  const Result<RunOptions> options = parse_run_options(arguments);
  if (!options.ok()) {
    std::fprintf(stderr, "tutti-run: %s\nRun with --help for the usage.\n",
                 options.status().text().c_str());
    return kRunBadUsage;
  }
  if (options.value().help) {
    std::fputs(kRunUsage, stdout);
    return 0;
  }
  fill_standard_streams();
  const Result<Secret> secret = make_secret();
  if (!secret.ok()) return cannot_start(secret.status());
  const Result<JobFolder> folder = JobFolder::make(folder_for_temporaries(environment));
  if (!folder.ok()) return cannot_start(folder.status());
  const JobFacts facts{options.value().nranks, folder.value().path(), print_secret(secret.value())};
  return Job(options.value(), facts, environment).run();
}

}  // namespace
}  // namespace tutti

// The environment by argument, not through getenv(): ranks need all of it.
int main(int argc, char** argv, char** variables) {
  std::vector<std::string> environment;
  for (char** variable = variables; *variable != nullptr; ++variable) {
    environment.emplace_back(*variable);
  }
  return tutti::run({argv + 1, argv + (argc > 0 ? argc : 1)}, environment);
}
