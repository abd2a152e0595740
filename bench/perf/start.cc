#include "bench/perf/start.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <sys/random.h>
#include <unistd.h>

namespace perf {

using tutti::Code;
using tutti::Result;
using tutti::Status;

namespace {

using Words = std::vector<std::string>;

// mpirun refuses root unless told twice; this is a benchmark on the user's own host.
const Variables kOpenMpiAsRoot = {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                                  {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"}};

Words openmpi_run(int nranks, const Words& program) {
  Words words = {"mpirun.openmpi",      "--oversubscribe", "--bind-to", "none", "-n",
                 std::to_string(nranks)};
  words.insert(words.end(), program.begin(), program.end());
  return words;
}

Result<std::string> random_secret() {
  std::array<unsigned char, 16> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return tutti::error(Code::kSystemError, "getrandom: %s", std::strerror(errno));
  }
  std::string text;
  for (const unsigned char byte : bytes) {
    char hex[3];
    std::snprintf(hex, sizeof hex, "%02x", byte);
    text += hex;
  }
  return text;
}

Result<std::string> make_folder(const std::string& path) {
  std::error_code problem;
  // Inside a folder of mode 0700.
  if (!std::filesystem::create_directory(path, problem)) {
    return tutti::error(Code::kSystemError, "cannot make %s: %s", path.c_str(),
                        problem.message().c_str());
  }
  return path;
}

// One process per rank, told who it is in the environment, as tutti-run does it.
Status start_tutti_processes(const Words& program, int nranks, Children& children,
                             const std::string& folder) {
  const Result<std::string> secret = random_secret();
  if (!secret.ok()) return secret.status();
  const Result<std::string> rendezvous = make_folder(folder + "/rendezvous");
  if (!rendezvous.ok()) return rendezvous.status();
  std::error_code problem;
  std::filesystem::permissions(rendezvous.value(), std::filesystem::perms::owner_all, problem);
  for (int rank = 0; rank < nranks; ++rank) {
    const Variables identity = {{"TUTTI_RANK", std::to_string(rank)},
                                {"TUTTI_NRANKS", std::to_string(nranks)},
                                {"TUTTI_LOCAL_RANK", std::to_string(rank)},
                                {"TUTTI_RENDEZVOUS", "file://" + rendezvous.value()},
                                {"TUTTI_SECRET", secret.value()}};
    TUTTI_TRY(children.start("rank " + std::to_string(rank), program, identity));
  }
  return {};
}

Status start_tutti(const Options& options, int nranks, Children& children,
                   const std::string& folder, const std::string& socket) {
  Words program = {program_folder() + "/tutti-perf",
                   "serve",
                   "--socket",
                   socket,
                   "--transport",
                   options.transport};
  const std::string algorithms = algorithms_of(options);
  if (!algorithms.empty()) program.insert(program.end(), {"--algorithms", algorithms});
  if (options.transport == "inproc") {
    program.insert(program.end(), {"--threads", std::to_string(nranks)});
    return children.start("tutti", program, {});
  }
  if (options.transport == "mpi") {
    return children.start("mpirun.openmpi", openmpi_run(nranks, program), kOpenMpiAsRoot);
  }
  return start_tutti_processes(program, nranks, children, folder);
}

Status start_gloo(const std::string& name, const Words& way, int nranks, Children& children,
                  const std::string& folder, const std::string& socket) {
  const Result<std::string> store = make_folder(folder + "/" + name);
  if (!store.ok()) return store.status();
  for (int rank = 0; rank < nranks; ++rank) {
    Words words = {program_folder() + "/tutti-peer-gloo", socket, std::to_string(rank),
                   std::to_string(nranks), store.value()};
    words.insert(words.end(), way.begin(), way.end());
    TUTTI_TRY(children.start(name + " rank " + std::to_string(rank), words, {}));
  }
  return {};
}

Status start_peer(const std::string& name, int nranks, Children& children,
                  const std::string& folder, const std::string& socket) {
  // "openmpi-dedup": the library, and the way in which it does the work of experts.
  const size_t dash = name.find('-');
  const std::string library = name.substr(0, dash);
  Words way;
  if (dash != std::string::npos) way.push_back(name.substr(dash + 1));
  const std::string program = program_folder() + "/tutti-peer-" + library;
  if (access(program.c_str(), X_OK) != 0) {
    return tutti::error(Code::kUnsupported, "there is no %s: built without %s?", program.c_str(),
                        library.c_str());
  }
  Words rank = {program, socket};
  rank.insert(rank.end(), way.begin(), way.end());
  if (library == "openmpi") return children.start(name, openmpi_run(nranks, rank), kOpenMpiAsRoot);
  if (library == "mpich") {
    Words words = {"mpirun.mpich", "-n", std::to_string(nranks)};
    words.insert(words.end(), rank.begin(), rank.end());
    return children.start(name, words, {});
  }
  if (library == "gloo") return start_gloo(name, way, nranks, children, folder, socket);
  return children.start(name, {program, socket, std::to_string(nranks)}, {});
}

}  // namespace

std::string program_folder() {
  std::error_code problem;
  return std::filesystem::read_symlink("/proc/self/exe", problem).parent_path();
}

std::string algorithms_of(const Options& options) {
  if (options.algorithm.empty() || is_expert(options.collectives.front())) return "";
  return std::string(name_of(options.collectives.front())) + ":" + options.algorithm;
}

Result<std::unique_ptr<System>> start_tutti_system(const std::string& name, const Options& options,
                                                   int nranks, Children& children,
                                                   const PrivateFolder& folder) {
  const std::string socket = folder.path() + "/" + name + ".socket";
  Result<std::unique_ptr<SocketSystem>> system =
      SocketSystem::listen(name, socket, children, options.timeout_seconds);
  if (!system.ok()) return system.status();
  TUTTI_TRY(start_tutti(options, nranks, children, folder.path(), socket));
  TUTTI_TRY(system.value()->accept_ranks(nranks));
  return std::unique_ptr<System>(std::move(system.value()));
}

Result<Systems> start_systems(const Options& options, int nranks, Children& children,
                              const PrivateFolder& folder) {
  Systems systems;
  Result<std::unique_ptr<System>> tutti =
      start_tutti_system("tutti", options, nranks, children, folder);
  if (!tutti.ok()) return tutti.status();
  systems.push_back(std::move(tutti.value()));
  for (const std::string& name : options.peers) {
    const std::string socket = folder.path() + "/" + name + ".socket";
    Result<std::unique_ptr<SocketSystem>> system =
        SocketSystem::listen(name, socket, children, options.timeout_seconds);
    if (!system.ok()) return system.status();
    TUTTI_TRY(start_peer(name, nranks, children, folder.path(), socket));
    // One after the other: they would only be in each other's way.
    TUTTI_TRY(system.value()->accept_ranks(nranks));
    systems.push_back(std::move(system.value()));
  }
  return systems;
}

}  // namespace perf
