#include "comm/bootstrap/file_exchange.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comm/base/unique_fd.h"
#include "comm/net/frame.h"

namespace tutti {
namespace {

constexpr size_t kSeal = sizeof(Digest);

Status system_error(const std::string& path) {
  return error(Code::kSystemError, "%s: %s", path.c_str(), std::strerror(errno));
}

// The whole file; nothing while it is not there.
Result<std::optional<std::string>> read_file(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.valid()) {
    if (errno == ENOENT) return std::optional<std::string>();
    return system_error(path);
  }
  struct stat facts;
  if (fstat(fd.get(), &facts) != 0) return system_error(path);
  if (!S_ISREG(facts.st_mode) || static_cast<size_t>(facts.st_size) > kMaxFrameBytes + kSeal) {
    return error(Code::kAuthFailed, "%s is no file of a rank", path.c_str());
  }
  std::string whole(static_cast<size_t>(facts.st_size), '\0');
  size_t got = 0;
  while (got < whole.size()) {
    const ssize_t n = read(fd.get(), whole.data() + got, whole.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return system_error(path);
    got += static_cast<size_t>(n);
  }
  return std::optional<std::string>(std::move(whole));
}

// Gives the file `draft` the name `path` unless there is such a file; 0 or an errno. `draft` may be
// left behind.
int give_name(const std::string& draft, const std::string& path) {
  if (link(draft.c_str(), path.c_str()) == 0) return 0;
  if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS) return errno;
  // A file system without hard links (FAT, many network and FUSE ones). There rename() gives the
  // name, and because it would replace an older file a claim comes first, which only one can make.
  const UniqueFd claim(
      open((path + ".claim").c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!claim.valid()) return errno;
  if (access(path.c_str(), F_OK) == 0) return EEXIST;
  return rename(draft.c_str(), path.c_str()) == 0 ? 0 : errno;
}

Status write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error(path);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return Status();
}

}  // namespace

std::string FileExchange::name_of(int rank) const {
  return "round-" + std::to_string(round_) + "-rank-" + std::to_string(rank) + "-of-" +
         std::to_string(nranks_);
}

// Written under another name first, so that nobody reads half of it and an older file of the same
// name is noticed.
Status FileExchange::publish(std::string_view mine) {
  const std::string name = name_of(rank_);
  const std::string path = folder_ + '/' + name;
  const std::string draft = path + ".draft-" + std::to_string(getpid());
  {
    const UniqueFd fd(open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd.valid()) return system_error(draft);
    const Digest seal = hmac(secret_, name + '\n' + std::string(mine));
    Status written =
        write_all(fd.get(), {reinterpret_cast<const char*>(seal.data()), kSeal}, draft);
    if (written.ok()) written = write_all(fd.get(), mine, draft);
    if (!written.ok()) {
      unlink(draft.c_str());
      return written;
    }
  }
  const int failure = give_name(draft, path);
  unlink(draft.c_str());
  if (failure == 0) return Status();
  if (failure == EEXIST) {
    return error(Code::kInvalidUsage,
                 "%s is there already: another process is rank %d too, or the folder served an "
                 "earlier job",
                 path.c_str(), rank_);
  }
  return error(Code::kSystemError, "%s: %s", path.c_str(), std::strerror(failure));
}

Result<std::string> FileExchange::open_sealed(int rank, std::string whole) const {
  const std::string name = name_of(rank);
  Digest seal = {};
  if (whole.size() >= kSeal) std::memcpy(seal.data(), whole.data(), kSeal);
  if (whole.size() < kSeal || !same(seal, hmac(secret_, name + '\n' + whole.substr(kSeal)))) {
    return error(Code::kAuthFailed, "%s/%s was not written with the secret of this job",
                 folder_.c_str(), name.c_str());
  }
  whole.erase(0, kSeal);
  return whole;
}

Result<std::vector<std::string>> FileExchange::all_gather(std::string_view mine,
                                                          const Patience& patience) {
  TUTTI_TRY(publish(mine));
  std::vector<std::string> all(static_cast<size_t>(nranks_));
  std::vector<int> missing;
  for (int r = 0; r < nranks_; ++r) {
    if (r != rank_) missing.push_back(r);
  }
  all[static_cast<size_t>(rank_)] = mine;
  for (int nap_ms = 1; !missing.empty(); nap_ms = std::min(nap_ms * 2, 16)) {
    std::vector<int> later;
    for (int r : missing) {
      Result<std::optional<std::string>> whole = read_file(folder_ + '/' + name_of(r));
      if (!whole.ok()) return whole.status();
      if (!whole.value().has_value()) {
        later.push_back(r);
        continue;
      }
      Result<std::string> text = open_sealed(r, std::move(*whole.value()));
      if (!text.ok()) return text.status();
      all[static_cast<size_t>(r)] = std::move(text.value());
    }
    missing = std::move(later);
    if (missing.empty()) break;
    if (patience.abort != nullptr && patience.abort->load(std::memory_order_acquire)) {
      return error(Code::kAborted, "rank %d of %d: joining the job was aborted", rank_, nranks_);
    }
    if (patience.deadline.expired(now_ns())) {
      return error(Code::kTimeout, "rank %d of %d: %s did not come to %s before the deadline",
                   rank_, nranks_, name_ranks(missing).c_str(), folder_.c_str());
    }
    poll(nullptr, 0, nap_ms);
  }
  ++round_;
  return all;
}

}  // namespace tutti
