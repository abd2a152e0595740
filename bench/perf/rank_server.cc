#include "bench/perf/rank_server.h"

#include <cstdio>
#include <cstdlib>
#include <sched.h>
#include <unistd.h>

#include "bench/perf/cpus.h"
#include "comm/base/clock.h"

namespace perf {

using tutti::Code;
using tutti::Result;
using tutti::Status;

namespace {

// Of all threads of the process.
double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

double seconds(int64_t ns) { return static_cast<double>(ns) * 1e-9; }

std::string number(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

}  // namespace

Result<void*> RankSystem::allocate(const Case&, size_t bytes) {
  constexpr size_t kPage = 4096;
  void* memory = std::aligned_alloc(kPage, (bytes / kPage + 1) * kPage);
  if (memory == nullptr) {
    return tutti::error(Code::kOutOfMemory, "no memory for %zu bytes", bytes);
  }
  return memory;
}

void RankSystem::free(void* memory) { std::free(memory); }

Status RankSystem::prepare(const Case&, void*, void*) { return {}; }

void RankSystem::finish(const Case&) {}

struct RankServer::Running {
  Running(const Case& c, int rank, int nranks)
      : settings(c), problem(make_problem(c, rank, nranks)) {}
  Case settings;
  std::unique_ptr<Problem> problem;
  void* send_memory = nullptr;
  void* recv_memory = nullptr;
  bool prepared = false;
  uint64_t calls = 0;
};

RankServer::RankServer(RankSystem& system) : system_(system) {}

RankServer::~RankServer() { end(); }

std::string RankServer::hello() const {
  return "hello " + std::to_string(system_.rank()) + " " + std::to_string(system_.nranks()) + " " +
         std::to_string(getpid()) + " " + usable_cpus() + " " + system_.version();
}

Status RankServer::begin(const Case& c) {
  end();
  running_ = std::make_unique<Running>(c, system_.rank(), system_.nranks());
  Running& r = *running_;
  Result<void*> send = system_.allocate(c, r.problem->send_bytes());
  if (!send.ok()) return send.status();
  r.send_memory = send.value();
  Result<void*> recv = system_.allocate(c, r.problem->recv_bytes());
  if (!recv.ok()) return recv.status();
  r.recv_memory = recv.value();
  // Touches every page, also of what only other roots would use.
  for (int root = 0; root < system_.nranks(); ++root) {
    r.problem->fill(r.problem->place(r.send_memory, r.recv_memory, root), root, 0);
  }
  TUTTI_TRY(system_.prepare(c, r.send_memory, r.recv_memory));
  r.prepared = true;
  return {};
}

void RankServer::end() {
  if (!running_) return;
  if (running_->prepared) system_.finish(running_->settings);
  system_.free(running_->send_memory);
  system_.free(running_->recv_memory);
  running_.reset();
}

int RankServer::next_root() {
  const uint64_t turn = running_->calls++;
  if (running_->settings.root != kRotatingRoot) return running_->settings.root;
  return static_cast<int>(turn % static_cast<uint64_t>(system_.nranks()));
}

Status RankServer::call() {
  Running& r = *running_;
  const int root = next_root();
  return system_.run({r.settings, r.problem->place(r.send_memory, r.recv_memory, root), root});
}

Result<std::string> RankServer::check(uint64_t salt) {
  Running& r = *running_;
  if (!system_.has_result(r.settings)) return std::string("none");
  const bool rotates = has_root(r.settings.collective) && r.settings.root == kRotatingRoot;
  const int rounds = rotates ? system_.nranks() : 1;
  uint64_t wrong = 0;
  for (int round = 0; round < rounds; ++round) {
    const int root = next_root();
    const uint64_t mixed = salt * 64 + static_cast<uint64_t>(round);
    const Call call{r.settings, r.problem->place(r.send_memory, r.recv_memory, root), root};
    r.problem->fill(call.buffers, root, mixed);
    // A peer may read this rank's input as soon as it has its own.
    TUTTI_TRY(system_.barrier());
    TUTTI_TRY(system_.run(call));
    wrong += r.problem->wrong(system_.result(call), root, mixed);
  }
  return "wrong " + std::to_string(wrong);
}

Result<std::string> RankServer::batch(long calls) {
  TUTTI_TRY(system_.barrier());
  const double cpu = cpu_seconds();
  const int64_t begin = tutti::now_ns();
  for (long i = 0; i < calls; ++i) TUTTI_TRY(call());
  const int64_t spent = tutti::now_ns() - begin;
  return "done " + number("%.9f", seconds(spent)) + number(" %.9f", cpu_seconds() - cpu);
}

Result<std::string> RankServer::single(long calls) {
  std::string times = "times";
  for (long i = 0; i < calls; ++i) {
    TUTTI_TRY(system_.barrier());
    const int64_t begin = tutti::now_ns();
    TUTTI_TRY(call());
    times += number(" %.9f", seconds(tutti::now_ns() - begin));
  }
  return times;
}

Result<std::string> RankServer::dispatch(const std::string& verb, const std::string& rest) {
  if (verb == "case") {
    const Result<Case> c = decode(rest);
    if (!c.ok()) return c.status();
    const std::string reason = system_.lacks(c.value());
    if (!reason.empty()) return "no " + reason;
    TUTTI_TRY(begin(c.value()));
    return std::string("ready");
  }
  if (verb == "sent") {
    const std::optional<Sent> sent = system_.sent();
    if (!sent) return std::string("sent unknown");
    return "sent " + std::to_string(sent->payload.near) + " " + std::to_string(sent->payload.far) +
           " " + std::to_string(sent->wire.near) + " " + std::to_string(sent->wire.far);
  }
  if (verb == "end") {
    end();
    return std::string("ready");
  }
  if (!running_) return tutti::error(Code::kInvalidUsage, "%s without a case", verb.c_str());
  const long value = std::strtol(rest.c_str(), nullptr, 10);
  if (verb == "check") return check(static_cast<uint64_t>(value));
  if (verb == "batch") return batch(value);
  if (verb == "single") return single(value);
  return tutti::error(Code::kInvalidUsage, "unknown command \"%s\"", verb.c_str());
}

std::string RankServer::answer(const std::string& command) {
  const size_t space = command.find(' ');
  const std::string rest = space == std::string::npos ? "" : command.substr(space + 1);
  Result<std::string> result = dispatch(command.substr(0, space), rest);
  if (result.ok()) return result.value();
  std::string text = result.status().text();
  for (char& letter : text) {
    if (letter == '\n') letter = ' ';
  }
  return "error " + text;
}

}  // namespace perf
