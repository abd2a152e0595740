#include "bench/perf/launched_system.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "bench/perf/tutti_rank.h"

namespace perf {

using tutti::Code;
using tutti::Result;
using tutti::Status;

namespace {

using Command = std::array<char, 256>;

// Rank 0's `command` to all.
Status share(tuttiComm_t comm, Command* command) {
  return status_of(tuttiBroadcast(command->data(), command->data(), command->size(), tuttiUint8, 0,
                                  comm, nullptr),
                   comm);
}

std::string answer_of(RankServer& server, const std::string& command) {
  return command == "hello" ? server.hello() : server.answer(command);
}

// Everybody's answers, by rank.
Result<std::vector<std::string>> gather(tuttiComm_t comm, const std::string& mine) {
  int nranks = 0;
  TUTTI_TRY(status_of(tuttiCommCount(comm, &nranks), comm));
  std::vector<uint64_t> lengths(static_cast<size_t>(nranks));
  const uint64_t length = mine.size();
  TUTTI_TRY(
      status_of(tuttiAllGather(&length, lengths.data(), 1, tuttiUint64, comm, nullptr), comm));
  const size_t longest = *std::max_element(lengths.begin(), lengths.end());
  std::string padded = mine;
  padded.resize(longest);
  std::string all(longest * lengths.size(), '\0');
  TUTTI_TRY(status_of(tuttiAllGather(padded.data(), all.data(), longest, tuttiUint8, comm, nullptr),
                      comm));
  std::vector<std::string> answers;
  for (size_t r = 0; r < lengths.size(); ++r) {
    answers.push_back(all.substr(r * longest, lengths[r]));
  }
  return answers;
}

}  // namespace

LaunchedSystem::LaunchedSystem(tuttiComm_t comm, RankServer& server)
    : System("tutti"), comm_(comm), server_(server) {}

Status LaunchedSystem::meet() {
  const Result<std::vector<std::string>> hellos = ask("hello");
  if (!hellos.ok()) return hellos.status();
  for (const std::string& line : hellos.value()) {
    const Result<RankFacts> facts = parse_hello(line);
    if (!facts.ok()) return facts.status();
    ranks_.push_back(facts.value());
  }
  return {};
}

Result<std::vector<std::string>> LaunchedSystem::ask(const std::string& command) {
  Command shared{};
  if (command.size() >= shared.size()) {
    return tutti::error(Code::kInternalError, "command of %zu bytes", command.size());
  }
  std::memcpy(shared.data(), command.data(), command.size());
  TUTTI_TRY(share(comm_, &shared));
  Result<std::vector<std::string>> answers = gather(comm_, answer_of(server_, command));
  if (!answers.ok()) return answers;
  for (size_t r = 0; r < answers.value().size(); ++r) {
    const std::string& answer = answers.value()[r];
    if (answer.rfind("error ", 0) == 0) {
      return tutti::error(Code::kRemoteError, "rank %zu: %s", r, answer.c_str() + 6);
    }
  }
  return answers;
}

Status LaunchedSystem::quit() {
  Command shared{};
  std::memcpy(shared.data(), "quit", 4);
  return share(comm_, &shared);
}

Status LaunchedSystem::follow(tuttiComm_t comm, RankServer& server) {
  while (true) {
    Command shared{};
    TUTTI_TRY(share(comm, &shared));
    const std::string command = shared.data();
    if (command == "quit") return {};
    const Result<std::vector<std::string>> answers = gather(comm, answer_of(server, command));
    if (!answers.ok()) return answers.status();
  }
}

}  // namespace perf
