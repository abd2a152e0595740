#include "transports/mpi/library.h"

#include <cstring>
#include <dlfcn.h>
#include <mpi.h>

namespace tutti {
namespace {

using LibraryVersion = int (*)(char*, int*);
// What the most talkative MPI may write (MPICH: 8192); Open MPI's own limit is too small for it.
constexpr size_t kVersionBytes = 65536;

// The first MPI in the scope of this process answers: an application linked with another MPI has
// its functions take the place of ours, whatever this module was linked with.
Status check_library() {
  auto* query = reinterpret_cast<LibraryVersion>(dlsym(RTLD_DEFAULT, "MPI_Get_library_version"));
  if (query == nullptr) query = MPI_Get_library_version;
  char version[kVersionBytes] = {};
  int length = 0;
  query(version, &length);
  version[std::strcspn(version, "\r\n")] = '\0';
  Dl_info where = {};
  dladdr(reinterpret_cast<void*>(query), &where);
  const char* file = where.dli_fname == nullptr ? "?" : where.dli_fname;
  if (std::strstr(version, "Open MPI") == nullptr) {
    return error(Code::kUnsupported,
                 "transport mpi needs Open MPI, but this process uses %.60s (%s)", version, file);
  }
  return Status();
}

// Open MPI opens plugins that look for its symbols in the global scope; a module is opened local.
Status make_global() {
  Dl_info where = {};
  if (dladdr(reinterpret_cast<void*>(&MPI_Init_thread), &where) == 0) return Status();
  if (dlopen(where.dli_fname, RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    return error(Code::kUnsupported, "transport mpi: %s", dlerror());
  }
  return Status();
}

}  // namespace

bool mpi_is_over() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  return finalized != 0;
}

Result<MpiStart> start_mpi() {
  Status usable = check_library();
  if (!usable.ok()) return usable;
  if (mpi_is_over()) {
    return error(Code::kInvalidUsage, "transport mpi: MPI has been finalised in this process");
  }
  MpiStart start = {};
  int initialized = 0;
  MPI_Initialized(&initialized);
  if (initialized == 0) {
    Status global = make_global();
    if (!global.ok()) return global;
    const int rc = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &start.level);
    Status begun = mpi_status(rc, "MPI_Init_thread");
    if (!begun.ok()) return begun;
    start.ours = true;
  } else {
    Status known = mpi_status(MPI_Query_thread(&start.level), "MPI_Query_thread");
    if (!known.ok()) return known;
  }
  return start;
}

const char* name_of_thread_level(int level) {
  switch (level) {
    case MPI_THREAD_SINGLE:
      return "MPI_THREAD_SINGLE";
    case MPI_THREAD_FUNNELED:
      return "MPI_THREAD_FUNNELED";
    case MPI_THREAD_SERIALIZED:
      return "MPI_THREAD_SERIALIZED";
    default:
      return "MPI_THREAD_MULTIPLE";
  }
}

Status mpi_status(int rc, const char* call) {
  if (rc == MPI_SUCCESS) return Status();
  char text[MPI_MAX_ERROR_STRING] = "unknown error";
  int length = 0;
  MPI_Error_string(rc, text, &length);
  return error(Code::kSystemError, "%s: %s", call, text);
}

}  // namespace tutti
