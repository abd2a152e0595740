// Memory, registration and streams of the host device.
#include "comm/api/state.h"

using tutti::Code;
using tutti::Entry;
using tutti::error;
using tutti::report;
using tutti::Result;
using tutti::Status;

tuttiResult_t tuttiMemAlloc(void** ptr, size_t bytes) {
  const Status ok = tutti::check_process();
  if (!ok.ok()) return report(ok);
  if (ptr == nullptr) return report(error(Code::kInvalidArgument, "tuttiMemAlloc: ptr is NULL"));
  *ptr = nullptr;
  if (bytes == 0) return tuttiSuccess;
  Result<void*> memory = tutti::process()->allocate(bytes);
  if (!memory.ok()) return report(memory.status());
  *ptr = memory.value();
  return tuttiSuccess;
}

tuttiResult_t tuttiMemFree(void* ptr) {
  const Status ok = tutti::check_process();
  if (!ok.ok()) return report(ok);
  if (ptr == nullptr) return tuttiSuccess;
  return report(tutti::process()->free(ptr));
}

namespace {

tuttiResult_t register_window(const char* function, tuttiComm_t comm, void* ptr, size_t bytes,
                              tuttiWindow_t* window, int flags) {
  const Entry entry(comm, function);
  if (!entry.status().ok()) return report(entry.status());
  if (ptr == nullptr || bytes == 0 || window == nullptr) {
    return report(error(Code::kInvalidArgument,
                        "%s: expected memory and a place for the window, got %zu bytes at %p, "
                        "window at %p",
                        function, bytes, ptr, static_cast<void*>(window)));
  }
  if (flags != TUTTI_WINDOW_DEFAULT && flags != TUTTI_WINDOW_REMAP) {
    return report(error(Code::kInvalidArgument,
                        "%s: flags: expected TUTTI_WINDOW_DEFAULT or TUTTI_WINDOW_REMAP, got %d",
                        function, flags));
  }
  uint64_t registration = 0;
  const bool remap = flags == TUTTI_WINDOW_REMAP;
  const Status status = entry.comm().transport().register_memory(ptr, bytes, remap, &registration);
  if (!status.ok()) {
    return report(error(status.code(), "%s on %s: %s", function, entry.comm().who().c_str(),
                        status.text().c_str()));
  }
  auto made = std::make_unique<tuttiWindow>(tuttiWindow{comm, registration});
  *window = made.get();
  entry.handle().windows[made.get()] = std::move(made);
  return tuttiSuccess;
}

}  // namespace

tuttiResult_t tuttiCommRegister(tuttiComm_t comm, void* ptr, size_t bytes, tuttiWindow_t* window) {
  return register_window("tuttiCommRegister", comm, ptr, bytes, window, TUTTI_WINDOW_DEFAULT);
}

tuttiResult_t tuttiCommWindowRegister(tuttiComm_t comm, void* ptr, size_t bytes,
                                      tuttiWindow_t* window, int flags) {
  return register_window("tuttiCommWindowRegister", comm, ptr, bytes, window, flags);
}

tuttiResult_t tuttiCommDeregister(tuttiComm_t comm, tuttiWindow_t window) {
  const Entry entry(comm, "tuttiCommDeregister");
  if (!entry.status().ok()) return report(entry.status());
  const auto found = entry.handle().windows.find(window);
  if (found == entry.handle().windows.end()) {
    return report(error(Code::kInvalidArgument,
                        "tuttiCommDeregister on %s: the window is not registered here",
                        entry.comm().who().c_str()));
  }
  const Status status = entry.comm().transport().deregister_memory(window->registration);
  // Then it is as it was, and may be tried again.
  if (status.code() != Code::kOutOfMemory) entry.handle().windows.erase(found);
  return report(status);
}

tuttiResult_t tuttiStreamCreate(tuttiStream_t* stream) {
  const Status ok = tutti::check_process();
  if (!ok.ok()) return report(ok);
  if (stream == nullptr) {
    return report(error(Code::kInvalidArgument, "tuttiStreamCreate: stream is NULL"));
  }
  *stream = nullptr;
  Result<void*> made = tutti::process()->streams().create();
  if (!made.ok()) return report(made.status());
  *stream = made.value();
  return tuttiSuccess;
}

tuttiResult_t tuttiStreamDestroy(tuttiStream_t stream) {
  const Status ok = tutti::check_process();
  if (!ok.ok()) return report(ok);
  return report(tutti::process()->streams().destroy(stream));
}

tuttiResult_t tuttiStreamSynchronize(tuttiStream_t stream) {
  const Status ok = tutti::check_process();
  if (!ok.ok()) return report(ok);
  tutti::Streams& streams = tutti::process()->streams();
  const Status known = streams.check(stream);
  if (!known.ok()) return report(known);
  // Each operation on the stream has its own deadline, so this ends.
  tutti::WaitLadder ladder({});
  while (streams.pending(stream) > 0) {
    tutti::process()->engine().poll_all();
    ladder.tick();
  }
  return report(streams.finish(stream));
}

tuttiResult_t tuttiStreamQuery(tuttiStream_t stream) {
  const Status ok = tutti::check_process();
  if (!ok.ok()) return report(ok);
  const Status status = tutti::process()->streams().query(stream);
  if (status.code() == Code::kInProgress) return tuttiInProgress;
  return report(status);
}
