// The host device against the contract of tutti/device.h, through its table only. Holding a stream
// back is done with gates, so nothing here depends on time.

#include <atomic>
#include <cstddef>
#include <cstring>
#include <gtest/gtest.h>
#include <numeric>
#include <thread>
#include <vector>

#include "tests/device/host_device_fixture.h"

namespace tutti {
namespace {

void count_up(void* counter) { ++*static_cast<int*>(counter); }

TEST_F(HostDeviceTest, OrdinalsAndNullArguments) {
  int n = 0;
  EXPECT_EQ(api_->count(&n), TUTTI_OK);
  EXPECT_EQ(n, 1);
  tutti_dev* other = nullptr;
  EXPECT_EQ(api_->open(1, &other), TUTTI_E_NO_DEVICE);
  EXPECT_EQ(api_->open(0, nullptr), TUTTI_E_ARG);
  EXPECT_EQ(api_->close(nullptr), TUTTI_E_ARG);
  EXPECT_EQ(api_->thread_attach(dev_), TUTTI_OK);
  EXPECT_EQ(api_->thread_attach(dev_), TUTTI_OK);
  EXPECT_EQ(api_->stream_create(dev_, 0, nullptr), TUTTI_E_ARG);
  EXPECT_EQ(api_->event_query(nullptr), TUTTI_E_ARG);
  EXPECT_EQ(api_->gate_set(nullptr, 1), TUTTI_E_ARG);
  EXPECT_STREQ(api_->error_string(dev_), "gate_set: null argument");
}

TEST_F(HostDeviceTest, PropertiesOfTruncatedStruct) {
  tutti_dev_props props;
  std::memset(&props, 0xEE, sizeof props);
  props.struct_size = offsetof(tutti_dev_props, pci_bdf);
  ASSERT_EQ(api_->props(dev_, &props), TUTTI_OK);
  EXPECT_EQ(props.struct_size, offsetof(tutti_dev_props, pci_bdf));
  EXPECT_EQ(std::strncmp(props.name, "host", 4), 0);
  EXPECT_EQ(static_cast<unsigned char>(props.pci_bdf[0]), 0xEE);  // beyond the caller's struct
  props.struct_size = sizeof props;
  ASSERT_EQ(api_->props(dev_, &props), TUTTI_OK);
  EXPECT_EQ(props.max_waiting_gates, 0u);
  EXPECT_GT(props.total_mem, 0u);
  EXPECT_LE(props.priority_highest, props.priority_lowest);
  props.struct_size = 0;
  EXPECT_EQ(api_->props(dev_, &props), TUTTI_E_ARG);
  // A caller from the future: what we do not know stays as it was.
  props.struct_size = sizeof props + 64;
  struct {
    tutti_dev_props props;
    unsigned char more[64];
  } later = {props, {}};
  ASSERT_EQ(api_->props(dev_, &later.props), TUTTI_OK);
  EXPECT_EQ(later.props.struct_size, sizeof props);
}

TEST_F(HostDeviceTest, PointerQuery) {
  void* p = nullptr;
  ASSERT_EQ(api_->mem_alloc(dev_, 1000, TUTTI_MEM_HOST, &p), TUTTI_OK);
  auto query = [&](const void* at) {
    tutti_ptr_info info = {};
    info.struct_size = sizeof info;
    EXPECT_EQ(api_->ptr_query(dev_, at, &info), TUTTI_OK);
    return info;
  };
  auto* bytes = static_cast<uint8_t*>(p);
  for (size_t offset : {0, 500, 999}) {
    const tutti_ptr_info info = query(bytes + offset);
    EXPECT_EQ(info.base, p);
    EXPECT_EQ(info.size, 1000u);
    EXPECT_EQ(info.host_ptr, bytes + offset);
    EXPECT_EQ(info.kind, uint32_t{TUTTI_MEM_HOST});
  }
  EXPECT_EQ(query(bytes + 1000).base, nullptr);  // one past the end
  int foreign = 0;
  EXPECT_EQ(query(&foreign).base, nullptr);  // the host answers for what nobody owns
  EXPECT_EQ(query(&foreign).flags & TUTTI_MEMF_HOST_ADDRESSABLE,
            uint32_t{TUTTI_MEMF_HOST_ADDRESSABLE});
  EXPECT_EQ(api_->mem_free(dev_, bytes + 1), TUTTI_E_ARG);
  EXPECT_EQ(api_->mem_free(dev_, p), TUTTI_OK);
  EXPECT_EQ(api_->mem_free(dev_, p), TUTTI_E_ARG);
  EXPECT_EQ(api_->mem_alloc(dev_, 64, TUTTI_MEM_DEVICE, &p), TUTTI_E_UNSUPPORTED);
  EXPECT_EQ(api_->mem_alloc(dev_, 0, TUTTI_MEM_HOST, &p), TUTTI_E_ARG);
  EXPECT_EQ(api_->mem_alloc(dev_, SIZE_MAX - 1, TUTTI_MEM_HOST, &p), TUTTI_E_NOMEM);
}

TEST_F(HostDeviceTest, Copies) {
  tutti_stream s = new_stream();
  void* p = nullptr;
  ASSERT_EQ(api_->mem_alloc(dev_, 4096, TUTTI_MEM_HOST, &p), TUTTI_OK);
  auto* bytes = static_cast<uint8_t*>(p);
  std::vector<uint8_t> pattern(4096);
  std::iota(pattern.begin(), pattern.end(), uint8_t{0});
  for (tutti_stream on : {tutti_stream{nullptr}, s}) {
    std::memset(p, 0, 4096);
    EXPECT_EQ(api_->copy(dev_, bytes + 3, pattern.data() + 1, 1001, on), TUTTI_OK);
    EXPECT_EQ(api_->stream_sync(dev_, on), TUTTI_OK);
    EXPECT_EQ(std::memcmp(bytes + 3, pattern.data() + 1, 1001), 0);
    EXPECT_EQ(bytes[2], 0);
    EXPECT_EQ(bytes[1004], 0);
    EXPECT_EQ(api_->copy(dev_, nullptr, nullptr, 0, on), TUTTI_OK);
    EXPECT_EQ(api_->copy(dev_, nullptr, pattern.data(), 1, on), TUTTI_E_ARG);
  }
  EXPECT_EQ(api_->copy(dev_, bytes + 1, pattern.data(), 4096, s), TUTTI_E_ARG);
  EXPECT_EQ(api_->copy(dev_, pattern.data(), bytes + 1, SIZE_MAX, s), TUTTI_E_ARG);
  EXPECT_EQ(api_->mem_free(dev_, p), TUTTI_OK);
}

TEST_F(HostDeviceTest, StreamIsInOrderAndOthersProgressWhileItIsGated) {
  tutti_stream gated = new_stream();
  tutti_stream open = new_stream();
  tutti_gate* gate = new_gate();
  int a = 1;
  int b = 2;
  int c = 3;
  ASSERT_EQ(api_->stream_wait_gate(gated, gate, 1), TUTTI_OK);
  ASSERT_EQ(api_->copy(dev_, &b, &a, sizeof a, gated), TUTTI_OK);
  ASSERT_EQ(api_->copy(dev_, &c, &b, sizeof a, gated), TUTTI_OK);
  int d = 0;
  ASSERT_EQ(api_->copy(dev_, &d, &a, sizeof a, open), TUTTI_OK);
  ASSERT_EQ(api_->stream_sync(dev_, open), TUTTI_OK);
  EXPECT_EQ(d, 1);
  EXPECT_EQ(b, 2);
  EXPECT_EQ(api_->stream_destroy(dev_, gated), TUTTI_E_ARG);
  EXPECT_EQ(api_->gate_destroy(gate), TUTTI_E_ARG);
  a = 7;  // the source of a pending copy is read when the copy runs
  ASSERT_EQ(api_->gate_set(gate, 1), TUTTI_OK);
  ASSERT_EQ(api_->stream_sync(dev_, gated), TUTTI_OK);
  EXPECT_EQ(b, 7);
  EXPECT_EQ(c, 7);
  EXPECT_EQ(api_->gate_destroy(gate), TUTTI_OK);
}

TEST_F(HostDeviceTest, Events) {
  tutti_stream s = new_stream();
  tutti_stream waiter = new_stream();
  tutti_gate* gate = new_gate();
  tutti_event* event = new_event();
  int ran = 0;
  EXPECT_EQ(api_->event_query(event), TUTTI_OK);  // never recorded
  ASSERT_EQ(api_->stream_wait_event(waiter, event), TUTTI_OK);
  ASSERT_EQ(api_->stream_notify(waiter, count_up, &ran), TUTTI_OK);
  EXPECT_EQ(ran, 1);

  ASSERT_EQ(api_->stream_wait_gate(s, gate, 1), TUTTI_OK);
  ASSERT_EQ(api_->event_record(event, s), TUTTI_OK);
  EXPECT_EQ(api_->event_query(event), TUTTI_NOT_READY);
  ASSERT_EQ(api_->stream_wait_event(waiter, event), TUTTI_OK);
  ASSERT_EQ(api_->stream_notify(waiter, count_up, &ran), TUTTI_OK);
  EXPECT_EQ(ran, 1);

  // Recorded again elsewhere: the event is done, but who waited before still waits for the first.
  ASSERT_EQ(api_->event_record(event, nullptr), TUTTI_OK);
  EXPECT_EQ(api_->event_query(event), TUTTI_OK);
  EXPECT_EQ(ran, 1);
  ASSERT_EQ(api_->gate_set(gate, 1), TUTTI_OK);
  ASSERT_EQ(api_->stream_sync(dev_, waiter), TUTTI_OK);
  EXPECT_EQ(ran, 2);

  // Destroyed while its record is pending: nothing dangles.
  ASSERT_EQ(api_->stream_wait_gate(s, gate, 2), TUTTI_OK);
  ASSERT_EQ(api_->event_record(event, s), TUTTI_OK);
  EXPECT_EQ(api_->event_destroy(event), TUTTI_OK);
  ASSERT_EQ(api_->gate_set(gate, 2), TUTTI_OK);
  ASSERT_EQ(api_->stream_sync(dev_, s), TUTTI_OK);
  EXPECT_EQ(api_->gate_destroy(gate), TUTTI_OK);
}

TEST_F(HostDeviceTest, GatesOpenByValueInAnyOrder) {
  tutti_gate* gate = new_gate();
  int ran[4] = {};
  tutti_stream s[4];
  for (int i = 0; i < 4; ++i) {
    s[i] = new_stream();
    ASSERT_EQ(api_->stream_wait_gate(s[i], gate, static_cast<uint64_t>(4 - i)), TUTTI_OK);
    ASSERT_EQ(api_->stream_notify(s[i], count_up, &ran[i]), TUTTI_OK);
  }
  ASSERT_EQ(api_->gate_set(gate, 2), TUTTI_OK);
  EXPECT_EQ(ran[0] + ran[1], 0);
  EXPECT_EQ(ran[2], 1);
  EXPECT_EQ(ran[3], 1);
  ASSERT_EQ(api_->gate_set(gate, 1), TUTTI_OK);  // a gate never closes again
  ASSERT_EQ(api_->gate_set(gate, 100), TUTTI_OK);
  EXPECT_EQ(ran[0] + ran[1], 2);
  ASSERT_EQ(api_->stream_wait_gate(s[0], gate, 100), TUTTI_OK);  // already open
  ASSERT_EQ(api_->stream_notify(s[0], count_up, &ran[0]), TUTTI_OK);
  EXPECT_EQ(ran[0], 2);
  EXPECT_EQ(api_->gate_destroy(gate), TUTTI_OK);
}

TEST_F(HostDeviceTest, SynchroniseWaitsForAGateOpenedByAnotherThread) {
  tutti_stream s = new_stream();
  tutti_gate* gate = new_gate();
  int source = 0;
  int result = 0;
  ASSERT_EQ(api_->stream_wait_gate(s, gate, 5), TUTTI_OK);
  ASSERT_EQ(api_->copy(dev_, &result, &source, sizeof source, s), TUTTI_OK);
  std::thread opener([&] {
    source = 42;
    EXPECT_EQ(api_->gate_set(gate, 5), TUTTI_OK);
  });
  EXPECT_EQ(api_->stream_sync(dev_, s), TUTTI_OK);
  EXPECT_EQ(result, 42);
  opener.join();
  EXPECT_EQ(api_->gate_destroy(gate), TUTTI_OK);
}

// A pattern written by the work of one stream, released through a gate by one thread, read by the
// work of another stream and checked by another thread: any missing ordering is a data race.
TEST_F(HostDeviceTest, VisibilityThroughGates) {
  constexpr uint64_t kRounds = 20000;
  tutti_stream writer = new_stream();
  tutti_stream reader = new_stream();
  tutti_gate* full = new_gate();
  tutti_gate* empty = new_gate();
  uint64_t produced[8] = {};
  uint64_t shared[8] = {};
  uint64_t seen[8] = {};
  std::thread producer([&] {
    for (uint64_t round = 1; round <= kRounds; ++round) {
      ASSERT_EQ(api_->stream_wait_gate(writer, empty, round - 1), TUTTI_OK);
      ASSERT_EQ(api_->stream_sync(dev_, writer), TUTTI_OK);
      for (uint64_t& word : produced) word = round;
      ASSERT_EQ(api_->copy(dev_, shared, produced, sizeof shared, writer), TUTTI_OK);
      ASSERT_EQ(api_->stream_sync(dev_, writer), TUTTI_OK);
      ASSERT_EQ(api_->gate_set(full, round), TUTTI_OK);
    }
  });
  uint64_t wrong = 0;
  for (uint64_t round = 1; round <= kRounds; ++round) {
    ASSERT_EQ(api_->stream_wait_gate(reader, full, round), TUTTI_OK);
    ASSERT_EQ(api_->copy(dev_, seen, shared, sizeof shared, reader), TUTTI_OK);
    ASSERT_EQ(api_->stream_sync(dev_, reader), TUTTI_OK);
    for (uint64_t word : seen) wrong += word != round;
    ASSERT_EQ(api_->gate_set(empty, round), TUTTI_OK);
  }
  producer.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(api_->gate_destroy(full), TUTTI_OK);
  EXPECT_EQ(api_->gate_destroy(empty), TUTTI_OK);
}

// Eight threads, each with its own stream, chained by events and one gate.
TEST_F(HostDeviceTest, ManyThreads) {
  constexpr int kThreads = 8;
  constexpr int kRounds = 500;
  tutti_gate* gate = new_gate();
  std::atomic<int> total{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    tutti_stream s = new_stream(-t);
    threads.emplace_back([&, s] {
      tutti_event* event = nullptr;
      ASSERT_EQ(api_->thread_attach(dev_), TUTTI_OK);
      ASSERT_EQ(api_->event_create(dev_, &event), TUTTI_OK);
      ASSERT_EQ(api_->stream_wait_gate(s, gate, 1), TUTTI_OK);
      for (int i = 0; i < kRounds; ++i) {
        ASSERT_EQ(api_->stream_notify(
                      s, [](void* p) { static_cast<std::atomic<int>*>(p)->fetch_add(1); }, &total),
                  TUTTI_OK);
        ASSERT_EQ(api_->event_record(event, s), TUTTI_OK);
        ASSERT_EQ(api_->stream_wait_event(s, event), TUTTI_OK);
      }
      ASSERT_EQ(api_->stream_sync(dev_, s), TUTTI_OK);
      ASSERT_EQ(api_->event_query(event), TUTTI_OK);
      ASSERT_EQ(api_->event_destroy(event), TUTTI_OK);
    });
  }
  ASSERT_EQ(api_->gate_set(gate, 1), TUTTI_OK);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(total.load(), kThreads * kRounds);
  EXPECT_EQ(api_->gate_destroy(gate), TUTTI_OK);
}

TEST_F(HostDeviceTest, UrgentStreamsGoFirst) {
  tutti_gate* gate = new_gate();
  std::vector<int> order;
  struct Note {
    std::vector<int>* order;
    int who;
  };
  Note notes[] = {{&order, 0}, {&order, 1}, {&order, 2}};
  for (int i = 0; i < 3; ++i) {
    tutti_stream s = new_stream(-i);
    ASSERT_EQ(api_->stream_wait_gate(s, gate, 1), TUTTI_OK);
    auto note = [](void* p) {
      auto* n = static_cast<Note*>(p);
      n->order->push_back(n->who);
    };
    ASSERT_EQ(api_->stream_notify(s, note, &notes[i]), TUTTI_OK);
  }
  ASSERT_EQ(api_->gate_set(gate, 1), TUTTI_OK);
  EXPECT_EQ(order, (std::vector<int>{2, 1, 0}));
  EXPECT_EQ(api_->gate_destroy(gate), TUTTI_OK);
}

TEST_F(HostDeviceTest, CreateAndDestroyManyTimes) {
  for (int i = 0; i < 100000; ++i) {
    tutti_stream s = nullptr;
    ASSERT_EQ(api_->stream_create(dev_, 0, &s), TUTTI_OK);
    tutti_event* event = new_event();
    tutti_gate* gate = new_gate();
    ASSERT_EQ(api_->event_record(event, s), TUTTI_OK);
    ASSERT_EQ(api_->stream_wait_gate(s, gate, 0), TUTTI_OK);
    ASSERT_EQ(api_->gate_destroy(gate), TUTTI_OK);
    ASSERT_EQ(api_->event_destroy(event), TUTTI_OK);
    ASSERT_EQ(api_->stream_destroy(dev_, s), TUTTI_OK);
  }
}

}  // namespace
}  // namespace tutti
