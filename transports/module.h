// Transport modules: shared objects beside libtutti.so that bring a transport and what it needs
// (libtutti_mpi.so, libtutti_gloo.so), opened when their transport is named or chosen, so that
// libtutti.so itself needs neither library.
//
// A module is built together with the library and is refused unless `version` and `abi` are the
// library's own: C++ objects cross this line. It exports one function, tutti_transport_module.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "comm/base/status.h"
#include "transports/builtin.h"
#include "transports/transport.h"

namespace tutti {

inline constexpr uint32_t kModuleAbi = 1;

// A job that the module's own launcher has started (mpirun): who this process is in it, and a way
// to exchange bytes before there is any connection of ours.
class ModuleJob {
 public:
  virtual ~ModuleJob() = default;
  virtual int rank() const = 0;
  virtual int nranks() const = 0;
  virtual int local_rank() const = 0;  // among the ranks of this host
  // all[r * bytes ...] = rank r's mine[0..bytes). Collective over the job; waits as its library
  // does.
  virtual Status all_gather(const void* mine, void* all, size_t bytes) = 0;
};

struct TransportModule {
  uint32_t abi;         // kModuleAbi
  const char* version;  // TUTTI_MAJOR.MINOR.PATCH
  const char* name;     // of the transport
  Result<std::unique_ptr<Transport>> (*make)(const TransportContext& context);
  Result<std::unique_ptr<ModuleJob>> (*job)();  // null: it has no launcher of its own
};

// Opens libtutti_NAME.so from the folder that holds this library, once per process; it stays open.
// kUnsupported when it is not there, cannot be loaded (the text has the loader's words) or is of
// another build. Any thread.
Result<const TransportModule*> open_module(std::string_view name);

}  // namespace tutti

extern "C" const tutti::TransportModule* tutti_transport_module();
