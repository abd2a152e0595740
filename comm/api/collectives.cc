// The collectives with equal blocks: check, describe as a CollectiveCall, submit.
#include <utility>

#include "comm/api/submit.h"
#include "comm/api/validate.h"
#include "comm/schedule/contract.h"

using tutti::Checker;
using tutti::Collective;
using tutti::CollectiveCall;
using tutti::Entry;
using tutti::report;
using tutti::size_of;

namespace {

// Everything a collective with equal blocks may be called with.
struct Arguments {
  const char* function;
  const void* send;
  void* recv;
  size_t count;
  tuttiDataType_t dtype;
  tuttiRedOp_t op = tuttiSum;
  int root = 0;
};

// Where the own block of the other buffer starts, for in-place calls.
const char* at(const void* base, size_t bytes) { return static_cast<const char*>(base) + bytes; }

// The buffers this rank has, their sizes, and whether they are the same memory.
template <Collective kCollective>
void check_buffers(Checker& check, const tutti::Communicator& comm, CollectiveCall* call) {
  const int n = comm.nranks();
  const bool is_root = comm.rank() == call->root;
  constexpr bool kRootSends =
      kCollective == Collective::kBroadcast || kCollective == Collective::kScatter;
  constexpr bool kRootReceives =
      kCollective == Collective::kReduce || kCollective == Collective::kGather;
  const bool has_send = !kRootSends || is_root;
  const bool has_recv = !kRootReceives || is_root;
  check.size("count", call->count, static_cast<size_t>(n), call->dtype);
  if (!check.ok()) return;
  const size_t block = call->count * size_of(call->dtype);
  const size_t send_blocks = tutti::input_blocks(kCollective, n);
  const size_t recv_blocks = tutti::output_blocks(kCollective, n);
  if (!has_send) call->send = nullptr;
  if (!has_recv) call->recv = nullptr;
  check.buffer("sendbuff", call->send, has_send ? block * send_blocks : 0);
  check.buffer("recvbuff", call->recv, has_recv ? block * recv_blocks : 0);
  if (!check.ok() || !has_send || !has_recv || block == 0) return;
  const size_t own = block * static_cast<size_t>(comm.rank());
  const char* send_own = send_blocks > recv_blocks ? at(call->send, own) : at(call->send, 0);
  const char* recv_own = recv_blocks > send_blocks ? at(call->recv, own) : at(call->recv, 0);
  call->in_place = send_own == recv_own;
  check.apart(call->send, block * send_blocks, call->recv, block * recv_blocks, call->in_place);
}

// One for each collective: which checks it needs is known when it is compiled.
template <Collective kCollective>
tuttiResult_t run(const Arguments& a, tuttiComm_t handle, tuttiStream_t stream) {
  const Entry entry(handle, a.function);
  if (!entry.status().ok()) return report(entry.status());
  CollectiveCall call;
  call.collective = kCollective;
  call.send = a.send;
  call.recv = a.recv;
  call.count = a.count;
  Checker check(entry, a.function);
  check.dtype(a.dtype, &call);
  if constexpr (tutti::is_reduction(kCollective)) check.op(a.op, &call);
  if constexpr (tutti::is_rooted(kCollective)) check.root(a.root, &call);
  if (check.ok()) check_buffers<kCollective>(check, entry.comm(), &call);
  if (!check.ok()) return report(check.status());
  return report(tutti::submit(entry, std::move(call), stream));
}

}  // namespace

tuttiResult_t tuttiAllReduce(const void* sendbuff, void* recvbuff, size_t count,
                             tuttiDataType_t dtype, tuttiRedOp_t op, tuttiComm_t comm,
                             tuttiStream_t stream) {
  return run<Collective::kAllReduce>({"tuttiAllReduce", sendbuff, recvbuff, count, dtype, op}, comm,
                                     stream);
}

tuttiResult_t tuttiReduce(const void* sendbuff, void* recvbuff, size_t count, tuttiDataType_t dtype,
                          tuttiRedOp_t op, int root, tuttiComm_t comm, tuttiStream_t stream) {
  return run<Collective::kReduce>({"tuttiReduce", sendbuff, recvbuff, count, dtype, op, root}, comm,
                                  stream);
}

tuttiResult_t tuttiBroadcast(const void* sendbuff, void* recvbuff, size_t count,
                             tuttiDataType_t dtype, int root, tuttiComm_t comm,
                             tuttiStream_t stream) {
  return run<Collective::kBroadcast>(
      {"tuttiBroadcast", sendbuff, recvbuff, count, dtype, tuttiSum, root}, comm, stream);
}

tuttiResult_t tuttiAllGather(const void* sendbuff, void* recvbuff, size_t sendcount,
                             tuttiDataType_t dtype, tuttiComm_t comm, tuttiStream_t stream) {
  return run<Collective::kAllGather>({"tuttiAllGather", sendbuff, recvbuff, sendcount, dtype}, comm,
                                     stream);
}

tuttiResult_t tuttiReduceScatter(const void* sendbuff, void* recvbuff, size_t recvcount,
                                 tuttiDataType_t dtype, tuttiRedOp_t op, tuttiComm_t comm,
                                 tuttiStream_t stream) {
  return run<Collective::kReduceScatter>(
      {"tuttiReduceScatter", sendbuff, recvbuff, recvcount, dtype, op}, comm, stream);
}

tuttiResult_t tuttiGather(const void* sendbuff, void* recvbuff, size_t sendcount,
                          tuttiDataType_t dtype, int root, tuttiComm_t comm, tuttiStream_t stream) {
  return run<Collective::kGather>(
      {"tuttiGather", sendbuff, recvbuff, sendcount, dtype, tuttiSum, root}, comm, stream);
}

tuttiResult_t tuttiScatter(const void* sendbuff, void* recvbuff, size_t recvcount,
                           tuttiDataType_t dtype, int root, tuttiComm_t comm,
                           tuttiStream_t stream) {
  return run<Collective::kScatter>(
      {"tuttiScatter", sendbuff, recvbuff, recvcount, dtype, tuttiSum, root}, comm, stream);
}

tuttiResult_t tuttiAlltoAll(const void* sendbuff, void* recvbuff, size_t count,
                            tuttiDataType_t dtype, tuttiComm_t comm, tuttiStream_t stream) {
  return run<Collective::kAllToAll>({"tuttiAlltoAll", sendbuff, recvbuff, count, dtype}, comm,
                                    stream);
}

tuttiResult_t tuttiBarrier(tuttiComm_t comm, tuttiStream_t stream) {
  return run<Collective::kBarrier>({"tuttiBarrier", nullptr, nullptr, 0, tuttiUint8}, comm, stream);
}
