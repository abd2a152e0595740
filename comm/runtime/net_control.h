// NetControl: the control of a rank whose peers are other processes: a board of its own, and the
// control plane of the process that keeps it up to date.
//
// A peer counts as left only some time after the news: what it sent before it went may still be on
// the way, on another connection. Threads: as control.h.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/runtime/control.h"
#include "comm/runtime/control_plane.h"

namespace tutti {

class NetControl final : public Control {
 public:
  // `m.board` is made here. `plane` outlives this.
  NetControl(ControlPlane& plane, Membership m);
  ~NetControl() override;
  NetControl(const NetControl&) = delete;
  NetControl& operator=(const NetControl&) = delete;

  void publish(const CallRecord& record) override { board().record(m_.rank, record); }
  std::optional<CallRecord> call_of(int rank, uint64_t sequence) const override {
    return board().call_of(rank, sequence);
  }
  std::optional<CallRecord> last_call_of(int rank) const override {
    return board().last_call_of(rank);
  }
  void fail(Code code, const std::string& text) override;
  bool failed() const override { return board().failed(); }
  std::optional<Failure> failure() const override { return board().failure(); }
  bool present(int rank) const override { return board().present(rank); }
  bool left(int rank) const override;
  bool may_explain(int rank) const override;
  std::string why_left(int rank) const override { return board().why_left(rank); }
  void watch(int rank) override;
  void refresh() override;
  void announce() override { plane_.announce(m_); }

 private:
  Board& board() const { return *m_.board; }

  ControlPlane& plane_;
  Membership m_;
  std::vector<std::atomic<bool>> watched_;
};

}  // namespace tutti
