#include "comm/schedule/contract.h"

namespace tutti {

bool has_input(const Schedule& s, int rank) {
  switch (s.collective) {
    case Collective::kBarrier:
      return false;
    case Collective::kBroadcast:
    case Collective::kScatter:
      return rank == s.root;
    default:
      return true;
  }
}

bool has_output(const Schedule& s, int rank) {
  switch (s.collective) {
    case Collective::kBarrier:
      return false;
    case Collective::kReduce:
    case Collective::kGather:
      return rank == s.root;
    default:
      return true;
  }
}

Promise promise(const Schedule& s, uint32_t chunk) {
  const uint32_t per_block = s.shape.chunks_per_block;
  const uint32_t block = chunk / per_block;
  const uint32_t within = chunk % per_block;
  const auto own_block = static_cast<uint32_t>(s.rank) * per_block;
  switch (s.collective) {
    case Collective::kAllReduce:
    case Collective::kReduce:
      return {Promise::Kind::kReduced, -1, chunk};
    case Collective::kReduceScatter:
      return {Promise::Kind::kReduced, -1, own_block + chunk};
    case Collective::kAllGather:
    case Collective::kGather:
      return {Promise::Kind::kCopied, static_cast<int>(block), within};
    case Collective::kScatter:
      return {Promise::Kind::kCopied, s.root, own_block + chunk};
    case Collective::kAllToAll:
      return {Promise::Kind::kCopied, static_cast<int>(block), own_block + within};
    case Collective::kBroadcast:
    case Collective::kBarrier:
      break;
  }
  return {Promise::Kind::kCopied, s.root, chunk};
}

int64_t aliased_output(const Schedule& s, uint32_t input_chunk) {
  if (!has_input(s, s.rank) || !has_output(s, s.rank)) return -1;
  const uint32_t per_block = s.shape.chunks_per_block;
  const auto own_block = static_cast<uint32_t>(s.rank) * per_block;
  switch (s.collective) {
    case Collective::kAllGather:
    case Collective::kGather:
      return own_block + input_chunk;
    case Collective::kReduceScatter:
    case Collective::kScatter:
      if (input_chunk < own_block || input_chunk >= own_block + per_block) return -1;
      return input_chunk - own_block;
    default:
      return input_chunk;
  }
}

}  // namespace tutti
