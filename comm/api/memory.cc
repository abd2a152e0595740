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

tuttiResult_t tuttiCommRegister(tuttiComm_t comm, void* ptr, size_t bytes, tuttiWindow_t* window) {
  const Entry entry(comm, "tuttiCommRegister");
  if (!entry.status().ok()) return report(entry.status());
  if (ptr == nullptr || bytes == 0 || window == nullptr) {
    return report(error(Code::kInvalidArgument,
                        "tuttiCommRegister: expected memory and a place for the window, got %zu "
                        "bytes at %p, window at %p",
                        bytes, ptr, static_cast<void*>(window)));
  }
  uint64_t registration = 0;
  const Status status = entry.comm().transport().register_memory(ptr, bytes, false, &registration);
  if (!status.ok()) return report(status);
  auto made = std::make_unique<tuttiWindow>(tuttiWindow{comm, registration});
  *window = made.get();
  entry.handle().windows[made.get()] = std::move(made);
  return tuttiSuccess;
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
  entry.handle().windows.erase(found);
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
