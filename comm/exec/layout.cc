#include "comm/exec/layout.h"

#include <algorithm>
#include <numeric>

namespace tutti {

namespace {
constexpr size_t kLineBytes = 64;
}  // namespace

size_t BlockList::largest() const {
  if (counts.empty()) return each;
  return *std::max_element(counts.begin(), counts.end());
}

size_t BlockList::total() const {
  if (counts.empty()) return each * num;
  return std::accumulate(counts.begin(), counts.end(), size_t{0});
}

DataLayout::DataLayout(BlockList input, BlockList output, uint32_t chunks_per_block,
                       size_t element_bytes, uint32_t scratch_slots, size_t scratch_cap,
                       size_t most_bytes)
    : input_(std::move(input)),
      output_(std::move(output)),
      chunks_per_block_(chunks_per_block),
      element_bytes_(element_bytes),
      line_elements_(kLineBytes / element_bytes) {
  const size_t largest = std::max(input_.largest(), output_.largest());
  round_elements_ = largest;
  if (scratch_slots > 0) most_bytes = std::min(most_bytes, scratch_cap / scratch_slots);
  const size_t lines = std::max<size_t>(1, most_bytes / kLineBytes);
  const size_t most = lines * line_elements_;  // elements of one chunk
  if (chunk_elements(largest) > most) {
    round_elements_ = most * chunks_per_block_;
    rounds_ = static_cast<uint32_t>((largest + round_elements_ - 1) / round_elements_);
  }
  total_bytes_ = (input_.total() + output_.total()) * element_bytes_;
  slot_bytes_ = chunk_elements(std::min(largest, round_elements_)) * element_bytes_;
}

size_t DataLayout::chunk_elements(size_t elements) const {
  const size_t even = elements / chunks_per_block_ + (elements % chunks_per_block_ != 0 ? 1 : 0);
  // A single chunk is never padded to a line: it is the block.
  if (chunks_per_block_ == 1) return even;
  return (even + line_elements_ - 1) / line_elements_ * line_elements_;
}

Extent DataLayout::chunk(Buffer buffer, uint32_t chunk, uint32_t round) const {
  const BlockList& blocks = buffer == Buffer::kInput ? input_ : output_;
  const uint32_t block = chunk / chunks_per_block_;
  const size_t count = blocks.count(block);
  const size_t done = std::min(count, round * round_elements_);
  const size_t share = std::min(count - done, round_elements_);
  const size_t length = chunk_elements(share);
  const size_t first = std::min(share, length * (chunk % chunks_per_block_));
  const size_t last = std::min(share, first + length);
  return {(blocks.start(block) + done + first) * element_bytes_, (last - first) * element_bytes_};
}

}  // namespace tutti
