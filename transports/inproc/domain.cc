#include "transports/inproc/domain.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <new>
#include <sys/mman.h>

namespace tutti {

namespace {

// Zeros that cost nothing until they are touched; null when there is no memory.
void* map_zeros(size_t bytes) {
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return base == MAP_FAILED ? nullptr : base;
}

}  // namespace

std::shared_ptr<Door> make_inproc_door() {
  void* base = map_zeros(sizeof(Door));
  if (base == nullptr) throw std::bad_alloc();
  return {static_cast<Door*>(base), [](Door* door) { munmap(door, sizeof(Door)); }};
}

InprocLinkMemory::~InprocLinkMemory() {
  for (RingBlock* block : blocks_) munmap(block, sizeof(RingBlock));
}

Result<RingBlock*> InprocLinkMemory::block(uint32_t index) {
  if (index == blocks_.size()) {
    void* base = map_zeros(sizeof(RingBlock));
    if (base == nullptr) return error(Code::kOutOfMemory, "inproc: no memory for rings");
    blocks_.push_back(static_cast<RingBlock*>(base));
  }
  return blocks_[index];
}

std::shared_ptr<InprocDomain> InprocDomain::create() {
  return std::shared_ptr<InprocDomain>(new InprocDomain);
}

InprocDomain::~InprocDomain() {
  MutexLock lock(mutex_);
  for (void* block : orphans_) std::free(block);
}

uint64_t InprocDomain::add_endpoint(InprocEndpoint endpoint) {
  MutexLock lock(mutex_);
  const uint64_t id = next_id_++;
  endpoints_.emplace(id, std::move(endpoint));
  return id;
}

void InprocDomain::remove_endpoint(uint64_t id, std::span<void* const> blocks) {
  MutexLock lock(mutex_);
  endpoints_.erase(id);
  orphans_.insert(orphans_.end(), blocks.begin(), blocks.end());
  for (auto it = links_.begin(); it != links_.end();) {
    const auto [low, high] = it->first;
    const bool dead = endpoints_.count(low) == 0 && endpoints_.count(high) == 0;
    it = dead ? links_.erase(it) : std::next(it);
  }
}

Result<std::shared_ptr<RingLink>> InprocDomain::link(uint64_t local, uint64_t remote, int peer) {
  MutexLock lock(mutex_);
  const auto there = endpoints_.find(remote);
  if (there == endpoints_.end()) {
    return error(Code::kRemoteError, "inproc: peer %d is gone", peer);
  }
  std::shared_ptr<InprocLinkMemory>& memory = links_[std::minmax(local, remote)];
  if (!memory) {
    memory = std::make_shared<InprocLinkMemory>();
    TUTTI_TRY(memory->head.mutex.init());
  }
  const int side = local == remote ? -1 : local < remote ? 0 : 1;
  InprocEndpoint other = side < 0 ? InprocEndpoint() : there->second;
  return std::shared_ptr<RingLink>(
      std::make_shared<InprocLink>(memory, std::move(other), peer, side));
}

size_t InprocDomain::ring_pairs() const {
  MutexLock lock(mutex_);
  size_t pairs = 0;
  for (const auto& [ends, memory] : links_) pairs += InprocLink(memory, {}, 0, 0).pairs_in_use();
  return pairs;
}

}  // namespace tutti
