// Every collective behind one shape, so that a test can loop over all of them.
#pragma once

#include <cstddef>
#include <vector>

#include "tutti/tutti.h"

namespace tutti {

struct Arguments {
  const void* send = nullptr;
  void* recv = nullptr;
  size_t count = 0;  // of every block
  tuttiDataType_t dtype = tuttiFloat32;
  tuttiRedOp_t op = tuttiSum;
  int root = 0;
  tuttiComm_t comm = nullptr;
  tuttiStream_t stream = nullptr;
};

struct Function {
  const char* name;
  bool reduces;
  bool rooted;
  bool many_in;   // sendbuff holds a block per rank (at the root, when rooted)
  bool many_out;  // recvbuff does
  tuttiResult_t (*call)(const Arguments& a);
};

// Blocks of a.count elements back to back, for the functions that want arrays.
struct Blocks {
  explicit Blocks(const Arguments& a) {
    int n = 1;
    int own = 0;
    if (tuttiCommCount(a.comm, &n) == tuttiSuccess) (void)tuttiCommUserRank(a.comm, &own);
    counts.assign(static_cast<size_t>(n), a.count);
    for (int r = 0; r < n; ++r) displs.push_back(a.count * static_cast<size_t>(r));
    matrix.assign(static_cast<size_t>(n) * static_cast<size_t>(n), a.count);
  }
  std::vector<size_t> counts;
  std::vector<size_t> displs;
  std::vector<size_t> matrix;
};

inline constexpr Function kFunctions[] = {
    {"tuttiAllReduce", true, false, false, false,
     [](const Arguments& a) {
       return tuttiAllReduce(a.send, a.recv, a.count, a.dtype, a.op, a.comm, a.stream);
     }},
    {"tuttiReduce", true, true, false, false,
     [](const Arguments& a) {
       return tuttiReduce(a.send, a.recv, a.count, a.dtype, a.op, a.root, a.comm, a.stream);
     }},
    {"tuttiBroadcast", false, true, false, false,
     [](const Arguments& a) {
       return tuttiBroadcast(a.send, a.recv, a.count, a.dtype, a.root, a.comm, a.stream);
     }},
    {"tuttiAllGather", false, false, false, true,
     [](const Arguments& a) {
       return tuttiAllGather(a.send, a.recv, a.count, a.dtype, a.comm, a.stream);
     }},
    {"tuttiAllGatherV", false, false, false, true,
     [](const Arguments& a) {
       const Blocks b(a);
       return tuttiAllGatherV(a.send, a.count, a.recv, b.counts.data(), b.displs.data(), a.dtype,
                              a.comm, a.stream);
     }},
    {"tuttiReduceScatter", true, false, true, false,
     [](const Arguments& a) {
       return tuttiReduceScatter(a.send, a.recv, a.count, a.dtype, a.op, a.comm, a.stream);
     }},
    {"tuttiReduceScatterV", true, false, true, false,
     [](const Arguments& a) {
       const Blocks b(a);
       return tuttiReduceScatterV(a.send, b.counts.data(), b.displs.data(), a.recv, a.count,
                                  a.dtype, a.op, a.comm, a.stream);
     }},
    {"tuttiGather", false, true, false, true,
     [](const Arguments& a) {
       return tuttiGather(a.send, a.recv, a.count, a.dtype, a.root, a.comm, a.stream);
     }},
    {"tuttiGatherV", false, true, false, true,
     [](const Arguments& a) {
       const Blocks b(a);
       return tuttiGatherV(a.send, a.count, a.recv, b.counts.data(), b.displs.data(), a.dtype,
                           a.root, a.comm, a.stream);
     }},
    {"tuttiScatter", false, true, true, false,
     [](const Arguments& a) {
       return tuttiScatter(a.send, a.recv, a.count, a.dtype, a.root, a.comm, a.stream);
     }},
    {"tuttiScatterV", false, true, true, false,
     [](const Arguments& a) {
       const Blocks b(a);
       return tuttiScatterV(a.send, b.counts.data(), b.displs.data(), a.recv, a.count, a.dtype,
                            a.root, a.comm, a.stream);
     }},
    {"tuttiAlltoAll", false, false, true, true,
     [](const Arguments& a) {
       return tuttiAlltoAll(a.send, a.recv, a.count, a.dtype, a.comm, a.stream);
     }},
    {"tuttiAlltoAllV", false, false, true, true,
     [](const Arguments& a) {
       const Blocks b(a);
       return tuttiAlltoAllV(a.send, b.counts.data(), b.displs.data(), a.recv, b.counts.data(),
                             b.displs.data(), a.dtype, a.comm, a.stream);
     }},
    {"tuttiAlltoAllVC", false, false, true, true,
     [](const Arguments& a) {
       const Blocks b(a);
       return tuttiAlltoAllVC(a.send, a.recv, b.matrix.data(), a.dtype, a.comm, a.stream);
     }},
};

// Everything else that takes a communicator and needs it ready. With arguments that are good by
// themselves, so that only the state of the communicator can be wrong.
struct CommCall {
  const char* name;
  tuttiResult_t (*call)(tuttiComm_t comm);
};

inline constexpr CommCall kCommCalls[] = {
    {"tuttiBarrier", [](tuttiComm_t comm) { return tuttiBarrier(comm, nullptr); }},
    {"tuttiSend",
     [](tuttiComm_t comm) {
       char byte = 0;
       return tuttiSend(&byte, 1, tuttiInt8, 0, comm, nullptr);
     }},
    {"tuttiRecv",
     [](tuttiComm_t comm) {
       char byte = 0;
       return tuttiRecv(&byte, 1, tuttiInt8, 0, comm, nullptr);
     }},
    {"tuttiSendTag",
     [](tuttiComm_t comm) {
       char byte = 0;
       return tuttiSendTag(&byte, 1, tuttiInt8, 0, 7, comm, nullptr);
     }},
    {"tuttiRecvTag",
     [](tuttiComm_t comm) {
       char byte = 0;
       return tuttiRecvTag(&byte, 1, tuttiInt8, TUTTI_ANY_RANK, 7, nullptr, comm, nullptr);
     }},
    {"tuttiSend",
     [](tuttiComm_t comm) {
       char byte = 0;
       const tuttiSendRecvItem_t item = {tuttiItemSend, &byte, 1, tuttiInt8, 0};
       return tuttiBatchSendRecv(&item, 1, comm, nullptr);
     }},
    {"tuttiRedOpCreatePreMulSum",
     [](tuttiComm_t comm) {
       const float scalar = 2;
       tuttiRedOp_t op;
       return tuttiRedOpCreatePreMulSum(&op, &scalar, tuttiFloat32, comm);
     }},
    {"tuttiRedOpDestroy", [](tuttiComm_t comm) { return tuttiRedOpDestroy(tuttiNumOps, comm); }},
    {"tuttiCommRegister",
     [](tuttiComm_t comm) {
       static char memory[64];
       tuttiWindow_t window = nullptr;
       return tuttiCommRegister(comm, memory, sizeof memory, &window);
     }},
    {"tuttiCommWindowRegister",
     [](tuttiComm_t comm) {
       static char memory[64];
       tuttiWindow_t window = nullptr;
       return tuttiCommWindowRegister(comm, memory, sizeof memory, &window, TUTTI_WINDOW_DEFAULT);
     }},
    {"tuttiCommDeregister", [](tuttiComm_t comm) { return tuttiCommDeregister(comm, nullptr); }},
    {"tuttiCommSplit",
     [](tuttiComm_t comm) {
       tuttiComm_t made = nullptr;
       return tuttiCommSplit(comm, 0, 0, &made, nullptr);
     }},
    {"tuttiCommCreateGroup",
     [](tuttiComm_t comm) {
       const int ranks[] = {0};
       tuttiComm_t made = nullptr;
       return tuttiCommCreateGroup(comm, ranks, 1, 0, &made, nullptr);
     }},
    {"tuttiCommFinalize", [](tuttiComm_t comm) { return tuttiCommFinalize(comm); }},
};

}  // namespace tutti
