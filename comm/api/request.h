// What the calls that create communicators share: reading the caller's config, and turning what was
// made, or is being made, into a handle. Any thread.
#pragma once

#include <memory>
#include <new>
#include <string>

#include "tutti/tutti.h"

#include "comm/api/state.h"
#include "comm/base/config.h"

namespace tutti {

struct Request {
  Config config;
  std::string name;
  int blocking = 1;
};

// `parent` (may be null): settings that the caller left unset come from there.
Status make_request(const char* function, const tuttiConfig_t* given, const Request* parent,
                    Request* request);
Request request_of(const tuttiComm& handle);

// What a creation allocates grows with a number of ranks that anybody may give; C callers know no
// exceptions. Returns what `create` does.
template <typename Create>
tuttiResult_t with_memory(const char* function, Create create) {
  try {
    return create();
  } catch (const std::bad_alloc&) {
    return report(error(Code::kOutOfMemory, "%s: out of memory", function));
  }
}

tuttiComm* wrap(std::unique_ptr<Communicator> comm, int blocking);

// Runs a creation to its end, or leaves it to the engine. A rank that only takes part (`is_member`
// false) gets no handle. `parent` may be null.
tuttiResult_t carry_out(std::unique_ptr<Creation> creation, int blocking, bool is_member,
                        Communicator* parent, tuttiComm_t* out);

}  // namespace tutti
