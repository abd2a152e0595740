// Processes for tests: programs started side by side, each with its own environment and nothing to
// read, a time limit, and its output collected.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace tutti {

struct Program {
  std::vector<std::pair<std::string, std::string>> environment;  // added to the test's own
  std::vector<std::string> arguments;                            // [0] is the program
};

struct Outcome {
  int status = -1;   // exit code; 1000 + signal; 124 when it took longer than the limit
  std::string text;  // standard output and error
};

// Runs all of them at once, kills what is left after `limit_s` seconds, by pid.
std::vector<Outcome> run_all(const std::vector<Program>& programs, int limit_s = 60);

// n ranks of the helper with these arguments, meeting in `folder`.
std::vector<Program> helper_job(const std::string& folder, int n,
                                const std::vector<std::string>& arguments);

// A port that is bound on the loopback, without anybody listening, while this lives.
class HeldPort {
 public:
  HeldPort();
  ~HeldPort();
  HeldPort(const HeldPort&) = delete;
  HeldPort& operator=(const HeldPort&) = delete;
  int number() const { return number_; }

 private:
  int socket_;
  int number_ = 0;
};

}  // namespace tutti
