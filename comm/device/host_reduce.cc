#include "comm/device/host_reduce.h"

#include <algorithm>
#include <cstddef>
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

void run_reduce(const tutti_reduce_args& a) {
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
