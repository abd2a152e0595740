// Where the secret of a launched job comes from.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/base/hash.h"
#include "comm/base/unique_fd.h"
#include "comm/bootstrap/launch.h"

namespace tutti {
namespace {

// The text of a file that nobody else could have written or read.
Result<std::string> read_private(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) {
    return error(Code::kSystemError, "%s: %s", path.c_str(), std::strerror(errno));
  }
  struct stat facts;
  if (fstat(fd.get(), &facts) != 0 || !S_ISREG(facts.st_mode) || facts.st_uid != geteuid() ||
      (facts.st_mode & 077) != 0) {
    return error(Code::kAuthFailed,
                 "%s: expected a regular file of this user with mode 0600, got mode %04o of user "
                 "%u",
                 path.c_str(), static_cast<unsigned>(facts.st_mode & 07777),
                 static_cast<unsigned>(facts.st_uid));
  }
  char text[80];
  const ssize_t got = read(fd.get(), text, sizeof text);
  if (got < 0) return error(Code::kSystemError, "%s: %s", path.c_str(), std::strerror(errno));
  std::string whole(text, static_cast<size_t>(got));
  while (!whole.empty() && (whole.back() == '\n' || whole.back() == ' ')) whole.pop_back();
  return whole;
}

Result<JobSecret> secret_of(const std::string& text, const char* where) {
  const std::optional<Secret> secret = parse_secret(text);
  if (secret.has_value()) return JobSecret{*secret};
  return error(Code::kInvalidArgument, "%s: expected 32 hexadecimal digits, got %zu characters",
               where, text.size());
}

// The folder only this user can enter; made when it is missing.
Status check_folder(const std::string& folder) {
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return error(Code::kSystemError, "%s: %s", folder.c_str(), std::strerror(errno));
  }
  struct stat facts;
  if (lstat(folder.c_str(), &facts) != 0 || !S_ISDIR(facts.st_mode) || facts.st_uid != geteuid() ||
      (facts.st_mode & 077) != 0) {
    return error(Code::kAuthFailed,
                 "%s: expected a folder that only this user can enter; set TUTTI_SECRET instead",
                 folder.c_str());
  }
  return Status();
}

// Under another name first, so that nobody reads half of it.
Status write_private(const std::string& path, const std::string& text) {
  const std::string draft = path + "." + std::to_string(getpid());
  UniqueFd fd(open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  const bool written =
      fd.valid() && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (written && rename(draft.c_str(), path.c_str()) == 0) return Status();
  const int why = errno;
  unlink(draft.c_str());
  return error(Code::kSystemError, "%s: %s", path.c_str(), std::strerror(why));
}

std::string folder_of_user() { return "/tmp/tutti-" + std::to_string(geteuid()); }

Result<JobSecret> make_shared(const Launch& launch) {
  TUTTI_TRY(check_folder(folder_of_user()));
  Result<Secret> secret = make_secret();
  if (!secret.ok()) return secret.status();
  TUTTI_TRY(write_private(secret_file_of(launch), print_secret(secret.value())));
  return JobSecret{secret.value()};
}

Result<JobSecret> wait_for_shared(const Launch& launch, const Patience& patience) {
  const std::string path = secret_file_of(launch);
  for (;;) {
    if (access(path.c_str(), F_OK) == 0) {
      TUTTI_TRY(check_folder(folder_of_user()));
      Result<std::string> text = read_private(path);
      if (text.ok()) return secret_of(text.value(), path.c_str());
      if (text.status().code() != Code::kSystemError) return text.status();
    }
    if (patience.abort != nullptr && patience.abort->load(std::memory_order_acquire)) {
      return error(Code::kAborted, "waiting for the job secret was aborted");
    }
    if (patience.deadline.expired(now_ns())) {
      return error(Code::kTimeout, "rank %d: rank 0 has not made the job secret %s", launch.rank,
                   path.c_str());
    }
    poll(nullptr, 0, 10);
  }
}

}  // namespace

std::string secret_file_of(const Launch& launch) {
  const std::string where = launch.folder.empty() ? launch.host : launch.folder;
  char name[17];
  std::snprintf(name, sizeof name, "%016llx",
                static_cast<unsigned long long>(hash64(where.data(), where.size())));
  return folder_of_user() + "/" + name;
}

Result<JobSecret> job_secret(const Launch& launch, const Environment& environment, bool fresh,
                             const Patience& patience) {
  if (const std::string* text = environment.find("TUTTI_SECRET")) {
    return secret_of(*text, "TUTTI_SECRET");
  }
  if (const std::string* path = environment.find("TUTTI_SECRET_FILE")) {
    Result<std::string> text = read_private(*path);
    if (!text.ok()) {
      return error(text.status().code(), "TUTTI_SECRET_FILE: %s", text.status().text().c_str());
    }
    return secret_of(text.value(), "TUTTI_SECRET_FILE");
  }
  if (launch.one_host) {
    return fresh && launch.rank == 0 ? make_shared(launch) : wait_for_shared(launch, patience);
  }
  const std::string* insecure = environment.find("TUTTI_INSECURE_BOOTSTRAP");
  if (insecure != nullptr && *insecure == "1") {
    JobSecret guessable{{}, true};
    const uint64_t h = hash64(launch.host.data(), launch.host.size());
    std::memcpy(guessable.secret.data(), &h, sizeof h);
    return guessable;
  }
  return error(Code::kAuthFailed,
               "ranks on several hosts need a job secret: set TUTTI_SECRET (32 hexadecimal digits, "
               "the same on all ranks) or TUTTI_SECRET_FILE, or accept strangers with "
               "TUTTI_INSECURE_BOOTSTRAP=1");
}

}  // namespace tutti
