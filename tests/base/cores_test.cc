#include "comm/base/cores.h"

#include <fstream>
#include <gtest/gtest.h>
#include <string>

#include "tests/support/temp_folder.h"

namespace tutti {
namespace {

namespace fs = std::filesystem;

// A made-up /sys/fs/cgroup and /proc/self/cgroup.
class CoreQuota : public testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    const fs::path full = folder_ / path;
    fs::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }
  int quota() { return cgroup_core_quota((folder_ / "self").string(), (folder_ / "fs").string()); }

  const TempFolder temp_;
  const fs::path folder_ = temp_.path();
};

TEST_F(CoreQuota, NoFilesMeansNoLimit) { EXPECT_EQ(quota(), 0); }

TEST_F(CoreQuota, Version2OwnGroup) {
  write("self", "0::/job/step\n");
  write("fs/job/step/cpu.max", "150000 100000\n");
  EXPECT_EQ(quota(), 2) << "one and a half cores count as two";
  write("fs/job/step/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), 0);
}

TEST_F(CoreQuota, Version2TightestParentWins) {
  write("self", "0::/job/step\n");
  write("fs/job/step/cpu.max", "800000 100000\n");
  write("fs/job/cpu.max", "300000 100000\n");
  EXPECT_EQ(quota(), 3);
}

TEST_F(CoreQuota, Version2InsideAContainerOnlyTheRootIsThere) {
  write("self", "0::/docker/abc\n");
  write("fs/cpu.max", "50000 100000\n");
  EXPECT_EQ(quota(), 1);
}

TEST_F(CoreQuota, Version1) {
  write("self", "3:cpu,cpuacct:/job\n2:memory:/job\n1:cpuset:/\n");
  write("fs/cpu,cpuacct/job/cpu.cfs_quota_us", "400000\n");
  write("fs/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 4);
  write("fs/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(quota(), 0);
}

TEST_F(CoreQuota, Version1UnderItsShortName) {
  write("self", "3:cpuacct,cpu:/\n");
  write("fs/cpu/cpu.cfs_quota_us", "200000\n");
  write("fs/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 2);
}

TEST_F(CoreQuota, GarbageMeansNoLimit) {
  write("self", "garbage\n::\n0:/\n:::x\n");
  write("fs/cpu.max", "lots\n");
  EXPECT_EQ(quota(), 0);
  write("self", "0::/\n");
  EXPECT_EQ(quota(), 0);
  write("fs/cpu.max", "100000 0\n");
  EXPECT_EQ(quota(), 0);
  write("fs/cpu.max", "-5 100000\n");
  EXPECT_EQ(quota(), 0);
}

TEST(Cores, OwnAreAtLeastOne) {
  EXPECT_GE(Cores::own().count(), 1);
  EXPECT_EQ(usable_cores(), Cores::own().count());
}

TEST(Cores, EitherMayUseThoseOfBoth) {
  Cores bound = {"\1", 0};
  bound.add({"\2\1", 0});
  EXPECT_EQ(bound.count(), 3);
  bound.add({"\2", 0});
  EXPECT_EQ(bound.count(), 3);
}

TEST(Cores, TheLargerQuotaHoldsUnlessOneHasNone) {
  Cores limited = {"\xff", 2};
  EXPECT_EQ(limited.count(), 2);
  limited.add({"\xff", 3});
  EXPECT_EQ(limited.count(), 3);
  limited.add({"\xff", 0});
  EXPECT_EQ(limited.count(), 8);
}

}  // namespace
}  // namespace tutti
