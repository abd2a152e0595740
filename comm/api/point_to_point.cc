// Send, Recv and their kin.
#include "comm/api/submit.h"
#include "comm/api/validate.h"

using tutti::Checker;
using tutti::Entry;
using tutti::PointToPoint;
using tutti::report;
using tutti::size_of;

namespace {

struct Arguments {
  const char* function;
  void* buffer;
  size_t count;
  tuttiDataType_t dtype;
  int peer;
  uint64_t tag;
};

// Checks the arguments and turns them into a message.
tutti::Status message_of(const Entry& entry, const Arguments& a, bool any_allowed,
                         tuttiStream_t stream, PointToPoint* message) {
  Checker check(entry, a.function);
  tutti::CollectiveCall call;
  check.dtype(a.dtype, &call).peer(a.peer, any_allowed).size("count", a.count, 1, call.dtype);
  if (check.ok()) check.buffer("buffer", a.buffer, a.count * size_of(call.dtype));
  if (!check.ok()) return check.status();
  if (a.peer == entry.comm().rank() && stream == nullptr &&
      tutti::thread_state().group_depth == 0) {
    return tutti::error(tutti::Code::kInvalidUsage,
                        "%s on %s: to or from itself outside a group and without a stream it would "
                        "wait for itself",
                        a.function, entry.comm().who().c_str());
  }
  *message = {a.buffer, a.count, call.dtype, a.peer, a.tag};
  return tutti::Status();
}

tuttiResult_t send(const Arguments& a, tuttiComm_t comm, tuttiStream_t stream) {
  const Entry entry(comm, a.function);
  if (!entry.status().ok()) return report(entry.status());
  PointToPoint message;
  const tutti::Status checked = message_of(entry, a, false, stream, &message);
  if (!checked.ok()) return report(checked);
  return report(tutti::submit_send(entry, message, stream));
}

tuttiResult_t receive(const Arguments& a, int* source, bool any_allowed, tuttiComm_t comm,
                      tuttiStream_t stream) {
  const Entry entry(comm, a.function);
  if (!entry.status().ok()) return report(entry.status());
  PointToPoint message;
  const tutti::Status checked = message_of(entry, a, any_allowed, stream, &message);
  if (!checked.ok()) return report(checked);
  return report(tutti::submit_recv(entry, message, source, stream));
}

tuttiResult_t bad_tag(const char* function, int64_t tag) {
  return report(tutti::error(tutti::Code::kInvalidArgument, "%s: tag: expected >= 0, got %lld",
                             function, static_cast<long long>(tag)));
}

}  // namespace

tuttiResult_t tuttiSend(const void* sendbuff, size_t count, tuttiDataType_t dtype, int peer,
                        tuttiComm_t comm, tuttiStream_t stream) {
  return send({"tuttiSend", const_cast<void*>(sendbuff), count, dtype, peer, tutti::kUntagged},
              comm, stream);
}

tuttiResult_t tuttiRecv(void* recvbuff, size_t count, tuttiDataType_t dtype, int peer,
                        tuttiComm_t comm, tuttiStream_t stream) {
  return receive({"tuttiRecv", recvbuff, count, dtype, peer, tutti::kUntagged}, nullptr, false,
                 comm, stream);
}

tuttiResult_t tuttiSendTag(const void* sendbuff, size_t count, tuttiDataType_t dtype, int peer,
                           int64_t tag, tuttiComm_t comm, tuttiStream_t stream) {
  if (tag < 0) return bad_tag("tuttiSendTag", tag);
  return send(
      {"tuttiSendTag", const_cast<void*>(sendbuff), count, dtype, peer, static_cast<uint64_t>(tag)},
      comm, stream);
}

tuttiResult_t tuttiRecvTag(void* recvbuff, size_t count, tuttiDataType_t dtype, int peer,
                           int64_t tag, int* source, tuttiComm_t comm, tuttiStream_t stream) {
  if (tag < 0) return bad_tag("tuttiRecvTag", tag);
  return receive({"tuttiRecvTag", recvbuff, count, dtype, peer, static_cast<uint64_t>(tag)}, source,
                 true, comm, stream);
}

tuttiResult_t tuttiBatchSendRecv(const tuttiSendRecvItem_t* items, int nitems, tuttiComm_t comm,
                                 tuttiStream_t stream) {
  if (nitems < 0 || (items == nullptr && nitems > 0)) {
    return report(tutti::error(tutti::Code::kInvalidArgument,
                               "tuttiBatchSendRecv: expected nitems >= 0 items, got %d at %p",
                               nitems, static_cast<const void*>(items)));
  }
  const tutti::Status handle = tutti::check_handle(comm, "tuttiBatchSendRecv");
  if (!handle.ok()) return report(handle);
  const tuttiResult_t started = tuttiGroupStart();
  if (started != tuttiSuccess) return started;
  for (int i = 0; i < nitems; ++i) {
    const tuttiSendRecvItem_t& item = items[i];
    // A failure is kept by the group, and nothing of the batch will run.
    if (item.kind == tuttiItemSend) {
      (void)tuttiSend(item.buffer, item.count, item.dtype, item.peer, comm, stream);
    } else if (item.kind == tuttiItemRecv) {
      (void)tuttiRecv(item.buffer, item.count, item.dtype, item.peer, comm, stream);
    } else {
      (void)report(tutti::error(tutti::Code::kInvalidArgument,
                                "tuttiBatchSendRecv: item %d: kind: expected 0 or 1, got %d", i,
                                static_cast<int>(item.kind)));
    }
  }
  return tuttiGroupEnd();
}
