#include "comm/base/cache.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

namespace tutti {
namespace {

TEST(LastCache, TakesTheLargestOfTheFolder) {
  const std::string root = testing::TempDir() + "tutti_cache_test";
  const std::string sizes[] = {"48K", "32K", "1024K", "32768K"};
  for (int i = 0; i < 4; ++i) {
    const std::string folder = root + "/index" + std::to_string(i);
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/size") << sizes[i] << '\n';
  }
  EXPECT_EQ(last_cache_bytes(root), size_t{32} << 20);
  std::ofstream(root + "/index3/size") << "64M\n";
  EXPECT_EQ(last_cache_bytes(root), size_t{64} << 20);
  std::filesystem::remove_all(root);
}

TEST(LastCache, HasAFloorWhereNothingIsKnown) {
  EXPECT_GE(last_cache_bytes("/nowhere"), size_t{1} << 20);
  EXPECT_GE(last_cache_bytes(), size_t{1} << 20);
}

}  // namespace
}  // namespace tutti
