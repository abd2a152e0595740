#include "comm/device/host_reduce.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "comm/base/types.h"
#include "comm/device/kernels.h"
#include "comm/device/scaled_reduce.h"

namespace tutti {

const tutti_reduce_args* take_reduce_arguments(const tutti_reduce_args* from,
                                               tutti_reduce_args* room) {
  if (from->struct_size == sizeof *room) return from;
  *room = {};
  if (from->struct_size < offsetof(tutti_reduce_args, scalar)) return nullptr;
  std::memcpy(room, from, std::min<size_t>(from->struct_size, sizeof *room));
  return room;
}

namespace {

// Results that a thread must have to itself before one more is worth waking: it takes some 50 us to
// come, and 1 MiB some 100 us to reduce.
constexpr size_t kBytesPerThread = size_t{1} << 20;
constexpr size_t kPiecesPerThread = 4;  // whoever comes late leaves more to the others
constexpr size_t kPieceUnit = 4096;     // bytes
constexpr uint32_t kMostEnds = 8;       // sources, and destinations, of a reduction that is shared

void reduce_alone(const tutti_reduce_args& a) {
  const ReduceCall call{a.src,
                        static_cast<int>(a.nsrc),
                        a.dst,
                        static_cast<int>(a.ndst),
                        static_cast<size_t>(a.count),
                        static_cast<DataType>(a.dtype),
                        static_cast<ReduceOp>(a.op),
                        a.divisor,
                        static_cast<Stores>(a.stores)};
  if (a.scalar == nullptr) return reduce(call);
  reduce_scaled(call, a.scalar);
}

// A reduction in pieces: piece i begins at element first + i * step, but piece 0 at 0.
struct SharedReduce {
  const tutti_reduce_args* args;
  size_t first;
  size_t step;

  size_t begin(uint32_t piece) const {
    return piece == 0 ? 0 : std::min<size_t>(first + piece * step, args->count);
  }
};

void reduce_piece(const void* job, uint32_t piece) {
  const auto& whole = *static_cast<const SharedReduce*>(job);
  tutti_reduce_args part = *whole.args;
  const size_t begin = whole.begin(piece);
  const size_t offset = begin * size_of(static_cast<DataType>(part.dtype));
  std::array<const void*, kMostEnds> src;
  std::array<void*, kMostEnds> dst;
  for (uint32_t k = 0; k < part.nsrc; ++k) src[k] = static_cast<const char*>(part.src[k]) + offset;
  for (uint32_t j = 0; j < part.ndst; ++j) dst[j] = static_cast<char*>(part.dst[j]) + offset;
  part.src = src.data();
  part.dst = dst.data();
  part.count = whole.begin(piece + 1) - begin;
  reduce_alone(part);
}

}  // namespace

void run_reduce(const tutti_reduce_args& a, HostWorkers& workers) {
  if (a.threads < 2 || a.nsrc > kMostEnds || a.ndst > kMostEnds) return reduce_alone(a);
  const size_t element = size_of(static_cast<DataType>(a.dtype));
  const size_t threads = std::min<size_t>(a.threads, a.count * element / kBytesPerThread);
  if (threads < 2) return reduce_alone(a);
  // No line of the first destination is shared by two pieces, if its elements lie evenly in lines.
  const size_t past = reinterpret_cast<uintptr_t>(a.dst[0]) % kPieceUnit;
  const size_t first = (kPieceUnit - past) % kPieceUnit / element;
  const size_t unit = kPieceUnit / element;
  const size_t step = (a.count / (threads * kPiecesPerThread) + unit - 1) / unit * unit;
  const size_t pieces = (a.count - std::min<size_t>(a.count, first) + step - 1) / step;
  const SharedReduce whole{&a, first, step};
  workers.run(reduce_piece, &whole, static_cast<uint32_t>(pieces),
              static_cast<uint32_t>(threads - 1));
}

DeferredReduce::DeferredReduce(const tutti_reduce_args& args)
    : args_(args), src_(args.src, args.src + args.nsrc), dst_(args.dst, args.dst + args.ndst) {
  args_.src = src_.data();
  args_.dst = dst_.data();
  if (args.scalar == nullptr) return;
  const size_t bytes = size_of(static_cast<DataType>(args.dtype));
  scalar_values_.resize(args.nsrc);
  for (uint32_t k = 0; k < args.nsrc; ++k) {
    if (args.scalar[k] != nullptr) std::memcpy(&scalar_values_[k], args.scalar[k], bytes);
    scalar_.push_back(args.scalar[k] == nullptr ? nullptr : &scalar_values_[k]);
  }
  args_.scalar = scalar_.data();
}

}  // namespace tutti
