// What a rank of tutti-run finds in its environment, and the folder where the ranks meet.
#pragma once

#include <string>
#include <vector>

#include "comm/base/status.h"

namespace tutti {

// What is the same for all ranks of a job.
struct JobFacts {
  int nranks = 1;
  std::string folder;  // absolute
  std::string secret;  // 32 hexadecimal digits
};

// "NAME=value" of rank `rank`: `inherited` without what other launchers say about who a process is
// (a rank must not take itself for one of theirs), and with ours. Pure.
std::vector<std::string> rank_environment(const std::vector<std::string>& inherited,
                                          const JobFacts& job, int rank);

// A new folder that only this user can enter; removed, with all that is in it, at the end.
class JobFolder {
 public:
  // Below `parent`. kSystemError when it cannot be made.
  static Result<JobFolder> make(const std::string& parent);
  ~JobFolder();
  JobFolder(JobFolder&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  JobFolder(const JobFolder&) = delete;
  JobFolder& operator=(const JobFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  explicit JobFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace tutti
