#include "transports/inproc/domain.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <sys/mman.h>

namespace tutti {

InprocLinkMemory::~InprocLinkMemory() {
  for (RingBlock* block : blocks_) munmap(block, sizeof(RingBlock));
}

// Zeros that cost nothing until they are touched.
Result<RingBlock*> InprocLinkMemory::block(uint32_t index) {
  if (index == blocks_.size()) {
    void* base = mmap(nullptr, sizeof(RingBlock), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return error(Code::kOutOfMemory, "inproc: no memory for rings");
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

uint64_t InprocDomain::add_endpoint() {
  MutexLock lock(mutex_);
  const uint64_t id = next_id_++;
  endpoints_.insert(id);
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
  if (endpoints_.count(remote) == 0) {
    return error(Code::kRemoteError, "inproc: peer %d is gone", peer);
  }
  std::shared_ptr<InprocLinkMemory>& memory = links_[std::minmax(local, remote)];
  if (!memory) {
    memory = std::make_shared<InprocLinkMemory>();
    TUTTI_TRY(memory->head.mutex.init());
  }
  const int side = local == remote ? -1 : local < remote ? 0 : 1;
  return std::shared_ptr<RingLink>(std::make_shared<InprocLink>(memory, peer, side));
}

size_t InprocDomain::ring_pairs() const {
  MutexLock lock(mutex_);
  size_t pairs = 0;
  for (const auto& [ends, memory] : links_) pairs += InprocLink(memory, 0, 0).pairs_in_use();
  return pairs;
}

}  // namespace tutti
