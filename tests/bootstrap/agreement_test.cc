#include "comm/bootstrap/agreement.h"

#include <gtest/gtest.h>

namespace tutti {
namespace {

RankCard card(const std::string& settings, const std::string& transports) {
  RankCard c;
  c.settings = settings;
  c.host = "a-host";
  c.boot = "boot";
  c.network = "net:[1]";
  c.host_id = "part";
  c.process = std::string("\0\1\2", 3);
  c.control = "192.0.2.1:1";
  c.transports = transports;
  c.cores = {"\3", 5};
  return c;
}

TEST(RankCard, ComesBackAsItWas) {
  const RankCard c = card("a=1\nb=\n", "mpi gloo");
  const RankCard d = RankCard::decode(c.encode());
  EXPECT_EQ(d.wire_version, c.wire_version);
  EXPECT_EQ(d.settings, c.settings);
  EXPECT_EQ(d.host, c.host);
  EXPECT_EQ(d.boot, c.boot);
  EXPECT_EQ(d.network, c.network);
  EXPECT_EQ(d.host_id, c.host_id);
  EXPECT_EQ(d.process, c.process);
  EXPECT_EQ(d.control, c.control);
  EXPECT_EQ(d.transports, c.transports);
  EXPECT_EQ(d.cores.mask, c.cores.mask);
  EXPECT_EQ(d.cores.quota, c.cores.quota);
}

TEST(CheckAgreement, NamesRankSettingAndBothValues) {
  const std::vector<RankCard> cards = {card("algorithms=\nbuffer_cap=64M\n", ""),
                                       card("algorithms=\nbuffer_cap=64M\n", ""),
                                       card("algorithms=\nbuffer_cap=1G\n", "")};
  const Status s = check_agreement(cards);
  EXPECT_EQ(s.code(), Code::kMismatch);
  for (const char* part : {"buffer_cap", "rank 0", "\"64M\"", "rank 2", "\"1G\""}) {
    EXPECT_NE(s.text().find(part), std::string::npos) << part << " in " << s.text();
  }
  EXPECT_TRUE(check_agreement({cards[0], cards[1]}).ok());
}

TEST(CheckAgreement, ASettingThatOneSideDoesNotKnow) {
  const Status s = check_agreement({card("a=1\n", ""), card("a=1\nb=2\n", "")});
  EXPECT_EQ(s.code(), Code::kMismatch);
  EXPECT_NE(s.text().find("setting b"), std::string::npos) << s.text();
}

TEST(CheckAgreement, AnotherVersionIsSeenWhateverFollowsIt) {
  RankCard newer = RankCard::decode(std::string("\x09\0\0\0 all new", 12));
  newer.host = "other-host";
  const Status s = check_agreement({card("a=1\n", ""), newer});
  EXPECT_EQ(s.code(), Code::kVersionMismatch);
  EXPECT_NE(s.text().find("version 9"), std::string::npos) << s.text();
}

TEST(CheckOneHost, NamesTheFirstThatIsElsewhere) {
  std::vector<RankCard> cards(3, card("", ""));
  EXPECT_TRUE(check_one_host(cards).ok());
  cards[2].host_id = "b";
  EXPECT_EQ(check_one_host(cards).text(),
            "rank 0 (a-host) and rank 2 (a-host) are in different parts of one host "
            "(TUTTI_HOST_ID)");
  cards[1].network = "net:[7]";
  EXPECT_NE(check_one_host(cards).text().find("rank 1 (a-host) are in different network"),
            std::string::npos);
  cards[1].boot = "another";
  EXPECT_NE(check_one_host(cards).text().find("different hosts"), std::string::npos);
  EXPECT_EQ(check_one_host(cards).code(), Code::kUnsupported);
}

TEST(CommonTransport, TheFirstThatAllHave) {
  EXPECT_EQ(common_transports({card("", "mpi gloo"), card("", "gloo mpi")}).value(),
            (std::vector<std::string>{"mpi", "gloo"}));
  EXPECT_EQ(common_transports({card("", "mpi gloo"), card("", "gloo")}).value(),
            std::vector<std::string>{"gloo"});
  const auto none = common_transports({card("", "mpi"), card("", "")});
  EXPECT_EQ(none.status().code(), Code::kUnsupported);
  EXPECT_NE(none.status().text().find("rank 0 (a-host): mpi; rank 1 (a-host): none"),
            std::string::npos)
      << none.status().text();
}

TEST(HostShare, CountsRanksAndCoresOfOneHost) {
  std::vector<RankCard> cards(3, card("", ""));
  cards[0].cores = {"\1", 0};
  cards[1].cores = {"\2", 0};
  cards[2].cores = {"\x0f", 0};
  cards[2].boot = "another";
  EXPECT_EQ(host_share(cards, 0).ranks, 2);
  EXPECT_EQ(host_share(cards, 1).cores, 2) << "each is bound to a core of its own";
  EXPECT_EQ(host_share(cards, 2).ranks, 1);
  EXPECT_EQ(host_share(cards, 2).cores, 4);
}

TEST(HostShare, OneCrowdedHostIsEnoughForAllRanks) {
  std::vector<RankCard> cards(4, card("", ""));
  for (RankCard& c : cards) c.cores = {"\3", 0};
  cards[2].boot = cards[3].boot = "another";
  EXPECT_FALSE(any_host_crowded(cards));
  cards[2].cores = cards[3].cores = {"\1", 0};
  EXPECT_TRUE(any_host_crowded(cards));
  EXPECT_FALSE(host_share(cards, 0).crowded());
  EXPECT_TRUE(host_share(cards, 3).crowded());
}

}  // namespace
}  // namespace tutti
