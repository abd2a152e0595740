#include "comm/net/frame.h"

#include <gtest/gtest.h>
#include <string>
#include <utility>
#include <vector>

namespace tutti {
namespace {

using Frames = std::vector<std::pair<uint16_t, std::string>>;

// Everything that is whole now.
Frames drain(FrameReader* reader) {
  Frames frames;
  while (true) {
    Result<std::optional<Frame>> frame = reader->next();
    EXPECT_TRUE(frame.ok()) << frame.status().text();
    if (!frame.ok() || !frame.value()) return frames;
    frames.emplace_back(frame.value()->type, frame.value()->payload);
  }
}

Frames some_frames() {
  return {{1, "first"}, {0, ""}, {65535, std::string(300, 'x')}, {7, std::string("a\0b", 3)}};
}

std::string encode(const Frames& frames) {
  std::string bytes;
  for (const auto& [type, payload] : frames) append_frame(type, payload, &bytes);
  return bytes;
}

TEST(Frames, AreThoseBytes) {
  std::string bytes = "before";
  append_frame(0x0102, "abc", &bytes);
  EXPECT_EQ(bytes, std::string("before\x03\0\0\0\x02\x01\0\0abc", 17));
}

TEST(Frames, AnySplitInTwo) {
  const std::string bytes = encode(some_frames());
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    FrameReader reader;
    reader.feed(std::string_view(bytes).substr(0, cut));
    Frames frames = drain(&reader);
    reader.feed(std::string_view(bytes).substr(cut));
    const Frames rest = drain(&reader);
    frames.insert(frames.end(), rest.begin(), rest.end());
    ASSERT_EQ(frames, some_frames()) << cut;
  }
}

TEST(Frames, PiecesOfEverySize) {
  Frames expected;
  for (int i = 0; i < 20; ++i) {
    for (const auto& frame : some_frames()) expected.push_back(frame);
  }
  const std::string bytes = encode(expected);
  for (size_t piece = 1; piece < 400; ++piece) {
    FrameReader reader;
    Frames frames;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      reader.feed(std::string_view(bytes).substr(at, piece));
      for (auto& frame : drain(&reader)) frames.push_back(std::move(frame));
    }
    ASSERT_EQ(frames, expected) << piece;
  }
}

TEST(Frames, ReadOnlyAfterAllHaveArrived) {
  Frames expected;
  for (int i = 0; i < 1000; ++i) expected.emplace_back(i, std::string(i, 'p'));
  FrameReader reader;
  reader.feed(encode(expected));
  EXPECT_EQ(drain(&reader), expected);
  reader.feed(encode(some_frames()));
  EXPECT_EQ(drain(&reader), some_frames());
}

TEST(Frames, LargestAllowed) {
  FrameReader reader(1000);
  const Frames largest = {{1, std::string(1000, 'x')}};
  reader.feed(encode(largest));
  EXPECT_EQ(drain(&reader), largest);
  reader.feed(encode({{1, std::string(1001, 'x')}}));
  EXPECT_EQ(reader.next().status().code(), Code::kInvalidArgument);
}

std::string header(uint32_t length, uint16_t reserved) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(length >> (8 * i) & 0xff);
  bytes += std::string(2, '\1');
  for (int i = 0; i < 2; ++i) bytes += static_cast<char>(reserved >> (8 * i) & 0xff);
  return bytes;
}

TEST(Frames, HostileHeadersEndTheStreamForGood) {
  const uint32_t limit = kMaxFrameBytes;
  for (const std::string& bad :
       {header(limit + 1, 0), header(0x7fffffff, 0), header(0xffffffff, 0), header(0x80000000, 0),
        header(0, 1), header(0, 0x8000), header(0xffffffff, 0xffff)}) {
    FrameReader reader;
    reader.feed(encode(some_frames()) + bad.substr(0, 7));
    EXPECT_EQ(drain(&reader), some_frames()) << "what came before is good";
    reader.feed(bad.substr(7));
    for (int i = 0; i < 3; ++i) {
      const Result<std::optional<Frame>> frame = reader.next();
      ASSERT_FALSE(frame.ok());
      EXPECT_EQ(frame.status().code(), Code::kInvalidArgument);
      EXPECT_NE(frame.status().text().find("no frame"), std::string::npos);
      reader.feed(encode(some_frames()));
    }
  }
}

TEST(Frames, ALengthAloneTakesNoMemory) {
  // Ten thousand readers that each believed their header would need 640 GB.
  std::vector<FrameReader> readers(10000);
  for (FrameReader& reader : readers) {
    reader.feed(header(kMaxFrameBytes, 0) + "x");
    const Result<std::optional<Frame>> frame = reader.next();
    ASSERT_TRUE(frame.ok());
    ASSERT_FALSE(frame.value().has_value());
  }
}

}  // namespace
}  // namespace tutti
