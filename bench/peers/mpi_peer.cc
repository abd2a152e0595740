// tutti-peer-openmpi, tutti-peer-mpich SOCKET [dedup|assign]: the collectives of an MPI, under the
// same harness as Tutti's; in one of two ways what users make of MPI_Alltoallv for experts.
// Compiled once with each MPI; started by that MPI's mpirun. One thread.
#include <climits>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mpi.h>
#include <optional>
#include <string>
#include <vector>

#include "bench/peers/row_exchange.h"
#include "bench/perf/rank_server.h"

namespace perf {
namespace {

using tutti::Code;
using tutti::DataType;
using tutti::ReduceOp;
using tutti::Status;

// MPICH 4.0.2 copies from MPI_IN_PLACE at a root that is not rank 0, if the message is not short.
#ifdef MPICH_VERSION
constexpr bool kCrashesInReduce = true;
#else
constexpr bool kCrashesInReduce = false;
#endif

Status status_of(int code) {
  if (code == MPI_SUCCESS) return {};
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  return tutti::error(Code::kRemoteError, "MPI: %s", text);
}

// MPI_DATATYPE_NULL: MPI cannot reduce it.
MPI_Datatype arithmetic_type(DataType dtype) {
  switch (dtype) {
    case DataType::kInt8:
      return MPI_INT8_T;
    case DataType::kUint8:
      return MPI_UINT8_T;
    case DataType::kInt16:
      return MPI_INT16_T;
    case DataType::kUint16:
      return MPI_UINT16_T;
    case DataType::kInt32:
      return MPI_INT32_T;
    case DataType::kUint32:
      return MPI_UINT32_T;
    case DataType::kInt64:
      return MPI_INT64_T;
    case DataType::kUint64:
      return MPI_UINT64_T;
    case DataType::kFloat32:
      return MPI_FLOAT;
    case DataType::kFloat64:
      return MPI_DOUBLE;
    case DataType::kBool:
      return MPI_C_BOOL;
    default:
      return MPI_DATATYPE_NULL;
  }
}

// What only moves needs no more than the right width.
MPI_Datatype moving_type(DataType dtype) {
  switch (tutti::size_of(dtype)) {
    case 1:
      return MPI_UINT8_T;
    case 2:
      return MPI_UINT16_T;
    case 4:
      return MPI_UINT32_T;
    default:
      return MPI_UINT64_T;
  }
}

MPI_Op logical_operator(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
    case ReduceOp::kMax:
    case ReduceOp::kBor:
      return MPI_LOR;
    case ReduceOp::kProd:
    case ReduceOp::kMin:
    case ReduceOp::kBand:
      return MPI_LAND;
    case ReduceOp::kBxor:
      return MPI_LXOR;
    default:
      return MPI_OP_NULL;
  }
}

MPI_Op operator_of(DataType dtype, ReduceOp op) {
  if (dtype == DataType::kBool) return logical_operator(op);
  switch (op) {
    case ReduceOp::kSum:
      return MPI_SUM;
    case ReduceOp::kProd:
      return MPI_PROD;
    case ReduceOp::kMax:
      return MPI_MAX;
    case ReduceOp::kMin:
      return MPI_MIN;
    case ReduceOp::kBand:
      return MPI_BAND;
    case ReduceOp::kBor:
      return MPI_BOR;
    case ReduceOp::kBxor:
      return MPI_BXOR;
    default:
      return MPI_OP_NULL;
  }
}

std::vector<int> as_ints(const std::vector<size_t>& values) {
  return std::vector<int>(values.begin(), values.end());
}

// Counts and displacements of blocks by rank, in elements of 2 bytes.
struct Counts {
  Counts(const std::vector<size_t>& rows, size_t row_bytes) {
    size_t at = 0;
    for (const size_t count : rows) {
      counts.push_back(static_cast<int>(count * row_bytes / 2));
      displs.push_back(static_cast<int>(at * row_bytes / 2));
      at += count;
    }
  }
  std::vector<int> counts, displs;
};

Status exchange_blocks(const RowExchange::Blocks& blocks) {
  const Counts out(blocks.send_rows, blocks.row_bytes);
  const Counts in(blocks.recv_rows, blocks.row_bytes);
  return status_of(MPI_Alltoallv(blocks.send, out.counts.data(), out.displs.data(), MPI_UINT16_T,
                                 blocks.recv, in.counts.data(), in.displs.data(), MPI_UINT16_T,
                                 MPI_COMM_WORLD));
}

class MpiRank : public RankSystem {
 public:
  explicit MpiRank(RowWay way) : way_(way) {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &nranks_);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  }

  int rank() const override { return rank_; }
  int nranks() const override { return nranks_; }

  std::string version() const override {
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    MPI_Get_library_version(text, &length);
    std::string version = text;
    for (char& letter : version) {
      if (letter == '\t') letter = ' ';
    }
    return version.substr(0, version.find_first_of(",\n"));
  }

  std::string lacks(const Case& c) const override {
    if (is_expert(c.collective)) {
      // What one rank may get, from all.
      const size_t most = c.count * static_cast<size_t>(c.expert.topk * nranks_);
      return most > INT_MAX ? "counts above 2^31" : RowExchange::lacks(c, way_);
    }
    if (send_count(c, nranks_) > INT_MAX || recv_count(c, nranks_) > INT_MAX) {
      return "counts above 2^31";
    }
    if (!has_operator(c.collective)) return "";
    if (kCrashesInReduce && c.in_place && c.collective == Collective::kReduce && c.root != 0) {
      return "in-place reduce to other roots than 0";
    }
    if (arithmetic_type(c.dtype) == MPI_DATATYPE_NULL) return tutti::name_of(c.dtype);
    if (operator_of(c.dtype, c.op) == MPI_OP_NULL) return tutti::name_of(c.op);
    return "";
  }

  Status prepare(const Case& c, void* send_memory, void* recv_memory) override {
    if (is_expert(c.collective)) {
      rows_ = std::make_unique<RowExchange>(c, way_, rank_, nranks_, send_memory, recv_memory);
      return {};
    }
    type_ = has_operator(c.collective) ? arithmetic_type(c.dtype) : moving_type(c.dtype);
    op_ = operator_of(c.dtype, c.op);
    send_memory_ = send_memory;
    if (c.collective != Collective::kAllToAllV) return {};
    const Blocks sent = sent_blocks(c, rank_, nranks_);
    const Blocks received = received_blocks(c, rank_, nranks_);
    sendcounts_ = as_ints(sent.counts);
    sdispls_ = as_ints(sent.displs);
    recvcounts_ = as_ints(received.counts);
    rdispls_ = as_ints(received.displs);
    return {};
  }

  void finish(const Case&) override { rows_.reset(); }

  Status run(const Call& call) override {
    return rows_ ? rows_->run(exchange_blocks) : status_of(submit(call));
  }
  std::optional<Sent> sent() const override {
    if (!rows_) return std::nullopt;
    const Tiers bytes = rows_->sent_bytes();
    return Sent{bytes, bytes};
  }
  Status barrier() override { return status_of(MPI_Barrier(MPI_COMM_WORLD)); }

  const void* result(const Call& call) const override {
    // MPI_Bcast has one buffer; MPI_Reduce_scatter_block in place leaves its block in front.
    if (call.c.collective == Collective::kBroadcast && rank_ == call.root) return call.buffers.send;
    if (call.c.collective == Collective::kReduceScatter && call.c.in_place) return send_memory_;
    return call.buffers.recv;
  }

 private:
  int submit(const Call& call) {
    const Case& c = call.c;
    const MPI_Comm comm = MPI_COMM_WORLD;
    const auto count = static_cast<int>(c.count);
    const bool at_root = rank_ == call.root;
    void* const recv = call.buffers.recv;
    const void* const send = c.in_place ? MPI_IN_PLACE : call.buffers.send;
    // In-place forms of rooted calls are the root's only.
    const void* const send_of_root = at_root ? send : call.buffers.send;
    switch (c.collective) {
      case Collective::kAllReduce:
        return MPI_Allreduce(send, recv, count, type_, op_, comm);
      case Collective::kReduce:
        return MPI_Reduce(send_of_root, recv, count, type_, op_, call.root, comm);
      case Collective::kBroadcast:
        return MPI_Bcast(at_root ? call.buffers.send : recv, count, type_, call.root, comm);
      case Collective::kAllGather:
        return MPI_Allgather(send, count, type_, recv, count, type_, comm);
      case Collective::kReduceScatter:
        return MPI_Reduce_scatter_block(send, c.in_place ? send_memory_ : recv, count, type_, op_,
                                        comm);
      case Collective::kGather:
        return MPI_Gather(send_of_root, count, type_, recv, count, type_, call.root, comm);
      case Collective::kScatter:
        return MPI_Scatter(call.buffers.send, count, type_,
                           c.in_place && at_root ? MPI_IN_PLACE : recv, count, type_, call.root,
                           comm);
      case Collective::kAllToAll:
        return MPI_Alltoall(send, count, type_, recv, count, type_, comm);
      case Collective::kAllToAllV:
        return MPI_Alltoallv(send, sendcounts_.data(), sdispls_.data(), type_, recv,
                             recvcounts_.data(), rdispls_.data(), type_, comm);
      case Collective::kSendRecv:
        return MPI_Sendrecv(send, count, type_, (rank_ + 1) % nranks_, 0, recv, count, type_,
                            (rank_ - 1 + nranks_) % nranks_, 0, comm, MPI_STATUS_IGNORE);
      case Collective::kBarrier:
        return MPI_Barrier(comm);
      case Collective::kExpertDispatch:
      case Collective::kExpertCombine:
      case Collective::kExpertRoundTrip:
        break;  // run() has seen to them
    }
    return MPI_ERR_OTHER;
  }

  RowWay way_;
  int rank_ = 0;
  int nranks_ = 0;
  std::unique_ptr<RowExchange> rows_;  // of a case of experts
  MPI_Datatype type_ = MPI_DATATYPE_NULL;
  MPI_Op op_ = MPI_OP_NULL;
  void* send_memory_ = nullptr;
  std::vector<int> sendcounts_, sdispls_, recvcounts_, rdispls_;  // all_to_all_v
};

int run(int argc, char** argv) {
  if (MPI_Init(&argc, &argv) != MPI_SUCCESS) return 1;
  const std::string way = argc == 3 ? argv[2] : "dedup";
  if (argc < 2 || argc > 3 || (way != "dedup" && way != "assign")) {
    std::fprintf(stderr, "usage: %s SOCKET [dedup|assign] (tutti-perf --peers starts it)\n",
                 argv[0]);
    MPI_Finalize();
    return 2;
  }
  MpiRank system(way == "assign" ? RowWay::kAssign : RowWay::kDedup);
  const int code = serve(argv[1], system);
  // The others may wait for this rank inside MPI.
  if (code != 0) MPI_Abort(MPI_COMM_WORLD, code);
  MPI_Finalize();
  return code;
}

}  // namespace
}  // namespace perf

int main(int argc, char** argv) { return perf::run(argc, argv); }
