// tutti-peer-gloo SOCKET RANK NRANKS FOLDER [a2av|ag-rs]: Gloo's own collectives over its TCP
// transport, under the same harness as Tutti's; for experts in one of two ways (gloo_rows.h).
// FOLDER is where the ranks find each other. One thread, beside Gloo's own.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <gloo/allgather.h>
#include <gloo/allreduce.h>
#include <gloo/alltoall.h>
#include <gloo/alltoallv.h>
#include <gloo/barrier.h>
#include <gloo/broadcast.h>
#include <gloo/config.h>
#include <gloo/gather.h>
#include <gloo/math.h>
#include <gloo/reduce.h>
#include <gloo/reduce_scatter.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/scatter.h>
#include <gloo/transport/tcp/device.h>
#include <gloo/types.h>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/peers/gloo_rows.h"
#include "bench/perf/rank_server.h"

namespace perf {
namespace {

using tutti::Code;
using tutti::DataType;
using tutti::ReduceOp;
using tutti::Status;

// Operands by address: result, two inputs, elements.
using Fold = void (*)(void*, const void*, const void*, size_t);

template <typename T>
Fold fold_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return static_cast<Fold>(&gloo::sum<T>);
    case ReduceOp::kProd:
      return static_cast<Fold>(&gloo::product<T>);
    case ReduceOp::kMax:
      return static_cast<Fold>(&gloo::max<T>);
    case ReduceOp::kMin:
      return static_cast<Fold>(&gloo::min<T>);
    default:
      return nullptr;
  }
}

// Calls visit(T()) with the C++ type that Gloo reduces; false when it has none.
template <typename Visit>
bool with_type(DataType dtype, Visit visit) {
  const auto is = [&](DataType candidate, auto zero) {
    if (dtype == candidate) visit(zero);
    return dtype == candidate;
  };
  return is(DataType::kInt8, int8_t()) || is(DataType::kUint8, uint8_t()) ||
         is(DataType::kInt16, int16_t()) || is(DataType::kUint16, uint16_t()) ||
         is(DataType::kInt32, int32_t()) || is(DataType::kUint32, uint32_t()) ||
         is(DataType::kInt64, int64_t()) || is(DataType::kUint64, uint64_t()) ||
         is(DataType::kFloat16, gloo::float16()) || is(DataType::kFloat32, float()) ||
         is(DataType::kFloat64, double());
}

Fold find_fold(const Case& c) {
  Fold fold = nullptr;
  with_type(c.dtype, [&](auto zero) { fold = fold_of<decltype(zero)>(c.op); });
  return fold;
}

bool is_power_of_two(int n) { return (n & (n - 1)) == 0; }

// Gloo's halving-doubling reduce-scatter of one buffer: it folds into the buffer and leaves the
// rank's block in front.
std::unique_ptr<gloo::Algorithm> make_reduce_scatter(const Case& c,
                                                     const std::shared_ptr<gloo::Context>& context,
                                                     void* work, int nranks) {
  std::unique_ptr<gloo::Algorithm> result;
  with_type(c.dtype, [&](auto zero) {
    using T = decltype(zero);
    const gloo::ReductionFunction<T>* fold = gloo::ReductionFunction<T>::sum;
    if (c.op == ReduceOp::kProd) fold = gloo::ReductionFunction<T>::product;
    if (c.op == ReduceOp::kMax) fold = gloo::ReductionFunction<T>::max;
    if (c.op == ReduceOp::kMin) fold = gloo::ReductionFunction<T>::min;
    result = std::make_unique<gloo::ReduceScatterHalvingDoubling<T>>(
        context, std::vector<T*>{static_cast<T*>(work)}, static_cast<int>(c.count) * nranks,
        std::vector<int>(static_cast<size_t>(nranks), static_cast<int>(c.count)), fold);
  });
  return result;
}

class GlooRank : public RankSystem {
 public:
  // `way`: of experts (gloo_rows.h).
  GlooRank(int rank, int nranks, const std::string& folder, const std::string& way)
      : rank_(rank), nranks_(nranks), way_(way) {
    gloo::transport::tcp::attr where;
    where.hostname = "127.0.0.1";
    store_ = std::make_unique<gloo::rendezvous::FileStore>(folder);
    context_ = std::make_shared<gloo::rendezvous::Context>(rank, nranks);
    auto device = gloo::transport::tcp::CreateDevice(where);
    context_->connectFullMesh(*store_, device);
    // The harness has deadlines of its own.
    context_->setTimeout(std::chrono::hours(24));
  }

  int rank() const override { return rank_; }
  int nranks() const override { return nranks_; }
  std::string version() const override {
    return std::to_string(GLOO_VERSION_MAJOR) + "." + std::to_string(GLOO_VERSION_MINOR) + "." +
           std::to_string(GLOO_VERSION_PATCH);
  }

  std::string lacks(const Case& c) const override {
    if (is_expert(c.collective)) return gloo_rows_lack(way_, c, nranks_);
    if (has_operator(c.collective) && find_fold(c) == nullptr) {
      return std::string(tutti::name_of(c.op)) + " of " + tutti::name_of(c.dtype);
    }
    if (c.collective == Collective::kReduceScatter) {
      // With other numbers of ranks it needs blocks of at least one element per power of two.
      if (!is_power_of_two(nranks_)) return "reduce_scatter of ranks that are no power of two";
      if (recv_count(c, nranks_) * static_cast<size_t>(nranks_) > INT32_MAX) return "large counts";
    }
    if (c.in_place && c.collective == Collective::kAllToAll) return "in-place all_to_all";
    return "";
  }

  Status prepare(const Case& c, void* send_memory, void* recv_memory) override {
    if (is_expert(c.collective)) {
      return guarded([&] { rows_ = make_gloo_rows(way_, c, context_, send_memory, recv_memory); });
    }
    fold_ = has_operator(c.collective) ? find_fold(c) : nullptr;
    width_ = tutti::size_of(c.dtype);
    if (c.collective == Collective::kAllToAllV) {
      const Blocks sent = sent_blocks(c, rank_, nranks_);
      const Blocks received = received_blocks(c, rank_, nranks_);
      sendcounts_.assign(sent.counts.begin(), sent.counts.end());
      recvcounts_.assign(received.counts.begin(), received.counts.end());
    }
    if (c.collective == Collective::kReduceScatter) {
      void* work = send_memory;
      if (!c.in_place) {
        work_.resize(send_count(c, nranks_) * width_);
        work = work_.data();
      }
      reduced_ = work;
      return guarded([&] { reduce_scatter_ = make_reduce_scatter(c, context_, work, nranks_); });
    }
    return {};
  }

  void finish(const Case&) override {
    rows_.reset();
    reduce_scatter_.reset();
    work_ = {};
  }

  Status run(const Call& call) override {
    return guarded([&] {
      if (rows_) return rows_->run(next_tag());
      submit(call);
    });
  }

  Status barrier() override {
    return guarded([&] {
      gloo::BarrierOptions options(context_);
      options.setTag(next_tag());
      gloo::barrier(options);
    });
  }

  std::optional<Sent> sent() const override {
    if (!rows_) return std::nullopt;
    const Tiers bytes = rows_->sent_bytes();
    return Sent{bytes, bytes};
  }

  const void* result(const Call& call) const override {
    return call.c.collective == Collective::kReduceScatter ? reduced_ : call.buffers.recv;
  }

 private:
  // Gloo reports with exceptions; they end here.
  static Status guarded(const std::function<void()>& work) {
    try {
      work();
      return {};
    } catch (const std::exception& problem) {
      return tutti::error(Code::kRemoteError, "gloo: %s", problem.what());
    }
  }

  uint32_t next_tag() { return tag_++ & 0xffffffu; }

  // Elements do not matter where nothing is reduced: all is counted in bytes.
  static uint8_t* bytes(void* memory) { return static_cast<uint8_t*>(memory); }
  std::unique_ptr<gloo::transport::UnboundBuffer> buffer(void* memory, size_t size) {
    return context_->createUnboundBuffer(memory, size);
  }

  void submit(const Call& call) {
    switch (call.c.collective) {
      case Collective::kAllReduce:
        return all_reduce(call);
      case Collective::kReduce:
        return reduce(call);
      case Collective::kBroadcast:
        return broadcast(call);
      case Collective::kAllGather:
        return all_gather(call);
      case Collective::kReduceScatter:
        if (!call.c.in_place) std::memcpy(work_.data(), call.buffers.send, work_.size());
        return reduce_scatter_->run();
      case Collective::kGather:
        return gather(call);
      case Collective::kScatter:
        return scatter(call);
      case Collective::kAllToAll:
        return all_to_all(call);
      case Collective::kAllToAllV:
        return all_to_all_v(call);
      case Collective::kSendRecv:
        return send_recv(call);
      case Collective::kBarrier: {
        gloo::BarrierOptions options(context_);
        options.setTag(next_tag());
        return gloo::barrier(options);
      }
      case Collective::kExpertDispatch:
      case Collective::kExpertCombine:
      case Collective::kExpertRoundTrip:
        return;  // run() has seen to them
    }
  }

  template <typename Options>
  void set_elements(Options& options, const Call& call) {
    with_type(call.c.dtype, [&](auto zero) {
      using T = decltype(zero);
      if (!call.c.in_place) options.setInput(static_cast<T*>(call.buffers.send), call.c.count);
      options.setOutput(static_cast<T*>(call.buffers.recv), call.c.count);
    });
    options.setReduceFunction(fold_);
    options.setTag(next_tag());
  }

  void all_reduce(const Call& call) {
    gloo::AllreduceOptions options(context_);
    set_elements(options, call);
    gloo::allreduce(options);
  }

  void reduce(const Call& call) {
    gloo::ReduceOptions options(context_);
    set_elements(options, call);
    options.setRoot(call.root);
    gloo::reduce(options);
  }

  void broadcast(const Call& call) {
    gloo::BroadcastOptions options(context_);
    const size_t size = call.c.count * width_;
    if (rank_ == call.root && !call.c.in_place) options.setInput(bytes(call.buffers.send), size);
    options.setOutput(bytes(call.buffers.recv), size);
    options.setRoot(call.root);
    options.setTag(next_tag());
    gloo::broadcast(options);
  }

  void all_gather(const Call& call) {
    gloo::AllgatherOptions options(context_);
    const size_t size = call.c.count * width_;
    if (!call.c.in_place) options.setInput(bytes(call.buffers.send), size);
    options.setOutput(bytes(call.buffers.recv), size * static_cast<size_t>(nranks_));
    options.setTag(next_tag());
    gloo::allgather(options);
  }

  void gather(const Call& call) {
    gloo::GatherOptions options(context_);
    const size_t size = call.c.count * width_;
    options.setInput(bytes(call.buffers.send), size);
    if (rank_ == call.root) {
      options.setOutput(bytes(call.buffers.recv), size * static_cast<size_t>(nranks_));
    }
    options.setRoot(call.root);
    options.setTag(next_tag());
    gloo::gather(options);
  }

  void scatter(const Call& call) {
    gloo::ScatterOptions options(context_);
    const size_t size = call.c.count * width_;
    if (rank_ == call.root) {
      std::vector<uint8_t*> blocks;
      for (int r = 0; r < nranks_; ++r) {
        blocks.push_back(bytes(call.buffers.send) + static_cast<size_t>(r) * size);
      }
      options.setInputs(blocks, size);
    }
    options.setOutput(bytes(call.buffers.recv), size);
    options.setRoot(call.root);
    options.setTag(next_tag());
    gloo::scatter(options);
  }

  void all_to_all(const Call& call) {
    gloo::AlltoallOptions options(context_);
    const size_t size = call.c.count * width_ * static_cast<size_t>(nranks_);
    options.setInput(bytes(call.buffers.send), size);
    options.setOutput(bytes(call.buffers.recv), size);
    options.setTag(next_tag());
    gloo::alltoall(options);
  }

  void all_to_all_v(const Call& call) {
    gloo::AlltoallvOptions options(context_);
    // Counted in elements, so that the widths agree with `counts`.
    const auto set = [&](auto zero) {
      using T = decltype(zero);
      options.setInput(static_cast<T*>(call.buffers.send), sendcounts_);
      options.setOutput(static_cast<T*>(call.buffers.recv), recvcounts_);
    };
    if (width_ == 1) set(uint8_t());
    if (width_ == 2) set(uint16_t());
    if (width_ == 4) set(uint32_t());
    if (width_ == 8) set(uint64_t());
    options.setTag(next_tag());
    gloo::alltoallv(options);
  }

  void send_recv(const Call& call) {
    const size_t size = call.c.count * width_;
    // A slot of its own per call, apart from those of the collectives' tags.
    const uint64_t slot = (uint64_t{1} << 62) | next_tag();
    auto out = buffer(call.buffers.send, size);
    auto in = buffer(call.buffers.recv, size);
    in->recv((rank_ - 1 + nranks_) % nranks_, slot);
    out->send((rank_ + 1) % nranks_, slot);
    out->waitSend();
    in->waitRecv();
  }

  int rank_;
  int nranks_;
  std::string way_;
  std::unique_ptr<gloo::rendezvous::FileStore> store_;
  std::shared_ptr<gloo::rendezvous::Context> context_;
  uint32_t tag_ = 0;
  // Of the present case.
  size_t width_ = 1;
  Fold fold_ = nullptr;
  std::unique_ptr<GlooRows> rows_;  // of experts
  std::vector<int64_t> sendcounts_, recvcounts_;
  std::unique_ptr<gloo::Algorithm> reduce_scatter_;
  std::vector<uint8_t> work_;
  const void* reduced_ = nullptr;
};

int run(int argc, char** argv) {
  const std::string way = argc == 6 ? argv[5] : "";
  if (argc < 5 || argc > 6 || (argc == 6 && way != "a2av" && way != "ag-rs")) {
    std::fprintf(
        stderr, "usage: %s SOCKET RANK NRANKS FOLDER [a2av|ag-rs] (tutti-perf --peers starts it)\n",
        argv[0]);
    return 2;
  }
  try {
    GlooRank system(std::atoi(argv[2]), std::atoi(argv[3]), argv[4], way);
    return serve(argv[1], system);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "gloo rank %s: %s\n", argv[2], problem.what());
    return 1;
  }
}

}  // namespace
}  // namespace perf

int main(int argc, char** argv) { return perf::run(argc, argv); }
