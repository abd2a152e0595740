#include "comm/bootstrap/launch.h"

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

#include "comm/bootstrap/exchange.h"

namespace tutti {
namespace {

struct RankVariables {
  const char* rank;
  const char* nranks;
  const char* local_rank;
};
constexpr RankVariables kTuttiRun = {"TUTTI_RANK", "TUTTI_NRANKS", "TUTTI_LOCAL_RANK"};
constexpr RankVariables kTorchrun = {"RANK", "WORLD_SIZE", "LOCAL_RANK"};
constexpr RankVariables kMpirun = {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                                   "OMPI_COMM_WORLD_LOCAL_RANK"};

Status read_number(const Environment& environment, const char* name, int low, int high, int* out) {
  const std::string* text = environment.find(name);
  if (text == nullptr) {
    return error(Code::kInvalidArgument, "%s is not set: expected a number from %d to %d", name,
                 low, high);
  }
  const char* end = text->data() + text->size();
  const auto [stop, failure] = std::from_chars(text->data(), end, *out);
  if (failure == std::errc() && stop == end && *out >= low && *out <= high) return Status();
  return error(Code::kInvalidArgument, "%s: expected a number from %d to %d, got \"%.40s\"", name,
               low, high, text->c_str());
}

Status read_ranks(const Environment& environment, const RankVariables& names, Launch* launch) {
  TUTTI_TRY(read_number(environment, names.nranks, 1, kMaxRanks, &launch->nranks));
  TUTTI_TRY(read_number(environment, names.rank, 0, launch->nranks - 1, &launch->rank));
  launch->local_rank = launch->rank;
  if (environment.find(names.local_rank) == nullptr) return Status();
  return read_number(environment, names.local_rank, 0, launch->nranks - 1, &launch->local_rank);
}

bool is_loopback_name(std::string_view host) {
  return host == "localhost" || host.starts_with("127.") || host == "::1" || host == "[::1]";
}

Status read_rendezvous(const Environment& environment, Launch* launch) {
  const std::string* text = environment.find("TUTTI_RENDEZVOUS");
  if (text == nullptr) {
    if (launch->nranks == 1) return Status();  // nobody to meet
    return error(Code::kInvalidArgument,
                 "TUTTI_RENDEZVOUS is not set: expected tcp://HOST:PORT or file:///FOLDER");
  }
  constexpr std::string_view kTcp = "tcp://";
  constexpr std::string_view kFile = "file://";
  if (text->starts_with(kTcp) && text->size() > kTcp.size()) {
    launch->host = text->substr(kTcp.size());
    launch->one_host = is_loopback_name(launch->host.substr(0, launch->host.rfind(':')));
    return Status();
  }
  if (text->starts_with(kFile) && text->size() > kFile.size() && (*text)[kFile.size()] == '/') {
    launch->folder = text->substr(kFile.size());
    // Only who may enter the folder can read what is in it, wherever it is mounted.
    launch->one_host = true;
    return Status();
  }
  return error(Code::kInvalidArgument,
               "TUTTI_RENDEZVOUS: expected tcp://HOST:PORT or file:///FOLDER, got \"%.200s\"",
               text->c_str());
}

Status read_torchrun(const Environment& environment, Launch* launch) {
  launch->launcher = Launcher::kTorchrun;
  TUTTI_TRY(read_ranks(environment, kTorchrun, launch));
  int port = 0;
  TUTTI_TRY(read_number(environment, "MASTER_PORT", 1, 65534, &port));
  std::string host = *environment.find("MASTER_ADDR");
  launch->one_host = is_loopback_name(host);
  if (environment.find("LOCAL_WORLD_SIZE") != nullptr) {
    int here = 0;
    TUTTI_TRY(read_number(environment, "LOCAL_WORLD_SIZE", 1, launch->nranks, &here));
    launch->one_host = here == launch->nranks;
  }
  if (host.find(':') != std::string::npos && host.front() != '[') host = '[' + host + ']';
  launch->host = host + ':' + std::to_string(port + 1);
  return Status();
}

}  // namespace

const char* name_of(Launcher launcher) {
  switch (launcher) {
    case Launcher::kTutti:
      return "tutti-run";
    case Launcher::kTorchrun:
      return "torchrun";
    case Launcher::kOpenMpi:
      return "mpirun";
  }
  return "unknown";
}

Result<Launch> read_launch(const Environment& environment) {
  const auto has = [&environment](const char* name) { return environment.find(name) != nullptr; };
  Launch launch;
  if (has(kTuttiRun.rank) || has(kTuttiRun.nranks)) {
    TUTTI_TRY(read_ranks(environment, kTuttiRun, &launch));
    TUTTI_TRY(read_rendezvous(environment, &launch));
    return launch;
  }
  if (has(kTorchrun.rank) && has(kTorchrun.nranks) && has("MASTER_ADDR")) {
    TUTTI_TRY(read_torchrun(environment, &launch));
    return launch;
  }
  if (has(kMpirun.rank) && has(kMpirun.nranks)) {
    launch.launcher = Launcher::kOpenMpi;
    TUTTI_TRY(read_ranks(environment, kMpirun, &launch));
    return launch;
  }
  return error(Code::kInvalidUsage,
               "no launcher has described this job: expected TUTTI_RANK and TUTTI_NRANKS "
               "(tutti-run), RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT (torchrun), or "
               "OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE (mpirun)");
}

}  // namespace tutti
