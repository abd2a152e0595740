// A job of hostile_rank, two ranks, each confined by rules of its own (confine.cc).
#pragma once

#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "tests/launch/job.h"
#include "tests/support/temp_folder.h"

namespace tutti {

struct HostileJob {
  std::string scenario;
  std::vector<std::string> rules[2] = {};  // by rank
  // What a rank may have beyond what it has when it begins, by rank; empty: no limit.
  std::string room_kib[2] = {};  // of address space
  std::string room_files[2] = {};
  std::string transport = "auto";
  std::string timeout = "20";
  bool forks = false;
};

inline constexpr int kNotAllowed = 77;  // of confine: this host does not allow that

inline std::vector<Program> programs_of(const HostileJob& job, const std::string& folder) {
  std::vector<Program> programs = helper_job(folder, 2, {job.scenario});
  for (size_t r = 0; r < 2; ++r) {
    // A child of fork() has no use for a search for leaks.
    if (job.forks) programs[r].environment.emplace_back("ASAN_OPTIONS", "detect_leaks=0");
    programs[r].environment.emplace_back("TUTTI_TRANSPORT", job.transport);
    programs[r].environment.emplace_back("TUTTI_TIMEOUT", job.timeout);
    if (!job.room_kib[r].empty()) {
      programs[r].environment.emplace_back("HOSTILE_ROOM_KIB", job.room_kib[r]);
    }
    if (!job.room_files[r].empty()) {
      programs[r].environment.emplace_back("HOSTILE_ROOM_FILES", job.room_files[r]);
    }
    std::vector<std::string> arguments = {TUTTI_CONFINE};
    arguments.insert(arguments.end(), job.rules[r].begin(), job.rules[r].end());
    arguments.emplace_back("--");
    const std::vector<std::string>& rank = programs[r].arguments;
    arguments.insert(arguments.end(), rank.begin(), rank.end());
    programs[r].arguments = std::move(arguments);
  }
  return programs;
}

inline std::vector<Outcome> run(const HostileJob& job) {
  const TempFolder folder;
  return run_all(programs_of(job, folder.path()));
}

// What a host does not allow cannot be tested there.
inline bool is_allowed(const std::vector<Outcome>& outcomes) {
  return outcomes[0].status != kNotAllowed && outcomes[1].status != kNotAllowed;
}

inline bool says(const Outcome& outcome, const std::string& words) {
  return outcome.text.find(words) != std::string::npos;
}

inline void expect_right(const std::vector<Outcome>& outcomes) {
  for (const Outcome& o : outcomes) {
    EXPECT_EQ(o.status, 0) << o.text;
    EXPECT_TRUE(says(o, "right\n")) << o.text;
  }
}

}  // namespace tutti
