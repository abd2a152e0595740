// Memory of the caller that becomes memory peers can map, in place, and private again.
#include <gtest/gtest.h>
#include <sstream>
#include <sys/mman.h>
#include <sys/resource.h>
#include <thread>

#include "tests/transports/conformance.h"
#include "tests/transports/pages.h"
#include "transports/shm/mappings.h"
#include "transports/shm/regions.h"

namespace tutti {
namespace {

// --- what the kernel says ---

constexpr const char* kSmaps =
    "00001000-00003000 rw-p 00000000 00:00 0                          [heap]\n"
    "Size:                  8 kB\n"
    "VmFlags: rd wr mr mw me ac sd \n"
    "00003000-00004000 rw-p 00000000 00:00 0 \n"
    "VmFlags: rd wr mr mw me ac hg \n"
    "00004000-00005000 rw-p 00000000 00:00 0                          [anon:of a name]\n"
    "VmFlags: rd wr mr mw me ac \n"
    "00005000-00006000 r--p 00000000 00:00 0 \n"
    "VmFlags: rd mr mw me ac \n"
    "00007000-00008000 rw-s 00000000 00:01 77                         /memfd:x (deleted)\n"
    "VmFlags: rd wr sh mr mw me ms \n"
    "00008000-00009000 rw-p 00001000 08:01 99                         /a file\n"
    "VmFlags: rd wr mr mw me ac \n"
    "00009000-0000a000 rwxp 00000000 00:00 0 \n"
    "VmFlags: rd wr ex mr mw me ac \n"
    "0000a000-0000b000 rw-p 00000000 00:00 0 \n"
    "Locked:                4 kB\n"
    "VmFlags: rd wr mr mw me lo ac \n"
    "0000b000-0000c000 rw-p 00000000 00:00 0 \n"
    "VmFlags: rd wr mr mw me dc ac \n"
    "0000c000-0000d000 rw-p 00000000 00:0f 12                         /anon_hugepage (deleted)\n"
    "VmFlags: rd wr mr mw me de ht \n"
    "7ff000-800000 rw-p 00000000 00:00 0                              [stack]\n"
    "VmFlags: rd wr mr mw me gd ac \n";

std::string other(uintptr_t low, uintptr_t high) {
  std::istringstream smaps(kSmaps);
  return other_than_private(parse_mappings(smaps, low, high), low, high);
}

TEST(ShmMappings, AreThoseOfTheRange) {
  std::istringstream smaps(kSmaps);
  const std::vector<Mapping> found = parse_mappings(smaps, 0x4800, 0x7001);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].name, "[anon:of a name]");
  EXPECT_EQ(found[0].flags, "rd wr mr mw me ac ");
  EXPECT_EQ(found[1].access, "r--p");
  EXPECT_EQ(found[2].low, 0x7000u);
  EXPECT_EQ(found[2].high, 0x8000u);
  EXPECT_EQ(found[2].file, 77u);
  EXPECT_EQ(found[2].name, "/memfd:x (deleted)");
}

TEST(ShmMappings, OnlyPrivateMemoryWillDo) {
  EXPECT_EQ(other(0x1000, 0x5000), "") << "of several kinds";
  EXPECT_EQ(other(0x2000, 0x3800), "");
  EXPECT_EQ(other(0x4000, 0x6000), "memory that cannot be written at 0x5000");
  EXPECT_EQ(other(0x6000, 0x7000), "nothing at 0x6000");
  EXPECT_EQ(other(0x900000, 0x901000), "nothing at 0x900000");
  EXPECT_EQ(other(0x7000, 0x8000), "shared memory (/memfd:x (deleted)) at 0x7000");
  EXPECT_EQ(other(0x8000, 0x9000), "memory of a file (/a file) at 0x8000");
  EXPECT_EQ(other(0x9000, 0xa000), "memory that can be executed at 0x9000");
  EXPECT_EQ(other(0xa000, 0xb000), "locked memory (mlock) at 0xa000");
  EXPECT_EQ(other(0xb800, 0xc000), "memory that a child shall not have (MADV_DONTFORK) at 0xb800");
  EXPECT_EQ(other(0xc000, 0xd000), "huge pages (hugetlbfs) at 0xc000");
  EXPECT_EQ(other(0x7ff000, 0x800000), "a stack at 0x7ff000");
}

// --- in place ---

TEST(ShmRemap, WholePagesThereAndBack) {
  OwnRegions regions;
  const size_t bytes = 10 * kPage;
  const Pages pages(bytes);
  const std::vector<std::byte> wanted = pattern(1, bytes);
  std::memcpy(pages.data(), wanted.data(), bytes);
  // From the middle of page 1 to the middle of page 8.
  std::byte* const from = pages.data() + kPage + 100;
  Result<void*> made = regions.remap(from, 7 * kPage);
  ASSERT_TRUE(made.ok()) << made.status().text();
  EXPECT_EQ(made.value(), pages.data() + 2 * kPage);
  EXPECT_EQ(std::memcmp(pages.data(), wanted.data(), bytes), 0);
  EXPECT_EQ(access_of(pages.data() + kPage), "rw-p");
  EXPECT_EQ(access_of(pages.data() + 2 * kPage), "rw-s");
  EXPECT_EQ(access_of(pages.data() + 8 * kPage - 1), "rw-s");
  EXPECT_EQ(access_of(pages.data() + 8 * kPage), "rw-p");
  EXPECT_EQ(regions.find(from, kPage).generation, 0u) << "begins on a page that stays private";
  const RegionPlace place = regions.find(pages.data() + 2 * kPage + 5, 6 * kPage - 5);
  ASSERT_NE(place.generation, 0u);
  EXPECT_EQ(place.offset, 5u);

  const RegionFile file = regions.file(place.slot, place.generation);
  auto* peer = static_cast<std::byte*>(
      mmap(nullptr, file.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.segment->fd(), 0));
  ASSERT_NE(peer, MAP_FAILED);
  EXPECT_EQ(std::memcmp(peer, wanted.data() + 2 * kPage, file.bytes), 0);
  peer[7] = std::byte{0x77};
  EXPECT_EQ(pages.data()[2 * kPage + 7], std::byte{0x77});

  const Status status = regions.restore(made.value());
  ASSERT_TRUE(status.ok()) << status.text();
  EXPECT_EQ(access_of(pages.data() + 2 * kPage), "rw-p");
  EXPECT_EQ(pages.data()[2 * kPage + 7], std::byte{0x77}) << "as it was at the end";
  EXPECT_EQ(std::memcmp(pages.data() + 3 * kPage, wanted.data() + 3 * kPage, 7 * kPage), 0);
  EXPECT_EQ(peer[7], std::byte{0}) << "the pages have gone back to the system";
  peer[8] = std::byte{0x88};
  EXPECT_EQ(pages.data()[2 * kPage + 8], wanted[2 * kPage + 8]);
  munmap(peer, file.bytes);
  EXPECT_EQ(regions.find(pages.data() + 2 * kPage, 1).generation, 0u);
  EXPECT_EQ(regions.restore(made.value()).code(), Code::kInvalidArgument);
  EXPECT_TRUE(regions.remap(from, 7 * kPage).ok()) << "again";
}

TEST(ShmRemap, MemoryOfMalloc) {
  OwnRegions regions;
  for (size_t bytes : {size_t{100'000}, size_t{20'000'000}}) {
    const std::vector<std::byte> wanted = pattern(bytes, bytes);
    const Malloced memory(bytes);
    std::memcpy(memory.data, wanted.data(), bytes);
    Result<void*> made = regions.remap(memory.data, bytes);
    ASSERT_TRUE(made.ok()) << made.status().text();
    EXPECT_NE(regions.find(made.value(), bytes - 2 * kPage).generation, 0u);
    EXPECT_EQ(std::memcmp(memory.data, wanted.data(), bytes), 0);
    memory.data[bytes / 2] = std::byte{1};
    const Status status = regions.restore(made.value());
    ASSERT_TRUE(status.ok()) << status.text();
    EXPECT_EQ(memory.data[bytes / 2], std::byte{1});
    EXPECT_EQ(std::memcmp(memory.data, wanted.data(), bytes / 2), 0);
  }
}

TEST(ShmRemap, MemoryOfOursStaysAsItIs) {
  OwnRegions regions;
  auto* const base = static_cast<std::byte*>(regions.add(10 * kPage).value());
  const RegionPlace before = regions.find(base, 10 * kPage);
  const Result<void*> made = regions.remap(base + 10, 5 * kPage);
  ASSERT_TRUE(made.ok()) << made.status().text();
  EXPECT_EQ(made.value(), nullptr);
  EXPECT_EQ(regions.find(base, 10 * kPage).generation, before.generation);
  EXPECT_EQ(regions.restore(base).code(), Code::kInvalidArgument);
  EXPECT_TRUE(regions.remove(base));
}

constexpr size_t kNone = std::string::npos;

void expect_refused(OwnRegions& regions, void* base, size_t bytes, const std::string& word) {
  const Status status = regions.remap(base, bytes).status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument) << word;
  EXPECT_NE(status.text().find(word), kNone) << status.text();
}

TEST(ShmRemap, OtherKindsAreRefusedAndLeftAlone) {
  OwnRegions regions;
  const Pages pages(4 * kPage);
  std::byte* const data = pages.data();
  expect_refused(regions, data + 1, 2 * kPage - 2, "whole page");
  const Pages shared(4 * kPage, MAP_SHARED | MAP_ANONYMOUS);
  expect_refused(regions, shared.data(), 4 * kPage, "shared memory");
  const UniqueFd fd(memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(fd.get(), 4 * kPage), 0);
  const Pages file(4 * kPage, MAP_PRIVATE, fd.get());
  expect_refused(regions, file.data(), 4 * kPage, "memory of a file");
  // Not a variable's address: AddressSanitizer may keep those elsewhere.
  auto* const frame = static_cast<std::byte*>(__builtin_frame_address(0));
  expect_refused(regions, frame - 4 * kPage, 4 * kPage, "stack");
  std::thread([&] {
    // Down to where whatever this function calls has its frames.
    const auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) / kPage * kPage;
    expect_refused(regions, reinterpret_cast<void*>(here - 64 * kPage), 65 * kPage, "stack");
  }).join();
  ASSERT_EQ(mprotect(data + 2 * kPage, kPage, PROT_READ), 0);
  expect_refused(regions, data, 4 * kPage, "cannot be written");
  ASSERT_EQ(mprotect(data + 2 * kPage, kPage, PROT_READ | PROT_WRITE), 0);
  // Sanitizers make nothing of it.
  if (mlock(data + kPage, kPage) == 0 && mapping_at(data + kPage).flags.find("lo ") != kNone) {
    expect_refused(regions, data, 4 * kPage, "locked");
    munlock(data + kPage, kPage);
  }
  ASSERT_EQ(madvise(data, kPage, MADV_WIPEONFORK), 0);
  expect_refused(regions, data, 4 * kPage, "WIPEONFORK");
  ASSERT_EQ(madvise(data, kPage, MADV_KEEPONFORK), 0);
  ASSERT_EQ(munmap(data + 3 * kPage, kPage), 0);
  expect_refused(regions, data, 4 * kPage, "nothing");
  EXPECT_EQ(access_of(data), "rw-p");
  EXPECT_TRUE(regions.remap(data, 3 * kPage).ok()) << "none of this has changed it";
}

TEST(ShmRemap, TwiceIsRefused) {
  OwnRegions regions;
  const Pages pages(10 * kPage);
  ASSERT_TRUE(regions.remap(pages.data() + 2 * kPage, 4 * kPage).ok());
  expect_refused(regions, pages.data() + 2 * kPage, 4 * kPage, "remapped before");
  expect_refused(regions, pages.data(), 3 * kPage, "remapped before");
  expect_refused(regions, pages.data() + 5 * kPage, 2 * kPage, "remapped before");
  expect_refused(regions, pages.data(), 10 * kPage, "remapped before");
  EXPECT_TRUE(regions.remap(pages.data(), 2 * kPage).ok()) << "beside it";
}

TEST(ShmRemap, WithoutMemoryNothingChanges) {
  OwnRegions regions;
  const Pages pages(1024 * kPage);
  const std::vector<std::byte> wanted = pattern(3, 1024 * kPage);
  std::memcpy(pages.data(), wanted.data(), wanted.size());
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small = {1 << 20, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status refused = regions.remap(pages.data(), 1024 * kPage).status();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(refused.code(), Code::kOutOfMemory);
  EXPECT_EQ(access_of(pages.data()), "rw-p");
  EXPECT_EQ(std::memcmp(pages.data(), wanted.data(), wanted.size()), 0);
  EXPECT_EQ(regions.find(pages.data(), 1).generation, 0u);
}

// A caller's mistake must not become somebody else's loss.
TEST(ShmRemap, WhatWasFreedMeanwhileIsLeftAlone) {
  OwnRegions regions;
  const Pages pages(6 * kPage);
  std::fill_n(pages.data(), 6 * kPage, std::byte{5});
  Result<void*> made = regions.remap(pages.data(), 6 * kPage);
  ASSERT_TRUE(made.ok()) << made.status().text();
  std::byte* const other = pages.data() + 2 * kPage;
  ASSERT_EQ(
      mmap(other, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
      other);
  other[0] = std::byte{9};
  ASSERT_EQ(munmap(pages.data() + 4 * kPage, kPage), 0);
  const Status status = regions.restore(made.value());
  EXPECT_EQ(status.code(), Code::kInvalidUsage);
  EXPECT_NE(status.text().find("8192 have been freed"), std::string::npos) << status.text();
  EXPECT_EQ(other[0], std::byte{9});
  for (size_t page : {0, 1, 3, 5}) {
    EXPECT_EQ(access_of(pages.data() + page * kPage), "rw-p") << page;
    EXPECT_EQ(pages.data()[page * kPage], std::byte{5}) << page;
  }
  EXPECT_EQ(access_of(pages.data() + 4 * kPage), "") << "not mapped again";
}

TEST(ShmRemap, DetachedPagesComeBackToo) {
  OwnRegions regions;
  const Pages pages(8 * kPage);
  const std::vector<std::byte> wanted = pattern(4, 8 * kPage);
  std::memcpy(pages.data(), wanted.data(), wanted.size());
  Result<void*> made = regions.remap(pages.data(), 8 * kPage);
  ASSERT_TRUE(made.ok()) << made.status().text();
  ASSERT_TRUE(regions.detach(pages.data() + 3 * kPage, kPage).ok());
  const Status status = regions.restore(made.value());
  ASSERT_TRUE(status.ok()) << status.text();
  EXPECT_EQ(std::memcmp(pages.data(), wanted.data(), wanted.size()), 0);
  for (size_t page = 0; page < 8; ++page) {
    EXPECT_EQ(access_of(pages.data() + page * kPage), "rw-p") << page;
  }
}

}  // namespace
}  // namespace tutti
