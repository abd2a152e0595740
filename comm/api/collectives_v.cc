// The collectives whose blocks differ. Counts and displacements are copied, so the caller's arrays
// are free when the call returns.
#include <string>
#include <utility>
#include <vector>

#include "comm/api/submit.h"
#include "comm/api/validate.h"
#include "comm/base/hash.h"

using tutti::BlockList;
using tutti::Checker;
using tutti::Collective;
using tutti::CollectiveCall;
using tutti::Entry;
using tutti::report;
using tutti::size_of;

namespace {

BlockList single(size_t count) { return {1, count, {}, {}}; }

// A rank without the buffer still counts its blocks.
BlockList absent(const Entry& entry) {
  return {static_cast<uint32_t>(entry.comm().nranks()), 0, {}, {}};
}

uint64_t hash_of(const BlockList& blocks) {
  return tutti::hash64(blocks.counts.data(), blocks.counts.size() * sizeof(size_t));
}

CollectiveCall call_of(Collective collective, const void* send, void* recv) {
  CollectiveCall call;
  call.collective = collective;
  call.send = send;
  call.recv = recv;
  call.blocks = std::make_unique<CollectiveCall::Blocks>();
  return call;
}

// Whether the block that belongs to this rank lies at the same place in both buffers.
bool is_in_place(const CollectiveCall& call, uint32_t own) {
  const BlockList& input = call.blocks->input;
  const BlockList& output = call.blocks->output;
  const size_t element = size_of(call.dtype);
  const auto* send = static_cast<const char*>(call.send);
  const auto* recv = static_cast<const char*>(call.recv);
  switch (call.collective) {
    case Collective::kAllGather:
    case Collective::kGather:
      return send == recv + output.start(own) * element;
    case Collective::kReduceScatter:
    case Collective::kScatter:
      return recv == send + input.start(own) * element;
    default:
      return send == recv && input.counts == output.counts && input.displs == output.displs;
  }
}

// The last checks: both buffers are there, and apart unless the own blocks coincide.
tuttiResult_t finish(Checker& check, const Entry& entry, CollectiveCall& call,
                     tuttiStream_t stream) {
  if (!check.ok()) return report(check.status());
  const BlockList& input = call.blocks->input;
  const BlockList& output = call.blocks->output;
  const size_t element = size_of(call.dtype);
  const size_t send_bytes = tutti::extent(input) * element;
  const size_t recv_bytes = tutti::extent(output) * element;
  check.buffer("sendbuff", call.send, send_bytes).buffer("recvbuff", call.recv, recv_bytes);
  check.disjoint("recvbuff", output);
  if (check.ok() && send_bytes > 0 && recv_bytes > 0) {
    call.in_place = is_in_place(call, static_cast<uint32_t>(entry.comm().rank()));
    check.apart(call.send, send_bytes, call.recv, recv_bytes, call.in_place);
    // The result would be written over a block that others still read.
    if (call.in_place) check.disjoint("sendbuff", input);
  }
  if (!check.ok()) return report(check.status());
  return report(tutti::submit(entry, std::move(call), stream));
}

}  // namespace

tuttiResult_t tuttiAllGatherV(const void* sendbuff, size_t sendcount, void* recvbuff,
                              const size_t* recvcounts, const size_t* displs, tuttiDataType_t dtype,
                              tuttiComm_t comm, tuttiStream_t stream) {
  const Entry entry(comm, "tuttiAllGatherV");
  if (!entry.status().ok()) return report(entry.status());
  CollectiveCall call = call_of(Collective::kAllGather, sendbuff, recvbuff);
  Checker check(entry, "tuttiAllGatherV");
  check.dtype(dtype, &call)
      .blocks("recvbuff", recvcounts, displs, call.dtype, &call.blocks->output);
  if (check.ok()) {
    check.equal("sendcount", call.blocks->output.counts[static_cast<size_t>(entry.comm().rank())],
                sendcount);
  }
  call.blocks->input = single(sendcount);
  call.counts_hash = hash_of(call.blocks->output);
  return finish(check, entry, call, stream);
}

tuttiResult_t tuttiReduceScatterV(const void* sendbuff, const size_t* sendcounts,
                                  const size_t* displs, void* recvbuff, size_t recvcount,
                                  tuttiDataType_t dtype, tuttiRedOp_t op, tuttiComm_t comm,
                                  tuttiStream_t stream) {
  const Entry entry(comm, "tuttiReduceScatterV");
  if (!entry.status().ok()) return report(entry.status());
  CollectiveCall call = call_of(Collective::kReduceScatter, sendbuff, recvbuff);
  Checker check(entry, "tuttiReduceScatterV");
  check.dtype(dtype, &call).op(op, &call);
  check.blocks("sendbuff", sendcounts, displs, call.dtype, &call.blocks->input);
  if (check.ok()) {
    check.equal("recvcount", call.blocks->input.counts[static_cast<size_t>(entry.comm().rank())],
                recvcount);
  }
  call.blocks->output = single(recvcount);
  call.counts_hash = hash_of(call.blocks->input);
  return finish(check, entry, call, stream);
}

tuttiResult_t tuttiGatherV(const void* sendbuff, size_t sendcount, void* recvbuff,
                           const size_t* recvcounts, const size_t* displs, tuttiDataType_t dtype,
                           int root, tuttiComm_t comm, tuttiStream_t stream) {
  const Entry entry(comm, "tuttiGatherV");
  if (!entry.status().ok()) return report(entry.status());
  CollectiveCall call = call_of(Collective::kGather, sendbuff, recvbuff);
  call.counts_known_to_all = false;
  Checker check(entry, "tuttiGatherV");
  check.dtype(dtype, &call).root(root, &call).size("sendcount", sendcount, 1, call.dtype);
  call.blocks->input = single(sendcount);
  call.blocks->output = absent(entry);
  if (entry.comm().rank() == root) {
    check.blocks("recvbuff", recvcounts, displs, call.dtype, &call.blocks->output);
    if (check.ok())
      check.equal("sendcount", call.blocks->output.counts[static_cast<size_t>(root)], sendcount);
  }
  return finish(check, entry, call, stream);
}

tuttiResult_t tuttiScatterV(const void* sendbuff, const size_t* sendcounts, const size_t* displs,
                            void* recvbuff, size_t recvcount, tuttiDataType_t dtype, int root,
                            tuttiComm_t comm, tuttiStream_t stream) {
  const Entry entry(comm, "tuttiScatterV");
  if (!entry.status().ok()) return report(entry.status());
  CollectiveCall call = call_of(Collective::kScatter, sendbuff, recvbuff);
  call.counts_known_to_all = false;
  Checker check(entry, "tuttiScatterV");
  check.dtype(dtype, &call).root(root, &call).size("recvcount", recvcount, 1, call.dtype);
  call.blocks->input = absent(entry);
  call.blocks->output = single(recvcount);
  if (entry.comm().rank() == root) {
    check.blocks("sendbuff", sendcounts, displs, call.dtype, &call.blocks->input);
    if (check.ok())
      check.equal("recvcount", call.blocks->input.counts[static_cast<size_t>(root)], recvcount);
  }
  return finish(check, entry, call, stream);
}

tuttiResult_t tuttiAlltoAllV(const void* sendbuff, const size_t* sendcounts, const size_t* sdispls,
                             void* recvbuff, const size_t* recvcounts, const size_t* rdispls,
                             tuttiDataType_t dtype, tuttiComm_t comm, tuttiStream_t stream) {
  const Entry entry(comm, "tuttiAlltoAllV");
  if (!entry.status().ok()) return report(entry.status());
  CollectiveCall call = call_of(Collective::kAllToAll, sendbuff, recvbuff);
  call.counts_known_to_all = false;
  Checker check(entry, "tuttiAlltoAllV");
  check.dtype(dtype, &call);
  check.blocks("sendbuff", sendcounts, sdispls, call.dtype, &call.blocks->input);
  check.blocks("recvbuff", recvcounts, rdispls, call.dtype, &call.blocks->output);
  if (check.ok()) {
    const auto own = static_cast<uint32_t>(entry.comm().rank());
    check.equal("the block a rank sends itself", call.blocks->input.count(own),
                call.blocks->output.count(own));
  }
  return finish(check, entry, call, stream);
}

tuttiResult_t tuttiAlltoAllVC(const void* sendbuff, void* recvbuff, const size_t* countmatrix,
                              tuttiDataType_t dtype, tuttiComm_t comm, tuttiStream_t stream) {
  const Entry entry(comm, "tuttiAlltoAllVC");
  if (!entry.status().ok()) return report(entry.status());
  CollectiveCall call = call_of(Collective::kAllToAll, sendbuff, recvbuff);
  call.counts_known_to_all = false;
  Checker check(entry, "tuttiAlltoAllVC");
  const auto n = static_cast<size_t>(entry.comm().nranks());
  const auto own = static_cast<size_t>(entry.comm().rank());
  check.dtype(dtype, &call).buffer("countmatrix", countmatrix, n * n * sizeof(size_t));
  if (!check.ok()) return report(check.status());
  std::vector<size_t> sends(n);
  std::vector<size_t> receives(n);
  std::vector<size_t> send_at(n);
  std::vector<size_t> receive_at(n);
  size_t sent = 0;
  size_t received = 0;
  for (size_t p = 0; p < n; ++p) {
    sends[p] = countmatrix[own * n + p];
    receives[p] = countmatrix[p * n + own];
    send_at[p] = sent;
    receive_at[p] = received;
    // A sum that wraps is found by blocks(): the block before it ends past the address space.
    sent += sends[p];
    received += receives[p];
  }
  check.blocks("sendbuff", sends.data(), send_at.data(), call.dtype, &call.blocks->input);
  check.blocks("recvbuff", receives.data(), receive_at.data(), call.dtype, &call.blocks->output);
  call.counts_hash = tutti::hash64(countmatrix, n * n * sizeof(size_t));
  return finish(check, entry, call, stream);
}
