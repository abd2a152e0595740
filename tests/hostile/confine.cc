// confine RULE... -- PROGRAM ARGUMENT...: runs a program as a hostile host would. Rules:
//   limit:memlock=N  a resource limit
//   deny:NAME=ERRNO  the kernel refuses these calls: see kCalls
//   own:NAMES        name spaces of its own, by commas: pid, uts, ipc, net, user
//   devshm:OPTIONS   a /dev/shm of its own, a tmpfs with these mount options
//   devshm:none      the same, and nothing can be made in it
// Ends as the program does; with 77 where this host does not allow what a rule wants.
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr int kNotAllowed = 77;

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "confine: %s: %s\n", what.c_str(), std::strerror(errno));
  _exit(kNotAllowed);
}

[[noreturn]] void misused(const std::string& rule) {
  std::fprintf(stderr, "confine: \"%s\" is no rule\n", rule.c_str());
  _exit(2);
}

struct Named {
  const char* name;
  int number;
};

template <size_t N>
int number_of(const Named (&table)[N], const std::string& name) {
  for (const Named& entry : table) {
    if (name == entry.name) return entry.number;
  }
  misused(name);
}

constexpr Named kLimits[] = {{"memlock", RLIMIT_MEMLOCK}};
constexpr Named kSpaces[] = {{"pid", CLONE_NEWPID},
                             {"uts", CLONE_NEWUTS},
                             {"ipc", CLONE_NEWIPC},
                             {"net", CLONE_NEWNET},
                             {"user", CLONE_NEWUSER}};
constexpr Named kErrors[] = {
    {"EPERM", EPERM}, {"ENOSYS", ENOSYS}, {"EAGAIN", EAGAIN}, {"EMFILE", EMFILE}};
// What a sandbox, an old kernel or a limit may take away. By number, so that what is made of an
// architecture without one of them does not build rather than test nothing.
constexpr Named kCalls[] = {{"process_vm_readv", SYS_process_vm_readv},
                            {"membarrier", SYS_membarrier},
                            {"pidfd_open", SYS_pidfd_open},
                            {"memfd_create", SYS_memfd_create},
                            {"eventfd", SYS_eventfd2},
                            {"clone3", SYS_clone3},
                            {"clone", SYS_clone}};

void set_limit(const std::string& rule) {
  const size_t equals = rule.find('=');
  if (equals == std::string::npos) misused(rule);
  const rlim_t n = std::strtoull(rule.c_str() + equals + 1, nullptr, 10);
  const rlimit limit = {n, n};
  const int which = number_of(kLimits, rule.substr(0, equals));
  if (setrlimit(static_cast<__rlimit_resource>(which), &limit) != 0) give_up(rule);
}

// One call after the other; each needs its own filter, and the last one added is asked first.
void deny(const std::string& rule) {
  const size_t equals = rule.find('=');
  if (equals == std::string::npos) misused(rule);
  const auto call = static_cast<uint32_t>(number_of(kCalls, rule.substr(0, equals)));
  const auto why = static_cast<uint32_t>(number_of(kErrors, rule.substr(equals + 1)));
  std::array<sock_filter, 4> code = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | why),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program = {static_cast<uint16_t>(code.size()), code.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    give_up("deny:" + rule);
  }
}

void write_file(const char* path, const std::string& text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text.data(), text.size()) < 0) give_up(path);
  close(fd);
}

// As root of a user name space of its own, where it is not root already.
void leave_name_spaces(int flags) {
  const uid_t user = geteuid();
  const gid_t group = getegid();
  if (user != 0) flags |= CLONE_NEWUSER;
  if (unshare(flags) != 0) give_up("unshare");
  if ((flags & CLONE_NEWUSER) != 0) {
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", "0 " + std::to_string(user) + " 1");
    write_file("/proc/self/gid_map", "0 " + std::to_string(group) + " 1");
  }
}

void own(const std::string& names) {
  int flags = 0;
  for (size_t at = 0; at <= names.size();) {
    const size_t comma = std::min(names.find(',', at), names.size());
    flags |= number_of(kSpaces, names.substr(at, comma - at));
    at = comma + 1;
  }
  leave_name_spaces(flags);
}

void replace_dev_shm(const std::string& options) {
  leave_name_spaces(CLONE_NEWNS);
  const bool none = options == "none";
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("tmpfs", "/dev/shm", "tmpfs", none ? MS_RDONLY : 0,
            none ? "size=4k" : options.c_str()) != 0) {
    give_up("a /dev/shm of its own");
  }
}

void apply(const std::string& rule) {
  const size_t colon = rule.find(':');
  const std::string kind = rule.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : rule.substr(colon + 1);
  if (kind == "limit") return set_limit(rest);
  if (kind == "deny") return deny(rest);
  if (kind == "own") return own(rest);
  if (kind == "devshm") return replace_dev_shm(rest);
  misused(rule);
}

// A process that has left its pid name space only has children in the new one. They end with it.
[[noreturn]] void run_as_child(char** program) {
  const pid_t child = fork();
  if (child < 0) give_up("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv(program[0], program);
    give_up(program[0]);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

}  // namespace

int main(int argc, char** argv) {
  int at = 1;
  bool child = false;
  for (; at < argc && std::strcmp(argv[at], "--") != 0; ++at) {
    const std::string rule = argv[at];
    apply(rule);
    child = child || (rule.rfind("own:", 0) == 0 && rule.find("pid") != std::string::npos);
  }
  if (at + 1 >= argc) misused("nothing to run");
  char** program = argv + at + 1;
  if (child) run_as_child(program);
  execv(program[0], program);
  give_up(program[0]);
}
