#include "tests/launch/scenario.h"

#include <cstdlib>
#include <fstream>
#include <poll.h>
#include <sstream>
#include <sys/syscall.h>
#include <unistd.h>

#include "comm/base/unique_fd.h"
#include "tests/support/temp_folder.h"

namespace tutti {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// "pid N" is the first line of a report. What mpirun kills may outlive it for a moment.
bool is_gone_in_time(const std::string& report) {
  const int pid = std::atoi(report.c_str() + 4);
  // By number: <sys/pidfd.h> of glibc 2.36 declares it without extern "C".
  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  pollfd ended = {process.get(), POLLIN, 0};
  return !process.valid() || poll(&ended, 1, 10'000) == 1;
}

Finished collect(const std::string& folder, int nranks, std::vector<Outcome> outcomes) {
  Finished job;
  job.outcomes = std::move(outcomes);
  for (int r = 0; r < nranks; ++r) {
    job.reports.push_back(read_file(folder + "/report." + std::to_string(r)));
    if (!job.reports.back().empty() && !is_gone_in_time(job.reports.back())) job.all_gone = false;
  }
  return job;
}

#ifdef TUTTI_OPENMPI_RUN
// Its own yields, one per poll, would cost a time slice each on a busy machine.
Program under_mpirun(int nranks, const std::string& scenario) {
  Program p;
  p.environment = {{"OMPI_ALLOW_RUN_AS_ROOT", "1"}, {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"}};
  p.arguments = {TUTTI_OPENMPI_RUN,
                 "--oversubscribe",
                 "--bind-to",
                 "none",
                 "--mca",
                 "mpi_yield_when_idle",
                 "0",
                 "--timeout",
                 std::to_string(kScenarioLimitS - 10),
                 "-n",
                 std::to_string(nranks),
                 TUTTI_LAUNCH_HELPER,
                 scenario};
  return p;
}
#endif

}  // namespace

std::vector<std::string> transports_to_test() {
  std::istringstream words(TUTTI_TEST_TRANSPORTS);
  std::vector<std::string> names;
  for (std::string name; words >> name;) names.push_back(name);
  return names;
}

bool ends_with_its_first_rank(const std::string& transport) { return transport == "mpi"; }

Finished run_scenario(const std::string& transport, int nranks, const std::string& scenario) {
  const TempFolder folder;
  std::vector<Program> programs = helper_job(folder.path(), nranks, {scenario});
#ifdef TUTTI_OPENMPI_RUN
  if (transport == "mpi") programs = {under_mpirun(nranks, scenario)};
#endif
  for (Program& p : programs) {
    p.environment.emplace_back("LAUNCH_HELPER_FOLDER", folder.path());
    p.environment.emplace_back("TUTTI_TRANSPORT", transport);
    p.environment.emplace_back("TUTTI_TIMEOUT", "never");
  }
  return collect(folder.path(), nranks, run_all(programs, kScenarioLimitS));
}

Finished run_on_split_host(int nranks, const std::string& scenario) {
  const TempFolder folder;
  std::vector<Program> programs = helper_job(folder.path(), nranks, {scenario});
  for (size_t r = 0; r < programs.size(); ++r) {
    programs[r].environment.emplace_back("LAUNCH_HELPER_FOLDER", folder.path());
    programs[r].environment.emplace_back("TUTTI_HOST_ID", r % 2 == 0 ? "even" : "odd");
  }
  return collect(folder.path(), nranks, run_all(programs, kScenarioLimitS));
}

Finished run_under_tutti_run(int nranks, const std::string& scenario) {
  const TempFolder folder;
  Program p;
  p.environment = {{"LAUNCH_HELPER_FOLDER", folder.path()}};
  p.arguments = {TUTTI_RUN, "-n", std::to_string(nranks), TUTTI_LAUNCH_HELPER, scenario};
  return collect(folder.path(), nranks, run_all({p}, kScenarioLimitS));
}

std::string text_of(const Finished& job) {
  std::string text;
  for (const std::string& report : job.reports) text += "reported:\n" + report;
  for (const Outcome& o : job.outcomes) {
    text += "status " + std::to_string(o.status) + ", output:\n" + o.text;
  }
  return text;
}

}  // namespace tutti
